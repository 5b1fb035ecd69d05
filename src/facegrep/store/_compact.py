"""Segments without their dead slots: the live ones move to a new file, the old one is overwritten.

Searches run on, before, while and after: an asset's hash does not say where its codes are, so an
index in memory has nothing to follow, and a load that finds its file gone reads the catalog again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.store._assets import MediaRow
from facegrep.store._audit import note_change
from facegrep.store._core import StoreCore
from facegrep.store._filesystem import raise_store_error
from facegrep.store._libraries import same_library, write_library
from facegrep.store._media_rows import COLUMNS, hash_of, move_media
from facegrep.store._segment_rows import (
    delete_segment,
    extend_segment,
    list_segments,
    new_segment,
    read_blocks,
    seal_segment,
    segment_by_id,
)
from facegrep.store._segments import read_codes, wipe_segment, write_segment_file

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment

MIN_DEAD_SHARE: Final = 0.25
"""At a quarter a full segment gives 16 MiB back for 48 MiB written, and scans are a third longer
than they need be; below, rewriting costs more than it gives."""

_BATCH: Final = 8192


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A segment that was rewritten: the file that went, and its bytes before and after."""

    file: str
    bytes_before: int
    bytes_after: int


class CompactOperations(StoreCore):
    """The Store's compaction."""

    def compact(
        self,
        library: LibraryRow,
        *,
        min_dead_share: float = MIN_DEAD_SHARE,
        actor: str | None = None,
    ) -> list[Rewritten]:
        """Rewrite the segments of a library of whose slots at least this share is dead.

        One segment a commit, under the writer's lock for as long as that takes: about 2 s for one
        of 64 MiB and 250,000 assets.

        Raises
        ------
        NotFoundError
            The library was dropped.
        StoreCorrupt
            A segment is damaged; it is left as it is.
        StoreError
            The disk failed, or is full. What was rewritten before is durable, the rest unchanged.
        """
        with self.catalog.read() as connection:
            segments = list_segments(connection, same_library(connection, library))
            live = _live_slots(connection, library)
        chosen = [segment for segment in segments if _dead_share(segment, live) >= min_dead_share]
        if not chosen:
            return []
        # Then nobody adds to them, and what is live in them only gets less.
        with self.catalog.write() as transaction:
            current = same_library(transaction.connection, library)
            _ = transaction.seq
            for segment in chosen:
                seal_segment(transaction.connection, segment)
        with self.catalog.read() as connection:
            ordinals = _ordinals(connection, current)
        done = (
            self._rewrite(current, segment.id, *ordinals.get(segment.id, (0, -1)), actor)
            for segment in chosen
        )
        finished = [rewritten for rewritten in done if rewritten is not None]
        self.caches.wipe_outdated()  # they may hold what was left behind
        return finished

    def _rewrite(
        self, library: LibraryRow, segment_id: int, first: int, last: int, actor: str | None
    ) -> Rewritten | None:
        """Rewrite a sealed segment, whose assets have numbers from `first` to `last`."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            segment = segment_by_id(connection, current, segment_id)
            if segment is None or segment.generation != current.generation:
                return None  # meanwhile all faces were erased
            seq = transaction.seq
            assets = _assets_in(connection, current, segment, first, last)
            size = 0
            if len(assets):
                size = self._move(connection, current, segment, assets)
            delete_segment(connection, segment)
            # Who is reading the old file must know why it is not what it was.
            write_library(connection, dataclasses.replace(current, erased_seq=seq))
            sizes = {"bytes_before": segment.committed_bytes, "bytes_after": size}
            faces = size // segment.dim
            note_change(
                connection,
                current,
                "compact",
                actor,
                media=len(assets),
                faces=faces,
                details=sizes,
            )
            old = self.vectors.folder / segment.file_name

            def wipe() -> None:
                try:
                    wipe_segment(old)
                except OSError as error:
                    raise_store_error(
                        error,
                        f"overwriting vectors of library {library.name!r}",
                        "the rewritten ones are durable; opening the store again retries",
                    )

            transaction.after_commit.append(wipe)
            return Rewritten(f"v/{segment.file_name}", segment.committed_bytes, size)

    def _move(
        self,
        connection: sqlite3.Connection,
        library: LibraryRow,
        segment: Segment,
        assets: NDArray[np.int64],
    ) -> int:
        """Copy the codes of assets ``(ordinal, slot, faces, checksum)`` to a new segment."""
        assets = assets[np.argsort(assets[:, 1])]
        starts, counts = assets[:, 1], assets[:, 2]
        ends = np.cumsum(counts)
        within = np.arange(int(ends[-1])) - np.repeat(ends - counts, counts)
        slots = np.repeat(starts, counts) + within
        last = segment.committed_bytes // segment.block_bytes
        codes = read_codes(
            self.vectors.folder, segment, read_blocks(connection, segment, 0, last), slots
        )
        new = new_segment(connection, library)
        try:
            write_segment_file(self.vectors.unfinished, self.vectors.folder, new, codes)
        except OSError as error:
            raise_store_error(
                error, f"rewriting vectors of library {library.name!r}", "nothing was changed"
            )
        extend_segment(connection, new, codes)
        move_media(connection, library.id, segment.id, new.id, assets, ends - counts)
        return codes.nbytes


def _place(row: MediaRow) -> tuple[int, int, int, int]:
    return row.ordinal, row.first_slot or 0, row.face_count, row.checksum


def _live_slots(connection: sqlite3.Connection, library: LibraryRow) -> dict[int, int]:
    query = (
        "SELECT segment_id, sum(face_count) FROM media"
        " WHERE library_id = ? AND face_count GROUP BY segment_id"
    )
    return dict(connection.execute(query, (library.id,)))


def _dead_share(segment: Segment, live: dict[int, int]) -> float:
    slots = segment.committed_bytes // segment.dim
    dead = slots - live.get(segment.id, 0)
    return dead / slots if dead > 0 else -1.0  # with nothing dead there is nothing to do


def _ordinals(connection: sqlite3.Connection, library: LibraryRow) -> dict[int, tuple[int, int]]:
    """Return between which numbers the assets of each segment are."""
    query = (
        "SELECT segment_id, min(ordinal), max(ordinal) FROM media"
        " WHERE library_id = ? AND face_count GROUP BY segment_id"
    )
    return {row[0]: row[1:] for row in connection.execute(query, (library.id,))}


def _assets_in(
    connection: sqlite3.Connection, library: LibraryRow, segment: Segment, first: int, last: int
) -> NDArray[np.int64]:
    """Return ``(ordinal, slot, faces, checksum)`` of the assets of a segment, every row checked."""
    query = (
        f"SELECT {COLUMNS} FROM media"
        " WHERE library_id = ? AND ordinal BETWEEN ? AND ? AND segment_id = ?"
    )
    cursor = connection.execute(query, (library.id, first, last, segment.id))
    parts = [np.empty((0, 4), dtype=np.int64)]
    while rows := cursor.fetchmany(_BATCH):
        for row in rows:
            hash_of(row, library.name)
        parts.append(np.array([_place(MediaRow._make(row)) for row in rows], dtype=np.int64))
    return np.concatenate(parts)
