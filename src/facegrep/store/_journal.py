"""The journal of slots that are overwritten: entered with what is deleted, then worked off."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

from facegrep._errors import StoreCorrupt
from facegrep.store._checksum import checked, with_checksum
from facegrep.store._filesystem import raise_store_error
from facegrep.store._libraries import library_by_id
from facegrep.store._segment_rows import read_blocks, read_journal, segment_by_id, write_blocks
from facegrep.store._segments import Block, open_segment_file, overwrite_slots, read_block

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from facegrep.store._assets import MediaRow
    from facegrep.store._database import Database
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment


def enter_slots(
    connection: sqlite3.Connection, folder: Path, library: LibraryRow, rows: Sequence[MediaRow]
) -> list[Segment]:
    """Enter the slots of assets, and their blocks' checksums without them; returns the segments."""
    slots: defaultdict[int, list[range]] = defaultdict(list)
    for row in rows:
        if row.face_count and row.segment_id is not None and row.first_slot is not None:
            part = range(row.first_slot, row.first_slot + row.face_count)
            slots[row.segment_id].append(part)
    segments = []
    for segment_id, parts in slots.items():
        segment = segment_by_id(connection, library, segment_id)
        if segment is None:
            raise StoreCorrupt(
                f"library {library.name!r}: an asset names segment {segment_id}, which does not "
                "exist",
                library=library.name,
            )
        merged = _merged(parts)
        # All of them first: they are read with the journal as it is.
        blocks = list(_blocks_without(connection, folder, segment, merged))
        write_blocks(connection, segment, blocks)
        connection.executemany(
            "INSERT INTO erase_journal VALUES (?, ?, ?, ?)",
            [with_checksum((segment.id, part.start, len(part))) for part in merged],
        )
        segments.append(segment)
    return segments


def overwrite_entered(catalog: Database, folder: Path) -> None:
    """Overwrite every slot in the journal, durably, and then empty it.

    Raises
    ------
    StoreError
        A file cannot be written. What is entered stays so.
    """
    with catalog.exclusive() as writer:
        query = "SELECT * FROM erase_journal ORDER BY segment_id, first_slot"
        entries = [checked(row, "erase_journal") for row in writer.execute(query).fetchall()]
        if not entries:
            return
        for segment_id in sorted({entry[0] for entry in entries}):
            segment = _segment_of(writer, segment_id)
            if segment is not None:
                _overwrite(folder, segment, read_journal(writer, segment))
        with catalog.transaction(writer) as transaction:
            _ = transaction.seq
            writer.execute("DELETE FROM erase_journal")


def _segment_of(connection: sqlite3.Connection, segment_id: int) -> Segment | None:
    query = "SELECT library_id FROM segment WHERE id = ?"
    row = connection.execute(query, (segment_id,)).fetchone()
    library = None if row is None else library_by_id(connection, row[0])
    return None if library is None else segment_by_id(connection, library, segment_id)


def _overwrite(folder: Path, segment: Segment, slots: list[range]) -> None:
    # Whatever its header or length is: damage does not keep what is there from being overwritten.
    try:
        descriptor = os.open(folder / segment.file_name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            overwrite_slots(descriptor, segment, slots)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except OSError as error:
        raise_store_error(
            error,
            f"overwriting vectors of library {segment.library_name!r}",
            "they are in no answer",
        )


def _merged(parts: list[range]) -> list[range]:
    """Return the same slots in as few ranges as they make."""
    merged: list[range] = []
    for part in sorted(parts, key=lambda part: part.start):
        if merged and merged[-1].stop == part.start:
            merged[-1] = range(merged[-1].start, part.stop)
        else:
            merged.append(part)
    return merged


def _blocks_without(
    connection: sqlite3.Connection, folder: Path, segment: Segment, slots: list[range]
) -> Iterator[tuple[int, Block]]:
    """Yield the blocks of some slots as they will be. One that is damaged stays so."""
    per_block = segment.slots_per_block
    by_block: defaultdict[int, list[range]] = defaultdict(list)
    for part in slots:
        for number in range(part.start // per_block, (part.stop - 1) // per_block + 1):
            by_block[number].append(part)
    known = read_blocks(connection, segment, min(by_block), max(by_block))
    try:
        with open_segment_file(folder, segment) as descriptor:
            for number, parts in sorted(by_block.items()):
                try:
                    codes = read_block(descriptor, segment, number, known.get(number)).copy()
                except StoreCorrupt:
                    continue
                first = number * per_block
                for part in parts:
                    codes[max(part.start - first, 0) : max(part.stop - first, 0)] = 0
                yield number, Block(codes.nbytes, zlib.crc32(codes.tobytes()))
    except StoreCorrupt:  # of the file as a whole; what is there is overwritten all the same
        return
