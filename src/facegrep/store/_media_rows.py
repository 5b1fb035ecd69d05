"""Rows of assets as they are written: their hashes, what is new, changed and gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facegrep.store._assets import MediaRow
from facegrep.store._checksum import damaged, hash_row, int64, with_checksum
from facegrep.store._faces import pack_faces
from facegrep.store._people_rows import forget_told
from facegrep.store._video_rows import delete_videos, insert_videos

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from facegrep.store._assets import Faces, Job, NewAsset, Outcome, Slots
    from facegrep.store._libraries import LibraryRow

COLUMNS: Final = ", ".join(MediaRow._fields)

_INSERT: Final = f"INSERT INTO media VALUES ({', '.join('?' * len(MediaRow._fields))})"
# An UPDATE that names a column of an index writes that index, even with the same value.
_KEY: Final = ("library_id", "ordinal", "media_id")
_UPDATE: Final = (
    f"UPDATE media SET {', '.join(f'{n} = ?' for n in MediaRow._fields[len(_KEY) :])}"
    " WHERE library_id = ? AND ordinal = ?"
)
_BATCH: Final = 4096

# A row's checksum is the hash of its content plus that of its place, so that the sum over a library
# (its digest) does not change when codes are moved. Odd factors: no changed bit goes unseen.
_CONTENT: Final = -3  # what comes before the place and the checksum
_SEGMENT_FACTOR: Final = 0x9E3779B97F4A7C15
_SLOT_FACTOR: Final = 0xC2B2AE3D27D4EB4F


def hash_of(row: Sequence[Any], library: str) -> int:
    """Return the hash of a row's content, 0 to 2**64 - 1, having checked the whole row.

    Raises
    ------
    StoreCorrupt
        It is not what was written.
    """
    *_, segment_id, first_slot, stored = row
    found = int.from_bytes(hash_row(row[:_CONTENT]), "little")
    try:
        wrong = (found + _hash_place(segment_id, first_slot) - stored) % 2**64
    except (TypeError, OverflowError):  # a damaged header can say that it ends in NULL, or in text
        wrong = True
    if wrong:
        raise damaged("media", library)
    return found


def _stored_hash(row: MediaRow) -> int:
    """Return the hash of the content of a row that was checked; modulo 2**64."""
    return row.checksum - _hash_place(row.segment_id, row.first_slot)


def _hash_place(segment_id: int | None, first_slot: int | None) -> int:
    if segment_id is None or first_slot is None:
        # Half a place is none that we write: it fails the checksum of one that has none.
        return 0 if segment_id is first_slot else 1
    return segment_id * _SEGMENT_FACTOR + first_slot * _SLOT_FACTOR + 1


def hash_places(segment_id: int, slots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the hash of each place, modulo 2**64."""
    constant = np.uint64((segment_id * _SEGMENT_FACTOR + 1) % 2**64)
    return slots.astype(np.uint64) * np.uint64(_SLOT_FACTOR) + constant


def checked_media(row: Sequence[Any], library: str) -> MediaRow:
    """Return a row as it was read, unless its checksum says that it changed."""
    hash_of(row, library)
    return MediaRow(*row)


def sealed(row: MediaRow) -> tuple[MediaRow, int]:
    """Return a row with its checksum, and the hash of its content."""
    found = int.from_bytes(hash_row(row[:_CONTENT]), "little")
    place = _hash_place(row.segment_id, row.first_slot)
    return row._replace(checksum=int64(found + place)), found


def insert_media(
    connection: sqlite3.Connection,
    library: LibraryRow,
    seq: int,
    now_ms: int,
    rows: Iterable[tuple[int, NewAsset, Slots | None]],
) -> int:
    """Add assets under new ordinals; returns the sum of their hashes."""
    pending = []
    videos = []
    digest = 0

    def values() -> Iterator[tuple[object, ...]]:
        nonlocal digest
        for ordinal, asset, slots in rows:
            if asset.pending is not None:
                content, is_array = asset.pending
                pending.append(with_checksum((library.id, ordinal, int(is_array), content)))
            if asset.faces is not None and asset.faces.video is not None:
                videos.append((ordinal, asset.faces.video))
            row = (
                library.id,
                ordinal,
                asset.media_id,
                *asset.columns,
                asset.utc_create_ms,
                now_ms,
                asset.title,
                asset.source,
                asset.content_sha256,
                seq,
                *_faces_values(asset.faces),
                *_job_values(asset.job),
            )
            found = int.from_bytes(hash_row(row), "little")
            digest += found
            place = slots or (None, None)
            yield (*row, *place, int64(found + _hash_place(*place)))

    connection.executemany(_INSERT, values())
    connection.executemany("INSERT INTO pending_input VALUES (?, ?, ?, ?, ?)", pending)
    insert_videos(connection, library.id, videos)
    return digest


