"""A database without what was deleted from it: in no free page, no stale copy, no log.

``secure_delete`` zeroes what is deleted, but not the copies that SQLite leaves where it moved rows
between pages: of 20,000 deleted ids one was still whole in the file. So the file is rebuilt, and
the log that held the old pages is copied into it and cut to nothing.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from facegrep._errors import ErasePending
from facegrep.store._store_row import read_store, write_store

if TYPE_CHECKING:
    from facegrep.store._database import Database, Transaction

ERASE_TIMEOUT_S: Final = 10.0
"""How long who erases waits for readers that hold back the log before `ErasePending`."""

_POLL_S: Final = 0.01


def want_scrub(transaction: Transaction) -> int:
    """Note, with what is deleted, that the file must be rebuilt; the transaction's number."""
    seq = transaction.seq
    row = read_store(transaction.connection)
    write_store(transaction.connection, row._replace(scrub=seq))
    return seq


def wanted_scrub(database: Database) -> int:
    """Return the number of the last commit after which the file must be rebuilt; 0: it need not."""
    with database.read() as connection:
        return read_store(connection).scrub


def settle_scrub(transaction: Transaction, seq: int) -> None:
    """Note that the file was rebuilt after commit `seq`, unless somebody wanted it again since."""
    _ = transaction.seq
    row = read_store(transaction.connection)
    if row.scrub == seq:
        write_store(transaction.connection, row._replace(scrub=0))


def scrub_if_wanted(database: Database, deadline: float) -> bool:
    """Rebuild the file if somebody wants it, and take the wish away; see `scrub`.

    Returns
    -------
    bool
        Whether it was rebuilt.
    """
    wanted = wanted_scrub(database)
    if wanted:
        scrub(database, deadline)
        with database.write() as transaction:
            settle_scrub(transaction, wanted)
    return bool(wanted)


def scrub(database: Database, deadline: float) -> None:
    """Rebuild the file and empty its log.

    Parameters
    ----------
    deadline
        Of `time.monotonic`: until when readers are waited for. They hold back the log while they
        are inside a transaction, which ours are for microseconds to seconds.

    Raises
    ------
    ErasePending
        Some reader held back the log until then.
    StoreError
        The file cannot be rebuilt: as a rule, the disk is full.
    """
    with database.exclusive() as writer:
        writer.execute("VACUUM")  # by way of memory, as temp_store says
        if _truncate(writer):
            return
    # The rebuilt pages are in the log. Others may write meanwhile: what they write is new.
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        with database.exclusive() as writer:
            if _truncate(writer):
                return
    raise ErasePending(
        f"{database.path.name}: a reader in a long transaction holds back the log, which still has "
        "what was erased: end that reader"
    )


def _truncate(writer: sqlite3.Connection) -> bool:
    writer.execute("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    finally:
        writer.execute("PRAGMA busy_timeout = 5000")
    return not busy
