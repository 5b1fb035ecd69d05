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

STORES = Path(__file__).with_name("data") / "stores"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script that made it: what it put in."""
    spec = importlib.util.spec_from_file_location("make_v1", STORES / "make_v1.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy, its token alive again."""
    path = tmp_path / "store"
    for file in sorted((STORES / "v1").rglob("*.*")):
        copy = path / file.relative_to(STORES / "v1")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    with sql(path / "session.db") as session:
        later_ms = (time.time_ns() // 1_000_000) + 3_600_000
        session.execute("UPDATE answer SET expires_ms = ?", (later_ms,))
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
    with sql(store / "catalog.db") as catalog:
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


def test_readonly_says_that_it_must_be_upgraded_and_changes_nothing(store: Path) -> None:
    before = contents(store)
    with pytest.raises(facegrep.StoreVersionError, match="once without readonly") as caught:
        facegrep.open(store, readonly=True)
    assert (caught.value.found, caught.value.supported) == (1, 2)
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


@pytest.mark.parametrize("rows", [0, 3, 9, 12, 13])
def test_a_kill_in_the_middle_leaves_a_store_that_is_upgraded_next_time(
    store: Path, made: ModuleType, rows: int
) -> None:
    command = [sys.executable, "-c", CHILD, str(store), str(rows)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    require_everything(store, made)


def test_processes_that_open_it_at_once_upgrade_it_once(store: Path, made: ModuleType) -> None:
    command = [sys.executable, "-c", "import sys, facegrep; facegrep.open(sys.argv[1]).close()"]
    children = [subprocess.Popen([*command, str(store)]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    require_everything(store, made)


def test_a_failed_upgrade_leaves_the_old_version(
    store: Path, monkeypatch: pytest.MonkeyPatch, made: ModuleType
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    before = contents(store)
    with monkeypatch.context() as patch:
        patch.setattr("facegrep.store._upgrade._media", full)
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


def test_the_audit_begins_with_the_upgrade(store: Path) -> None:
    with facegrep.open(store, actor="alice") as engine:
        engine.create_library("new", dim=2)
        first, second = engine.audit()
        assert (first.action, first.details) == ("upgrade", {"from": 1, "to": 2})
        assert (first.account, first.actor, second.actor) == (None, None, "alice")
        assert engine.audit(searches=True) == []
        assert engine.verify_audit(first.hash, second.hash).ok
    with facegrep.open(store) as again:
        assert len(again.audit()) == 2


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
