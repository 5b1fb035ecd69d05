"""What the two SQLite files hold, and how a file is recognised as one of them."""

from __future__ import annotations

import functools
import sqlite3
from dataclasses import dataclass
from typing import Final

from facegrep._errors import StoreCorrupt, StoreVersionError


@dataclass(frozen=True)
class Schema:
    """A kind of SQLite file.

    Attributes
    ----------
    application_id
        What marks the file as this kind (SQLite's header, offset 68).
    version
        The newest version that this facegrep reads and writes (``user_version``).
    statements
        What creates it. Every one begins with a table ``store`` of one row that counts commits.
    """

    application_id: int
    version: int
    statements: tuple[str, ...]


_COMMITS: Final = """
    CREATE TABLE store (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        created_ms INTEGER NOT NULL
    ) STRICT
"""

# A library's id is its incarnation: it stands for (account, name) and is never reused, so every key
# below it belongs to one account. Ordinals of assets are never reused within it, and what changed
# since a sequence number is found by row_seq: media that came or changed, tombstones that went.
# One row an asset, not one a face: an asset's vectors are contiguous slots of one segment, and the
# boxes of its faces one blob (see _faces.py). Rows of faces doubled the time of an insert.
CATALOG: Final = Schema(
    application_id=0x66677270,  # "fgrp"
    version=1,
    statements=(
        _COMMITS,
        """
        CREATE TABLE account (
            name TEXT PRIMARY KEY,
            created_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE library (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL REFERENCES account (name),
            name TEXT NOT NULL,
            model TEXT,
            dim INTEGER NOT NULL,
            threshold REAL,
            face_index TEXT,
            config TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            generation INTEGER NOT NULL DEFAULT 0,
            seq INTEGER NOT NULL DEFAULT 0,
            next_ordinal INTEGER NOT NULL DEFAULT 0,
            media_count INTEGER NOT NULL DEFAULT 0,
            face_count INTEGER NOT NULL DEFAULT 0,
            UNIQUE (account, name)
        ) STRICT
        """,
        """
        CREATE TABLE segment (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            library_id INTEGER NOT NULL REFERENCES library (id),
            generation INTEGER NOT NULL,
            number INTEGER NOT NULL,
            committed_bytes INTEGER NOT NULL,
            sealed INTEGER NOT NULL,
            UNIQUE (library_id, generation, number)
        ) STRICT
        """,
        """
        CREATE TABLE block (
            segment_id INTEGER NOT NULL,
            number INTEGER NOT NULL,
            length INTEGER NOT NULL,
            crc32 INTEGER NOT NULL,
            PRIMARY KEY (segment_id, number)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE media (
            library_id INTEGER NOT NULL REFERENCES library (id),
            ordinal INTEGER NOT NULL,
            media_id TEXT NOT NULL,
            media_type TEXT NOT NULL,
            namespace TEXT,
            int_field1 INTEGER,
            str_field1 TEXT,
            str_field2 TEXT,
            utc_create_ms INTEGER NOT NULL,
            title TEXT,
            source TEXT,
            content_sha256 BLOB NOT NULL,
            row_seq INTEGER NOT NULL,
            segment_id INTEGER,
            first_slot INTEGER,
            face_count INTEGER NOT NULL,
            face_data BLOB,
            precision TEXT,
            job_status TEXT,
            job_submit_ms INTEGER,
            job_finish_ms INTEGER,
            job_error TEXT,
            PRIMARY KEY (library_id, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX media_by_id ON media (library_id, media_id)",
        "CREATE INDEX media_by_seq ON media (library_id, row_seq)",
        """
        CREATE TABLE tombstone (
            library_id INTEGER NOT NULL,
            row_seq INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            PRIMARY KEY (library_id, row_seq, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE pending_input (
            library_id INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            is_array INTEGER NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (library_id, ordinal)
        ) STRICT
        """,
    ),
)

SESSION: Final = Schema(
    application_id=0x66677273,  # "fgrs"
    version=1,
    statements=(
        _COMMITS,
        """
        CREATE TABLE answer (
            account TEXT NOT NULL,
            library_id INTEGER NOT NULL,
            token TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            condition BLOB NOT NULL,
            url_sha256 BLOB NOT NULL,
            threshold REAL,
            seq INTEGER NOT NULL,
            total INTEGER NOT NULL,
            embedding BLOB NOT NULL,
            ordinals BLOB NOT NULL,
            scores BLOB NOT NULL,
            faces BLOB NOT NULL,
            PRIMARY KEY (account, library_id, token)
        ) STRICT
        """,
        "CREATE INDEX answer_by_age ON answer (created_ms, bytes)",
        "CREATE INDEX answer_by_url ON answer (account, library_id, url_sha256, created_ms)",
    ),
)


def create(connection: sqlite3.Connection, schema: Schema, now_ms: int) -> None:
    """Create the tables, inside the caller's transaction."""
    for statement in schema.statements:
        connection.execute(statement)
    connection.execute("INSERT INTO store (id, seq, created_ms) VALUES (1, 0, ?)", (now_ms,))
    connection.execute(f"PRAGMA application_id = {schema.application_id}")
    connection.execute(f"PRAGMA user_version = {schema.version}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a file is as SQLite made it: a crash came before its tables were committed."""
    marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _MARKS]
    return marks == [0, 0] and not _objects(connection)


def check(connection: sqlite3.Connection, schema: Schema, name: str) -> None:
    """Refuse a file that is not of this schema.

    A file from elsewhere could bring views and triggers that run when we read it, so the list of
    what it defines must be ours to the letter.

    Raises
    ------
    StoreVersionError
        A newer facegrep wrote it.
    StoreCorrupt
        It is something else.
    """
    application_id, version = (
        connection.execute(f"PRAGMA {mark}").fetchone()[0] for mark in _MARKS
    )
    if application_id != schema.application_id:
        raise StoreCorrupt(f"{name} is not a file of a facegrep store (its application id differs)")
    if version > schema.version:
        raise StoreVersionError(
            f"{name} was written by a newer facegrep: schema version {version}, supported up to "
            f"{schema.version}; upgrade facegrep to open it",
            found=version,
            supported=schema.version,
        )
    if version != schema.version or _objects(connection) != _expected_objects(schema):
        raise StoreCorrupt(f"{name} has tables, views or triggers that facegrep did not make")


_MARKS: Final = ("application_id", "user_version")


def _objects(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    return connection.execute(query).fetchall()


@functools.cache
def _expected_objects(schema: Schema) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        create(connection, schema, 0)
        return _objects(connection)
    finally:
        connection.close()
