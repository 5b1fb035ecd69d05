"""A row that is not what was written, or not there, is an error and never an answer."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facegrep
from facegrep.store import _tables
from facegrep.store._assets import MediaRow
from facegrep.store._checksum import checksum
from facegrep.store._media_rows import checked_media

DIM = 8
ROWS = 12
CHANGES = [
    "{0} + 1",
    "{0} + 1000",
    "{0} || 'x'",
    "CAST(substr({0}, 2) AS BLOB)",
    "NULL",
    "7",
    "'x'",
    "x'00'",
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The libraries `big` and `other`, each with a deleted asset, an untouched one and a token."""
    path = tmp_path / "store"
    vectors = np.random.default_rng(3).uniform(0.1, 1, size=(ROWS, DIM))
    fields: dict[str, list[int | str | None]] = {
        "intField1": list(range(ROWS)),
        "strField1": ["a"] * ROWS,
        "namespace": ["n"] * ROWS,
    }
    with facegrep.open(path) as engine:
        for name in ("big", "other"):
            engine.create_library(name, dim=DIM, threshold=-1.0)
            engine.add_vectors(name, [f"{row:02}" for row in range(ROWS)], vectors, fields)
            engine.update(name, "03", title="title")
            found = engine.search(name, vector=np.ones(DIM))
            engine.answers.put(name, "token", b"c" * 32, b"u" * 32, found.embedding, found)
            engine.delete(name, ["01"])
    return path


def change(store: Path, statement: str, file: str = "catalog.db") -> int:
    connection = sqlite3.connect(store / file)
    try:
        count = connection.execute(statement).rowcount
        connection.commit()
    finally:
        connection.close()
    return count


def columns_of(table: str, file: str = "catalog.db") -> list[str]:
    schema = _tables.CATALOG if file == "catalog.db" else _tables.SESSION
    connection = sqlite3.connect(":memory:")
    for statement in schema.statements:
        connection.execute(statement)
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    return names


def answers_of(engine: facegrep.Engine, name: str) -> object:
    """All that can be asked of a library."""
    library = engine.library(name)
    found = engine.search(name, vector=np.ones(DIM), limit=100)
    media = engine.media(name, vectors=True)
    faces = [(m.media_id, [f.code.tobytes() for f in m.faces if f.code is not None]) for m in media]
    said = [(m.fields, m.namespace, m.title, m.content_sha256, m.utc_create_ms) for m in media]
    job = [m.job for m in media]
    hits = [(hit.media_id, hit.score) for hit in found.hits]
    return library, hits, found.total, faces, said, job


def require_no_other_answer(store: Path, before: object, other: object) -> None:
    """`big` fails and says so, or answers as ever; `other` answers as ever."""
    with facegrep.open(store, readonly=True) as engine:
        damage = None
        try:
            assert answers_of(engine, "big") == before
        except facegrep.StoreCorrupt as error:
            damage = error
        assert damage is None or (damage.library == "big" and "'big'" in str(damage))
        assert answers_of(engine, "other") == other


@pytest.fixture
def before(store: Path) -> tuple[object, object]:
    with facegrep.open(store) as engine:
        return answers_of(engine, "big"), answers_of(engine, "other")


@pytest.mark.parametrize("column", columns_of("media"))
def test_no_changed_value_of_an_asset_becomes_an_answer(
    store: Path, before: tuple[object, object], column: str
) -> None:
    big = "(SELECT id FROM library WHERE name = 'big')"
    tried = 0
    for template in CHANGES:
        copy = store.with_name("copy")
        with contextlib.suppress(sqlite3.Error), copied(store, copy):
            value = template.format(column)
            where = f"library_id = {big} AND ordinal = 5 AND {column} IS NOT {value}"
            if change(copy, f"UPDATE media SET {column} = {value} WHERE {where}"):
                tried += 1
                with facegrep.open(copy, readonly=True) as engine:
                    if column != "library_id":
                        with pytest.raises(facegrep.StoreCorrupt, match="'big'") as caught:
                            engine.search("big", vector=np.ones(DIM))
                        assert caught.value.library == "big"
                require_no_other_answer(copy, *before)
    assert tried


@contextlib.contextmanager
def copied(store: Path, copy: Path) -> Iterator[None]:
    shutil.copytree(store, copy)
    try:
        yield
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize("table", ["library", "segment", "block", "tombstone", "account"])
def test_no_changed_value_around_an_asset_becomes_an_answer(
    store: Path, before: tuple[object, object], table: str
) -> None:
    big = "(SELECT id FROM library WHERE name = 'big')"
    rows = {
        "library": "name = 'big'",
        "segment": f"library_id = {big}",
        "block": f"segment_id = (SELECT id FROM segment WHERE library_id = {big})",
        "tombstone": f"library_id = {big}",
        "account": "true",
    }
    for column in columns_of(table):
        if (table, column) == ("tombstone", "library_id"):
            continue  # it would be a damaged row of the other
        for template in CHANGES:
            copy = store.with_name("copy")
            with contextlib.suppress(sqlite3.Error), copied(store, copy):
                change(
                    copy,
                    f"UPDATE {table} SET {column} = {template.format(column)} WHERE {rows[table]}",
                )
                with contextlib.suppress(facegrep.NotFoundError):  # the name was what changed
                    require_no_other_answer(copy, *before)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM media WHERE library_id = {} AND ordinal = 5",
        "DELETE FROM media WHERE library_id = {}",
        "INSERT INTO media SELECT library_id, 1, media_id || 'x', {} FROM media"
        " WHERE library_id = {} AND ordinal = 5",
    ],
)
def test_a_row_that_vanished_or_came_by_itself_is_found(store: Path, statement: str) -> None:
    big = "(SELECT id FROM library WHERE name = 'big')"
    others = ", ".join(columns_of("media")[3:])
    marks = statement.count("{}")
    change(store, statement.format(*([big] if marks == 1 else [others, big])))
    with facegrep.open(store) as engine:
        for _ in range(2):
            with pytest.raises(facegrep.StoreCorrupt, match="'big'") as caught:
                engine.search("big", vector=np.ones(DIM))
            assert caught.value.library == "big"
        assert engine.search("other", vector=np.ones(DIM)).total == ROWS - 1


