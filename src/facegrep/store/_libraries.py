"""Rows of libraries and their segments in the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from facegrep._errors import NotFoundError, StoreCorrupt
from facegrep.store._segments import Block, Segment, extend_blocks

if TYPE_CHECKING:
    import sqlite3

    import numpy as np
    from numpy.typing import NDArray

MAX_DIM: Final = 4096
MAX_INT64: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A library. ``id`` is its incarnation; ``seq`` moves when its assets change."""

    id: int
    account: str
    name: str
    model: str | None
    dim: int
    threshold: float | None
    face_index: str | None
    config: str
    created_ms: int
    generation: int
    seq: int
    next_ordinal: int
    media_count: int
    face_count: int


_COLUMNS: Final = ", ".join(LibraryRow.__slots__)


def find_library(connection: sqlite3.Connection, account: str, name: str) -> LibraryRow:
    """Find a library by its name.

    Raises
    ------
    NotFoundError
        The account has none of that name.
    """
    query = f"SELECT {_COLUMNS} FROM library WHERE account = ? AND name = ?"
    row = connection.execute(query, (account, name)).fetchone()
    if row is None:
        raise NotFoundError("library", name, "create_library makes one")
    return _checked(row)


def same_library(connection: sqlite3.Connection, library: LibraryRow) -> LibraryRow:
    """Read a library again; it may have been dropped since.

    Raises
    ------
    NotFoundError
        This incarnation is gone.
    """
    query = f"SELECT {_COLUMNS} FROM library WHERE id = ?"
    row = connection.execute(query, (library.id,)).fetchone()
    if row is None:
        raise NotFoundError("library", library.name, "it was dropped meanwhile")
    return _checked(row)


def list_libraries(connection: sqlite3.Connection, account: str) -> list[LibraryRow]:
    """List the libraries of an account, by name, bytewise."""
    query = f"SELECT {_COLUMNS} FROM library WHERE account = ? ORDER BY name"
    return [_checked(row) for row in connection.execute(query, (account,))]


def library_ids(connection: sqlite3.Connection) -> set[int]:
    """List the incarnations that exist, of all accounts."""
    return {id_ for (id_,) in connection.execute("SELECT id FROM library")}


def insert_library(
    connection: sqlite3.Connection,
    account: str,
    name: str,
    *,
    model: str | None,
    dim: int,
    threshold: float | None,
    face_index: str | None,
    config: str,
    now_ms: int,
) -> None:
    """Add a library, and its account with the first."""
    connection.execute("INSERT OR IGNORE INTO account VALUES (?, ?)", (account, now_ms))
    connection.execute(
        "INSERT INTO library (account, name, model, dim, threshold, face_index, config, created_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (account, name, model, dim, threshold, face_index, config, now_ms),
    )


def delete_library(connection: sqlite3.Connection, library: LibraryRow) -> None:
    """Remove a library and all that is below it but its segments."""
    for table in ("pending_input", "tombstone", "media"):
        connection.execute(f"DELETE FROM {table} WHERE library_id = ?", (library.id,))
    connection.execute("DELETE FROM library WHERE id = ?", (library.id,))


def count_assets(
    connection: sqlite3.Connection, library: LibraryRow, seq: int, *, media: int, faces: int
) -> None:
    """Note that assets changed; those that came took the next ordinals."""
    connection.execute(
        "UPDATE library SET seq = ?, next_ordinal = next_ordinal + ?,"
        " media_count = media_count + ?, face_count = face_count + ? WHERE id = ?",
        (seq, max(media, 0), media, faces, library.id),
    )


def list_segments(connection: sqlite3.Connection, library: LibraryRow) -> list[Segment]:
    """List the segments of a library's generation, oldest first."""
    query = (
        "SELECT id, number, committed_bytes FROM segment"
        " WHERE library_id = ? AND generation = ? ORDER BY number"
    )
    return [
        _segment(library, *row)
        for row in connection.execute(query, (library.id, library.generation))
    ]


