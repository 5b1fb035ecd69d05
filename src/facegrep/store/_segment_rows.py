"""Rows of segments and their blocks in the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from facegrep.store._checksum import checked, with_checksum
from facegrep.store._segments import Block, Segment, extend_blocks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from facegrep.store._libraries import LibraryRow

MAX_INT64: Final = 2**63 - 1

_SELECT: Final = (
    "SELECT id, library_id, generation, number, committed_bytes, sealed, checksum FROM segment"
)


def list_segments(connection: sqlite3.Connection, library: LibraryRow) -> list[Segment]:
    """List the segments of a library's generation, oldest first."""
    query = f"{_SELECT} WHERE library_id = ? AND generation = ? ORDER BY number"
    rows = connection.execute(query, (library.id, library.generation))
    return [_segment(library, row) for row in rows]


def open_segment(connection: sqlite3.Connection, library: LibraryRow) -> Segment | None:
    """Find the segment that appends go to; ``None`` when there is none that takes more."""
    query = (
        f"{_SELECT} WHERE library_id = ? AND generation = ? AND NOT sealed"
        " ORDER BY number DESC LIMIT 1"
    )
    row = connection.execute(query, (library.id, library.generation)).fetchone()
    return None if row is None else _segment(library, row)


def new_segment(connection: sqlite3.Connection, library: LibraryRow) -> Segment:
    """Enter a segment that holds nothing yet; its file is the caller's."""
    number = connection.execute(
        "SELECT coalesce(max(number) + 1, 0) FROM segment WHERE library_id = ? AND generation = ?",
        (library.id, library.generation),
    ).fetchone()[0]
    values = (library.id, library.generation, number, 0, 0)
    cursor = connection.execute(
        "INSERT INTO segment (library_id, generation, number, committed_bytes, sealed, checksum)"
        " VALUES (?, ?, ?, ?, ?, 0)",
        values,
    )
    row = with_checksum((cursor.lastrowid or 0, *values))  # covers the number that SQLite chose
    _write_segment(connection, row)
    return _segment(library, row)


def extend_segment(
    connection: sqlite3.Connection, segment: Segment, codes: NDArray[np.int8]
) -> None:
    """Enter codes that were made durable after the committed ones."""
    last_number = segment.committed_bytes // segment.block_bytes
    last = read_blocks(connection, segment, last_number, last_number).get(last_number)
    write_blocks(connection, segment, extend_blocks(segment, last, codes))
    _write_segment(
        connection, _row(segment, segment.committed_bytes + codes.nbytes, sealed=segment.sealed)
    )


def seal_segment(connection: sqlite3.Connection, segment: Segment) -> None:
    """Let no more be appended to a segment; another process may have extended it meanwhile."""
    row = connection.execute(f"{_SELECT} WHERE id = ?", (segment.id,)).fetchone()
    if row is not None:  # the library may be gone
        *_, committed_bytes, _, _ = checked(row, "segment", segment.library_name)
        _write_segment(connection, _row(segment, committed_bytes, sealed=True))


def delete_segment(connection: sqlite3.Connection, segment: Segment) -> None:
    """Forget one segment; its file is the caller's."""
    for table in ("erase_journal", "block"):
        connection.execute(f"DELETE FROM {table} WHERE segment_id = ?", (segment.id,))
    connection.execute("DELETE FROM segment WHERE id = ?", (segment.id,))


def delete_segments(connection: sqlite3.Connection, library: LibraryRow) -> None:
    """Forget the segments of a library; their files are the caller's."""
    for table in ("erase_journal", "block"):
        connection.execute(
            f"DELETE FROM {table} WHERE segment_id IN"
            " (SELECT id FROM segment WHERE library_id = ?)",
            (library.id,),
        )
    connection.execute("DELETE FROM segment WHERE library_id = ?", (library.id,))


def read_blocks(
    connection: sqlite3.Connection, segment: Segment, first: int, last: int
) -> dict[int, Block]:
    """Read the entries of blocks `first` to `last`, both included, by number."""
    query = (
        "SELECT segment_id, number, length, crc32, checksum FROM block"
        " WHERE segment_id = ? AND number BETWEEN ? AND ?"
    )
    rows = connection.execute(query, (segment.id, first, last)).fetchall()
    erased = read_journal(connection, segment)
    return {
        number: Block(length, crc32, _within(segment, number, erased))
        for _, number, length, crc32, _ in (
            checked(row, "block", segment.library_name) for row in rows
        )
    }


def write_blocks(
    connection: sqlite3.Connection, segment: Segment, blocks: Iterable[tuple[int, Block]]
) -> None:
    """Enter blocks by number, in place of those that were there."""
    connection.executemany(
        "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?)",
        [
            with_checksum((segment.id, number, block.length, block.crc32))
            for number, block in blocks
        ],
    )


def read_journal(connection: sqlite3.Connection, segment: Segment) -> list[range]:
    """List the slots of a segment that are being overwritten."""
    query = "SELECT * FROM erase_journal WHERE segment_id = ?"
    rows = connection.execute(query, (segment.id,))
    found = [checked(row, "erase_journal", segment.library_name) for row in rows]
    return [range(first, first + count) for _, first, count, _ in found]


def _within(segment: Segment, number: int, erased: list[range]) -> tuple[slice, ...]:
    """Return the bytes of a block that are erased."""
    first = number * segment.slots_per_block
    last = first + segment.slots_per_block
    return tuple(
        slice(
            (max(slots.start, first) - first) * segment.dim,
            (min(slots.stop, last) - first) * segment.dim,
        )
        for slots in erased
        if slots.start < last and first < slots.stop
    )


def named_segment_files(connection: sqlite3.Connection) -> set[str]:
    """List the files that the catalog speaks of, of all libraries.

    Raises
    ------
    StoreCorrupt
        A row is damaged: then nobody knows which files are nobody's.
    """
    rows = connection.execute(_SELECT).fetchall()
    return {
        f"{library}-{generation}-{number}.vec"
        for _, library, generation, number, *_ in (checked(row, "segment") for row in rows)
    }


def _row(segment: Segment, committed_bytes: int, *, sealed: bool) -> tuple[object, ...]:
    place = (segment.id, segment.library_id, segment.generation, segment.number)
    return with_checksum((*place, committed_bytes, int(sealed)))


def _write_segment(connection: sqlite3.Connection, row: tuple[object, ...]) -> None:
    id_, _, _, _, *changed = row
    connection.execute(
        "UPDATE segment SET committed_bytes = ?, sealed = ?, checksum = ? WHERE id = ?",
        (*changed, id_),
    )


def segment_by_id(
    connection: sqlite3.Connection, library: LibraryRow, segment_id: int
) -> Segment | None:
    """Find a segment of a library."""
    query = f"{_SELECT} WHERE id = ? AND library_id = ?"
    row = connection.execute(query, (segment_id, library.id)).fetchone()
    return None if row is None else _segment(library, row)


def _segment(library: LibraryRow, row: tuple[Any, ...]) -> Segment:
    id_, _, _, number, committed_bytes, sealed, _ = checked(row, "segment", library.name)
    segment = Segment(
        id=id_,
        library_id=library.id,
        library_name=library.name,
        generation=library.generation,
        number=number,
        model=library.model,
        dim=library.dim,
        committed_bytes=committed_bytes,
        sealed=bool(sealed),
    )
    if committed_bytes % library.dim or not 0 <= committed_bytes <= MAX_INT64 // 2:
        raise segment.corrupt(f"the catalog says {committed_bytes} committed bytes")
    return segment
