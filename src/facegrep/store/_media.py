"""Rows of assets in the catalog."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from facegrep.store._assets import Columns, MediaRow, StoredIdentity
from facegrep.store._faces import pack_faces

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from facegrep.store._assets import Faces, Job, NewAsset, Slots
    from facegrep.store._libraries import LibraryRow


_COLUMNS: Final = ", ".join(MediaRow.__slots__)


def find_identities(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Iterable[str]
) -> dict[str, StoredIdentity]:
    """Find which of the ids are taken, and by what."""
    query = (
        "SELECT media_id, ordinal, content_sha256, utc_create_ms,"
        " media_type, namespace, int_field1, str_field1, str_field2"
        " FROM json_each(?) AS wanted CROSS JOIN media"
        " ON library_id = ? AND media_id = wanted.value"
    )
    rows = connection.execute(query, (_json(media_ids), library.id))
    return {
        media_id: StoredIdentity(ordinal, sha256, Columns(*columns), utc_create_ms)
        for media_id, ordinal, sha256, utc_create_ms, *columns in rows
    }


def find_media(
    connection: sqlite3.Connection, library: LibraryRow, media_id: str
) -> MediaRow | None:
    """Find one asset."""
    query = f"SELECT {_COLUMNS} FROM media WHERE library_id = ? AND media_id = ?"
    row = connection.execute(query, (library.id, media_id)).fetchone()
    return None if row is None else MediaRow(*row)


def list_media(
    connection: sqlite3.Connection, library: LibraryRow, after: str | None, limit: int
) -> list[MediaRow]:
    """List assets whose id is greater than `after`, by id, bytewise."""
    query = (
        f"SELECT {_COLUMNS} FROM media WHERE library_id = ? AND media_id > ?"
        " ORDER BY media_id LIMIT ?"
    )
    # "" is less than every id: an id has a character.
    rows = connection.execute(query, (library.id, after or "", limit))
    return [MediaRow(*row) for row in rows]


def list_unanalysed(
    connection: sqlite3.Connection, library: LibraryRow, after: int, limit: int
) -> list[MediaRow]:
    """List assets that were never analysed or whose analysis was cut off, by ordinal."""
    query = (
        f"SELECT {_COLUMNS} FROM media WHERE library_id = ? AND ordinal > ?"
        " AND (job_status IS NULL OR job_status = 'Running') ORDER BY ordinal LIMIT ?"
    )
    return [MediaRow(*row) for row in connection.execute(query, (library.id, after, limit))]


def still_unanalysed(
    connection: sqlite3.Connection, library: LibraryRow, ordinals: Iterable[int]
) -> set[int]:
    """Find which assets still wait to be analysed."""
    query = (
        "SELECT ordinal FROM json_each(?) AS wanted CROSS JOIN media"
        " ON library_id = ? AND ordinal = wanted.value"
        " WHERE job_status IS NULL OR job_status = 'Running'"
    )
    rows = connection.execute(query, (json.dumps(list(ordinals)), library.id))
    return {ordinal for (ordinal,) in rows}


def find_hits(
    connection: sqlite3.Connection, library_id: int, ordinals: Iterable[int]
) -> dict[int, tuple[str, int, bytes | None]]:
    """Find ``(media_id, face_count, face_data)`` of those ordinals that are live."""
    query = (
        "SELECT ordinal, media_id, face_count, face_data"
        " FROM json_each(?) AS wanted CROSS JOIN media ON library_id = ? AND ordinal = wanted.value"
    )
    rows = connection.execute(query, (json.dumps(list(ordinals)), library_id))
    return {ordinal: (media_id, count, data) for ordinal, media_id, count, data in rows}


def insert_media(
    connection: sqlite3.Connection,
    library: LibraryRow,
    seq: int,
    rows: Iterable[tuple[int, NewAsset, Slots | None]],
) -> None:
    """Add assets under new ordinals."""
    pending = []

    def values() -> Iterator[tuple[object, ...]]:
        for ordinal, asset, slots in rows:
            if asset.pending is not None:
                content, is_array = asset.pending
                pending.append((library.id, ordinal, is_array, content))
            yield (
                library.id,
                ordinal,
                asset.media_id,
                *asset.columns,
                asset.utc_create_ms,
                asset.title,
                asset.source,
                asset.content_sha256,
                seq,
                *_faces_values(asset.faces, slots),
                *_job_values(asset.job),
            )

    connection.executemany(f"INSERT INTO media VALUES ({', '.join('?' * 22)})", values())
    connection.executemany("INSERT INTO pending_input VALUES (?, ?, ?, ?)", pending)


def set_faces(
    connection: sqlite3.Connection,
    library: LibraryRow,
    seq: int,
    rows: Iterable[tuple[int, Faces | None, Slots | None, Job]],
) -> None:
    """Enter the outcome of analyses, by ordinal, and let go of the inputs kept for them."""
    rows = list(rows)
    connection.executemany(
        "UPDATE media SET row_seq = ?, segment_id = ?, first_slot = ?, face_count = ?,"
        " face_data = ?, precision = ?, job_status = ?, job_submit_ms = ?, job_finish_ms = ?,"
        " job_error = ? WHERE library_id = ? AND ordinal = ?",
        [
            (seq, *_faces_values(faces, slots), *_job_values(job), library.id, ordinal)
            for ordinal, faces, slots, job in rows
        ],
    )
    connection.executemany(
        "DELETE FROM pending_input WHERE library_id = ? AND ordinal = ?",
        [(library.id, ordinal) for ordinal, *_ in rows],
    )


def forget_faces(connection: sqlite3.Connection, library: LibraryRow, seq: int) -> None:
    """Take every face of a library out of the catalog; the assets stay, not analysed."""
    connection.execute(
        "UPDATE media SET row_seq = ?, segment_id = NULL, first_slot = NULL, face_count = 0,"
        " face_data = NULL, precision = NULL, job_status = NULL, job_submit_ms = NULL,"
        " job_finish_ms = NULL, job_error = NULL WHERE library_id = ?",
        (seq, library.id),
    )


def update_media(
    connection: sqlite3.Connection,
    library: LibraryRow,
    seq: int,
    ordinal: int,
    columns: Columns,
    title: str | None,
) -> None:
    """Change an asset's columns and title."""
    connection.execute(
        "UPDATE media SET row_seq = ?, media_type = ?, namespace = ?, int_field1 = ?,"
        " str_field1 = ?, str_field2 = ?, title = ? WHERE library_id = ? AND ordinal = ?",
        (seq, *columns, title, library.id, ordinal),
    )


