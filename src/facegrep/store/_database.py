"""One SQLite file: who may read it, who may write it, and when it is checkpointed.

SQLite up to 3.51.2 can lose committed pages when a checkpoint races a commit that resets the WAL
(sqlite.org/wal.html#walresetbug). Here that cannot happen: one flock covers every commit and every
checkpoint of every process, automatic checkpoints are off, and readers open ``mode=ro``, which
leaves the WAL alone when they close.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from facegrep._errors import (
    FacegrepError,
    ForkError,
    StoreBusy,
    StoreClosed,
    StoreCorrupt,
    StoreReadOnly,
)
from facegrep.store import _schema
from facegrep.store._connections import connect, store_error
from facegrep.store._filesystem import FILE_MODE, sync_directory
from facegrep.store._store_row import read_store, write_store
from facegrep.store._upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facegrep.store._lock import FileLock
    from facegrep.store._schema import Schema

LOCK_TIMEOUT_S: Final = 10.0
"""How long a writer waits for another before `StoreBusy`."""

_IDLE_READERS: Final = 8
_WAL_PASSIVE_BYTES: Final = 4 << 20
_WAL_TRUNCATE_BYTES: Final = 16 << 20


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
    """Connections to one SQLite file.

    Safe for many threads: a read takes a connection of its own out of a pool, and writes take turns
    on one connection under the lock. After a fork only the parent may go on.
    """

    def __init__(self, path: Path, schema: Schema, lock: FileLock, *, readonly: bool) -> None:
        self._path = path
        self._schema = schema
        self._lock = lock
        self._readonly = readonly
        self._pid = os.getpid()
        self._closed = False
        self._pool = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._open: set[sqlite3.Connection] = set()
        self._writer: sqlite3.Connection | None = None
        self.lock_timeout_s = LOCK_TIMEOUT_S
        _DATABASES.add(self)

    def create(self, fill: Callable[[sqlite3.Connection], None]) -> None:
        """Make the tables and what `fill` enters into them, unless they are there."""
        if self.is_made():
            return
        with self._lock.held(self.lock_timeout_s), self._translated():
            # An empty file is an empty database; made here, since SQLite would make it readable
            # to all. O_EXCL: an existing one is not opened, for closing it drops SQLite's locks.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
            if self.is_made():  # meanwhile, by somebody else
                return
            writer = self._writing()
            writer.execute("BEGIN IMMEDIATE")
            try:
                _schema.create(writer, self._schema, time.time_ns() // 1_000_000)
                fill(writer)
                writer.execute("COMMIT")
            finally:
                if writer.in_transaction:
                    writer.rollback()
            sync_directory(self._path.parent)

    def is_made(self) -> bool:
        """Whether it has tables; a crash can leave a file without."""
        if not self._path.exists():
            return False
        with self.read() as connection:
            return not _schema.is_empty(connection)

    def upgrade(self) -> None:
        """Bring a file of an older version to this one: in one transaction, in place.

        Other processes must not have it open with an older facegrep.

        Raises
        ------
        StoreCorrupt
            It says that it is of an older version, but defines something else.
        """
        with self.read() as connection:
            if _schema.older_version(connection, self._schema) is None:
                return
        with self._lock.held(self.lock_timeout_s), self._translated():
            writer = self._writing()
            writer.execute("PRAGMA foreign_keys = OFF")  # while tables change their names
            try:
                writer.execute("BEGIN IMMEDIATE")
                if _schema.older_version(writer, self._schema) is not None:
                    upgrade(writer, self._schema, time.time_ns() // 1_000_000)
                    writer.execute("COMMIT")
            finally:
                if writer.in_transaction:
                    writer.rollback()
                self._discard(writer)
                self._writer = None

    def check(self) -> None:
        """Refuse a file of another schema or version; see `_schema.check`."""
        with self.read() as connection:
            _schema.check(connection, self._schema, self._path.name)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the writer's lock without a transaction."""
        return self._lock.held(self.lock_timeout_s)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read one snapshot. Keep it short: it holds back the WAL."""
        self.require_open()
        with self._translated():
            connection = self._take_reader()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.rollback()
                self._give_back(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Write one transaction: durable when the block ends, undone when it raises.

        Raises
        ------
        StoreBusy
            Another writer held the lock until the timeout.
        StoreFull, StoreError
            It could not be made durable; the message says what became of it.
        StoreReadOnly, StoreClosed, ForkError
            This handle may not write.
        """
        self.require_open()
        if self._readonly:
            raise StoreReadOnly("the store was opened with readonly=True; nothing was written")
        with self.locked(), self._translated():
            self.require_open()  # it may have been closed while we waited
            connection = self._writing()
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(connection)
            try:
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
        with self._pool:
            while self._idle:
                self._discard(self._idle.pop())
        with self._lock.mutex:  # a write of ours ends first
            if self._writer is None:
                return
            # SQLite checkpoints when the last writer closes, so that is under the lock as well. If
            # it cannot be had another process is writing, and ours is not the last.
            with (
                contextlib.suppress(StoreBusy, sqlite3.Error),
                self._lock.held_among_processes(self.lock_timeout_s),
            ):
                self._writer.execute("PRAGMA busy_timeout = 0")
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._discard(self._writer)
                self._writer = None
            if self._writer is not None:
                self._discard(self._writer)
                self._writer = None

    def require_open(self) -> None:
        """Refuse use after `close`, and in a child of the process that opened it."""
        if os.getpid() != self._pid:
            raise ForkError(
                "this engine was opened before a fork; SQLite's connections must not cross one: "
                "call facegrep.open again in the child"
            )
        if self._closed:
            raise StoreClosed("the engine was closed; open the store again")

    def abandon_in_child(self) -> None:
        """After a fork, in the child: never close the parent's connections, only forget them."""
        for connection in self._open:
            # One reference that nobody owns: garbage collection would close it, and closing
            # checkpoints and unlinks a WAL that the parent still uses.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._lock.forget_in_child()

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self._path.with_name(self._path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.connection.execute("COMMIT")
        except sqlite3.Error as error:
            if transaction.connection.in_transaction:
                transaction.connection.rollback()
            self._discard(transaction.connection)
            self._writer = None
            outcome = "nothing was written"
            with contextlib.suppress(FacegrepError, sqlite3.Error):
                connection = self._take_reader()
                seq = read_store(connection).seq
                self._give_back(connection)
                if seq >= transaction.seq:  # under the lock: nobody else's
                    outcome = "it is visible, but may not survive a power cut; repeat it"
            raise store_error(error, self._path, outcome) from error

    def _checkpoint(self, writer: sqlite3.Connection) -> None:
        size = self.wal_bytes()
        if size <= _WAL_PASSIVE_BYTES:
            return
        # TRUNCATE waits for readers; a commit must not, so it gives up at once and the next one
        # tries again.
        mode = "TRUNCATE" if size > _WAL_TRUNCATE_BYTES else "PASSIVE"
        with contextlib.suppress(sqlite3.Error):
            writer.execute("PRAGMA busy_timeout = 0")
            writer.execute(f"PRAGMA wal_checkpoint({mode})")
            writer.execute("PRAGMA busy_timeout = 5000")

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._connect(writing=True)
        return self._writer

    def _take_reader(self) -> sqlite3.Connection:
        with self._pool:
            if self._idle:
                return self._idle.pop()
        return self._connect(writing=False)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._pool:
            if not self._closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
            else:
                self._discard(connection)

    def _connect(self, *, writing: bool) -> sqlite3.Connection:
        connection = connect(self._path, writing=writing)
        self._open.add(connection)
        return connection

    def _discard(self, connection: sqlite3.Connection) -> None:
        self._open.discard(connection)
        connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise store_error(error, self._path, "nothing was written") from error
        except UnicodeDecodeError as error:
            raise StoreCorrupt(f"{self._path.name}: {error}; nothing was written") from error


_DATABASES: weakref.WeakSet[Database] = weakref.WeakSet()


def _abandon_all_in_child() -> None:
    for database in _DATABASES:
        database.abandon_in_child()


os.register_at_fork(after_in_child=_abandon_all_in_child)
