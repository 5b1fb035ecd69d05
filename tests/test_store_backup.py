"""A backup is one commit of the store, whole, whatever is written meanwhile; or it is nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store import _backup, _connections, _filesystem
from facegrep.store._holdings import kind_of

DIM = 32
ASSETS = 6000  # three blocks of 64 KiB
CHANCE = np.random.default_rng(6)
VECTORS = CHANCE.normal(size=(ASSETS, DIM)).astype(np.float32)
IDS = [f"asset-{number:05}" for number in range(ASSETS)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def engine(store: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(store) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        engine.add_vectors("lib", IDS, VECTORS)
        yield engine


def seen(engine: facegrep.Engine) -> list[str]:
    found = engine.search("lib", vector=VECTORS[5], limit=2 * ASSETS)
    assert found.total == len(found.hits)
    return sorted(found.media_ids)


def test_a_backup_is_a_store_that_holds_the_same(engine: facegrep.Engine, tmp_path: Path) -> None:
    engine.delete("lib", IDS[:10])
    found = engine.search("lib", vector=VECTORS[5])
    engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, found.embedding, found)
    head = engine.verify_audit().head
    copy = tmp_path / "copy"
    report = engine.backup(copy)
    assert (report.library_count, report.media_count, report.face_count) == (2, 5990, 5990)
    assert report.vector_bytes == ASSETS * DIM
    assert report.audit_head == head
    assert engine.audit()[-1].action == "backup"
    engine.erase("lib", IDS[10:20])
    assert found.embedding.tobytes() not in b"".join(
        path.read_bytes() for path in copy.rglob("*") if path.is_file()
    ), "what was searched for does not outlive its token"
    for path in copy.rglob("*"):
        if path.is_file():
            assert kind_of(path.relative_to(copy).as_posix()) is not None
            assert path.stat().st_mode & 0o077 == 0
    with facegrep.open(copy, readonly=True) as restored:
        assert restored.verify().damages == ()
        assert restored.verify().leftovers == ()
        assert seen(restored) == IDS[10:]
        assert restored.answers.get("lib", "token") is None
    with facegrep.open(copy) as restored:
        assert restored.verify_audit().head == head
        restored.add_vectors("lib", ["new"], VECTORS[:1])
        assert restored.erase("lib", IDS[10:20]).media_ids == tuple(IDS[10:20])
        assert restored.verify().ok
        assert seen(restored) == [*IDS[20:], "new"]
    assert seen(engine) == IDS[20:]


def test_backups_beside_a_writer_are_each_one_commit_of_it(
    engine: facegrep.Engine, store: Path, tmp_path: Path
) -> None:
    """It adds a pair, erases the pair before, and compacts: a commit never holds half of a pair."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with facegrep.open(store) as writer:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    pair = [f"{number}-left", f"{number}-right"]
                    writer.add_vectors("lib", pair, VECTORS[:2])
                    if number % 3 == 0:
                        writer.erase("lib", [f"{number - 1}-left", f"{number - 1}-right"])
                    if number % 5 == 0:
                        writer.compact(min_dead_share=0.0)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(4):
            report = engine.backup(tmp_path / f"copy-{number}")
            with facegrep.open(report.directory, readonly=True) as copy:
                ids = seen(copy)
                assert set(IDS) <= set(ids)
                pairs = [media_id.partition("-") for media_id in ids if media_id not in set(IDS)]
                lefts = {number for number, _, side in pairs if side == "left"}
                assert lefts == {number for number, _, side in pairs if side == "right"}
                assert copy.library("lib").media_count == len(ids) == report.media_count
                assert copy.verify().ok
    finally:
        stop.set()
        thread.join()
    assert not failures


