"""CustomFilters and UtcCreate: from JSON text to the engine's `where`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from msgspec.json import Decoder

from facegrep._errors import InvalidArgumentError
from facegrep.ice._json import Int64, JsonObject, Text, read_json

Condition = int | str | list[int] | list[str] | dict[str, int]
"""What one field must be: exactly this, any of these, or ``{"gte": a, "lte": b}``."""

_MAX_CHOICES = 64


class Range(JsonObject, frozen=True):
    """Both ends inclusive; one of them may be left out."""

    gte: Int64 | UnsetType = UNSET
    lte: Int64 | UnsetType = UNSET


_AnyInt = Annotated[list[Int64], Meta(max_length=_MAX_CHOICES)]
_AnyText = Annotated[list[Text], Meta(max_length=_MAX_CHOICES)]


class CustomFilters(JsonObject, frozen=True):
    """The fields that an asset can be filtered by, in the wire's spelling."""

    intField1: Int64 | _AnyInt | Range | UnsetType = UNSET
    strField1: Text | _AnyText | UnsetType = UNSET
    strField2: Text | _AnyText | UnsetType = UNSET


_RANGE = Decoder(Range)
_CUSTOM_FILTERS = Decoder(CustomFilters)


def read_custom_filters(raw: str) -> Mapping[str, Condition]:
    """Read CustomFilters; ``{}`` is no filter, ``[]`` for a field matches nothing."""
    filters = read_json(raw, _CUSTOM_FILTERS)
    where: dict[str, Condition] = {}
    for name in filters.__struct_fields__:
        wanted = getattr(filters, name)
        if wanted is not UNSET:
            where[name] = _bounds(wanted, name) if isinstance(wanted, Range) else wanted
    return where


def read_utc_create(raw: str) -> Mapping[str, int]:
    """Read UtcCreate, a range of milliseconds since 1970."""
    return _bounds(read_json(raw, _RANGE), "UtcCreate")


def _bounds(wanted: Range, name: str) -> dict[str, int]:
    bounds: dict[str, int] = {}
    if not isinstance(wanted.gte, UnsetType):
        bounds["gte"] = wanted.gte
    if not isinstance(wanted.lte, UnsetType):
        bounds["lte"] = wanted.lte
    if not bounds:
        raise InvalidArgumentError(f"the range of {name} is empty; give gte, lte or both")
    if bounds.get("gte", -(2**63)) > bounds.get("lte", 2**63 - 1):
        ends = f"gte {bounds['gte']} > lte {bounds['lte']}"
        raise InvalidArgumentError(f"the range of {name} has {ends}")
    return bounds
