"""One SQLite file: who may read it, who may write it, and when it is checkpointed.

SQLite up to 3.51.2 can lose committed pages when a checkpoint races a commit that resets the WAL
(sqlite.org/wal.html#walresetbug). Here that cannot happen: one flock covers every commit and every
checkpoint of every process, automatic checkpoints are off, and readers open ``mode=ro``, which
leaves the WAL alone when they close.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from typing import TYPE_CHECKING, Final

from facegrep._errors import (
    FacegrepError,
    ForkError,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
)
from facegrep.store._acknowledged import AcknowledgedFile, Acknowledgement
from facegrep.store._audit import read_head
from facegrep.store._connections import store_error
from facegrep.store._filesystem import raise_store_error
from facegrep.store._pool import ConnectionPool
from facegrep.store._store_row import read_store, write_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facegrep.store._lock import FileLock
    from facegrep.store._schema import Schema

LOCK_TIMEOUT_S: Final = 10.0
"""How long a writer waits for another before `StoreBusy`."""

_WAL_BYTES: Final = 32 << 20
"""At this length the log is emptied after a commit. The file never shrinks by itself, so a lower
bound, for a checkpoint that leaves it as it is, would make every later commit do one."""


class Transaction:
    """A write in progress.

    Attributes
    ----------
    connection
        The writer, inside ``BEGIN IMMEDIATE``.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._seq: int | None = None
        self.after_commit: list[Callable[[], None]] = []
        """Called once it is durable, still under the lock."""

    @property
    def seq(self) -> int:
        """Its number. A transaction that never asks for it has written nothing, and leaves none."""
        if self._seq is None:
            row = read_store(self.connection)
            self._seq = row.seq + 1
            write_store(self.connection, row._replace(seq=self._seq))
        return self._seq

    @property
    def wrote(self) -> bool:
        """Whether anything was written."""
        return self._seq is not None