def test_what_moves_under_a_backup_makes_it_begin_anew_and_at_last_wait(
    engine: facegrep.Engine, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = _backup.BackupOperations._copy_segment
    attempts = []

    def erase_first(self: _backup.BackupOperations, *given: object) -> None:
        attempts.append(1)
        with facegrep.open(store) as writer:
            writer._shared.store.catalog.lock_timeout_s = 0.05
            try:
                writer.erase("lib", [IDS[len(attempts)]])
            except facegrep.StoreBusy:
                attempts.append(0)
        copied(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(_backup.BackupOperations, "_copy_segment", erase_first)
    engine.backup(tmp_path / "copy")
    assert attempts == [1, 1, 1, 1, 0], "three times it moved, the fourth time nobody could write"
    with facegrep.open(tmp_path / "copy", readonly=True) as copy:
        assert seen(copy) == [IDS[0], *IDS[4:]]


def test_a_damaged_store_is_not_backed_up(
    engine: facegrep.Engine, store: Path, tmp_path: Path
) -> None:
    (segment,) = (store / "v").iterdir()
    data = bytearray(segment.read_bytes())
    data[4096 + 100_000] ^= 1
    segment.write_bytes(data)
    with pytest.raises(facegrep.StoreCorrupt, match="block 1 fails") as caught:
        engine.backup(tmp_path / "copy")
    assert caught.value.library == "lib"
    assert not (tmp_path / "copy").exists()


def test_a_failed_backup_leaves_nothing(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy"
    target.mkdir()

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(facegrep.StoreFull, match="the store is as it was"):
            engine.backup(target)
    assert list(target.iterdir()) == []
    assert engine.audit()[-1].action == "add_vectors"
    engine.backup(target)
    assert engine.verify().ok


@pytest.mark.parametrize("at", range(3), ids=["answers", "catalog", "vectors"])
def test_an_error_of_sqlite_in_the_copy_is_typed_and_leaves_nothing(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    connect, calls = _connections.connect, itertools.count()

    def failing(path: Path, *, writing: bool) -> sqlite3.Connection:
        if next(calls) == at:
            raise sqlite3.OperationalError("disk I/O error")
        return connect(path, writing=writing)

    monkeypatch.setattr(_backup, "connect", failing)
    with pytest.raises(facegrep.StoreError, match="disk I/O error; the store is as it was"):
        engine.backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_backup_that_the_audit_does_not_know_is_removed(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    catalog = engine._shared.store.catalog
    catalog.lock_timeout_s = 0.05
    locked, done = threading.Event(), threading.Event()

    def write() -> None:
        with catalog.exclusive():
            locked.set()
            done.wait()

    thread = threading.Thread(target=write)
    thread.start()
    locked.wait()
    try:
        with pytest.raises(facegrep.StoreBusy):
            engine.backup(tmp_path / "copy")
    finally:
        done.set()
        thread.join()
    assert not (tmp_path / "copy").exists()


def test_every_name_in_a_backup_is_durable_before_it_is_a_store(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    sync = _filesystem.sync_directory
    seen_by: dict[str, set[str]] = {}

    def note(path: Path) -> None:
        seen_by[path.name] = {each.name for each in path.iterdir()}
        if path == copy and (copy / "catalog.db").exists():
            assert seen_by["v"] == {each.name for each in (copy / "v").iterdir()} != set()
        sync(path)

    monkeypatch.setattr(_backup, "sync_directory", note)
    engine.backup(copy)
    assert "catalog.db" in seen_by["copy"]


def test_removing_a_failed_backup_begins_with_what_makes_it_a_store(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(_backup, "_verify_copy", failing)
    monkeypatch.setattr(shutil, "rmtree", failing)
    with pytest.raises(facegrep.StoreError):
        engine.backup(tmp_path / "copy")
    assert not (tmp_path / "copy" / "catalog.db").exists()


def test_a_backup_that_was_cut_off_is_no_store(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_backup, "_remove", lambda *_, **__: None)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_backup.BackupOperations, "_copy_segment", killed)
        with pytest.raises(KeyboardInterrupt):
            engine.backup(tmp_path / "copy")
    with pytest.raises(facegrep.StoreError):
        facegrep.open(tmp_path / "copy", readonly=True)


def test_a_readonly_engine_backs_up_and_writes_nothing_here(
    engine: facegrep.Engine, store: Path, tmp_path: Path
) -> None:
    entries = engine.audit()
    with facegrep.open(store, readonly=True) as reader:
        reader.backup(tmp_path / "copy")
    assert engine.audit() == entries
    with facegrep.open(tmp_path / "copy", readonly=True) as copy:
        assert seen(copy) == IDS


@pytest.mark.parametrize("wrong", ["", "a\0b", 3, None, "store", "store/inside", "full", "no/such"])
def test_a_directory_that_is_not_empty_or_not_there_is_refused(
    engine: facegrep.Engine, tmp_path: Path, wrong: object
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    given = str(tmp_path / wrong) if isinstance(wrong, str) and wrong else wrong
    with pytest.raises(facegrep.InvalidArgumentError, match="directory: "):
        engine.backup(given)  # type: ignore[arg-type]
    assert not (tmp_path / "store" / "inside").exists()


def test_a_deleted_row_is_not_in_a_backup(engine: facegrep.Engine, tmp_path: Path) -> None:
    engine.delete("lib", IDS[:3000])
    engine.backup(tmp_path / "copy")
    data = (tmp_path / "copy" / "catalog.db").read_bytes()
    assert not [media_id for media_id in IDS[:3000] if media_id.encode() in data]
    connection = sqlite3.connect(tmp_path / "copy" / "catalog.db")
    assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()
