"""The JSON parameters of what changes something: MsgBody, SearchLibConfig and the like."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, to_builtins

from facegrep._errors import InvalidArgumentError
from facegrep._names import check_fields, check_text
from facegrep.ice._json import Int64, JsonObject, Text, read_json

_MAX_FACE_GROUPS = 3


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


def read_msg_body(raw: str) -> MsgBody:
    """Read MsgBody, as far as to be sure that the engine takes what is in it."""
    body = read_json(raw, MsgBody)
    check_fields(body.fields())
    if not isinstance(body.title, UnsetType):
        check_text(body.title, "title")
    return body


def read_library_config(raw: str) -> str:
    """Read SearchLibConfig; it is kept, and shown again, as it was sent."""
    groups = read_json(raw, SearchLibConfig).faceGroupIds
    names = groups.split(",") if groups else []
    if len(names) > _MAX_FACE_GROUPS or not all(name.strip() for name in names):
        raise InvalidArgumentError(
            f"faceGroupIds: expected up to {_MAX_FACE_GROUPS} ids as 'a,b', got {groups!r}"
        )
    check_text(raw, "config")
    return raw


def read_images_input(raw: str) -> ImagesInput:
    """Read ImagesInput."""
    return read_json(raw, ImagesInput)


def read_index_config(raw: str) -> IndexConfig:
    """Read IndexConfig: ``{}``, since the face index has no settings that could be honoured."""
    return read_json(raw, IndexConfig)
