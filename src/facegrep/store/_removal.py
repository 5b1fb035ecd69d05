"""Assets taken out of the catalog such that their vectors, rows and ids go from every file.

What is left then, `EraseOperations` does: at once when it is asked to erase, else at the next
purge, erasure or opening.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facegrep.store._audit import note_change
from facegrep.store._journal import enter_slots
from facegrep.store._libraries import count_assets
from facegrep.store._media_rows import delete_media
from facegrep.store._scrub import want_scrub

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from facegrep.store._assets import MediaRow
    from facegrep.store._database import Transaction
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment


def remove_for_good(
    transaction: Transaction, folder: Path, library: LibraryRow, rows: Sequence[MediaRow]
) -> tuple[LibraryRow, list[Segment]]:
    """Leave tombstones of assets, enter their slots in the journal, want the file rebuilt.

    Returns
    -------
    library, segments
        As it is now; where their vectors are.
    """
    connection = transaction.connection
    seq = want_scrub(transaction)
    segments = enter_slots(connection, folder, library, rows)
    digest = delete_media(connection, library, seq, rows)
    faces = sum(row.face_count for row in rows)
    changed = dataclasses.replace(library, erased_seq=seq)
    changed = count_assets(connection, changed, seq, media=-len(rows), faces=-faces, digest=digest)
    return changed, segments


def note_expired(
    connection: sqlite3.Connection,
    library: LibraryRow,
    rows: Sequence[MediaRow],
    actor: str | None,
) -> None:
    """Say in the audit that assets whose time was up made room."""
    faces = sum(row.face_count for row in rows)
    note_change(connection, library, "expire", actor, media=len(rows), faces=faces)
