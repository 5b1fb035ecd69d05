"""A database that lives as long as its process, with the manners of one on disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

from facegrep.store import _schema
from facegrep.store._database import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegrep.store._schema import Schema


class MemoryDatabase:
    """What a readonly engine writes. Threads take turns on one connection."""

    def __init__(self, schema: Schema) -> None:
        self._mutex = threading.Lock()
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        _schema.create(self._connection, schema, 0)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read one snapshot."""
        with self._mutex:
            yield self._connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Write one transaction."""
        with self._mutex:
            self._connection.execute("BEGIN")
            try:
                yield Transaction(self._connection)
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.rollback()

    def close(self) -> None:
        """Close; what it held is gone."""
        with self._mutex:
            self._connection.close()
