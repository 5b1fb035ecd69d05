"""A process's connections to one SQLite file: many that read, one that writes."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final

from facegrep.store._connections import connect

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_IDLE_READERS: Final = 8


class ConnectionPool:
    """Readers for any thread; the writer for who holds the database's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._open: set[sqlite3.Connection] = set()
        self._writer: sqlite3.Connection | None = None
        self._closed = False
        _POOLS.add(self)

    def take_reader(self) -> sqlite3.Connection:
        """Take a connection that nobody else uses."""
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        return self._connect(writing=False)

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Give back what `take_reader` gave."""
        with self._mutex:
            if not self._closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
            else:
                self._discard(connection)

    def close_readers(self) -> None:
        """Close those that are idle now, and the others when they are given back."""
        with self._mutex:
            self._closed = True
            while self._idle:
                self._discard(self._idle.pop())

    @property
    def has_writer(self) -> bool:
        """Whether the writer is open."""
        return self._writer is not None

    def writer(self) -> sqlite3.Connection:
        """Return the writer, opened when it is first wanted."""
        if self._writer is None:
            self._writer = self._connect(writing=True)
        return self._writer

    def discard_writer(self) -> None:
        """Close the writer; the next one is a new one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._discard(writer)

    def abandon_in_child(self) -> None:
        """After a fork, in the child: never close the parent's connections, only forget them."""
        for connection in self._open:
            # One reference that nobody owns: garbage collection would close it, and closing
            # checkpoints and unlinks a WAL that the parent still uses.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def _connect(self, *, writing: bool) -> sqlite3.Connection:
        connection = connect(self._path, writing=writing)
        self._open.add(connection)
        return connection

    def _discard(self, connection: sqlite3.Connection) -> None:
        self._open.discard(connection)
        connection.close()


_POOLS: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


def _abandon_all_in_child() -> None:
    for pool in _POOLS:
        pool.abandon_in_child()


os.register_at_fork(after_in_child=_abandon_all_in_child)
