"""Assets in the catalog, as they are read: every row checked."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from facegrep._errors import StoreCorrupt
from facegrep.store._checksum import checked
from facegrep.store._media_rows import COLUMNS, checked_media

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from facegrep.store._assets import MediaRow, StoredIdentity
    from facegrep.store._libraries import LibraryRow


def find_identities(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Iterable[str]
) -> dict[str, StoredIdentity]:
    """Find which of the ids are taken, and by what."""
    return {row.media_id: row.identity for row in find_live(connection, library, media_ids)}


def find_live(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Iterable[str]
) -> list[MediaRow]:
    """Find the assets of those ids that exist, each once."""
    query = (
        f"SELECT {COLUMNS} FROM (SELECT DISTINCT value FROM json_each(?)) AS wanted"
        " CROSS JOIN media ON library_id = ? AND media_id = wanted.value"
    )
    # Many values as one parameter: one statement, and no limit on them.
    media_ids = list(media_ids)
    wanted = json.dumps(media_ids, ensure_ascii=False)
    rows = connection.execute(query, (wanted, library.id))
    found = [checked_media(row, library.name) for row in rows]
    if not {row.media_id for row in found} <= set(media_ids):
        raise _damaged_index(library)
    return found


def require_absent(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Iterable[str]
) -> None:
    """Make sure that ids which the index does not have are on no row: 0.16 us a row.

    Raises
    ------
    StoreCorrupt
        The index, which has no checksums, has lost one.
    """
    query = (
        "SELECT 1 FROM media WHERE library_id = ? AND ordinal >= 0"  # by the rows, not the index
        " AND +media_id IN (SELECT value FROM json_each(?)) LIMIT 1"
    )
    wanted = json.dumps(list(media_ids), ensure_ascii=False)
    if connection.execute(query, (library.id, wanted)).fetchone():
        raise _damaged_index(library)


def find_ordinals(
    connection: sqlite3.Connection,
    library_id: int,
    ordinals: Iterable[int],
    library: str,
) -> list[MediaRow]:
    """Find those of the ordinals that are live."""
    query = (
        f"SELECT {COLUMNS} FROM json_each(?) AS wanted"
        " CROSS JOIN media ON library_id = ? AND ordinal = wanted.value"
    )
    rows = connection.execute(query, (json.dumps(list(ordinals)), library_id))
    return [checked_media(row, library) for row in rows]


def find_media(
    connection: sqlite3.Connection, library: LibraryRow, media_id: str
) -> MediaRow | None:
    """Find one asset."""
    query = f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND media_id = ?"
    row = connection.execute(query, (library.id, media_id)).fetchone()
    if row is None:
        require_absent(connection, library, [media_id])
        return None
    found = checked_media(row, library.name)
    if found.media_id != media_id:
        raise _damaged_index(library)
    return found


def list_media(
    connection: sqlite3.Connection, library: LibraryRow, after: str | None, limit: int
) -> list[MediaRow]:
    """List assets whose id is greater than `after`, by id, bytewise.

    Raises
    ------
    StoreCorrupt
        A row was changed, or the index of ids, which has no checksums, leads elsewhere.
    """
    query = (
        f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND media_id > ?"
        " ORDER BY media_id LIMIT ?"
    )
    # "" is less than every id: an id has a character.
    rows = connection.execute(query, (library.id, after or "", limit))
    found = [checked_media(row, library.name) for row in rows]
    count = len(found)
    if count < limit and after is not None:  # the last page: were there as many before it?
        query = "SELECT count(*) FROM media INDEXED BY media_by_id WHERE library_id = ?"
        count = connection.execute(query, (library.id,)).fetchone()[0]
    ids = [after or "", *(row.media_id for row in found)]
    if any(one >= other for one, other in itertools.pairwise(ids)) or (
        len(found) < limit and count != library.media_count
    ):
        raise _damaged_index(library)
    return found


def list_unanalysed(
    connection: sqlite3.Connection, library: LibraryRow, after: int, limit: int
) -> list[MediaRow]:
    """List assets that were never analysed or whose analysis was cut off, by ordinal."""
    query = (
        f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND ordinal > ?"
        " AND (job_status IS NULL OR job_status = 'Running') ORDER BY ordinal LIMIT ?"
    )
    rows = connection.execute(query, (library.id, after, limit))
    return [checked_media(row, library.name) for row in rows]


def still_unanalysed(
    connection: sqlite3.Connection, library: LibraryRow, ordinals: Iterable[int]
) -> dict[int, MediaRow]:
    """Find which assets still wait to be analysed."""
    rows = find_ordinals(connection, library.id, ordinals, library.name)
    return {row.ordinal: row for row in rows if row.job_status in (None, "Running")}


def find_pending(
    connection: sqlite3.Connection, library: LibraryRow, ordinal: int
) -> tuple[bytes, bool] | None:
    """Find the content kept of an asset that is not analysed yet, and whether it is an array."""
    query = "SELECT * FROM pending_input WHERE library_id = ? AND ordinal = ?"
    row = connection.execute(query, (library.id, ordinal)).fetchone()
    if row is None:
        return None
    _, _, is_array, content, _ = checked(row, "pending_input", library.name)
    return content, bool(is_array)


def _damaged_index(library: LibraryRow) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: the index of its media ids is damaged; other libraries of the "
        "store are not affected",
        library=library.name,
    )
