"""Fuzz target: any bytes as the query string of any action."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, quote

import msgspec
from tests.fuzz import target

from facegrep.ice import IceError
from facegrep.ice._requests import Request, read_request
from facegrep.ice._service import _ACTIONS

AIMS: Final = (
    "facegrep._names",
    "facegrep.ice._bodies",
    "facegrep.ice._filters",
    "facegrep.ice._json",
    "facegrep.ice._parameters",
    "facegrep.ice._requests",
)
OPTIONS: Final = ("-max_len=2048",)
ACTIONS: Final = [kind for kind, _ in _ACTIONS.values()]


def fuzz_one(data: bytes) -> None:
    """Read one request: a byte for the action, then its parameters; only IceError may leave."""
    query = data[1:].decode("utf-8", "surrogateescape")
    with contextlib.suppress(IceError):
        read_request(ACTIONS[sum(data[:1]) % len(ACTIONS)], dict(parse_qsl(query, True)))


def _names(kind: type[Request]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


WORDS: Final = (
    *sorted({f"&{name}=".encode() for kind in ACTIONS for name in _names(kind)}),
    *(b"image", b"video", b"face", b"Active", b"Deactive", b"mm", b"aiLabel", b"IPCamera_"),
    *(b"%22", b"%7B", b"%7D", b"%5B", b"%5D", b"%2C", b"%3A", b"%00", b"%C3%A9", b"%ED%A0%80"),
)


def seeds() -> Iterator[bytes]:
    """Every action with every parameter, each with one of the values that some parameter takes."""
    values = ("1", "name", "face", "image", "{}", '{"gte":1}', "https://a.example/b.jpg", "Active")
    bodies = ('{"intField1":[1,2],"strField1":"a"}', '{"title":"t"}', '{"faceGroupIds":"a,b"}')
    for number, kind in enumerate(ACTIONS):
        for value in (*values, *bodies):
            query = "&".join(f"{name}={quote(value)}" for name in _names(kind))
            yield bytes([number]) + query.encode()


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
