"""What changed in a library since a sequence number: how indexes in memory follow it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.store._assets import Columns, MediaRow
from facegrep.store._checksum import checked
from facegrep.store._media_rows import COLUMNS, hash_of
from facegrep.store._segment_rows import list_segments, read_blocks
from facegrep.store._segments import read_codes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment

_ROW_BYTES_MIN: Final = 8

_BATCH: Final = 8192
"""Assets a batch: enough to forget the cost of a query, few enough to hold no memory."""

# What a face index takes as a column.
_FIELDS: Final = (*Columns._fields, "utc_create_ms")


@dataclass(frozen=True, slots=True)
class ChangedAssets:
    """Assets that came or changed, in the order of their numbers.

    Attributes
    ----------
    ordinals, media_ids, face_counts
        One an asset.
    columns
        By field of `Columns` and ``utc_create_ms``, one value an asset.
    codes
        int8 ``(sum of face_counts, dim)``, asset by asset.
    hashes
        uint64, what each adds to the library's digest.
    added_ms
        int64, when each was added; expired ones are among them.
    face_data
        What is known of its faces besides, packed (`_faces.py`).
    """

    ordinals: NDArray[np.int64]
    media_ids: list[str]
    face_counts: NDArray[np.int64]
    columns: dict[str, list[int | str | None]]
    codes: NDArray[np.int8]
    hashes: NDArray[np.uint64]
    added_ms: NDArray[np.int64]
    face_data: list[bytes | None]


def require_numbers(connection: sqlite3.Connection, library: LibraryRow) -> None:
    """Refuse a library that gave more numbers than its file has rows, before memory is taken.

    Every number is that of an asset or of a tombstone, whose row takes more than 8 bytes.

    Raises
    ------
    StoreCorrupt
        Somebody made up the library's row.
    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if library.next_ordinal > pages * page_bytes // _ROW_BYTES_MIN:
        what = f"{library.next_ordinal} assets so far, in {pages * page_bytes} bytes"
        raise _contradiction(library, ValueError(what))


def count_changes(connection: sqlite3.Connection, library: LibraryRow, after_seq: int) -> int:
    """Count faces that came and assets that went after a sequence number; of rows not checked."""
    query = (
        "SELECT (SELECT coalesce(sum(face_count), 0) FROM media"
        " WHERE library_id = ?1 AND row_seq > ?2)"
        " + (SELECT count(*) FROM tombstone WHERE library_id = ?1 AND row_seq > ?2)"
    )
    return int(connection.execute(query, (library.id, after_seq)).fetchone()[0])


def read_tombstones(
    connection: sqlite3.Connection, library_id: int, after_seq: int, library: str
) -> list[int]:
    """Read the ordinals of assets deleted after a sequence number."""
    query = "SELECT * FROM tombstone WHERE library_id = ? AND row_seq > ?"
    rows = connection.execute(query, (library_id, after_seq))
    return [checked(row, "tombstone", library)[2] for row in rows]


def read_changed_assets(
    connection: sqlite3.Connection, folder: Path, library: LibraryRow, after_seq: int
) -> Iterator[ChangedAssets]:
    """Read the assets that came or changed after a sequence number, in batches.

    Raises
    ------
    StoreCorrupt
        Codes fail their checksum, or rows contradict each other.
    """
    segments = {segment.id: segment for segment in list_segments(connection, library)}
    query = f"SELECT {COLUMNS} FROM media WHERE library_id = ? AND row_seq > ?"
    cursor = connection.execute(query, (library.id, after_seq))
    while rows := cursor.fetchmany(_BATCH):
        hashes = np.array([hash_of(row, library.name) for row in rows], dtype=np.uint64)
        columns: Any = MediaRow._make(zip(*rows, strict=True))
        try:
            face_counts = np.array(columns.face_count, dtype=np.int64)
            codes = _gather(
                connection,
                folder,
                library,
                segments,
                columns.segment_id,
                columns.first_slot,
                face_counts,
            )
            numbers = np.array(columns.ordinal, dtype=np.int64)
            added_ms = np.array(columns.added_ms, dtype=np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise _contradiction(library, error) from error
        yield ChangedAssets(
            ordinals=numbers,
            media_ids=list(columns.media_id),
            face_counts=face_counts,
            columns={name: list(getattr(columns, name)) for name in _FIELDS},
            codes=codes,
            hashes=hashes,
            added_ms=added_ms,
            face_data=list(columns.face_data),
        )


def read_asset_codes(
    connection: sqlite3.Connection, folder: Path, library: LibraryRow, rows: Sequence[MediaRow]
) -> list[NDArray[np.int8]]:
    """Read the codes of assets, int8 ``(face_count, dim)`` each.

    Together: what a block holds of them is read and checked once. For 1,000 assets 13 ms, one by
    one 440 ms.
    """
    if not rows:
        return []
    segments = {segment.id: segment for segment in list_segments(connection, library)}
    try:
        counts = np.array([row.face_count for row in rows], dtype=np.int64)
        places = tuple(row.segment_id for row in rows), tuple(row.first_slot for row in rows)
        codes = _gather(connection, folder, library, segments, *places, counts)
    except (TypeError, ValueError, OverflowError) as error:
        raise _contradiction(library, error) from error
    return np.split(codes, np.cumsum(counts)[:-1])


def _contradiction(library: LibraryRow, error: Exception) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: the catalog's rows contradict each other ({error}); other "
        "libraries of the store are not affected",
        library=library.name,
    )


def _gather(
    connection: sqlite3.Connection,
    folder: Path,
    library: LibraryRow,
    segments: dict[int, Segment],
    segment_ids: tuple[int | None, ...],
    first_slots: tuple[int | None, ...],
    face_counts: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Read the codes of assets, each ``face_counts[i]`` slots from ``first_slots[i]`` on."""
    stored = sum(segment.committed_bytes for segment in segments.values()) // library.dim
    if face_counts.min() < 0 or face_counts.max() > stored:  # before anything is allocated
        raise ValueError(f"an asset of {face_counts.max()} faces, of {stored} stored")
    starts = np.cumsum(face_counts) - face_counts  # of each asset's rows in the result
    codes = np.empty((int(face_counts.sum()), library.dim), dtype=np.int8)
    by_segment: dict[int, list[int]] = defaultdict(list)
    for position in np.flatnonzero(face_counts):
        by_segment[segment_ids[position] or 0].append(int(position))
    for segment_id, positions in by_segment.items():
        if segment_id not in segments:
            raise ValueError(f"no segment {segment_id}")
        segment = segments[segment_id]
        counts = face_counts[positions]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        firsts = np.array([first_slots[position] for position in positions], dtype=np.int64)
        slots = np.repeat(firsts, counts) + within
        rows = np.repeat(starts[positions], counts) + within
        order = np.argsort(slots, kind="stable")
        slots = slots[order]
        blocks = read_blocks(
            connection,
            segment,
            int(slots[0]) // segment.slots_per_block,
            int(slots[-1]) // segment.slots_per_block,
        )
        codes[rows[order]] = read_codes(folder, segment, blocks, slots)
    return codes
