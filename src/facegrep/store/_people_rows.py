"""Rows of what users said about the people of a library: which faces are one person.

A row a face that something was said of, with the number of its person: faces of the same number are
one person, faces of different ones are not. The library has a row of its own, with count and sum of
their checksums, so that none vanishes unseen. Numbers are never used again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from facegrep._errors import StoreCorrupt
from facegrep.store._checksum import checked, checksum, int64, with_checksum

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from facegrep.store._libraries import LibraryRow

FaceKey: TypeAlias = tuple[int, int]
"""A face of a library: the ordinal of its asset, and its number there."""

_FACE: Final = "people_face"


class _PeopleRow(NamedTuple):
    """The columns of table ``people``; `digest` is the sum of the faces' checksums."""

    library_id: int
    next_number: int
    face_count: int
    digest: int
    checksum: int = 0


def read_told(connection: sqlite3.Connection, library: LibraryRow) -> dict[FaceKey, int]:
    """Read the person of each face that something was said of.

    Raises
    ------
    StoreCorrupt
        They are not those that were written.
    """
    people = _people(connection, library.id) or _PeopleRow(library.id, 0, 0, 0)
    told: dict[FaceKey, int] = {}
    digest = 0
    rows = connection.execute(f"SELECT * FROM {_FACE} WHERE library_id = ?", (library.id,))
    for row in rows:
        _, ordinal, face_no, person, seal = checked(row, _FACE, library.name)
        told[ordinal, face_no] = person
        digest += seal
    if (len(told), int64(digest)) != (people.face_count, people.digest):
        raise StoreCorrupt(
            f"library {library.name!r}: what was said about its people is not what was written; "
            "searches are not affected, restore a backup",
            library=library.name,
        )
    return told


def next_person(connection: sqlite3.Connection, library: LibraryRow) -> int:
    """Return the number of the next person."""
    people = _people(connection, library.id)
    return 0 if people is None else people.next_number


def write_told(
    connection: sqlite3.Connection, library: LibraryRow, told: Mapping[FaceKey, int]
) -> None:
    """Say of some faces who they are, whatever was said before."""
    _forget(connection, library.id, f"SELECT * FROM {_FACE} WHERE library_id = ?", told)
    rows = [with_checksum((library.id, *face, person)) for face, person in told.items()]
    connection.executemany(f"INSERT INTO {_FACE} VALUES (?, ?, ?, ?, ?)", rows)
    _count(
        connection,
        library.id,
        len(rows),
        sum(checksum(row[:-1]) for row in rows),
        1 + max(told.values(), default=-1),
    )


def forget_told(connection: sqlite3.Connection, library_id: int, ordinals: Iterable[int]) -> None:
    """Take out what was said of the faces of assets, which go or are found anew."""
    query = (
        f"SELECT {_FACE}.* FROM json_each(?2) AS wanted"
        f" CROSS JOIN {_FACE} ON library_id = ?1 AND ordinal = wanted.value"
    )
    _forget(connection, library_id, query, None, json.dumps(list(ordinals)))


def forget_all_told(connection: sqlite3.Connection, library_id: int) -> None:
    """Take out what was said of a library, which goes."""
    for table in (_FACE, "people"):
        connection.execute(f"DELETE FROM {table} WHERE library_id = ?", (library_id,))


def count_told_of_nothing(connection: sqlite3.Connection, library: LibraryRow) -> int:
    """Count rows of faces that do not exist."""
    query = (
        f"SELECT count(*) FROM {_FACE} AS face WHERE library_id = ? AND NOT EXISTS"
        " (SELECT 1 FROM media WHERE media.library_id = face.library_id"
        " AND media.ordinal = face.ordinal AND face.face_no BETWEEN 0 AND media.face_count - 1)"
    )
    return int(connection.execute(query, (library.id,)).fetchone()[0])


def _forget(
    connection: sqlite3.Connection,
    library_id: int,
    query: str,
    faces: Mapping[FaceKey, int] | None,
    *parameters: str,
) -> None:
    rows = connection.execute(query, (library_id, *parameters)).fetchall()
    found = [checked(row, _FACE) for row in rows if faces is None or row[1:3] in faces]
    if found:
        connection.executemany(
            f"DELETE FROM {_FACE} WHERE library_id = ? AND ordinal = ? AND face_no = ?",
            [row[:3] for row in found],
        )
        _count(connection, library_id, -len(found), -sum(row[4] for row in found), 0)


def _count(
    connection: sqlite3.Connection, library_id: int, faces: int, digest: int, least_next: int
) -> None:
    before = _people(connection, library_id) or _PeopleRow(library_id, 0, 0, 0)
    after = (
        library_id,
        max(before.next_number, least_next),
        before.face_count + faces,
        int64(before.digest + digest),
    )
    statement = "INSERT OR REPLACE INTO people VALUES (?, ?, ?, ?, ?)"
    connection.execute(statement, with_checksum(after))


def _people(connection: sqlite3.Connection, library_id: int) -> _PeopleRow | None:
    row = connection.execute("SELECT * FROM people WHERE library_id = ?", (library_id,)).fetchone()
    return None if row is None else _PeopleRow(*checked(row, "people"))
