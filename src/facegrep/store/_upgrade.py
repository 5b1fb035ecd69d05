"""Stores of older versions, brought to this one in place.

Inside one transaction: tables that changed get other names, the new ones are filled from them row
by row, and the old ones are dropped. A kill in between leaves the old version. From version 1 all
tables changed; from 2 the catalog's library alone, and others are new, in session.db none.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from facegrep.store import _schema
from facegrep.store._assets import MediaRow
from facegrep.store._audit import append_entry
from facegrep.store._checksum import checksum, int64, with_checksum
from facegrep.store._libraries import LibraryRow
from facegrep.store._media_rows import sealed
from facegrep.store._store_row import read_store, write_store
from facegrep.store._tables import CATALOG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from facegrep.store._schema import Schema

_OLD: Final = "older_"
_DEFINED: Final = re.compile(r"CREATE (?:TABLE|(?:UNIQUE )?INDEX) (\w+)")


def upgrade(connection: sqlite3.Connection, schema: Schema, version: int, now_ms: int) -> None:
    """Upgrade from an older version, inside the caller's transaction.

    Foreign keys are off, and legacy_alter_table is on: a table that is given another name for a
    moment keeps the references of others.
    """
    if version == 1:
        _upgrade_from_1(connection, schema, now_ms)
    elif schema is CATALOG:
        _upgrade_from_2(connection, schema)
    else:
        _upgrade_session_from_2(connection, schema)
    if schema is CATALOG:
        said = {"from": version, "to": schema.version}
        append_entry(connection, time_ms=now_ms, action="upgrade", details=said)


def _upgrade_from_2(connection: sqlite3.Connection, schema: Schema) -> None:
    old_name = f"{_OLD}library"
    connection.execute(f"ALTER TABLE library RENAME TO {old_name}")
    _define_missing(connection, schema)
    _insert(connection, "library", _libraries_of_2(connection))
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'library'")
    connection.execute("UPDATE sqlite_sequence SET name = 'library' WHERE name = ?", (old_name,))
    connection.execute(f"DROP TABLE {old_name}")
    connection.execute(f"PRAGMA user_version = {schema.version}")


def _upgrade_session_from_2(connection: sqlite3.Connection, schema: Schema) -> None:
    connection.execute("DROP INDEX answer_by_url")  # nothing read it any more
    _define_missing(connection, schema)
    connection.execute(f"PRAGMA user_version = {schema.version}")


def _define_missing(connection: sqlite3.Connection, schema: Schema) -> None:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for statement in schema.statements:
        defined = _DEFINED.search(statement)
        if defined is not None and defined.group(1) not in names:
            connection.execute(statement)


def _libraries_of_2(connection: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    for old in _rows(connection, "library"):
        stored = old.pop("checksum")
        # What was damaged before must not look whole after.
        damage = int(checksum(tuple(old.values())) != stored)
        row = dataclasses.astuple(LibraryRow(**old, recognition=""))
        yield (*row, int64(checksum(row) + damage))


def _upgrade_from_1(connection: sqlite3.Connection, schema: Schema, now_ms: int) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    for (index,) in connection.execute(query, ("index",)).fetchall():
        connection.execute(f"DROP INDEX {index}")
    tables = [name for (name,) in connection.execute(query, ("table",)).fetchall()]
    for table in tables:
        connection.execute(f"ALTER TABLE {table} RENAME TO {_OLD}{table}")
    _schema.create(connection, schema, now_ms)
    old = _rows(connection, "store")
    ((_, seq, created_ms),) = [tuple(row.values()) for row in old]
    write_store(connection, read_store(connection)._replace(seq=seq, created_ms=created_ms))
    digests: defaultdict[int, int] = defaultdict(int)
    rows: Iterator[tuple[object, ...]]
    for table in sorted(set(tables) - {"store"}, key=lambda name: name == "library"):
        if table == "media":
            rows = _media(connection, digests, now_ms)
        elif table == "library":  # last: it holds the digests
            rows = _libraries(connection, digests)
        elif table == "answer":  # of a library in which nothing expired
            rows = (with_checksum((*row.values(), b"")) for row in _rows(connection, table))
        else:
            rows = (with_checksum(tuple(row.values())) for row in _rows(connection, table))
        _insert(connection, table, rows)
    # Numbers of libraries and segments that are gone must not come back.
    autoincrement = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if connection.execute(autoincrement).fetchone()[0]:
        connection.execute(
            "DELETE FROM sqlite_sequence WHERE substr(name, 1, ?) <> ?", (len(_OLD), _OLD)
        )
        connection.execute("UPDATE sqlite_sequence SET name = substr(name, ?)", (len(_OLD) + 1,))
    for table in tables:
        connection.execute(f"DROP TABLE {_OLD}{table}")


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM {_OLD}{table}")
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, row, strict=True)) for row in cursor)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    count = len(connection.execute(f"SELECT * FROM {table} LIMIT 0").description)
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * count)})", rows)


def _media(
    connection: sqlite3.Connection, digests: defaultdict[int, int], now_ms: int
) -> Iterator[MediaRow]:
    for old in _rows(connection, "media"):
        # Version 1 did not say when an asset was added; its analysis began then, or later.
        submitted_ms = old["job_submit_ms"]
        added_ms = now_ms if submitted_ms is None else submitted_ms
        row, found = sealed(MediaRow(**old, added_ms=added_ms, checksum=0))
        digests[row.library_id] += found
        yield row


def _libraries(
    connection: sqlite3.Connection, digests: defaultdict[int, int]
) -> Iterator[tuple[object, ...]]:
    for old in _rows(connection, "library"):
        digest = int64(digests[old["id"]])
        row = LibraryRow(**old, recognition="", ttl_ms=None, erased_seq=0, digest=digest)
        yield with_checksum(dataclasses.astuple(row))