def open_segment(connection: sqlite3.Connection, library: LibraryRow) -> Segment | None:
    """Find the segment that appends go to; ``None`` when there is none that takes more."""
    query = (
        "SELECT id, number, committed_bytes FROM segment WHERE library_id = ? AND generation = ?"
        " AND NOT sealed ORDER BY number DESC LIMIT 1"
    )
    row = connection.execute(query, (library.id, library.generation)).fetchone()
    return None if row is None else _segment(library, *row)


def new_segment(connection: sqlite3.Connection, library: LibraryRow) -> Segment:
    """Enter a segment that holds nothing yet; its file is the caller's."""
    number = connection.execute(
        "SELECT coalesce(max(number) + 1, 0) FROM segment WHERE library_id = ? AND generation = ?",
        (library.id, library.generation),
    ).fetchone()[0]
    cursor = connection.execute(
        "INSERT INTO segment (library_id, generation, number, committed_bytes, sealed)"
        " VALUES (?, ?, ?, 0, 0)",
        (library.id, library.generation, number),
    )
    return _segment(library, cursor.lastrowid or 0, number, 0)


def extend_segment(
    connection: sqlite3.Connection, segment: Segment, codes: NDArray[np.int8]
) -> None:
    """Enter codes that were made durable after the committed ones."""
    last_number = segment.committed_bytes // segment.block_bytes
    last = read_blocks(connection, segment, last_number, last_number).get(last_number)
    connection.executemany(
        "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?)",
        [
            (segment.id, number, block.length, block.crc32)
            for number, block in extend_blocks(segment, last, codes)
        ],
    )
    connection.execute(
        "UPDATE segment SET committed_bytes = committed_bytes + ? WHERE id = ?",
        (codes.nbytes, segment.id),
    )


def seal_segment(connection: sqlite3.Connection, segment: Segment) -> None:
    """Let no more be appended to a segment."""
    connection.execute("UPDATE segment SET sealed = 1 WHERE id = ?", (segment.id,))


def delete_segments(connection: sqlite3.Connection, library: LibraryRow) -> None:
    """Forget the segments of a library; their files are the caller's."""
    connection.execute(
        "DELETE FROM block WHERE segment_id IN (SELECT id FROM segment WHERE library_id = ?)",
        (library.id,),
    )
    connection.execute("DELETE FROM segment WHERE library_id = ?", (library.id,))


def read_blocks(
    connection: sqlite3.Connection, segment: Segment, first: int, last: int
) -> dict[int, Block]:
    """Read the entries of blocks `first` to `last`, both included, by number."""
    query = (
        "SELECT number, length, crc32 FROM block WHERE segment_id = ? AND number BETWEEN ? AND ?"
    )
    rows = connection.execute(query, (segment.id, first, last))
    return {number: Block(length, crc32) for number, length, crc32 in rows}


def named_segment_files(connection: sqlite3.Connection) -> set[str]:
    """List the files that the catalog speaks of, of all libraries."""
    query = "SELECT library_id, generation, number FROM segment"
    rows = connection.execute(query)
    return {f"{library}-{generation}-{number}.vec" for library, generation, number in rows}


def _checked(row: tuple[object, ...]) -> LibraryRow:
    library = LibraryRow(*row)  # type: ignore[arg-type]  # STRICT columns; the ranges below
    if not 1 <= library.dim <= MAX_DIM or library.face_index not in (None, "active", "deactive"):
        raise StoreCorrupt(
            f"library {library.name!r}: the catalog says dim {library.dim!r}, face index "
            f"{library.face_index!r}; other libraries of the store are not affected"
        )
    return library


def _segment(library: LibraryRow, id_: int, number: int, committed_bytes: int) -> Segment:
    segment = Segment(
        id=id_,
        library_id=library.id,
        library_name=library.name,
        generation=library.generation,
        number=number,
        model=library.model,
        dim=library.dim,
        committed_bytes=committed_bytes,
    )
    if committed_bytes % library.dim or not 0 <= committed_bytes <= MAX_INT64 // 2:
        raise segment.corrupt(f"the catalog says {committed_bytes} committed bytes")
    return segment
