"""Fuzz target: any text as CustomFilters, UtcCreate or the `where` of a search.

What it selects from a small index is compared with what a loop over the assets selects, which reads
the text on its own: a wrong answer is a find as much as a wrong error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from tests.fuzz import target

from facegrep import FaceIndex
from facegrep._errors import InvalidArgumentError
from facegrep._where import FIELD_NAMES, INT_FIELDS, canonical_where, compile_where
from facegrep.ice import IceError
from facegrep.ice._requests import SearchMediaByFace, read_request

AIMS: Final = ("facegrep._where", "facegrep.ice._filters", "facegrep.ice._json")
OPTIONS: Final = ("-max_len=4096",)
_INTS: Final = (None, 0, 1, 7, -1, 12, 1761205662998, -(2**63), 2**63 - 1)
_TEXTS: Final = (
    None,
    "",
    "a",
    "b",
    "abc",
    "A",
    "é",
    "e\u0301",
    "\U0001f600",
    "image",
    "video",
    '"',
)
WORDS: Final = (
    *(f'"{name}":'.encode() for name in (*FIELD_NAMES, "gte", "lte")),
    *(json.dumps(value).encode() for value in (*_INTS, *_TEXTS)),
    *(b"9223372036854775808", b"-9223372036854775809", b"1.0", b"1e3", b"NaN", b"true"),
    *(b"[]", b"{}", b"\\ud83d\\ude00", b"\\udc00", b"\\u0000"),
)

_NEEDED: Final = {"PersonImageUrl": "https://pictures.example/1.jpg", "FaceSearchToken": "token"}

Asset = dict[str, Any]
Where = Mapping[str, Any]


def fuzz_one(data: bytes) -> None:
    """Read one filter: a byte for how, then its text; only errors of ours may leave."""
    kind = sum(data[:1]) % 4
    text = _made_of(data[1:]) if kind == 3 else data[1:].decode("utf-8", "surrogateescape")
    reader = (_custom_filters, _utc_create, _plain, _plain)[kind]
    try:
        where, meant = reader(text)
        conditions = compile_where(where)
    except (IceError, InvalidArgumentError):
        return
    _require_the_same(where, meant)
    # Whatever way the same filter is written, it is the same.
    assert canonical_where(dict(reversed([*where.items()]))) == canonical_where(where)
    assert {name for name, _ in conditions} == set(meant)


def _custom_filters(text: str) -> tuple[Where, Where]:
    where = read_request(SearchMediaByFace, _NEEDED | {"CustomFilters": text}).custom_filters
    return where, json.loads(text) if text else {}


def _utc_create(text: str) -> tuple[Where, Where]:
    utc_create = read_request(SearchMediaByFace, _NEEDED | {"UtcCreate": text}).utc_create
    where = {} if utc_create is None else {"utcCreate": utc_create}
    return where, {"utcCreate": json.loads(text)} if text else {}


def _plain(text: str) -> tuple[Where, Where]:
    """Read any JSON: what Python callers may pass, and what they may not."""
    try:
        where = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError("not JSON") from error
    return ({}, {}) if where is None else (where, where)


def _made_of(data: bytes) -> str:
    """Make a filter that is nearly always one of bytes: two a field."""
    where: Asset = {}
    for name, how, which in zip(FIELD_NAMES, data[::2], data[1::2], strict=False):
        pool = (_INTS if name in INT_FIELDS else _TEXTS)[1:]
        one, other = pool[which % len(pool)], pool[which // len(pool) % len(pool)]
        values = (None, one, [one, other], [other] * (how // 8 % 3), {"gte": one}, {"lte": one})
        range_ = {"gte": one, "lte": other}
        if (value := (*values, range_)[how % 7]) is not None:
            where[name] = value
    return json.dumps(where)


def _require_the_same(where: Where, meant: Where) -> None:
    index, assets = _small_index()
    expected = [name for name, asset in assets.items() if _passes(asset, meant)]
    found = index.search(np.ones(2), where=where, limit=len(assets))
    assert found.total == len(expected), (where, found.total, expected)
    assert sorted(hit.media_id for hit in found) == expected, (where, expected)
    # An asset that has what is asked for is found by it.
    if any(value == [] for value in meant.values()):
        return  # nothing is
    wanted = {name: _wanted(value) for name, value in meant.items()}
    own = FaceIndex(2)
    own.add(["wanted", "other"], np.ones((2, 2)), {n: [v, None] for n, v in wanted.items()})
    assert own.search(np.ones(2), where=where).total == (1 if meant else 2), where


def _wanted(value: Any) -> Any:
    if isinstance(value, list):
        return value[-1]
    if isinstance(value, dict):
        return value["gte"] if "gte" in value else value["lte"]
    return value


def _passes(asset: Asset, meant: Where) -> bool:
    return all(_holds(asset[name], wanted) for name, wanted in meant.items())


def _holds(value: Any, wanted: Any) -> bool:
    if value is None:
        return False
    if isinstance(wanted, dict):
        return bool(wanted.get("gte", value) <= value <= wanted.get("lte", value))
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


@cache
def _small_index() -> tuple[FaceIndex, dict[str, Asset]]:
    """Assets with all sorts of values; of any two fields not always the same pairs."""
    count = len(_INTS) * len(_TEXTS)
    assets: dict[str, Asset] = {}
    for number in range(count):
        values: Asset = {}
        for place, name in enumerate(FIELD_NAMES):
            pool = _INTS if name in INT_FIELDS else _TEXTS
            values[name] = pool[(number * (place + 1) + place) % len(pool)]
        assets[f"{number:03}"] = values
    index = FaceIndex(2)
    columns = {name: [asset[name] for asset in assets.values()] for name in FIELD_NAMES}
    index.add(list(assets), np.ones((count, 2)), columns)
    return index, assets


def seeds() -> Iterator[bytes]:
    """Filters of every kind."""
    for kind, filters in enumerate((_CUSTOM, _RANGES, _WHERES)):
        for one in filters:
            yield bytes([kind]) + json.dumps(one).encode()
    for how in range(7):
        yield bytes([3]) + bytes([how, 3 * how]) * len(FIELD_NAMES)


_RANGES: Final[tuple[Where, ...]] = ({"gte": 1, "lte": 1761205662998}, {"gte": 0}, {"lte": -1}, {})
_CUSTOM: Final[tuple[Where, ...]] = (
    {},
    {"intField1": 7, "strField1": "a"},
    {"intField1": [1, 7], "strField1": ["a", "é"], "strField2": []},
    {"intField1": {"gte": 0, "lte": 12}},
)
_WHERES: Final[tuple[Where, ...]] = (
    *_CUSTOM,
    {"utcCreate": {"gte": 1}, "mediaType": "video", "namespace": ["", "b"]},
)


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
