"""Fuzz target: any bytes as what became of a file of a store.

Three kinds of damage. Bytes that changed in one file, many at once, pages that were written where
another belongs, tails that were cut: every answer is as ever, or an error of ours. A row of SQLite
that somebody rewrote, and a page of a saved index, both with checksums that are right: whatever is
answered then, nothing but an error of ours leaves, soon and within little memory.

The stores, and what is asked of them, are those of tests/faults/damage.py.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.faults import clock, damage, worker
from tests.fuzz import target
from tests.fuzz.crc32c import crc32c

from facegrep.engine import _library_index
from facegrep.store import _tables
from facegrep.store._assets import MediaRow
from facegrep.store._checksum import int64, with_checksum
from facegrep.store._media_rows import sealed

AIMS: Final = (
    "facegrep.engine._expiry",
    "facegrep.engine._indexes",
    "facegrep.engine._library_index",
    "facegrep.store",
)
OPTIONS: Final = ("-max_len=512", "-rss_limit_mb=600")
WORDS: Final = (
    *(struct.pack("<q", value) for value in (-1, 2**31, 2**40, 2**62, -(2**63))),
    *(b"Running", b"Failed", b"image", b"video", b"main", b"spare", b"SQLite format 3\0"),
)

_SEED: Final = 3
_PAGE: Final = 4096
_EDIT: Final = struct.Struct("<BIBB")
_MANY: Final = 16
_CODE_HEADER: Final = 40
"""Bytes of a saved index's header before the places of its sections (snapshot.hpp)."""


class Original(NamedTuple):
    """A store as it was written, and what it answers, by whether it is opened to read only."""

    path: Path
    files: tuple[str, ...]
    answers: dict[bool, damage.Answers]


def fuzz_one(data: bytes) -> None:
    """Damage one store: a byte for which, how it is opened and what is done; then its details."""
    how = sum(data[:1])
    originals, damaged = _originals()
    original = originals[how % 2]
    readonly = bool(how & 2)
    damage._copy(original.path, damaged)
    kind = how // 4 % 4
    if kind == 0:
        _rewrite_row(damaged, data[1:])
    elif kind == 1:
        _rewrite_index(damaged, data[1:])
    else:
        _change_bytes(damaged, original.files, data[1:])
    now = damage.answers(damaged, readonly=readonly)
    if kind >= 2:
        changed = damage.silent(original.answers[readonly], now)
        assert not changed, f"silently changed: {changed[:4]}"


