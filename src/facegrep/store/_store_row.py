"""The one row of table ``store``: how many commits a database has had, and what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from facegrep._errors import StoreCorrupt
from facegrep.store._checksum import checked, with_checksum

if TYPE_CHECKING:
    import sqlite3


class StoreRow(NamedTuple):
    """A database as a whole.

    Attributes
    ----------
    seq
        Commits so far.
    salt
        32 random bytes, for hashes of ids that must not be found again.
    scrub
        The last commit whose deleted rows may still lie in free pages or in the log; 0: none do.
    search_audit
        Whether searches are audited (of the catalog alone).
    """

    id: int
    seq: int
    created_ms: int
    salt: bytes
    scrub: int
    search_audit: int


def read_store(connection: sqlite3.Connection) -> StoreRow:
    """Read the row.

    Raises
    ------
    StoreCorrupt
        It is not what was written.
    """
    row = connection.execute("SELECT * FROM store").fetchone()
    if row is None:
        raise StoreCorrupt("the row of table store is missing")
    return StoreRow(*checked(row, "store")[:-1])


def write_store(connection: sqlite3.Connection, row: StoreRow) -> None:
    """Write the row, which exists."""
    statement = (
        "UPDATE store SET seq = ?, created_ms = ?, salt = ?, scrub = ?, search_audit = ?,"
        " checksum = ?"
    )
    connection.execute(statement, with_checksum(row)[1:])
