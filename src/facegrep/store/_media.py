"""Rows of assets in the catalog."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from facegrep.store._faces import pack_faces

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from facegrep.store._libraries import LibraryRow


@dataclass(frozen=True, slots=True)
class Job:
    """An analysis: ``"Running"``, ``"Success"`` or ``"Fail"``, and when (ms UTC)."""

    status: str
    submit_ms: int
    finish_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of an asset, ready to be stored.

    Attributes
    ----------
    codes
        int8 ``(n, dim)``, in the order of ``face_no``.
    values
        float32 ``(n, FACE_VALUES)``; ``None`` when they came as vectors.
    precision
        Of their embeddings.
    """

    codes: NDArray[np.int8]
    values: NDArray[np.float32] | None = None
    precision: str | None = None


class Columns(NamedTuple):
    """The fields of an asset that filters see, but for its time of creation."""

    media_type: str
    namespace: str | None
    int_field1: int | None
    str_field1: str | None
    str_field2: str | None


@dataclass(frozen=True, slots=True)
class NewAsset:
    """An asset to be stored.

    Attributes
    ----------
    utc_create_ms, utc_was_given
        A defaulted time does not count when assets are compared.
    content_sha256
        32 bytes; what makes two assets the same, with `columns`.
    faces
        ``None`` when it has not been analysed.
    pending
        Content to keep until it is analysed, and whether that is an array.
    """

    media_id: str
    columns: Columns
    utc_create_ms: int
    utc_was_given: bool
    content_sha256: bytes
    title: str | None = None
    source: str | None = None
    faces: Faces | None = None
    job: Job | None = None
    pending: tuple[bytes, bool] | None = field(default=None, repr=False)

    def is_same(self, stored: StoredIdentity) -> bool:
        """Whether a stored asset is this one, so that adding it changes nothing."""
        return (
            stored.content_sha256 == self.content_sha256
            and stored.columns == self.columns
            and (not self.utc_was_given or stored.utc_create_ms == self.utc_create_ms)
        )

    def identity(self, ordinal: int) -> StoredIdentity:
        """Return what it is compared by once it is stored."""
        return StoredIdentity(ordinal, self.content_sha256, self.columns, self.utc_create_ms)

    def describe_conflict(self, stored: StoredIdentity) -> str:
        """Say how a stored asset of the same id differs."""
        differing = [
            name.replace("_", " ")
            for name, mine, theirs in zip(
                Columns._fields, self.columns, stored.columns, strict=True
            )
            if mine != theirs
        ]
        if stored.content_sha256 != self.content_sha256:
            differing.insert(0, "content")
        return (
            f"media {self.media_id!r} exists already with another "
            f"{' and '.join(differing) or 'time of creation'}; delete it first or choose another id"
        )


class StoredIdentity(NamedTuple):
    """What decides whether an asset is the same again."""

    ordinal: int
    content_sha256: bytes
    columns: Columns
    utc_create_ms: int


@dataclass(frozen=True, slots=True)
class MediaRow:
    """An asset in the catalog."""

    ordinal: int
    media_id: str
    media_type: str
    namespace: str | None
    int_field1: int | None
    str_field1: str | None
    str_field2: str | None
    utc_create_ms: int
    title: str | None
    source: str | None
    content_sha256: bytes
    segment_id: int | None
    first_slot: int | None
    face_count: int
    face_data: bytes | None
    precision: str | None
    job_status: str | None
    job_submit_ms: int | None
    job_finish_ms: int | None
    job_error: str | None


_COLUMNS: Final = ", ".join(MediaRow.__slots__)


class Slots(NamedTuple):
    """Where the codes of an asset are."""

    segment_id: int
    first_slot: int


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
