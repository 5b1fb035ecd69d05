"""How SQLite is set up, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
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
    code = getattr(error, "sqlite_errorcode", 0)
    kind = kinds.get(code & 0xFF, StoreError)
    if code in _FAILED_READS or (kind is StoreCorrupt and _is_unreadable(path)):
        return StoreError(
            f"{path.name}: the disk fails to read it, though it may be whole; {outcome}; the "
            "system's log says more of the disk"
        )
    return kind(f"{path.name}: {error}; {outcome}")


_FAILED_READS: Final = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


def _is_unreadable(path: Path) -> bool:
    """Whether the disk fails to read a database, or its log.

    Within a statement SQLite calls that a malformed file, SQLITE_IOERR_CORRUPTFS made
    SQLITE_CORRUPT. The file is read through the descriptors of SQLite's own, since to open and
    close it would drop its locks.
    """
    wanted = set()
    for file in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(OSError):
            wanted.add(_identity(file.stat()))
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208 - names
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            identity = _identity(os.fstat(descriptor))
            if identity in wanted:
                wanted.remove(identity)
                _read_through(descriptor)
        except OSError as error:
            if error.errno == errno.EIO:
                return True
    return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _read_through(descriptor: int) -> None:
    offset = 0
    while data := os.pread(descriptor, 1 << 20, offset):
        offset += len(data)
