"""A store that an older facegrep made is upgraded in place, and holds what it held."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import facegrep
from facegrep.cli._app import app
from facegrep.store import Store
from facegrep.store._checksum import checksum

STORES = Path(__file__).with_name("data") / "stores"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script that made what is in all of them."""
    spec = importlib.util.spec_from_file_location("make_v1", STORES / "make_v1.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def store(tmp_path: Path, version: int) -> Path:
    """A copy, its token alive again."""
    path, original = tmp_path / "store", STORES / f"v{version}"
    for file in sorted(original.rglob("*.*")):
        copy = path / file.relative_to(original)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    with sql(path / "session.db") as session:
        later_ms = (time.time_ns() // 1_000_000) + 3_600_000
        session.execute("UPDATE answer SET expires_ms = ?", (later_ms,))
        if version > 1:
            (row,) = session.execute("SELECT * FROM answer").fetchall()
            session.execute("UPDATE answer SET checksum = ?", (checksum(row[:-1]),))
    return path


@contextlib.contextmanager
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def contents(path: Path) -> dict[str, bytes]:
    names = ("catalog.db", "session.db")
    return {name: (path / name).read_bytes() for name in names}


def require_everything(path: Path, made: ModuleType) -> None:
    left = [*made.PEOPLE[:4], *made.PEOPLE[7:]]
    rows = made.vectors()
    with facegrep.open(path) as engine:
        press = engine.library("press")
        assert (press.media_count, press.face_count) == (len(left), 2 * len(left))
        assert (press.threshold, press.config) == (0.9, "kept as it was")
        for number, person in enumerate(made.PEOPLE):
            if person not in left:
                with pytest.raises(facegrep.NotFoundError):
                    engine.get("press", person)
                continue
            media = engine.get("press", person, vectors=True)
            assert media.fields["intField1"] == number
            assert media.fields["strField1"] == f"série {number // 4}"
            assert media.namespace == ("paris" if number >= 6 else None)
            assert media.utc_create_ms == 1_600_000_000_000 + number
            codes = facegrep._core.quantize(rows[2 * number : 2 * number + 2])
            found = [face.code for face in media.faces]
            np.testing.assert_array_equal(np.array(found), codes)
            assert engine.search("press", vector=rows[2 * number]).media_ids == [person]
        assert engine.get("press", made.PEOPLE[1]).title == "a title"
        every = engine.search("press", vector=rows[0], threshold=-1.0)
        assert every.total == len(left)
        again = engine.add_vectors(
            "press",
            [left[0]] * 2,
            rows[:2],
            {"intField1": [0] * 2, "strField1": ["série 0"] * 2, "namespace": [None] * 2},
        )
        assert (again.added, again.unchanged) == (0, 1)
        kept = engine.answers.get("press", "token-1")
        assert kept is not None
        assert kept.condition == b"c" * 32
        assert [hit.media_id for hit in kept.page(0, 10).hits] == [made.PEOPLE[2]]
        assert engine.library("waiting").media_count == 1
        with engine._shared.store.catalog.read() as connection:
            query = "SELECT content FROM pending_input"
            assert connection.execute(query).fetchall() == [(made.PICTURE.getvalue(),)]
        other = engine.for_account("other")
        assert other.search("press", vector=np.ones(4)).media_ids == ["only"]


def test_everything_in_it_is_found(store: Path, made: ModuleType) -> None:
    for _ in range(2):  # upgraded, and opened again
        require_everything(store, made)
    with facegrep.open(store, readonly=True) as engine:
        assert engine.library("press").media_count == 9


def test_it_takes_more_and_no_number_comes_back(store: Path, made: ModuleType) -> None:
    with sql(store / "catalog.db") as catalog:  # as if newer ones had gone
        catalog.execute("UPDATE sqlite_sequence SET seq = seq + 5")
        (gone,) = catalog.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'library'"
        ).fetchone()
    with facegrep.open(store) as engine:
        engine.add_vectors("press", ["new", made.PEOPLE[4]], made.vectors()[8:10])
        assert engine.search("press", vector=made.vectors()[9]).media_ids == [made.PEOPLE[4]]
        engine.create_library("newer", dim=4)
        with engine._shared.store.catalog.read() as connection:
            query = "SELECT max(id) FROM library"
            assert connection.execute(query).fetchone() == (gone + 1,)
    require_the_schema_of_a_new_store(store)


def require_the_schema_of_a_new_store(store: Path) -> None:
    with facegrep.open(store.with_name("new")):
        pass
    for name in ("catalog.db", "session.db"):
        with sql(store / name) as upgraded, sql(store.with_name("new") / name) as new:
            query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"
            assert upgraded.execute(query).fetchall() == new.execute(query).fetchall()
            assert upgraded.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert upgraded.execute("PRAGMA foreign_key_check").fetchall() == []


def test_readonly_says_that_it_must_be_upgraded_and_changes_nothing(
    store: Path, version: int
) -> None:
    before = contents(store)
    with pytest.raises(facegrep.StoreVersionError, match="once without readonly") as caught:
        facegrep.open(store, readonly=True)
    assert (caught.value.found, caught.value.supported) == (version, 3)
    assert contents(store) == before


def test_one_with_foreign_tables_is_refused_unchanged(store: Path) -> None:
    with sql(store / "catalog.db") as catalog:
        catalog.execute("CREATE TABLE more (x)")
    before = contents(store)
    with pytest.raises(facegrep.StoreCorrupt, match="did not make"):
        facegrep.open(store)
    assert contents(store) == before


CHILD = """
import os, signal, sys
import facegrep
from facegrep.store import _upgrade

count = int(sys.argv[2])
sealed = _upgrade.with_checksum

def counting(values):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return sealed(values)

_upgrade.with_checksum = counting
facegrep.open(sys.argv[1]).close()
"""


@pytest.mark.parametrize("version", [1], indirect=True)
@pytest.mark.parametrize("rows", [0, 3, 9, 12, 13])
def test_a_kill_in_the_middle_leaves_a_store_that_is_upgraded_next_time(
    store: Path, made: ModuleType, rows: int
) -> None:
    command = [sys.executable, "-c", CHILD, str(store), str(rows)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    require_everything(store, made)


KILLED_AT = """
import os, signal, sys
import facegrep
from facegrep.store import _upgrade

at = int(sys.argv[2])
upgrade = _upgrade._upgrade_from_2

class Counting:
    def __init__(self, connection):
        self.connection = connection
    def __getattr__(self, name):
        global at
        at -= 1
        if at < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self.connection, name)

_upgrade._upgrade_from_2 = lambda connection, schema: upgrade(Counting(connection), schema)
facegrep.open(sys.argv[1]).close()
"""


@pytest.mark.parametrize("version", [2], indirect=True)
@pytest.mark.parametrize("statements", [0, 1, 3, 5, 7, 9])
def test_a_kill_between_two_statements_leaves_a_store_that_is_upgraded_next_time(
    store: Path, made: ModuleType, statements: int
) -> None:
    command = [sys.executable, "-c", KILLED_AT, str(store), str(statements)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    require_everything(store, made)


@pytest.mark.parametrize("version", [2], indirect=True)
def test_what_version_2_brought_is_there_as_well(store: Path, made: ModuleType) -> None:
    with sql(store / "catalog.db") as catalog:
        audit = catalog.execute("SELECT * FROM audit ORDER BY id").fetchall()
        salt = catalog.execute("SELECT salt FROM store").fetchone()
    with facegrep.open(store) as engine:
        kept = engine.library("kept")
        assert (kept.ttl_ms, kept.media_count, kept.recognition) == (31_622_400_000_000, 4, ())
        rows = made.vectors()
        assert engine.search("kept", vector=rows[3]).media_ids == [made.PEOPLE[3]]
        assert engine.library("grouped").config == '{"faceGroupIds":"one,two"}'
        assert engine.library("grouped").recognition == ()
        assert len(engine.audit(all_accounts=True)) == len(audit) + 1
        assert len(engine.audit(searches=True)) == 1
        assert engine.verify_audit().ok
        assert engine.verify().damages == ()
        known = engine.create_recognition_library("people", dim=made.DIM).recognition_id
        entity = engine.create_entity(known, "somebody").entity_id
        engine.add_sample(known, entity, vector=rows[3])
        engine.set_recognition("kept", [known])
        found = engine.search("kept", vector=rows[3], recognised=entity)
        assert found.media_ids == [made.PEOPLE[3]]
    with sql(store / "catalog.db") as catalog:
        query = "SELECT * FROM audit ORDER BY id LIMIT ?"
        assert catalog.execute(query, (len(audit),)).fetchall() == audit
        assert catalog.execute("SELECT salt FROM store").fetchone() == salt


@pytest.mark.parametrize("version", [2], indirect=True)
def test_a_library_that_was_damaged_before_is_damaged_after(store: Path) -> None:
    with sql(store / "catalog.db") as catalog:
        catalog.execute("UPDATE library SET threshold = 0.8 WHERE name = 'kept'")
    with facegrep.open(store) as engine:
        with pytest.raises(facegrep.StoreCorrupt, match="kept"):
            engine.library("kept")
        assert engine.library("grouped").name == "grouped"
        assert any("library" in one.what for one in engine.verify().damages)


def test_processes_that_open_it_at_once_upgrade_it_once(store: Path, made: ModuleType) -> None:
    command = [sys.executable, "-c", "import sys, facegrep; facegrep.open(sys.argv[1]).close()"]
    children = [subprocess.Popen([*command, str(store)]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    require_everything(store, made)


def test_a_failed_upgrade_leaves_the_old_version(
    store: Path, version: int, monkeypatch: pytest.MonkeyPatch, made: ModuleType
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    before = contents(store)
    with monkeypatch.context() as patch:
        step = "_media" if version == 1 else "_libraries_of_2"
        patch.setattr(f"facegrep.store._upgrade.{step}", full)
        with pytest.raises(facegrep.StoreFull):
            facegrep.open(store)
    assert contents(store) == before
    require_everything(store, made)


def test_an_upgraded_store_is_never_upgraded_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facegrep.open(store).close()
    calls: list[object] = []
    upgrade: Callable[..., None] = calls.append
    monkeypatch.setattr("facegrep.store._making.upgrade", upgrade)
    Store.open(store, readonly=False, on_create=lambda _: None).close()
    assert not calls


def test_the_audit_says_that_it_was_upgraded(store: Path, version: int) -> None:
    with facegrep.open(store, actor="alice") as engine:
        engine.create_library("new", dim=2)
        entries = engine.audit()
        first, second = entries[-2:]
        assert (first.action, first.details) == ("upgrade", {"from": version, "to": 3})
        assert (first.account, first.actor, second.actor) == (None, None, "alice")
        assert (version > 1) == (len(entries) > 2)
        assert "upgrade" not in [entry.action for entry in engine.audit(searches=True)]
        assert engine.verify_audit(first.hash, second.hash).ok
    with facegrep.open(store) as again:
        assert len(again.audit()) == len(entries)


def test_the_command_says_what_upgrades_it(store: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["--store", str(store), *words])

    for command in ("libraries", "verify", "audit"):
        refused = run(command)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("facegrep: catalog.db was written by an older facegrep: ")
        assert "; `facegrep compact`, or any command that writes, upgrades it" in refused.stderr
    assert run("compact").exit_code == 0
    assert run("verify").exit_code == 0