def test_a_deleted_row_that_came_back_is_found(store: Path) -> None:
    copy = store.with_name("copy")
    with copied(store, copy):
        with facegrep.open(store) as engine:
            engine.delete("big", ["05"])
        big = "(SELECT id FROM library WHERE name = 'big')"
        connection = sqlite3.connect(store / "catalog.db")
        connection.execute("ATTACH ? AS copy", (str(copy / "catalog.db"),))
        query = f"SELECT * FROM copy.media WHERE library_id = {big} AND ordinal = 5"
        connection.execute(f"INSERT INTO main.media {query}")
        connection.commit()
        connection.close()
    with facegrep.open(store) as engine, pytest.raises(facegrep.StoreCorrupt, match="'big'"):
        engine.search("big", vector=np.ones(DIM))


def test_an_index_in_memory_sees_a_row_that_vanished_before_the_next_commit(store: Path) -> None:
    with facegrep.open(store) as engine:
        assert engine.search("big", vector=np.ones(DIM)).total == ROWS - 1
        big = "(SELECT id FROM library WHERE name = 'big')"
        engine.delete("big", ["07"])
        change(store, f"DELETE FROM tombstone WHERE library_id = {big}")
        with pytest.raises(facegrep.StoreCorrupt, match="'big'"):
            engine.search("big", vector=np.ones(DIM))


@pytest.mark.parametrize("column", columns_of("answer", "session.db"))
def test_no_changed_value_of_a_frozen_answer_becomes_an_answer(store: Path, column: str) -> None:
    for template in CHANGES:
        copy = store.with_name("copy")
        with contextlib.suppress(sqlite3.Error), copied(store, copy):
            value = template.format(column)
            where = f"{column} IS NOT {value} AND library_id = (SELECT min(library_id) FROM answer)"
            change(copy, f"UPDATE answer SET {column} = {value} WHERE {where}", "session.db")
            with facegrep.open(copy) as engine:
                damage = None
                try:
                    kept = engine.answers.get("big", "token")
                    assert kept is None or len(kept.page(0, 100).hits) == ROWS - 1
                    embedded = engine.answers.embedding_of("big", "token", b"u" * 32)
                    assert embedded is None or (embedded == 1).all()
                except facegrep.StoreCorrupt as error:
                    damage = error
                assert damage is None or "session.db" in str(damage)


@pytest.mark.parametrize("column", columns_of("answer", "session.db"))
def test_an_erasure_empties_a_damaged_answer_and_leaves_its_token_damaged(
    store: Path, column: str
) -> None:
    """Nobody can say whose it was, or whether it ever was: neither kept nor unknown."""
    for template in CHANGES:
        copy = store.with_name("copy")
        with contextlib.suppress(sqlite3.Error), copied(store, copy):
            value = template.format(column)
            change(copy, f"UPDATE answer SET {column} = {value}", "session.db")
            with facegrep.open(copy) as engine:
                damaged = not engine.verify().ok
                engine.erase("big", ["02"])
                if damaged and column not in ("account", "library_id", "token"):  # the key is lost
                    with pytest.raises(facegrep.StoreCorrupt, match=r"session\.db"):
                        engine.answers.get("big", "token")
            with contextlib.closing(sqlite3.connect(copy / "session.db")) as connection:
                rows = connection.execute("SELECT * FROM answer").fetchall()
            for row in rows:
                assert checksum(row[:-1]) == row[-1] or not any(row[-6:-1])


def test_an_asset_can_be_deleted_and_told_anew_and_adds_up(store: Path) -> None:
    with facegrep.open(store) as engine, facegrep.open(store, readonly=True) as reader:
        for step in range(30):
            media_id = f"{(step * 7) % ROWS:02}"
            with contextlib.suppress(facegrep.NotFoundError):
                engine.update("big", media_id, title=str(step))
            engine.delete("big", [f"{(step * 5) % ROWS:02}"])
            engine.add_vectors("big", [f"new{step}"], np.full((1, DIM), step + 1))
            one = engine.search("big", vector=np.ones(DIM), limit=100)
            two = reader.search("big", vector=np.ones(DIM), limit=100)
            assert one.media_ids == two.media_ids
    with facegrep.open(store) as engine:
        assert engine.search("big", vector=np.ones(DIM), limit=100).media_ids == one.media_ids


@pytest.mark.parametrize("misread", ["", "text", b"", b"blob", 1.5, float("nan"), None, 2**63 - 1])
@pytest.mark.parametrize("column", ["segment_id", "first_slot", "checksum", "ordinal"])
def test_a_row_whose_types_a_damaged_header_changed_fails_its_checksum(
    store: Path, column: str, misread: Any
) -> None:
    with contextlib.closing(sqlite3.connect(store / "catalog.db")) as connection:
        rows = connection.execute("SELECT * FROM media WHERE ordinal = 5").fetchall()
    row = MediaRow(*rows[0])
    assert checked_media(row, "big") == row
    with pytest.raises(facegrep.StoreCorrupt):
        checked_media(row._replace(**{column: misread}), "big")