def find_live(
    connection: sqlite3.Connection, library: LibraryRow, media_ids: Sequence[str]
) -> list[tuple[int, int]]:
    """Find ``(ordinal, face_count)`` of those ids that exist, each once."""
    query = (
        "SELECT DISTINCT ordinal, face_count"
        " FROM json_each(?) AS wanted CROSS JOIN media"
        " ON library_id = ? AND media_id = wanted.value"
    )
    return connection.execute(query, (_json(media_ids), library.id)).fetchall()


def delete_media(
    connection: sqlite3.Connection, library: LibraryRow, seq: int, ordinals: Sequence[int]
) -> None:
    """Remove assets, leaving a tombstone of each; their ids are free."""
    keys = [(library.id, ordinal) for ordinal in ordinals]
    for table in ("pending_input", "media"):
        connection.executemany(f"DELETE FROM {table} WHERE library_id = ? AND ordinal = ?", keys)
    connection.executemany(
        "INSERT INTO tombstone (library_id, row_seq, ordinal) VALUES (?, ?, ?)",
        [(library.id, seq, ordinal) for ordinal in ordinals],
    )


def find_pending(
    connection: sqlite3.Connection, library: LibraryRow, ordinal: int
) -> tuple[bytes, bool] | None:
    """Find the content kept of an asset that is not analysed yet, and whether it is an array."""
    query = "SELECT content, is_array FROM pending_input WHERE library_id = ? AND ordinal = ?"
    row = connection.execute(query, (library.id, ordinal)).fetchone()
    return None if row is None else (row[0], bool(row[1]))


def _faces_values(faces: Faces | None, slots: Slots | None) -> tuple[object, ...]:
    if faces is None:
        return (None, None, 0, None, None)
    data = None if faces.values is None else pack_faces(faces.values)
    return (*(slots or (None, None)), len(faces.codes), data, faces.precision)


def _job_values(job: Job | None) -> tuple[object, ...]:
    if job is None:
        return (None, None, None, None)
    return (job.status, job.submit_ms, job.finish_ms, job.error)


def _json(texts: Iterable[str]) -> str:
    """Many values as one parameter: one statement instead of one a value, and no limit on them."""
    return json.dumps(list(texts), ensure_ascii=False)
