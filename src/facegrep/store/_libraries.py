"""Rows of libraries in the catalog."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from facegrep._errors import NotFoundError, StoreCorrupt
from facegrep.store._audit import note_change
from facegrep.store._checksum import checked, checksum, int64, with_checksum
from facegrep.store._people_rows import forget_all_told

if TYPE_CHECKING:
    import sqlite3

MAX_DIM: Final = 4096


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A library, as the catalog has it.

    Attributes
    ----------
    id
        Its incarnation.
    recognition
        Ids of the recognition libraries that it lists, with commas between.
    ttl_ms
        How long an asset is kept after it was added; ``None``: for ever.
    generation
        Moves when all faces go at once.
    seq, erased_seq
        The commits that last changed its assets, and last overwrote or moved vectors.
    digest
        The sum of the hashes of its media, modulo 2**64, as an int64.
    """

    id: int
    account: str
    name: str
    model: str | None
    dim: int
    threshold: float | None
    face_index: str | None
    config: str
    recognition: str
    created_ms: int
    ttl_ms: int | None
    generation: int
    seq: int
    erased_seq: int
    next_ordinal: int
    media_count: int
    face_count: int
    digest: int

    @property
    def recognition_ids(self) -> list[str]:
        """The ids of the recognition libraries that it lists."""
        return self.recognition.split(",") if self.recognition else []

    def expired_until_ms(self, now_ms: int) -> int:
        """Return which assets count as gone by now: those whose ``added_ms`` is this or less."""
        return _NOTHING_EXPIRES if self.ttl_ms is None else now_ms - self.ttl_ms


_NOTHING_EXPIRES: Final = -(2**63)

_NAMES: Final = LibraryRow.__slots__
_COLUMNS: Final = ", ".join((*_NAMES, "checksum"))
_UPDATE: Final = (
    f"UPDATE library SET {', '.join(f'{name} = ?' for name in _NAMES[1:])}, checksum = ?"
    " WHERE id = ?"
)


def find_library(connection: sqlite3.Connection, account: str, name: str) -> LibraryRow:
    """Find a library by its name.

    Raises
    ------
    NotFoundError
        The account has none of that name.
    StoreCorrupt
        Its row is damaged.
    """
    query = f"SELECT {_COLUMNS} FROM library WHERE account = ? AND name = ?"
    row = connection.execute(query, (account, name)).fetchone()
    if row is None:  # so says the index, which has no checksums; libraries are few
        query = f"SELECT {_COLUMNS} FROM library NOT INDEXED WHERE account = ? AND name = ?"
        row = connection.execute(query, (account, name)).fetchone()
    if row is None:
        raise NotFoundError("library", name, "create_library makes one")
    library = _checked(row)
    if (library.account, library.name) != (account, name):
        raise _damaged_index()
    return library


def same_library(connection: sqlite3.Connection, library: LibraryRow) -> LibraryRow:
    """Read a library again; it may have been dropped since.

    Raises
    ------
    NotFoundError
        This incarnation is gone.
    StoreCorrupt
        Its row is damaged.
    """
    row = library_by_id(connection, library.id)
    if row is None:
        raise NotFoundError("library", library.name, "it was dropped meanwhile")
    return row


def library_by_id(connection: sqlite3.Connection, library_id: int) -> LibraryRow | None:
    """Find a library by its incarnation."""
    query = f"SELECT {_COLUMNS} FROM library WHERE id = ?"
    row = connection.execute(query, (library_id,)).fetchone()
    return None if row is None else _checked(row)


def list_libraries(connection: sqlite3.Connection, account: str) -> list[LibraryRow]:
    """List the libraries of an account, by name, bytewise."""
    query = f"SELECT {_COLUMNS} FROM library WHERE account = ?"
    found = [_checked(row) for row in connection.execute(query, (account,))]
    # Either way alone leaves out a library silently: the index or the row can be damaged.
    query = "SELECT id FROM library NOT INDEXED WHERE account = ?"  # the index holds ids, too
    ids = sorted(id_ for (id_,) in connection.execute(query, (account,)))
    if ids != sorted(row.id for row in found):
        raise _damaged_index()
    return sorted(found, key=lambda row: row.name.encode())


