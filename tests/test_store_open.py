"""What is opened as a store, what is refused, and what opening leaves on disk."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store import _filesystem


def make_store(path: Path) -> Path:
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=4, threshold=0.5)
        engine.add_vectors("lib", ["m"], [[1, 2, 3, 4]])
    return path


def edit_catalog(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path / "catalog.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_an_absent_store_is_created_with_the_default_library(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "new" / "store") as engine:
        (library,) = engine.libraries()
        assert library.name == "ims-default-search-lib"
        assert (library.face_index, library.model) == ("active", "sface-2021dec")
        assert library.media_count == 0
    with facegrep.open(str(tmp_path / "new" / "store")) as engine:
        engine.drop_library("ims-default-search-lib")
    with facegrep.open(tmp_path / "new" / "store") as engine:
        assert engine.libraries() == []  # dropped is dropped


def test_only_the_owner_can_read_a_store(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = make_store(tmp_path / "store")
        with facegrep.open(path) as engine:
            engine.set_config("lib", "so that there is a WAL")
            modes = {
                entry.relative_to(path).as_posix(): stat.S_IMODE(entry.stat().st_mode)
                for entry in path.rglob("*")
            }
    finally:
        os.umask(before)
    assert {"catalog.db-wal", "catalog.db", "session.db", "v", "tmp"} <= modes.keys()
    for name, mode in modes.items():
        assert mode == (0o700 if (path / name).is_dir() else 0o600), name
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_readonly_does_not_create_an_absent_store(tmp_path: Path) -> None:
    with pytest.raises(facegrep.StoreNotFound, match="without readonly"):
        facegrep.open(tmp_path / "store", readonly=True)
    assert not (tmp_path / "store").exists()


def test_readonly_reads_everything_and_refuses_every_write(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store")
    with facegrep.open(path, readonly=True) as engine:
        assert engine.search("lib", vector=[1, 2, 3, 4]).media_ids == ["m"]
        assert engine.get("lib", "m", vectors=True).faces[0].code is not None
        writes: list[Callable[[], object]] = [
            lambda: engine.create_library("x", dim=4),
            lambda: engine.drop_library("lib"),
            lambda: engine.set_threshold("lib", 0.1),
            lambda: engine.set_config("lib", ""),
            lambda: engine.set_face_index("lib", None),
            lambda: engine.add("lib", media_id="x", source=b""),
            lambda: engine.add_many("lib", []),
            lambda: engine.add_vectors("lib", [], np.empty((0, 4))),
            lambda: engine.update("lib", "m", title="x"),
            lambda: engine.delete("lib", media_ids=["m"]),
        ]
        for write in writes:
            with pytest.raises(facegrep.StoreReadOnly):
                write()
        assert engine.for_account("other").libraries() == []
    with facegrep.open(path) as engine:
        assert engine.library("lib").media_count == 1


def test_a_directory_of_something_else_is_not_made_into_a_store(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(facegrep.StoreCorrupt, match=r"holiday\.jpg"):
        facegrep.open(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(facegrep.StoreError):
        facegrep.open(tmp_path / "holiday.jpg")
    with pytest.raises(facegrep.StoreError):
        facegrep.open(tmp_path / "holiday.jpg" / "store")


def test_a_store_that_was_half_made_is_made(tmp_path: Path) -> None:
    path = tmp_path / "store"
    (path / "v").mkdir(parents=True)
    (path / "writer.lock").touch()
    connection = sqlite3.connect(path / "catalog.db")
    connection.execute("PRAGMA journal_mode = WAL")  # and then the writer died
    connection.close()
    with pytest.raises(facegrep.StoreNotFound):
        facegrep.open(path, readonly=True)
    make_store(path)


def test_many_threads_that_create_one_store_make_one(tmp_path: Path) -> None:
    barrier = threading.Barrier(6)
    found: list[list[str]] = []

    def work(number: int) -> None:
        barrier.wait()
        with facegrep.open(tmp_path / "store") as engine:
            engine.create_library(f"lib{number}", dim=4)
            found.append([library.name for library in engine.libraries()])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    with facegrep.open(tmp_path / "store") as engine:
        assert len(engine.libraries()) == 7


@pytest.mark.parametrize("readonly", [False, True])
def test_a_store_of_a_newer_version_is_refused_unchanged(tmp_path: Path, readonly: bool) -> None:
    path = make_store(tmp_path / "store")
    edit_catalog(path, "PRAGMA user_version = 99")
    before = (path / "catalog.db").read_bytes()
    with pytest.raises(facegrep.StoreVersionError, match="upgrade facegrep") as caught:
        facegrep.open(path, readonly=readonly)
    assert (caught.value.found, caught.value.supported) == (99, 3)
    assert (path / "catalog.db").read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA application_id = 7",
        "CREATE TABLE more (x)",
        "CREATE VIEW more AS SELECT * FROM media",
        "CREATE TRIGGER more AFTER INSERT ON media BEGIN DELETE FROM media; END",
        "DROP INDEX media_by_seq",
        "PRAGMA user_version = 0",
    ],
)
def test_a_catalog_that_facegrep_did_not_make_is_refused(tmp_path: Path, statement: str) -> None:
    path = make_store(tmp_path / "store")
    edit_catalog(path, statement)
    for readonly in (False, True):
        with pytest.raises(facegrep.StoreCorrupt, match=r"catalog\.db"):
            facegrep.open(path, readonly=readonly)


@pytest.mark.parametrize("name", ["catalog.db", "session.db"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, name: str) -> None:
    path = make_store(tmp_path / "store")
    (path / name).write_bytes(b"not a database at all" * 500)
    with pytest.raises(facegrep.StoreCorrupt, match=name):
        facegrep.open(path)


@pytest.mark.parametrize(("kind", "name"), [(0x6969, "NFS"), (0x65735546, "FUSE")])
def test_a_network_filesystem_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, name: str
) -> None:
    monkeypatch.setattr(_filesystem, "filesystem_type", lambda _: kind)
    with pytest.raises(facegrep.StoreError, match=name):
        facegrep.open(tmp_path / "store")
    assert not (tmp_path / "store" / "catalog.db").exists()
    monkeypatch.setenv("FACEGREP_ALLOW_NETWORK_FILESYSTEM", "1")
    make_store(tmp_path / "store")


def test_the_type_of_a_local_filesystem_is_learned(tmp_path: Path) -> None:
    kind = _filesystem.filesystem_type(tmp_path)
    assert kind is not None
    assert kind > 0
    assert _filesystem.filesystem_type(tmp_path / "absent") is None


def test_every_connection_has_the_pragmas_that_durability_needs(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        catalog = engine._shared.store.catalog
        with catalog.write() as transaction:
            values = {
                name: transaction.connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in (
                    "journal_mode",
                    "synchronous",
                    "wal_autocheckpoint",
                    "foreign_keys",
                    "secure_delete",
                    "trusted_schema",
                    "cell_size_check",
                )
            }
        assert values == {
            "journal_mode": "wal",
            "synchronous": 2,
            "wal_autocheckpoint": 0,
            "foreign_keys": 1,
            "secure_delete": 1,
            "trusted_schema": 0,
            "cell_size_check": 1,
        }
        with (
            catalog.read() as reader,
            pytest.raises(sqlite3.OperationalError, match="readonly"),
        ):
            reader.execute("DELETE FROM library")


def test_a_clean_close_leaves_no_log_behind(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store")
    assert not list(path.glob("*-wal"))


def test_the_log_is_folded_into_the_catalog_as_it_grows(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=4, threshold=0.5)
        sizes = []
        for number in range(12):
            ids = [f"{number}-{row:0300}" for row in range(4000)]
            engine.add_vectors("lib", ids, np.ones((4000, 4)))
            sizes.append((tmp_path / "store" / "catalog.db-wal").stat().st_size)
        assert max(sizes) < 40 << 20
        assert min(sizes[4:]) < 16 << 20
