"""The audit says who did what, and nothing can be taken from it, put into it or changed unseen."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store._acknowledged import AcknowledgedFile, Acknowledgement
from facegrep.store._audit import AuditEntry, _hash
from facegrep.store._store_row import read_store, write_store

DIM = 8
VECTORS = np.random.default_rng(5).normal(size=(20, DIM)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def engine(store: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(store, actor="alice") as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        yield engine


@contextlib.contextmanager
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def test_every_change_has_an_entry_with_who_what_and_how_many(engine: facegrep.Engine) -> None:
    ids = [f"secret-{number}" for number in range(20)]
    engine.add_vectors("lib", ids, VECTORS)
    engine.add_vectors("lib", ids, VECTORS)  # changes nothing
    engine.update("lib", ids[0], title="secret-title")
    engine.delete("lib", [*ids[:2], "unknown"])
    engine.delete("lib", ["unknown"])
    engine.set_threshold("lib", 0.5)
    engine.set_config("lib", "secret-config")
    engine.set_retention("lib", 10**9)
    engine.erase("lib", ids[2:5])
    engine.compact(min_dead_share=0.0)
    engine.set_retention("lib", 1)
    engine.purge()
    engine.set_face_index("lib", "deactive")
    engine.set_face_index("lib", None)
    engine.set_face_index("lib", "active")
    engine.drop_library("lib")
    bob = engine.for_account("other", actor="bob")
    bob.create_library("mine", dim=4)
    entries = engine.audit(all_accounts=True)
    assert [(e.action, e.media_count, e.face_count) for e in entries] == [
        ("create_library", 0, 0),
        ("create_library", 0, 0),
        ("add_vectors", 20, 20),
        ("update", 1, 0),
        ("delete", 2, 2),
        ("set_threshold", 0, 0),
        ("set_config", 0, 0),
        ("set_retention", 0, 0),
        ("erase", 3, 3),
        ("erased", 0, 0),
        ("compact", 15, 15),
        ("set_retention", 0, 0),
        ("purge", 15, 15),
        ("erased", 0, 0),
        ("set_face_index", 0, 0),
        ("set_face_index", 0, 0),
        ("set_face_index", 0, 0),
        ("drop_library", 0, 0),
        ("create_library", 0, 0),
        ("create_library", 0, 0),
    ]
    who = {(e.account, e.actor) for e in entries}
    assert who == {("default", None), ("default", "alice"), (None, None), ("other", "bob")}
    assert entries[7].details == {"from": None, "to": 10**9}
    assert "secret" not in repr(entries)
    assert {e.account for e in bob.audit()} == {"other", None}
    assert {e.account for e in engine.audit()} == {"default", None}
    assert [e.number for e in engine.audit(after=2, limit=3)] == [3, 4, 5]
    report = engine.verify_audit(entries[4].hash, "00" * 32)
    assert (report.entries, report.searches, report.head) == (20, 0, entries[-1].hash)
    assert (report.damages, report.missing, report.ok) == ((), ("00" * 32,), False)
    assert engine.verify_audit().ok
    assert engine.verify().ok


def test_what_is_undone_has_no_entry(engine: facegrep.Engine) -> None:
    before = engine.audit()
    with pytest.raises(facegrep.AlreadyExistsError):
        engine.create_library("lib", dim=DIM)
    with pytest.raises(facegrep.NotFoundError):
        engine.update("lib", "unknown", title="x")
    engine.add_vectors("lib", ["a"], VECTORS[:1])
    with pytest.raises(facegrep.AlreadyExistsError):
        engine.add_vectors("lib", ["b", "a"], VECTORS[1:3])
    assert len(engine.audit()) == len(before) + 1


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        engine.set_search_audit(True)
        for row in range(6):
            engine.add_vectors("lib", [str(row)], VECTORS[row : row + 1])
            engine.search("lib", vector=VECTORS[row])
    return path


FORGERIES = {
    "an entry is edited": "UPDATE audit SET media_count = 99 WHERE id = 4",
    "its time is": "UPDATE audit SET time_ms = time_ms + 1 WHERE id = 4",
    "who did it is": "UPDATE audit SET actor = 'mallory' WHERE id = 4",
    "the first is removed": "DELETE FROM audit WHERE id = 1",
    "one in the middle is": "DELETE FROM audit WHERE id = 3",
    "and the gap closed": "DELETE FROM audit WHERE id = 3;"
    " UPDATE audit SET id = id - 1 WHERE id > 3",
    "the last is removed": "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
    "the last three are": "DELETE FROM audit WHERE id > (SELECT max(id) - 3 FROM audit)",
    "all are": "DELETE FROM audit",
    "two change places": "UPDATE audit SET id = 1000 WHERE id = 3; UPDATE audit SET id = 3 WHERE"
    " id = 4; UPDATE audit SET id = 4 WHERE id = 1000",
    "one comes twice": "INSERT INTO audit SELECT id + 1000, time_ms, actor, account, action,"
    " library_id, library, media_count, face_count, details, previous, hash FROM audit"
    " WHERE id = 6",
}


@pytest.mark.parametrize("file", ["catalog.db", "session.db"])
@pytest.mark.parametrize("statements", FORGERIES.values(), ids=FORGERIES.keys())
def test_no_forgery_goes_unseen(tmp_path: Path, written: Path, statements: str, file: str) -> None:
    path = Path(shutil.copytree(written, tmp_path / "store"))
    with facegrep.open(path, readonly=True) as engine:
        assert engine.verify_audit().ok
        with sql(path / file) as connection:
            connection.executescript(statements)
        report = engine.verify_audit()  # by who looked at it before
        assert not report.ok
        assert file in report.damages[0]
        assert not engine.verify().ok


def test_an_edited_entry_with_its_own_hash_made_anew_breaks_the_chain(
    tmp_path: Path, written: Path
) -> None:
    path = Path(shutil.copytree(written, tmp_path / "store"))
    with sql(path / "catalog.db") as connection:
        row = connection.execute("SELECT * FROM audit WHERE id = 4").fetchone()
        entry = AuditEntry(*row)._replace(media_count=0)
        change = "UPDATE audit SET media_count = 0, hash = ? WHERE id = 4"
        connection.execute(change, (_hash(entry),))
    with facegrep.open(path, readonly=True) as engine:
        assert "changed at entry 5, or before it" in engine.verify_audit().damages[0]
        with pytest.raises(facegrep.StoreCorrupt, match="entry 5"):
            engine.audit()


def test_a_forger_who_knows_the_hash_is_found_by_the_side_file_or_by_a_receipt(
    tmp_path: Path, written: Path
) -> None:
    path = Path(shutil.copytree(written, tmp_path / "store"))
    with facegrep.open(path) as engine:
        receipt = engine.erase("lib", ["0"])
    with sql(path / "catalog.db") as connection:
        previous = bytes(32)
        for row in connection.execute("SELECT * FROM audit ORDER BY id").fetchall():
            entry = AuditEntry(*row)._replace(previous=previous, actor="mallory")
            previous = _hash(entry)
            change = "UPDATE audit SET actor = ?, previous = ?, hash = ? WHERE id = ?"
            connection.execute(change, ("mallory", entry.previous, previous, entry.id))
    with pytest.raises(facegrep.StoreCorrupt, match="another audit"):
        facegrep.open(path)
    side = AcknowledgedFile(path / "catalog.db")
    for _ in range(2):
        seq = side.newest(side.read()).seq
        side.write(Acknowledgement(seq + 1, previous))
    with sql(path / "catalog.db") as connection:
        write_store(connection, read_store(connection)._replace(seq=seq + 1))
    with facegrep.open(path) as engine:
        assert engine.verify_audit().ok
        assert not engine.verify_audit(receipt.hash).ok


def test_searches_are_audited_once_that_is_switched_on(
    engine: facegrep.Engine, store: Path
) -> None:
    engine.add_vectors("lib", list("abc"), VECTORS[:3], {"strField1": ["secret"] * 3})
    engine.search("lib", vector=VECTORS[0])
    assert engine.audit(searches=True) == []
    with facegrep.open(store, readonly=True) as reader:
        assert not reader.search_audit
        engine.set_search_audit(True)
        engine.set_search_audit(True)  # says nothing new
        with pytest.raises(facegrep.OperationDeniedError, match="audited"):
            reader.search("lib", vector=VECTORS[0])
        assert [e.action for e in engine.audit()][-1] == "set_search_audit"
        found = engine.search("lib", vector=VECTORS[0], where={"strField1": "secret"})
        engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, found.embedding, found)
        assert engine.answers.get("lib", "token") is not None
        assert engine.answers.get("lib", "none") is None
        searches = engine.audit(searches=True)
        assert [(e.action, e.library, e.actor, e.media_count) for e in searches] == [
            ("search", "lib", "alice", 3),
            ("answer", "lib", "alice", 3),
        ]
        assert searches[0].details == {"threshold": -1.0, "fields": ["strField1"]}
        assert "secret" not in json.dumps([e.to_dict() for e in searches])
        assert engine.verify_audit(searches[1].hash).ok
        engine.set_search_audit(False)
        assert reader.search("lib", vector=VECTORS[0]).total == 3
        assert len(engine.audit(searches=True)) == 2


def test_a_search_that_cannot_be_written_down_gives_no_answer(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.add_vectors("lib", ["a"], VECTORS[:1])
    engine.set_search_audit(True)
    session = engine._shared.store.session
    monkeypatch.setattr(session, "lock_timeout_s", 0.05)
    with session.locked(), pytest.raises(facegrep.StoreBusy):
        engine.search("lib", vector=VECTORS[0])
    assert engine.search("lib", vector=VECTORS[0]).total == 1


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
def test_a_switch_is_a_bool(engine: facegrep.Engine, wrong: object) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match="on: expected a bool"):
        engine.set_search_audit(wrong)  # type: ignore[arg-type]
