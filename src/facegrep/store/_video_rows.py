"""Rows of videos and of their tracks: read with proof, and written.

An asset is an analysed video, and has a row here, exactly when its media row says that it is a
video whose faces have boxes. That row has the number and the sum of the checksums of its tracks. So
no row can vanish, or come twice, without being missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from facegrep._errors import StoreCorrupt
from facegrep.store._checksum import checked, int64, is_whole, with_checksum
from facegrep.store._video import (
    SAMPLE_VALUES,
    Video,
    VideoFacts,
    VideoTrack,
    pack_int32,
    unpack_int32,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from facegrep.store._assets import MediaRow
    from facegrep.store._libraries import LibraryRow

VIDEO: Final = "video"
TRACK: Final = "track"


class _VideoRow(NamedTuple):
    library_id: int
    ordinal: int
    width: int
    height: int
    duration_ms: int
    analysed_ms: int
    truncated: str | None
    person_count: int
    track_count: int
    digest: int
    checksum: int

    @property
    def facts(self) -> VideoFacts:
        return VideoFacts(*self[2:8])


class _TrackRow(NamedTuple):
    library_id: int
    ordinal: int
    number: int
    person: int
    start_ms: int
    end_ms: int
    face_count: int
    face_times_ms: bytes
    samples: bytes
    checksum: int


def is_analysed_video(row: MediaRow) -> bool:
    """Whether an asset must have rows here: a video that was looked at, not added as vectors."""
    return row.media_type == "video" and row.face_data is not None


def insert_videos(
    connection: sqlite3.Connection, library_id: int, videos: Iterable[tuple[int, Video]]
) -> None:
    """Add videos by their assets' ordinals, with their tracks."""
    for ordinal, video in videos:
        rows = [
            with_checksum(
                (
                    library_id,
                    ordinal,
                    number,
                    track.person,
                    track.start_ms,
                    track.end_ms,
                    len(track.face_times_ms),
                    pack_int32(track.face_times_ms),
                    pack_int32(track.samples),
                )
            )
            for number, track in enumerate(video.tracks)
        ]
        digest = int64(sum(_TrackRow._make(row).checksum for row in rows))
        counted = (library_id, ordinal, *video.facts, len(rows), digest)
        _insert(connection, VIDEO, [with_checksum(counted)], len(_VideoRow._fields))
        _insert(connection, TRACK, rows, len(_TrackRow._fields))


def delete_videos(connection: sqlite3.Connection, rows: Iterable[MediaRow]) -> None:
    """Remove what is known of those assets that are analysed videos."""
    keys = [(row.library_id, row.ordinal) for row in rows if is_analysed_video(row)]
    for table in (TRACK, VIDEO):
        connection.executemany(f"DELETE FROM {table} WHERE library_id = ? AND ordinal = ?", keys)


def read_video_facts(
    connection: sqlite3.Connection, library: LibraryRow, row: MediaRow
) -> VideoFacts | None:
    """Read what is known of an asset as a whole; ``None`` when it is no analysed video.

    Raises
    ------
    StoreCorrupt
        Its row is missing or damaged.
    """
    found = _read_row(connection, library, row)
    return None if found is None else found.facts


def read_video(connection: sqlite3.Connection, library: LibraryRow, row: MediaRow) -> Video | None:
    """Read what is known of an asset; ``None`` when it is no analysed video.

    Raises
    ------
    StoreCorrupt
        Its rows are not those that were written.
    """
    found = _read_row(connection, library, row)
    if found is None:
        return None
    query = f"SELECT * FROM {TRACK} WHERE library_id = ? AND ordinal = ? ORDER BY number"
    cursor = connection.execute(query, (row.library_id, row.ordinal))
    tracks = [_TrackRow._make(checked(values, TRACK, library.name)) for values in cursor]
    if _is_wrong(found, tracks, row.face_count):
        raise _not_as_written(library)
    whose = f"library {library.name!r}"
    return Video(
        found.facts,
        tuple(
            VideoTrack(
                track.person,
                track.start_ms,
                track.end_ms,
                unpack_int32(track.samples, SAMPLE_VALUES, whose),
                unpack_int32(track.face_times_ms, 1, whose),
            )
            for track in tracks
        ),
    )


def wrong_videos(
    connection: sqlite3.Connection, library: LibraryRow, face_counts: Mapping[int, int]
) -> Iterator[str]:
    """Yield what is wrong with the videos of a library, in words; for `verify`.

    Parameters
    ----------
    face_counts
        By ordinal, of each asset that must have rows here.
    """
    # Rows that fail their checksum, whose types may be wrong, count as missing.
    query = f"SELECT * FROM {VIDEO} WHERE library_id = ?"
    found = connection.execute(query, (library.id,))
    rows = [_VideoRow._make(values) for values in found if is_whole(values)]
    if sorted(row.ordinal for row in rows) != sorted(face_counts):
        yield f"it has {len(face_counts)} analysed videos, but table {VIDEO} has others"
    wrong, tracks_found = 0, 0
    query = f"SELECT * FROM {TRACK} WHERE library_id = ? AND ordinal = ? ORDER BY number"
    for row in rows:
        cursor = connection.execute(query, (library.id, row.ordinal))
        tracks = [_TrackRow._make(values) for values in cursor if is_whole(values)]
        tracks_found += len(tracks)
        wrong += _is_wrong(row, tracks, face_counts.get(row.ordinal, -1))
    if wrong:
        yield f"the tracks of {wrong} videos are not those that were written"
    query = f"SELECT count(*) FROM {TRACK} WHERE library_id = ?"
    if connection.execute(query, (library.id,)).fetchone()[0] != tracks_found:
        yield f"rows of table {TRACK} belong to no video"


def _read_row(
    connection: sqlite3.Connection, library: LibraryRow, row: MediaRow
) -> _VideoRow | None:
    if not is_analysed_video(row):
        return None
    query = f"SELECT * FROM {VIDEO} WHERE library_id = ? AND ordinal = ?"
    found = connection.execute(query, (row.library_id, row.ordinal)).fetchone()
    if found is None:
        raise _not_as_written(library)
    return _VideoRow._make(checked(found, VIDEO, library.name))


def _is_wrong(row: _VideoRow, tracks: list[_TrackRow], face_count: int) -> bool:
    return (
        len(tracks) != row.track_count
        or int64(sum(track.checksum for track in tracks)) != row.digest
        or sum(track.face_count for track in tracks) != face_count
        or any(len(track.face_times_ms) != 4 * track.face_count for track in tracks)
    )


def _insert(
    connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]], columns: int
) -> None:
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)


def _not_as_written(library: LibraryRow) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: the tracks of a video are not those that were written; other "
        "libraries of the store are not affected",
        library=library.name,
    )
