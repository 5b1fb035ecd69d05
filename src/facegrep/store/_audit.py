"""The audit: entries that are only ever appended, each with a hash that covers the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegrep.store._acknowledged import NO_HEAD

if TYPE_CHECKING:
    import sqlite3


def read_head(connection: sqlite3.Connection) -> bytes:
    """Return the hash of the newest entry."""
    row = connection.execute("SELECT hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    return NO_HEAD if row is None else row[0]
