"""Checksums of rows: SQLite's pages carry none, so that a changed bit would be an answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from facegrep._errors import StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_Row = TypeVar("_Row", bound="tuple[object, ...]")

# MessagePack gives each value with its type and length, integers in their shortest form: equal
# bytes mean equal rows. With BLAKE2b 0.8 us a row of media; two CRCs would save a third of that.
_encode = msgspec.msgpack.Encoder().encode
_blake2b = hashlib.blake2b


def hash_row(values: Sequence[object]) -> bytes:
    """8 bytes that stand for the values, which are as SQLite gives them back: no bool."""
    return _blake2b(_encode(values), digest_size=8).digest()


def hash_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Return the `hash_row` of each, one after another."""
    return b"".join([_blake2b(_encode(row), digest_size=8).digest() for row in rows])


def checksum(values: Sequence[object]) -> int:
    """`hash_row` as an int64, which is what SQLite holds."""
    return int.from_bytes(hash_row(values), "little", signed=True)


def with_checksum(values: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row as it is stored: its checksum is its last value."""
    return (*values, checksum(values))


def is_whole(row: Sequence[object]) -> bool:
    """Whether a row's last value is the checksum of the others."""
    return checksum(row[:-1]) == row[-1]


def checked(row: _Row, table: str, library: str | None = None) -> _Row:
    """Return a row as it was read, unless its checksum, the last value, says that it changed.

    Raises
    ------
    StoreCorrupt
        It is not what was written.
    """
    if not is_whole(row):
        raise damaged(table, library)
    return row


def damaged(table: str, library: str | None) -> StoreCorrupt:
    """Build the error of a row that fails its checksum."""
    if library is None:
        return StoreCorrupt(f"a row of table {table} fails its checksum")
    return StoreCorrupt(
        f"library {library!r}: a row of table {table} fails its checksum; other libraries of the "
        "store are not affected",
        library=library,
    )


def int64(number: int) -> int:
    """Return a number modulo 2**64, as the int64 that SQLite holds."""
    return (number + 2**63) % 2**64 - 2**63
