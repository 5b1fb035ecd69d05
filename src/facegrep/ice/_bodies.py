"""The JSON parameters of what changes something: MsgBody, SearchLibConfig and the like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, to_builtins
from msgspec.json import Decoder

from facegrep._errors import InvalidArgumentError
from facegrep._names import check_fields, check_name, check_text
from facegrep.ice._json import Int64, JsonObject, Text, read_json

_MAX_FACE_GROUPS = 3
_MAX_ENTITY_INFO_BYTES = 256


class CustomFields(JsonObject, frozen=True):
    """What an asset can later be filtered by, in the wire's spelling."""

    intField1: Int64 | UnsetType = UNSET
    strField1: Text | UnsetType = UNSET
    strField2: Text | UnsetType = UNSET


class MsgBody(JsonObject, frozen=True):
    """What is told of an asset beside its picture."""

    title: Text | UnsetType = UNSET
    customFields: CustomFields | UnsetType = UNSET

    def fields(self) -> dict[str, int | str]:
        """Give the custom fields that are set, by name."""
        if isinstance(self.customFields, UnsetType):
            return {}
        fields: dict[str, int | str] = to_builtins(self.customFields)
        return fields


class SearchLibConfig(JsonObject, frozen=True):
    """Which libraries of known people a search library recognises."""

    faceGroupIds: Annotated[str, Meta(max_length=256)] = ""


class ImagesInput(JsonObject, frozen=True):
    """The pictures that a camera took."""

    images: list[str]


class IndexConfig(JsonObject, frozen=True):
    """Settings of an index; the face index has none."""


_MSG_BODY = Decoder(MsgBody)
_LIBRARY_CONFIG = Decoder(SearchLibConfig)
_ENTITY_INFO = Decoder(dict[str, Any])
_IMAGES_INPUT = Decoder(ImagesInput)
_INDEX_CONFIG = Decoder(IndexConfig)


def read_msg_body(raw: str) -> MsgBody:
    """Read MsgBody, as far as to be sure that the engine takes what is in it."""
    body = read_json(raw, _MSG_BODY)
    check_fields(body.fields())
    if not isinstance(body.title, UnsetType):
        check_text(body.title, "title")
    return body


@dataclass(frozen=True, slots=True)
class LibraryConfig:
    """SearchLibConfig as it was sent, which is how it is shown again, and what it says."""

    raw: str = ""
    recognition: tuple[str, ...] = ()


def read_library_config(raw: str) -> LibraryConfig:
    """Read SearchLibConfig."""
    groups = read_json(raw, _LIBRARY_CONFIG).faceGroupIds
    names = [name.strip(" ") for name in groups.split(",")] if groups else []
    if len(set(names)) < len(names) or len(names) > _MAX_FACE_GROUPS or not all(names):
        raise InvalidArgumentError(
            f"faceGroupIds: expected up to {_MAX_FACE_GROUPS} different ids as 'a,b', got "
            f"{groups!r}"
        )
    check_text(raw, "config")
    return LibraryConfig(raw, tuple(check_name(name, "faceGroupIds") for name in names))


def read_entity_info(raw: str) -> str:
    """Read EntityInfo: a JSON object of whatever it holds, kept as it was sent."""
    size_bytes = len(raw.encode())
    if size_bytes > _MAX_ENTITY_INFO_BYTES:
        raise InvalidArgumentError(
            f"expected at most {_MAX_ENTITY_INFO_BYTES} bytes of JSON, got {size_bytes}"
        )
    read_json(raw, _ENTITY_INFO)
    return raw


def read_images_input(raw: str) -> ImagesInput:
    """Read ImagesInput."""
    return read_json(raw, _IMAGES_INPUT)


def read_index_config(raw: str) -> IndexConfig:
    """Read IndexConfig: ``{}``, since the face index has no settings that could be honoured."""
    return read_json(raw, _INDEX_CONFIG)
