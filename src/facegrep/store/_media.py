"""Assets in the catalog, as they are read: every row checked.

An asset whose time is up is not there, but for those who remove it (`find_stored`, `list_expired`)
or compare times themselves (`find_ordinals`). Its time is looked at here, not in SQL: once the row
that says it is checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from facegrep._errors import StoreCorrupt
from facegrep.store._checksum import checked, damaged
from facegrep.store._clock import now_ms
from facegrep.store._media_rows import COLUMNS, checked_media

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from facegrep.store._assets import MediaRow, StoredIdentity
    from facegrep.store._libraries import LibraryRow


def find_identities(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Iterable[str]
) -> dict[str, StoredIdentity]:
    """Find which of the ids are taken, and by what."""
    found = _kept(library, find_stored(connection, library, media_ids))
    return {row.media_id: row.identity for row in found}


def find_stored(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Iterable[str]
) -> list[MediaRow]:
    """Find the assets of those ids, expired or not, each once."""
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
    """Make sure that ids whose rows were not found are nowhere: 0.2 us a row of the library.

    One damaged page hides a row in one of three ways: the index lost the id, the row lost its
    place, or both its place and its id are misread.

    Raises
    ------
    StoreCorrupt
        An id is in the index or on a row, or the rows are not as many as were written.
    """
    wanted = json.dumps(list(media_ids), ensure_ascii=False)
    query = (
        "SELECT EXISTS (SELECT ordinal FROM media INDEXED BY media_by_id"  # which covers it
        " WHERE library_id = ?2 AND media_id IN (SELECT value FROM json_each(?1))),"
        " count(*), total(+media_id IN (SELECT value FROM json_each(?1)))"
        " FROM media WHERE library_id = ?2 AND ordinal >= 0"
    )
    indexed, count, found = connection.execute(query, (wanted, library.id)).fetchone()
    if indexed or found:
        raise _damaged_index(library)
    if count != library.media_count:
        raise _missing_rows(library, count)


def find_ordinals(
    connection: sqlite3.Connection, library: LibraryRow, ordinals: Iterable[int]
) -> list[MediaRow]:
    """Find the assets of those ordinals that were not deleted, expired or not."""
    query = (
        f"SELECT {COLUMNS} FROM json_each(?) AS wanted"
        " CROSS JOIN media ON library_id = ? AND ordinal = wanted.value"
    )
    rows = connection.execute(query, (json.dumps(list(ordinals)), library.id))
    return [checked_media(row, library.name) for row in rows]


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
    return next(_kept(library, [found]), None)


def list_media(
    connection: sqlite3.Connection, library: LibraryRow, after: str | None, limit: int
) -> list[MediaRow]:
    """List assets whose id is greater than `after`, by id, bytewise.

    Raises
    ------
    StoreCorrupt
        A row was changed, or the index of ids, which has no checksums, leads elsewhere.
    """
    if not limit:
        return []
    until_ms = library.expired_until_ms(now_ms())
    query = f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND media_id > ? ORDER BY media_id"
    last = after or ""  # less than every id: an id has a character
    count, found = 0, []
    rows = connection.execute(query, (library.id, last))
    for count, values in enumerate(rows, 1):  # noqa: B007 - used once all are read
        row = checked_media(values, library.name)
        if row.media_id <= last:
            raise _damaged_index(library)
        last = row.media_id
        if row.added_ms > until_ms:
            found.append(row)
            if len(found) == limit:
                return found
    if after is not None:  # the last page: were there as many before it?
        query = "SELECT count(*) FROM media INDEXED BY media_by_id WHERE library_id = ?"
        count = connection.execute(query, (library.id,)).fetchone()[0]
    if count != library.media_count:
        raise _damaged_index(library)
    return found


def list_expired(
    connection: sqlite3.Connection, library: LibraryRow, *, before_ms: int
) -> list[MediaRow]:
    """List the assets whose time is up, by ordinal."""
    return list(_expired(connection, library, before_ms))


def count_expired(connection: sqlite3.Connection, library: LibraryRow) -> tuple[int, int]:
    """Count the assets whose time is up, and their faces.

    0.15 s at a million assets, since it reads their times, and what it takes to check those that
    have expired. An index would save the first, and cost every insert some percent.
    """
    media = faces = 0
    for row in _expired(connection, library, now_ms()):
        media += 1
        faces += row.face_count
    return media, faces


def _expired(
    connection: sqlite3.Connection, library: LibraryRow, before_ms: int
) -> Iterator[MediaRow]:
    """Yield the assets whose time is up, by ordinal.

    A time that was changed must not make one more or one less of them. Assets are numbered as they
    are added, so those that have expired come first: checked is each as far as the last that seems
    to have, and the one after it.

    Raises
    ------
    StoreCorrupt
        One of these rows was changed, or rows are missing.
    """
    if library.ttl_ms is None:
        return
    until_ms = library.expired_until_ms(before_ms)
    query = (
        "SELECT count(*), coalesce(max(CASE WHEN added_ms <= ? THEN ordinal END), -1) FROM media"
        " WHERE library_id = ? AND ordinal >= 0"
    )
    count, last = connection.execute(query, (until_ms, library.id)).fetchone()
    if count != library.media_count:
        raise _missing_rows(library, count)
    if not isinstance(last, int):  # a header with a flipped bit says that a number is bytes
        raise damaged("media", library.name)
    query = f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND ordinal >= 0 ORDER BY ordinal"
    for values in connection.execute(query, (library.id,)):
        row = checked_media(values, library.name)
        if row.added_ms <= until_ms:
            yield row
        if row.ordinal > last:
            return


def list_unanalysed(
    connection: sqlite3.Connection, library: LibraryRow, after: int, limit: int
) -> list[MediaRow]:
    """List assets that were never analysed or whose analysis was cut off, by ordinal."""
    query = (
        f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND ordinal > ? AND added_ms > ?"
        " AND (job_status IS NULL OR job_status = 'Running') ORDER BY ordinal LIMIT ?"
    )
    until_ms = library.expired_until_ms(now_ms())
    rows = connection.execute(query, (library.id, after, until_ms, limit))
    return [checked_media(row, library.name) for row in rows]


def still_unanalysed(
    connection: sqlite3.Connection, library: LibraryRow, ordinals: Iterable[int]
) -> dict[int, MediaRow]:
    """Find which assets still wait to be analysed."""
    rows = _kept(library, find_ordinals(connection, library, ordinals))
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


def _kept(library: LibraryRow, rows: Iterable[MediaRow]) -> Iterator[MediaRow]:
    until_ms = library.expired_until_ms(now_ms())
    return (row for row in rows if row.added_ms > until_ms)


def _missing_rows(library: LibraryRow, count: int) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: {count:,} rows of assets, {library.media_count:,} were "
        "written; other libraries of the store are not affected",
        library=library.name,
    )


def _damaged_index(library: LibraryRow) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: the index of its media ids is damaged; other libraries of the "
        "store are not affected",
        library=library.name,
    )
