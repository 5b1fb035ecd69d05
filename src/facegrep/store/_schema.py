"""How a SQLite file of ours is made, and how it is recognised."""

from __future__ import annotations

import functools
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Final

from facegrep._errors import StoreCorrupt, StoreVersionError
from facegrep.store._checksum import with_checksum

SALT_BYTES: Final = 32


@dataclass(frozen=True)
class Schema:
    """A kind of SQLite file.

    Attributes
    ----------
    application_id
        What marks the file as this kind (SQLite's header, offset 68).
    version
        The version that this facegrep reads and writes (``user_version``).
    statements
        What creates it. Every one begins with a table ``store`` of one row that counts commits.
    older
        Versions that are upgraded in place: the SHA-256 of the list of what they define.
    """

    application_id: int
    version: int
    statements: tuple[str, ...]
    older: tuple[tuple[int, str], ...]


def create(connection: sqlite3.Connection, schema: Schema, now_ms: int) -> None:
    """Create the tables, inside the caller's transaction."""
    define(connection, schema)
    row = with_checksum((1, 0, now_ms, os.urandom(SALT_BYTES), 0, 0))
    connection.execute("INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def define(connection: sqlite3.Connection, schema: Schema) -> None:
    """Define the tables, still empty, inside the caller's transaction."""
    for statement in schema.statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {schema.application_id}")
    connection.execute(f"PRAGMA user_version = {schema.version}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file is as SQLite made it: a crash came before its tables were committed."""
    return _marks(connection) == (0, 0) and not _objects(connection)


def older_version(connection: sqlite3.Connection, schema: Schema) -> int | None:
    """Return the version of a file that can be upgraded, if it is one.

    Raises
    ------
    StoreCorrupt
        It says so, but defines something else.
    """
    application_id, version = _marks(connection)
    digest = dict(schema.older).get(version)
    if application_id != schema.application_id or digest is None:
        return None
    found = hashlib.sha256(repr(_objects(connection)).encode()).hexdigest()
    if found != digest:
        raise StoreCorrupt(f"a file of version {version} {_FOREIGN}")
    return version


def check(connection: sqlite3.Connection, schema: Schema, name: str) -> None:
    """Refuse a file that is not of this schema.

    A file from elsewhere could bring views and triggers that run when we read it, so the list of
    what it defines must be ours to the letter.

    Raises
    ------
    StoreVersionError
        A newer facegrep wrote it, or an older one and it was not upgraded.
    StoreCorrupt
        It is something else.
    """
    application_id, version = _marks(connection)
    if application_id != schema.application_id:
        raise StoreCorrupt(f"{name} is not a file of a facegrep store (its application id differs)")
    if version > schema.version:
        raise StoreVersionError(
            f"{name} was written by a newer facegrep: schema version {version}, supported up to "
            f"{schema.version}; upgrade facegrep to open it",
            found=version,
            supported=schema.version,
        )
    if version in dict(schema.older):
        raise StoreVersionError(
            f"{name} was written by an older facegrep: schema version {version}, this one reads "
            f"{schema.version}; open the store once without readonly, which upgrades it in place",
            found=version,
            supported=schema.version,
        )
    if version != schema.version or _objects(connection) != _expected_objects(schema):
        raise StoreCorrupt(f"{name} {_FOREIGN}")


_FOREIGN: Final = "has tables, views or triggers that facegrep did not make"


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    application_id, version = (
        int(connection.execute(f"PRAGMA {mark}").fetchone()[0])
        for mark in ("application_id", "user_version")
    )
    return application_id, version


def _objects(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    return connection.execute(query).fetchall()


@functools.cache
def _expected_objects(schema: Schema) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        define(connection, schema)
        return _objects(connection)
    finally:
        connection.close()
