"""How SQLite is set up, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import urllib.parse
from typing import TYPE_CHECKING, Final

from facegrep._errors import StoreBusy, StoreCorrupt, StoreError, StoreFull

if TYPE_CHECKING:
    from pathlib import Path

_READER_PRAGMAS: Final = (
    "busy_timeout = 5000",
    "cell_size_check = ON",
    "mmap_size = 0",
    # A file of SQLite's own would hold copies of pages wherever TMPDIR points.
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)
_WRITER_PRAGMAS: Final = (
    *_READER_PRAGMAS,
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 0",
    # 64 MiB, for the dirty pages of one commit of a bulk insert; with SQLite's 2 MiB they were
    # written, read back and written again.
    "cache_size = -65536",
    "foreign_keys = ON",
    "secure_delete = ON",
)


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """Open a connection that any one thread at a time may use."""
    name = urllib.parse.quote(os.fsencode(path.absolute()))
    connection = sqlite3.connect(
        f"file:{name}?mode={'rw' if writing else 'ro'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in _WRITER_PRAGMAS if writing else _READER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def store_error(error: sqlite3.Error, path: Path, outcome: str) -> StoreError:
    """Return what an error of SQLite means to the caller."""
    kinds: dict[int, type[StoreError]] = {
        sqlite3.SQLITE_FULL: StoreFull,
        sqlite3.SQLITE_CORRUPT: StoreCorrupt,
        sqlite3.SQLITE_NOTADB: StoreCorrupt,
        sqlite3.SQLITE_BUSY: StoreBusy,
        sqlite3.SQLITE_LOCKED: StoreBusy,
    }
    # The low byte is the kind, the others say more about it.
    kind = kinds.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, StoreError)
    return kind(f"{path.name}: {error}; {outcome}")