def _change_bytes(store: Path, files: tuple[str, ...], data: bytes) -> None:
    """Damage one file: a byte for which, then 7 an edit."""
    path = store / files[sum(data[:1]) % len(files)]
    content = bytearray(path.read_bytes())
    whole = len(data[1:]) // _EDIT.size * _EDIT.size
    for op, where, one, other in list(_EDIT.iter_unpack(data[1 : 1 + whole]))[:_MANY]:
        if not content:
            break
        at = where % len(content)
        match op % 6:
            case 0:
                content[at] = one
            case 1:
                content[at] ^= one
            case 2:
                content[at : at + one] = bytes(len(content[at : at + one]))
            case 3:
                del content[at:]
            case 4:  # a write that went to another page
                pages = max(1, len(content) // _PAGE)
                source, to = one % pages * _PAGE, other % pages * _PAGE
                content[to : to + _PAGE] = content[source : source + _PAGE]
            case 5:  # a few bytes that moved
                part = content[at : at + one % 32]
                content[at + other % 64 : at + other % 64 + len(part)] = part
    path.write_bytes(content)


def _rewrite_row(store: Path, data: bytes) -> None:
    """Put a value into one column of one row, or one row into an empty table.

    A byte each for the table, the row, the column, and the kind of change; then the value.
    """
    table, number, column, kind, *_ = data.ljust(4, b"\0")
    file, name = _TABLES[table % len(_TABLES)]
    with (
        contextlib.suppress(sqlite3.Error, OverflowError),  # what SQLite itself refuses
        contextlib.closing(sqlite3.connect(store / file)) as connection,
    ):
        connection.execute("PRAGMA synchronous = OFF")
        columns = [each[1:3] for each in connection.execute(f"PRAGMA table_info({name})")]
        rows = connection.execute(f"SELECT * FROM {name}").fetchall()
        made_up = tuple(_NOTHING[declared] for _, declared in columns)
        old = rows[number % len(rows)] if rows else made_up
        place = column % len(columns)
        value = _value(kind, columns[place][1], data[4:])
        new = _whole(name, (*old[:place], value, *old[place + 1 :]))
        if rows and kind % 8 < 7:
            where = " AND ".join(f"{each} IS ?" for each, _ in columns)
            connection.execute(f"DELETE FROM {name} WHERE {where}", old)
        if kind % 8 != 6:
            marks = ", ".join("?" * len(columns))
            connection.execute(f"INSERT INTO {name} VALUES ({marks})", new)
        if name == "media":
            make_libraries_right(connection)
        while name in _PROVED_BY:
            name = make_parents_right(connection, name)
        connection.commit()


_NOTHING: Final = {"INTEGER": 0, "TEXT": "", "BLOB": b"", "REAL": 0.0}


def _value(kind: int, declared: str, data: bytes) -> int | float | str | bytes | None:
    """Make a value, most often of the type that the column has."""
    number = int.from_bytes(data[:8], "little", signed=True)
    if kind % 8 == 5:
        return None
    if declared == "INTEGER":
        return (number, number % 256, -number, number % 2**16, 2**63 - 1)[kind % 8 % 5]
    if declared == "REAL":
        return (float(number), number / 2**40, float("inf"))[kind % 8 % 3]
    return data if declared == "BLOB" else data.decode("utf-8", "replace")


def _whole(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with the checksum that it should have."""
    if table == "audit":
        return row  # each hash covers the one before it
    try:
        return sealed(MediaRow._make(row))[0] if table == "media" else with_checksum(row[:-1])
    except TypeError:  # half a place, or one that is not numbers
        return row


# Whose digest is the sum of a table's checksums, and how many columns of both say whose row it is.
_PROVED_BY: Final = {
    "track": ("video", 2),
    "people_face": ("people", 1),
    "recognition_sample": ("recognition_entity", 2),
    "recognition_entity": ("recognition", 1),
}


def make_parents_right(connection: sqlite3.Connection, table: str) -> str:
    """Make the digests right that prove the rows of a table; the table that has them."""
    parent, length = _PROVED_BY[table]
    sums: dict[tuple[Any, ...], int] = {}
    for row in connection.execute(f"SELECT * FROM {table}").fetchall():
        sums[row[:length]] = sums.get(row[:length], 0) + row[-1]
    keys = [each[1] for each in connection.execute(f"PRAGMA table_info({parent})")][:length]
    where = " AND ".join(f"{key} = ?" for key in keys)
    for row in connection.execute(f"SELECT * FROM {parent}").fetchall():
        values = with_checksum((*row[:-2], int64(sums.get(row[:length], 0))))
        update = f"UPDATE {parent} SET digest = ?, checksum = ? WHERE {where}"
        connection.execute(update, (*values[-2:], *row[:length]))
    return parent


def make_libraries_right(connection: sqlite3.Connection) -> None:
    """Have every library say that the assets it has are its own."""
    digests: dict[int, int] = {}
    for row in connection.execute("SELECT * FROM media").fetchall():
        _, found = sealed(MediaRow._make(row))
        digests[row[0]] = digests.get(row[0], 0) + found
    for row in connection.execute("SELECT * FROM library").fetchall():
        digest = int64(digests.get(row[0], 0))
        values = with_checksum((*row[:-2], digest))
        update = "UPDATE library SET digest = ?, checksum = ? WHERE id = ?"
        connection.execute(update, (*values[-2:], row[0]))


def _rewrite_index(store: Path, data: bytes) -> None:
    """Change a section of a saved index: which file, which section, where; then the bytes."""
    which, section, at, shift, *_ = data.ljust(4, b"\0")
    paths = sorted(store.glob("cache/*.idx"))
    if not paths:
        return
    path = paths[which % len(paths)]
    content = bytearray(path.read_bytes())
    section %= _SECTIONS - 1
    _, length = places_of(content)[1 + section]
    if length:
        start = (at << shift % 8) % length
        rewrite_section(content, section, start, data[4 : 4 + length - start])
        path.write_bytes(content)


def places_of(index: bytes | bytearray) -> list[tuple[int, int]]:
    """Return the offset and length of each section of a saved index, of the checksums first."""
    return [
        struct.unpack_from("<QQ", index, _CODE_HEADER + 16 * number) for number in range(_SECTIONS)
    ]


def rewrite_section(index: bytearray, section: int, start: int, part: bytes) -> None:
    """Overwrite bytes of a section (0: the notes), and make the checksums right."""
    places = places_of(index)
    start += places[1 + section][0]
    index[start : start + len(part)] = part
    (table, _), first_page = places[0], places[1][0] // _PAGE
    for page in range(start // _PAGE, (start + max(1, len(part)) - 1) // _PAGE + 1):
        found = crc32c(index[page * _PAGE : (page + 1) * _PAGE])
        struct.pack_into("<I", index, table + 4 * (page - first_page), found)
    checksums = index[table : first_page * _PAGE]
    struct.pack_into("<I", index, _CODE_HEADER - 8, crc32c(checksums))
    struct.pack_into("<I", index, _PAGE - 4, crc32c(index[: _PAGE - 4]))


_SECTIONS: Final = 30

_TABLES: Final = tuple(
    (file, name.split()[2])
    for file, schema in (("catalog.db", _tables.CATALOG), ("session.db", _tables.SESSION))
    for statement in schema.statements
    if (name := statement.strip()).startswith("CREATE TABLE")
)

_kept = contextlib.ExitStack()


def close() -> None:
    """Remove the stores, and let the clock of this process go on."""
    _originals.cache_clear()
    _kept.close()


@cache
def _originals() -> tuple[list[Original], Path]:
    """Make the two stores, and a place for the damaged one."""
    _kept.enter_context(clock.stopped())
    small: Any = _library_index
    _kept.callback(setattr, small, "MIN_CHANGES", small.MIN_CHANGES)
    small.MIN_CHANGES = 4  # so that small libraries have saved indexes, too
    folder = _kept.enter_context(worker.scratch("fuzz"))
    originals = []
    for path in damage.make_stores(folder, _SEED):
        files = sorted(
            each.relative_to(path).as_posix()
            for each in path.rglob("*")
            if each.is_file() and each.stat().st_size
        )
        answers = {}
        for readonly in (True, False):
            damage._copy(path, folder / "damaged")
            answers[readonly] = damage.answers(folder / "damaged", readonly=readonly)
        originals.append(Original(path, tuple(files), answers))
    shutil.rmtree(folder / "damaged")
    return originals, folder / "damaged"


def seeds() -> Iterator[bytes]:
    """A little of each kind, of every file, table and section."""
    number = struct.pack("<q", 2**40)
    for table in range(len(_TABLES)):
        for column in range(1, 24, 9):
            yield bytes([table % 4, table, 1, column, (table + column) % 8]) + number
    for section in range(_SECTIONS - 1):
        yield bytes([4 + section % 4, section, section, 8, 0]) + number
    for file in range(13):
        for op in range(file % 2, 6, 2):
            edit = _EDIT.pack(op, 5000 * file + 100, 7, 11)
            yield bytes([8 + (file + op) % 8, file]) + edit


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