def library_ids(connection: sqlite3.Connection) -> set[int]:
    """List the incarnations that exist, of all accounts."""
    return {id_ for (id_,) in connection.execute("SELECT id FROM library NOT INDEXED")}


def list_models(connection: sqlite3.Connection) -> list[str]:
    """List the models of the libraries of all accounts."""
    query = "SELECT DISTINCT model FROM library NOT INDEXED WHERE model IS NOT NULL ORDER BY model"
    return [model for (model,) in connection.execute(query)]


def enter_account(connection: sqlite3.Connection, account: str, now_ms: int) -> None:
    """Enter an account, unless it is there."""
    row = with_checksum((account, now_ms))
    connection.execute("INSERT OR IGNORE INTO account VALUES (?, ?, ?)", row)


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
    recognition: str = "",
    ttl_ms: int | None = None,
    actor: str | None = None,
) -> None:
    """Add a library, and its account with the first; the audit says so."""
    enter_account(connection, account, now_ms)
    values = (account, name, model, dim, threshold, face_index, config, recognition)
    counted = (*values, now_ms, ttl_ms, 0, 0, 0, 0, 0, 0, 0)
    cursor = connection.execute(
        f"INSERT INTO library ({', '.join(_NAMES[1:])}, checksum)"
        f" VALUES ({', '.join('?' * len(_NAMES))})",
        (*counted, 0),
    )
    # The checksum covers the number that SQLite chose.
    library = LibraryRow(cursor.lastrowid or 0, *counted)
    write_library(connection, library)
    note_change(connection, library, "create_library", actor, details={"ttl_ms": ttl_ms})


def write_library(connection: sqlite3.Connection, library: LibraryRow) -> None:
    """Write a row of a library that exists."""
    id_, *others = values = dataclasses.astuple(library)
    connection.execute(_UPDATE, (*others, checksum(values), id_))


def delete_library(connection: sqlite3.Connection, library: LibraryRow) -> None:
    """Remove a library and all that is below it but its segments."""
    forget_all_told(connection, library.id)
    for table in ("track", "video", "pending_input", "tombstone", "media"):
        connection.execute(f"DELETE FROM {table} WHERE library_id = ?", (library.id,))
    connection.execute("DELETE FROM library WHERE id = ?", (library.id,))


def count_assets(
    connection: sqlite3.Connection,
    library: LibraryRow,
    seq: int,
    *,
    media: int = 0,
    faces: int = 0,
    digest: int = 0,
) -> LibraryRow:
    """Note that assets changed; those that came took the next ordinals.

    Parameters
    ----------
    library
        As it is in this transaction.
    media, faces, digest
        What is added to each, or taken away.
    """
    changed = dataclasses.replace(
        library,
        seq=seq,
        next_ordinal=library.next_ordinal + max(media, 0),
        media_count=library.media_count + media,
        face_count=library.face_count + faces,
        digest=int64(library.digest + digest),
    )
    write_library(connection, changed)
    return changed


def _checked(row: tuple[object, ...]) -> LibraryRow:
    name = str(row[2])
    *values, _ = checked(row, "library", name)
    library = LibraryRow(*values)  # type: ignore[arg-type]  # STRICT columns; the ranges below
    if not 1 <= library.dim <= MAX_DIM or library.face_index not in (None, "active", "deactive"):
        raise StoreCorrupt(
            f"library {name!r}: the catalog says dim {library.dim!r}, face index "
            f"{library.face_index!r}; other libraries of the store are not affected",
            library=name,
        )
    return library


def _damaged_index() -> StoreCorrupt:
    return StoreCorrupt("catalog.db: the index of libraries by name is damaged; restore a backup")
