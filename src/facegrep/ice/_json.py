"""JSON in a parameter's value: hostile, so bounded, typed and unambiguous, or refused."""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

import msgspec

from facegrep._errors import InvalidArgumentError

MAX_JSON_BYTES = 16 * 1024

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(max_length=256)]
"""At most 256 code points; the empty string is a value."""

T = TypeVar("T")


class JsonObject(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Base of what a JSON parameter may hold: exactly its fields, each of exactly its type."""


def read_json(raw: str, decoder: msgspec.json.Decoder[T]) -> T:
    """Read `raw` as what `decoder` is for.

    Parameters
    ----------
    decoder
        Made when its module is imported. msgspec looks at a type when it first decodes it, and
        where two threads do so at once, one of them reads what is half made and crashes.

    Raises
    ------
    InvalidArgumentError
        Over 16 KiB, not JSON, not of that kind, an unknown field, a field named twice, a number out
        of range or of another type (NaN, infinity, 1.0 for an integer, true).

    Notes
    -----
    msgspec meets the declared types while it parses, so nothing deeper than that is ever built.
    It keeps the last of duplicate keys, though: the standard library reads the (by then small,
    shallow and well-typed) text once more to see them. Costs 20 us a KiB.
    """
    size_bytes = len(raw.encode())
    if size_bytes > MAX_JSON_BYTES:
        raise InvalidArgumentError(
            f"expected up to {MAX_JSON_BYTES} bytes of JSON, got {size_bytes}"
        )
    try:
        value = decoder.decode(raw)
    except msgspec.DecodeError as error:
        reason = str(error)
        if "truncated" in reason:  # msgspec says so of both
            reason = "the JSON ends early, or holds half of a surrogate pair"
        raise InvalidArgumentError(reason) from error
    json.loads(raw, object_pairs_hook=_refuse_duplicates)
    return value


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgumentError(f"the field {twice!r} is given {names.count(twice)} times")