def replace_media(
    connection: sqlite3.Connection, changes: Iterable[tuple[MediaRow, MediaRow]]
) -> int:
    """Write rows ``(old, new)`` of the same asset; returns what that adds to the digest."""
    digest = 0

    def values() -> Iterator[tuple[object, ...]]:
        nonlocal digest
        for old, new in changes:
            row, found = sealed(new)
            digest += found - _stored_hash(old)
            yield (*row[len(_KEY) :], row.library_id, row.ordinal)

    connection.executemany(_UPDATE, values())
    return digest


def move_media(
    connection: sqlite3.Connection,
    library_id: int,
    old_segment: int,
    new_segment: int,
    assets: NDArray[np.int64],
    slots: NDArray[np.int64],
) -> None:
    """Enter the new places of assets ``(ordinal, slot, faces, checksum)`` that were checked."""
    connection.executemany(
        "UPDATE media SET segment_id = ?, first_slot = ?, checksum = ?"
        " WHERE library_id = ? AND ordinal = ?",
        (
            (
                new_segment,
                slot,
                int64(checksum - _hash_place(old_segment, old) + _hash_place(new_segment, slot)),
                library_id,
                ordinal,
            )
            for (ordinal, old, _, checksum), slot in zip(
                assets.tolist(), slots.tolist(), strict=True
            )
        ),
    )


def set_faces(
    connection: sqlite3.Connection,
    seq: int,
    rows: Sequence[tuple[MediaRow, Outcome, Slots | None]],
) -> int:
    """Enter the outcome of analyses, and let go of the inputs kept for them; as `replace_media`."""
    changes = []
    for row, outcome, slots in rows:
        count, data, precision = _faces_values(outcome.faces)
        status, submit_ms, finish_ms, error = _job_values(outcome.job)
        segment_id, first_slot = slots or (None, None)
        new = row._replace(
            content_sha256=row.content_sha256 or outcome.content_sha256 or b"",
            row_seq=seq,
            face_count=count,
            face_data=data,
            precision=precision,
            job_status=status,
            job_submit_ms=submit_ms,
            job_finish_ms=finish_ms,
            job_error=error,
            segment_id=segment_id,
            first_slot=first_slot,
        )
        changes.append((row, new))
    connection.executemany(
        "DELETE FROM pending_input WHERE library_id = ? AND ordinal = ?",
        [(row.library_id, row.ordinal) for row, *_ in rows],
    )
    for library_id in {row.library_id for row, *_ in rows}:
        forget_told(connection, library_id, [row.ordinal for row, *_ in rows])
    for row, outcome, _ in rows:
        faces = outcome.faces
        if faces is not None and faces.video is not None:
            insert_videos(connection, row.library_id, [(row.ordinal, faces.video)])
    return replace_media(connection, changes)


def forget_faces(connection: sqlite3.Connection, library: LibraryRow, seq: int) -> int:
    """Take every face of a library out of the catalog; the assets stay, not analysed."""
    digest = 0
    after = -1
    query = f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND ordinal > ? LIMIT ?"
    while found := connection.execute(query, (library.id, after, _BATCH)).fetchall():
        rows = [checked_media(row, library.name) for row in found]
        digest += set_no_faces(connection, seq, rows)
        after = rows[-1].ordinal
    return digest


def set_no_faces(connection: sqlite3.Connection, seq: int, rows: Sequence[MediaRow]) -> int:
    """Make assets such as were never analysed; as `replace_media`."""
    delete_videos(connection, rows)
    changes = [
        (
            row,
            row._replace(
                row_seq=seq,
                face_count=0,
                face_data=None,
                precision=None,
                job_status=None,
                job_submit_ms=None,
                job_finish_ms=None,
                job_error=None,
                segment_id=None,
                first_slot=None,
            ),
        )
        for row in rows
    ]
    for library_id in {row.library_id for row in rows}:
        forget_told(connection, library_id, [row.ordinal for row in rows])
    return replace_media(connection, changes)


def delete_media(
    connection: sqlite3.Connection, library: LibraryRow, seq: int, rows: Sequence[MediaRow]
) -> int:
    """Remove assets, leaving a tombstone of each; their ids are free. As `replace_media`."""
    delete_videos(connection, rows)
    keys = [(row.library_id, row.ordinal) for row in rows]
    for table in ("pending_input", "media"):
        connection.executemany(f"DELETE FROM {table} WHERE library_id = ? AND ordinal = ?", keys)
    forget_told(connection, library.id, [row.ordinal for row in rows])
    connection.executemany(
        "INSERT INTO tombstone VALUES (?, ?, ?, ?)",
        [with_checksum((library.id, seq, row.ordinal)) for row in rows],
    )
    return -sum(map(_stored_hash, rows))


def _faces_values(faces: Faces | None) -> tuple[int, bytes | None, str | None]:
    if faces is None:
        return 0, None, None
    data = None if faces.values is None else pack_faces(faces.values)
    return len(faces.codes), data, faces.precision


def _job_values(job: Job | None) -> tuple[str | None, int | None, int | None, str | None]:
    if job is None:
        return None, None, None, None
    return job.status, job.submit_ms, job.finish_ms, job.error
