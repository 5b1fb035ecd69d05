"""Rows of recognition libraries, their entities and samples: read with proof, and written.

A library's row has the sum of its entities' checksums, an entity's that of its samples'. So a row
that vanished, or that a damaged index hides, is found wherever all rows below one are read; what is
not found by its key is looked for among all of them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from facegrep._errors import ModelMismatchError, NotFoundError, StoreCorrupt
from facegrep.store._checksum import checked, checksum, int64
from facegrep.store._faces import FACE_BYTES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence


class RecognitionRow(NamedTuple):
    """A recognition library: its columns in table ``recognition``, in their order.

    Attributes
    ----------
    id, lib_id
        Its incarnation, never reused, which stands for its account in every key below it; and the
        32 hex digits that callers know it by.
    seq
        The commit that last changed anything in it.
    next_number
        Entities and samples are numbered as they come.
    digest
        The sum of its entities' checksums, modulo 2**64, as an int64.
    """

    id: int
    account: str
    lib_id: str
    name: str
    description: str
    model: str | None
    dim: int
    created_ms: int
    seq: int
    next_number: int
    entity_count: int
    digest: int
    checksum: int = 0


class EntityRow(NamedTuple):
    """A person: the columns of table ``recognition_entity``; `digest` is that of its samples."""

    recognition_id: int
    entity_id: str
    number: int
    name: str
    info: str
    created_ms: int
    sample_count: int
    digest: int
    checksum: int = 0


class SampleRow(NamedTuple):
    """A face of a person: the columns of table ``recognition_sample``, in their order.

    Attributes
    ----------
    source
        The path or URL that it came from.
    content_sha256
        32 bytes; of the picture's bytes, or of a vector's code.
    face_data
        As of a medium's face (`_faces.py`); ``None`` when it came as a vector.
    code
        int8 ``(dim,)``.
    """

    recognition_id: int
    entity_id: str
    sample_id: str
    number: int
    created_ms: int
    source: str | None
    content_sha256: bytes
    face_data: bytes | None
    precision: str | None
    code: bytes
    checksum: int = 0


_Row = TypeVar("_Row", RecognitionRow, EntityRow, SampleRow)

ENTITY: Final = "recognition_entity"
SAMPLE: Final = "recognition_sample"


def list_recognition(connection: sqlite3.Connection, account: str) -> list[RecognitionRow]:
    """List the recognition libraries of an account, in the order of making."""
    query = "SELECT * FROM recognition WHERE +account = ? ORDER BY id"
    found = [_recognition(row) for row in connection.execute(query, (account,))]
    # Rows and index, either of which may have lost one; there are few.
    query = "SELECT id FROM recognition INDEXED BY sqlite_autoindex_recognition_1 WHERE account = ?"
    indexed = sorted(id_ for (id_,) in connection.execute(query, (account,)))
    if indexed != [row.id for row in found]:
        raise StoreCorrupt(
            "catalog.db: the recognition libraries are not those that its index names; restore a "
            "backup"
        )
    return found


def find_recognition(connection: sqlite3.Connection, account: str, lib_id: str) -> RecognitionRow:
    """Find one by the id that callers know.

    Raises
    ------
    NotFoundError
        The account has none of that id.
    """
    for row in list_recognition(connection, account):
        if row.lib_id == lib_id:
            return row
    hint = "create_recognition_library makes one"
    raise NotFoundError("recognition library", lib_id, hint)


def require_recognition(
    connection: sqlite3.Connection,
    account: str,
    lib_ids: Iterable[str],
    model: str | None,
    dim: int,
) -> None:
    """Make sure that a library of this model can list these.

    Raises
    ------
    NotFoundError
        The account does not have one of them.
    ModelMismatchError
        One holds embeddings that do not compare.
    """
    for lib_id in lib_ids:
        row = find_recognition(connection, account, lib_id)
        if (row.model, row.dim) != (model, dim):
            raise ModelMismatchError(
                f"recognition library {lib_id!r} holds faces of {row.model or 'no model'} and "
                f"length {row.dim}; expected {model or 'no model'} and length {dim}"
            )


def list_entities(connection: sqlite3.Connection, library: RecognitionRow) -> list[EntityRow]:
    """List all entities of a library, in the order of making.

    Raises
    ------
    StoreCorrupt
        They are not those that were written.
    """
    query = f"SELECT * FROM {ENTITY} WHERE recognition_id = ?"
    cursor = connection.execute(query, (library.id,))
    rows = [EntityRow(*checked(row, ENTITY)) for row in cursor]
    _require_all(
        rows, library.entity_count, library.digest, f"recognition library {library.name!r}"
    )
    return sorted(rows, key=_number)


def find_entity(
    connection: sqlite3.Connection, library: RecognitionRow, entity_id: str
) -> EntityRow | None:
    """Find one entity."""
    query = f"SELECT * FROM {ENTITY} WHERE recognition_id = ? AND entity_id = ?"
    row = connection.execute(query, (library.id, entity_id)).fetchone()
    if row is not None:
        found = EntityRow(*checked(row, ENTITY))
        if (found.recognition_id, found.entity_id) != (library.id, entity_id):
            raise _not_as_written(f"recognition library {library.name!r}")
        return found
    there = list_entities(connection, library)
    return next((one for one in there if one.entity_id == entity_id), None)


def require_entity(
    connection: sqlite3.Connection, library: RecognitionRow, entity_id: str
) -> EntityRow:
    """Find one entity.

    Raises
    ------
    NotFoundError
        The library has none of that id.
    """
    found = find_entity(connection, library, entity_id)
    if found is None:
        raise NotFoundError("entity", entity_id, "create_entity makes one")
    return found


def list_samples(
    connection: sqlite3.Connection, library: RecognitionRow, entity: EntityRow
) -> list[SampleRow]:
    """List all samples of an entity, in the order of adding.

    Raises
    ------
    StoreCorrupt
        They are not those that were written.
    """
    query = f"SELECT * FROM {SAMPLE} WHERE recognition_id = ? AND entity_id = ?"
    cursor = connection.execute(query, (library.id, entity.entity_id))
    rows = [_sample(row, library) for row in cursor]
    whose = f"an entity of recognition library {library.name!r}"
    _require_all(rows, entity.sample_count, entity.digest, whose)
    return sorted(rows, key=_number)


def list_all_samples(
    connection: sqlite3.Connection, library: RecognitionRow
) -> list[tuple[EntityRow, list[SampleRow]]]:
    """List the entities of a library with their samples: 2 us a row.

    Raises
    ------
    StoreCorrupt
        They are not those that were written.
    """
    entities = list_entities(connection, library)
    samples: defaultdict[str, list[SampleRow]] = defaultdict(list)
    query = f"SELECT * FROM {SAMPLE} WHERE recognition_id = ?"
    for values in connection.execute(query, (library.id,)):
        row = _sample(values, library)
        samples[row.entity_id].append(row)
    found = []
    for entity in entities:
        rows = samples.pop(entity.entity_id, [])
        whose = f"an entity of recognition library {library.name!r}"
        _require_all(rows, entity.sample_count, entity.digest, whose)
        found.append((entity, sorted(rows, key=_number)))
    if samples:
        raise _not_as_written(f"recognition library {library.name!r}")
    return found


def insert_recognition(connection: sqlite3.Connection, row: RecognitionRow) -> RecognitionRow:
    """Add a library; returns it with the number that SQLite chose."""
    values = ", ".join("?" * len(row))
    cursor = connection.execute(f"INSERT INTO recognition VALUES ({values})", (None, *row[1:]))
    return write_recognition(connection, row._replace(id=cursor.lastrowid or 0))


def write_recognition(connection: sqlite3.Connection, row: RecognitionRow) -> RecognitionRow:
    """Write a row that exists."""
    row = sealed(row)
    names = ", ".join(f"{name} = ?" for name in row._fields[1:])
    connection.execute(f"UPDATE recognition SET {names} WHERE id = ?", (*row[1:], row.id))
    return row


def insert_entity(
    connection: sqlite3.Connection, library: RecognitionRow, row: EntityRow
) -> tuple[RecognitionRow, EntityRow]:
    """Add an entity; returns both as they are then."""
    row = sealed(row)
    connection.execute(f"INSERT INTO {ENTITY} VALUES ({', '.join('?' * len(row))})", row)
    changed = library._replace(
        entity_count=library.entity_count + 1, digest=int64(library.digest + row.checksum)
    )
    return write_recognition(connection, changed), row


def insert_sample(
    connection: sqlite3.Connection, library: RecognitionRow, entity: EntityRow, row: SampleRow
) -> tuple[SampleRow, RecognitionRow, EntityRow]:
    """Add a sample of an entity; returns it as it is stored, and both as they are then."""
    row = sealed(row)
    connection.execute(f"INSERT INTO {SAMPLE} VALUES ({', '.join('?' * len(row))})", row)
    changed = entity._replace(
        sample_count=entity.sample_count + 1, digest=int64(entity.digest + row.checksum)
    )
    return row, *_replace_entity(connection, library, entity, changed)


def delete_samples(
    connection: sqlite3.Connection,
    library: RecognitionRow,
    entity: EntityRow,
    samples: Sequence[SampleRow],
    *,
    with_entity: bool,
) -> RecognitionRow:
    """Remove some samples of an entity, and the entity too if asked; the library as it is then."""
    statement = f"DELETE FROM {SAMPLE} WHERE recognition_id = ? AND entity_id = ? AND sample_id = ?"
    connection.executemany(statement, [sample[:3] for sample in samples])
    if not with_entity:
        gone = sum(sample.checksum for sample in samples)
        changed = entity._replace(
            sample_count=entity.sample_count - len(samples), digest=int64(entity.digest - gone)
        )
        return _replace_entity(connection, library, entity, changed)[0]
    statement = f"DELETE FROM {ENTITY} WHERE recognition_id = ? AND entity_id = ?"
    connection.execute(statement, entity[:2])
    return write_recognition(
        connection,
        library._replace(
            entity_count=library.entity_count - 1, digest=int64(library.digest - entity.checksum)
        ),
    )


def delete_recognition(connection: sqlite3.Connection, library: RecognitionRow) -> None:
    """Remove a library with all that is below it."""
    for table in (SAMPLE, ENTITY):
        connection.execute(f"DELETE FROM {table} WHERE recognition_id = ?", (library.id,))
    connection.execute("DELETE FROM recognition WHERE id = ?", (library.id,))


def sealed(row: _Row) -> _Row:
    """Return a row with its checksum."""
    return row._replace(checksum=checksum(row[:-1]))


def _replace_entity(
    connection: sqlite3.Connection, library: RecognitionRow, old: EntityRow, new: EntityRow
) -> tuple[RecognitionRow, EntityRow]:
    new = sealed(new)
    names = ", ".join(f"{name} = ?" for name in new._fields[2:])
    connection.execute(
        f"UPDATE {ENTITY} SET {names} WHERE recognition_id = ? AND entity_id = ?",
        (*new[2:], *new[:2]),
    )
    changed = library._replace(digest=int64(library.digest + new.checksum - old.checksum))
    return write_recognition(connection, changed), new


def _recognition(row: tuple[object, ...]) -> RecognitionRow:
    return RecognitionRow(*checked(row, "recognition"))  # type: ignore[arg-type]  # STRICT columns


def _sample(row: tuple[object, ...], library: RecognitionRow) -> SampleRow:
    found = SampleRow(*checked(row, SAMPLE))  # type: ignore[arg-type]  # STRICT columns
    values = found.face_data
    if len(found.code) != library.dim or (values is not None and len(values) != FACE_BYTES):
        raise _not_as_written(f"recognition library {library.name!r}")
    return found


def _number(row: EntityRow | SampleRow) -> int:
    return row.number


def _require_all(
    rows: Iterable[EntityRow] | Iterable[SampleRow], count: int, digest: int, whose: str
) -> None:
    checksums = [row.checksum for row in rows]
    if len(checksums) != count or int64(sum(checksums)) != digest:
        raise _not_as_written(whose)


def _not_as_written(whose: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{whose}: its rows are not those that were written; search libraries that do not list it "
        "are not affected, restore a backup"
    )
