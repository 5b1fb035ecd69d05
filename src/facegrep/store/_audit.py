"""The audit: entries that are only ever appended, each with a hash that covers the one before."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from facegrep._errors import StoreCorrupt
from facegrep.store._acknowledged import NO_HEAD
from facegrep.store._clock import now_ms

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from facegrep.store._libraries import LibraryRow


class AuditEntry(NamedTuple):
    """An entry: its columns in table ``audit``, in their order.

    Attributes
    ----------
    id
        1, 2, 3...
    actor, account
        Who, as whom; ``None`` for facegrep itself, which finishes what a dead process began.
    action
        What was done.
    library_id, library
        To which library.
    media_count, face_count
        To how many.
    details
        JSON: more counts, and salted hashes of ids. Never an id, never a vector.
    previous, hash
        SHA-256 of the entry before, and of that and this entry.
    """

    id: int
    time_ms: int
    actor: str | None
    account: str | None
    action: str
    library_id: int | None
    library: str | None
    media_count: int
    face_count: int
    details: str
    previous: bytes
    hash: bytes


def append_entry(
    connection: sqlite3.Connection,
    *,
    time_ms: int,
    action: str,
    actor: str | None = None,
    account: str | None = None,
    library_id: int | None = None,
    library: str | None = None,
    media_count: int = 0,
    face_count: int = 0,
    details: Mapping[str, object] | None = None,
) -> AuditEntry:
    """Append an entry, inside the caller's transaction."""
    query = "SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1"
    last, previous = connection.execute(query).fetchone() or (0, NO_HEAD)
    said = json.dumps(details or {}, sort_keys=True, separators=(",", ":"))
    entry = AuditEntry(
        last + 1,
        time_ms,
        actor,
        account,
        action,
        library_id,
        library,
        media_count,
        face_count,
        said,
        previous,
        b"",
    )
    entry = entry._replace(hash=_hash(entry))
    connection.execute(f"INSERT INTO audit VALUES ({', '.join('?' * len(entry))})", entry)
    return entry


def note_change(
    connection: sqlite3.Connection,
    library: LibraryRow,
    action: str,
    actor: str | None,
    *,
    media: int = 0,
    faces: int = 0,
    details: Mapping[str, object] | None = None,
) -> AuditEntry:
    """Append what is done to a library, now, inside the transaction that does it."""
    return append_entry(
        connection,
        time_ms=now_ms(),
        action=action,
        actor=actor,
        account=library.account,
        library_id=library.id,
        library=library.name,
        media_count=media,
        face_count=faces,
        details=details,
    )


def read_head(connection: sqlite3.Connection) -> bytes:
    """Return the hash of the newest entry."""
    row = connection.execute("SELECT hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    return NO_HEAD if row is None else row[0]


def read_entries(connection: sqlite3.Connection, after: int = 0) -> Iterator[AuditEntry]:
    """Yield the entries, oldest first, each checked against the one before.

    Parameters
    ----------
    after
        Only entries with a greater id; that of `after` itself is believed.

    Raises
    ------
    StoreCorrupt
        One was changed, taken out or put in.
    """
    row = connection.execute("SELECT hash FROM audit WHERE id = ?", (after,)).fetchone()
    previous = NO_HEAD if row is None else row[0]
    number = after
    for values in connection.execute("SELECT * FROM audit WHERE id > ? ORDER BY id", (after,)):
        entry = AuditEntry(*values)
        number += 1
        if (entry.id, entry.previous, entry.hash) != (number, previous, _hash(entry)):
            raise StoreCorrupt(f"the audit was changed at entry {number}, or before it")
        previous = entry.hash
        yield entry


def _hash(entry: AuditEntry) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(entry[:-1])).digest()
