"""Filters: the ``where`` of every search, checked and compiled for the engine.

A filter is a mapping from field names to one matching mode each; all must hold:

- exact: ``{"intField1": 12, "strField1": "abc"}``
- any of: ``{"intField1": [12, 13]}``; ``[]`` matches nothing
- range, on the integer fields, both ends inclusive, either may be missing:
  ``{"utcCreate": {"gte": 1761205662998, "lte": 1771205662998}}``

Integers are int64, strings compare bytewise, an asset without the field never matches.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import TypeAlias

from facegrep._arguments import shown
from facegrep._errors import InvalidArgumentError

INT_FIELDS = ("intField1", "utcCreate")
TEXT_FIELDS = ("strField1", "strField2", "mediaType", "namespace")
FIELD_NAMES = ("intField1", "strField1", "strField2", "utcCreate", "mediaType", "namespace")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

Where: TypeAlias = Mapping[str, object]
Condition: TypeAlias = tuple[str, list[tuple[int, int]] | list[str]]


def compile_where(where: Where | None) -> list[Condition]:
    """The conditions of a filter as the engine takes them; ``None`` and ``{}`` are no filter.

    Raises
    ------
    InvalidArgumentError
        Names the field, what was expected and what came.
    """
    if where is None:
        return []
    if not isinstance(where, Mapping):
        raise InvalidArgumentError(f"where: expected a mapping, got {type(where).__name__}")
    conditions: list[Condition] = []
    for name, value in where.items():
        if name in INT_FIELDS:
            conditions.append((name, _int_ranges(name, value)))
        elif name in TEXT_FIELDS:
            conditions.append((name, _texts(name, value)))
        else:
            known = ", ".join(FIELD_NAMES)
            raise InvalidArgumentError(
                f"where: unknown field {name!r:.80}; expected one of {known}"
            )
    return conditions


def canonical_where(where: Where | None) -> str:
    """One text for all spellings of the same filter (key order, one-element and repeated lists)."""
    conditions = {name: sorted({*values}) for name, values in compile_where(where)}
    return json.dumps(conditions, sort_keys=True, separators=(",", ":"))


def _int_ranges(name: str, value: object) -> list[tuple[int, int]]:
    if isinstance(value, Mapping):
        return [_range(name, value)]
    if isinstance(value, (list, tuple)):
        numbers = [_int64(name, item) for item in value]
    else:
        numbers = [_int64(name, value)]
    return [(number, number) for number in numbers]


def _range(name: str, ends: Mapping[str, object]) -> tuple[int, int]:
    if not ends or not {*ends} <= {"gte", "lte"}:
        raise InvalidArgumentError(
            f"where[{name!r}]: expected a range with gte, lte or both, "
            f"got the keys {sorted(map(str, ends))}"
        )
    lowest = _int64(name, ends["gte"]) if "gte" in ends else INT64_MIN
    highest = _int64(name, ends["lte"]) if "lte" in ends else INT64_MAX
    if lowest > highest:
        raise InvalidArgumentError(
            f"where[{name!r}]: gte {lowest} is greater than lte {highest}: swap them"
        )
    return lowest, highest


def _int64(name: str, value: object) -> int:
    try:
        number = operator.index(None if isinstance(value, bool) else value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgumentError(
            f"where[{name!r}]: expected an int, a list of them or a range, got {shown(value)}"
        ) from None
    if not INT64_MIN <= number <= INT64_MAX:
        raise InvalidArgumentError(
            f"where[{name!r}]: expected an integer of 64 bits, got a larger one"
        )
    return number


def _texts(name: str, value: object) -> list[str]:
    texts: list[str] = []
    for text in value if isinstance(value, (list, tuple)) else (value,):
        if not isinstance(text, str):
            raise InvalidArgumentError(
                f"where[{name!r}]: expected a str or a list of them, got {shown(text)}"
                + ("; ranges are for integer fields" if isinstance(text, Mapping) else "")
            )
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise InvalidArgumentError(
                    f"where[{name!r}]: a lone surrogate is not Unicode text"
                ) from None
        texts.append(text)  # as it is: the str() of a str enumeration is its name
    return texts
