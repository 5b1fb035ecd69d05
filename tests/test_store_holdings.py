"""Nothing is stored that is not on the one list of what a store holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.engine import _library_index
from facegrep.store import _holdings, _tables
from facegrep.store._holdings import FILES, TABLES, kind_of, tables_of


def tables_in(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = {name for (name,) in connection.execute(query)}
    connection.close()
    return names


def test_every_table_is_on_the_list_and_nothing_else(tmp_path: Path) -> None:
    facegrep.open(tmp_path / "store").close()
    for file in ("catalog.db", "session.db"):
        assert tables_in(tmp_path / "store" / file) == {table.name for table in tables_of(file)}
    assert {table.file for table in TABLES} == {"catalog.db", "session.db"}


def test_every_table_can_be_checked_as_the_list_says() -> None:
    for schema, file in ((_tables.CATALOG, "catalog.db"), (_tables.SESSION, "session.db")):
        connection = sqlite3.connect(":memory:")
        for statement in schema.statements:
            connection.execute(statement)
        for table in tables_of(file):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")]
            assert columns[-1] == {"chain": "hash"}.get(table.check, "checksum"), table.name
        connection.close()


def test_the_list_says_of_everything_what_becomes_of_it() -> None:
    assert all(table.erase for table in TABLES)
    assert all(kind.erase and kind.verify and kind.backup for kind in FILES)


@pytest.mark.parametrize(
    "name", ["holiday.jpg", "v/x", "v/1-2-3.vec.old", "catalog.db-journal", "other.lock", "v/tmp/1"]
)
def test_a_file_that_is_not_ours_is_on_no_list(name: str) -> None:
    assert kind_of(name) is None


def require_listed(path: Path) -> set[str]:
    kinds = set()
    for file in path.rglob("*"):
        if file.is_file():
            kind = kind_of(file.relative_to(path).as_posix())
            assert kind is not None, f"{file.name}: give it a line in {_holdings.__name__}"
            kinds.add(kind.name)
    return kinds


def test_every_file_of_every_operation_is_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_library_index, "MIN_CHANGES", 1)  # 50 faces are worth saving
    path = tmp_path / "store"
    kinds = set()
    vectors = np.random.default_rng(1).normal(size=(50, 8))
    ids = [str(number) for number in range(50)]
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=8, threshold=-1.0)
        engine.add_vectors("lib", ids, vectors)
        found = engine.search("lib", vector=np.ones(8))
        engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, found.embedding, found)
        kinds |= require_listed(path)
        engine.delete("lib", ids[:5])
        engine.verify()
        engine.backup(tmp_path / "copy")
        require_listed(tmp_path / "copy")
        engine.set_retention("lib", 1)
        engine.purge()
        engine.set_retention("lib", None)
        kinds |= require_listed(path)
        engine.erase("lib", ids[5:8])
        engine.erase_person("lib", vector=vectors[9], threshold=0.99, dry_run=False)
        engine.compact("lib", min_dead_share=0)
        kinds |= require_listed(path)
        engine.set_face_index("lib", None)
        kinds |= require_listed(path)
        engine.drop_library("lib")
        kinds |= require_listed(path)
    kinds |= require_listed(path)
    assert kinds == {kind.name for kind in FILES} - {
        _holdings.FETCHED,  # tests/test_engine_fetched.py
        _holdings.UNFINISHED,
    }