class Database:
    """One SQLite file, its lock and its side file.

    Safe for many threads: a read takes a connection of its own out of a pool, and writes take turns
    on one connection under the lock. After a fork only the parent may go on.
    """

    def __init__(self, path: Path, schema: Schema, lock: FileLock, *, readonly: bool) -> None:
        self.path = path
        self.schema = schema
        self.readonly = readonly
        self.acknowledged = AcknowledgedFile(path)
        self.lock_timeout_s = LOCK_TIMEOUT_S
        self._lock = lock
        self._pid = os.getpid()
        self._closed = False
        self._pool = ConnectionPool(path)
        self._known: bytes | None = None  # the side file when the database was last not behind it

    def locked(self, timeout_s: float | None = None) -> contextlib.AbstractContextManager[None]:
        """Hold the writer's lock without a transaction."""
        return self._lock.held(self.lock_timeout_s if timeout_s is None else timeout_s)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and the writer, outside a transaction: for what is more than a commit."""
        self.require_writable()
        with self.locked(), self._translated():
            self.require_open()  # it may have been closed while we waited
            yield self._pool.writer()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read one snapshot of whatever it is, without a look at what was acknowledged."""
        self.require_open()
        with self._translated():
            connection = self._pool.take_reader()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.rollback()
                self._pool.give_back(connection)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read one snapshot. Keep it short: it holds back the WAL.

        Raises
        ------
        StoreCorrupt
            The database is behind what was acknowledged.
        """
        with self._translated():
            acknowledged = self.acknowledged.read()  # first: the snapshot must have as much
        with self.snapshot() as connection:
            self._require(acknowledged, connection)
            yield connection

    def copy_to(self, path: Path) -> None:
        """Write a copy of one snapshot to an empty file: rows alone, no free page, no log.

        Raises
        ------
        StoreCorrupt
            The database is behind what was acknowledged, or SQLite cannot read it.
        StoreFull, StoreError
            The copy cannot be written.
        """
        self.check_acknowledged()
        with self._translated():
            connection = self._pool.take_reader()
            try:
                name = urllib.parse.quote(os.fsencode(path.absolute()))
                connection.execute("VACUUM INTO ?", (f"file:{name}",))
            finally:
                self._pool.give_back(connection)

    def check_acknowledged(self) -> None:
        """Look anew whether the database is behind what was acknowledged.

        Raises
        ------
        StoreCorrupt
            It is.
        """
        self._known = None
        with self.read():
            pass

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Write one transaction: durable when the block ends, undone when it raises.

        Raises
        ------
        StoreBusy
            Another writer held the lock until the timeout.
        StoreFull, StoreError
            It could not be made durable; the message says what became of it.
        StoreCorrupt
            The database is behind what was acknowledged.
        StoreReadOnly, StoreClosed, ForkError
            This handle may not write.
        """
        with self.exclusive() as connection, self.transaction(connection) as transaction:
            yield transaction

    @contextlib.contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[Transaction]:
        """Write one transaction inside `exclusive`; see `write`."""
        connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction(connection)
        try:
            self._require(self.acknowledged.read(), connection)
            yield transaction
        except BaseException:
            connection.rollback()
            raise
        if not transaction.wrote:
            connection.rollback()
            return
        self._commit(transaction)
        for step in transaction.after_commit:
            step()
        self._checkpoint(connection)

    def close(self) -> None:
        """Close. Reads under way finish first in their own threads; a write is waited for."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._pool.close_readers()
        with self._lock.mutex:  # a write of ours ends first
            # SQLite checkpoints when the last writer closes, so that is under the lock as well. If
            # it cannot be had another process is writing, and ours is not the last.
            if self._pool.has_writer:
                with (
                    contextlib.suppress(StoreError, sqlite3.Error),
                    self._lock.held_among_processes(self.lock_timeout_s),
                ):
                    writer = self._pool.writer()
                    writer.execute("PRAGMA busy_timeout = 0")
                    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._pool.discard_writer()
            self._pool.discard_writer()
        self.acknowledged.close()

    def require_open(self) -> None:
        """Refuse use after `close`, and in a child of the process that opened it."""
        if os.getpid() != self._pid:
            raise ForkError(
                "this engine was opened before a fork; SQLite's connections must not cross one: "
                "call facegrep.open again in the child"
            )
        if self._closed:
            raise StoreClosed("the engine was closed; open the store again")

    def require_writable(self) -> None:
        """Refuse a handle that may not write."""
        self.require_open()
        if self.readonly:
            raise StoreReadOnly("the store was opened with readonly=True; nothing was written")

    def discard_writer(self) -> None:
        """Close the writer, which was set up for something else; inside `exclusive`."""
        self._pool.discard_writer()

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _require(self, acknowledged: bytes, connection: sqlite3.Connection) -> None:
        """Refuse a database that is behind what was acknowledged before the snapshot began."""
        if acknowledged == self._known:
            return
        seq, audit_head = self.acknowledged.newest(acknowledged)
        found = read_store(connection).seq
        # Nothing was acknowledged before the first commit, and its audit begins when it is made.
        if found < seq or (found == seq > 0 and read_head(connection) != audit_head):
            raise StoreCorrupt(
                f"{self.path.name} ends at commit {found}, but commit {seq} was acknowledged"
                f"{'' if found < seq else ' with another audit'}: its log was damaged, or the file "
                "replaced; restore a backup"
            )
        self._known = acknowledged

    def _commit(self, transaction: Transaction) -> None:
        head = read_head(transaction.connection)
        try:
            transaction.connection.execute("COMMIT")
        except sqlite3.Error as error:
            if transaction.connection.in_transaction:
                transaction.connection.rollback()
            self._pool.discard_writer()
            raise store_error(error, self.path, self._settle(transaction.seq)) from error
        self.acknowledged.write(Acknowledgement(transaction.seq, head))

    def _settle(self, seq: int) -> str:
        """Make sure of what became of a commit that failed, and say it.

        All of it may stand in the log, not synced: nobody sees it, but whoever opens the database
        after the last process has closed it would read it. So the log is written over from there.
        """
        with contextlib.suppress(FacegrepError, sqlite3.Error):
            writer = self._pool.writer()
            writer.execute("BEGIN IMMEDIATE")
            row = read_store(writer)
            if row.seq >= seq:  # under the lock: nobody else's
                writer.rollback()
                return "it is visible, but may not survive a power cut; repeat it"
            write_store(writer, row)
            writer.execute("COMMIT")
            return "nothing was written"
        self._pool.discard_writer()
        return "it is not visible now, but may be once the store is opened again; repeat it"

    def _checkpoint(self, writer: sqlite3.Connection) -> None:
        # The commit is durable: an error here is not the caller's, and the next commit tries again.
        with contextlib.suppress(OSError, sqlite3.Error):
            if self.wal_bytes() <= _WAL_BYTES:
                return
            # TRUNCATE waits for readers; a commit must not, so it gives up at once.
            writer.execute("PRAGMA busy_timeout = 0")
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            writer.execute("PRAGMA busy_timeout = 5000")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise store_error(error, self.path, "nothing was written") from error
        except OSError as error:
            raise_store_error(
                error, f"using {self.path.name} and its vectors", "nothing was written"
            )
        except UnicodeDecodeError as error:
            raise StoreCorrupt(f"{self.path.name}: {error}; nothing was written") from error
