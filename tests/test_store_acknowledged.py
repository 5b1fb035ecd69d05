"""A database that lacks a commit that was acknowledged says so, and answers nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store._acknowledged import AcknowledgedFile, slots

DIM = 4
SCRIPT = """
import os, signal, sys
import numpy as np, facegrep
engine = facegrep.open(sys.argv[1])
engine.create_library("lib", dim=4, threshold=-1.0)
for number in range(5):
    engine.add_vectors("lib", [str(number)], np.ones((1, 4)))
    found = engine.search("lib", vector=np.ones(4))
    engine.answers.put("lib", str(number), b"c" * 32, b"u" * 32, found.embedding, found)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Its writer was killed: the log holds what was acknowledged last."""
    path = tmp_path / "store"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    return path


def require_corrupt(store: Path, pattern: str, *, readonly: bool) -> None:
    with pytest.raises(facegrep.StoreCorrupt, match=pattern) as caught:
        facegrep.open(store, readonly=readonly)
    assert caught.value.library is None


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(data)


def test_what_was_acknowledged_is_there(store: Path) -> None:
    for readonly in (True, False):
        with facegrep.open(store, readonly=readonly) as engine:
            assert engine.search("lib", vector=np.ones(DIM)).total == 5


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("share", [0.5, 0.75, 0.95])
def test_a_damaged_log_is_found_where_sqlite_is_silent(
    store: Path, readonly: bool, share: float
) -> None:
    log = store / "catalog.db-wal"
    flip(log, int(log.stat().st_size * share))
    (store / "catalog.db-shm").unlink()
    require_corrupt(store, r"catalog\.db ends at commit \d+, but commit 6", readonly=readonly)


@pytest.mark.parametrize("readonly", [True, False])
def test_a_log_damaged_where_the_store_was_made_is_not_taken_for_no_store(
    store: Path, readonly: bool
) -> None:
    flip(store / "catalog.db-wal", 1000)
    (store / "catalog.db-shm").unlink()
    require_corrupt(store, r"holds vectors, but its catalog\.db is miss", readonly=readonly)


def test_a_lost_or_cut_log_is_found(store: Path) -> None:
    log = store / "catalog.db-wal"
    log.write_bytes(log.read_bytes()[:-100])
    require_corrupt(store, "commit 6 was acknowledged", readonly=False)
    shutil.rmtree(store)


def test_a_damaged_log_of_the_session_is_found(store: Path) -> None:
    (store / "session.db-wal").unlink()
    (store / "session.db-shm").unlink()
    with pytest.raises(facegrep.StoreCorrupt, match=r"session\.db"):
        facegrep.open(store)
    with facegrep.open(store, readonly=True) as engine:  # which has no use for it
        assert engine.search("lib", vector=np.ones(DIM)).total == 5


def test_an_older_catalog_put_in_its_place_is_found_by_those_who_use_it(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
    shutil.copyfile(path / "catalog.db", tmp_path / "old.db")
    with facegrep.open(path) as engine:
        engine.add_vectors("lib", ["m"], np.ones((1, DIM)))
    shutil.copyfile(tmp_path / "old.db", path / "catalog.db")
    for readonly in (True, False):
        require_corrupt(path, "restore a backup", readonly=readonly)


def test_each_commit_is_acknowledged_before_the_call_returns(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        side = AcknowledgedFile(tmp_path / "store" / "catalog.db")
        before = side.newest(side.read()).seq
        for number in range(1, 6):
            engine.add_vectors("lib", [str(number)], np.ones((1, DIM)))
            assert side.newest(side.read()).seq == before + number
            assert [slot.seq for slot in slots(side.read()) if slot is not None and slot.seq]
        side.close()


@pytest.mark.parametrize("half", [0, 512])
@pytest.mark.parametrize("length", [1, 9, 17, 40])
def test_a_torn_half_leaves_the_other(store: Path, half: int, length: int) -> None:
    path = store / "catalog.acknowledged"
    data = bytearray(path.read_bytes())
    data[half + length : half + 56] = os.urandom(56 - length)
    path.write_bytes(data)
    for _ in range(2):  # and the next commit mends it
        with facegrep.open(store) as engine:
            assert engine.search("lib", vector=np.ones(DIM)).total >= 5
            engine.add_vectors("lib", ["more"], np.ones((1, DIM)))
    assert None not in slots(path.read_bytes())


def test_a_side_file_that_says_nothing_is_damage(store: Path) -> None:
    path = store / "catalog.acknowledged"
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    require_corrupt(store, "neither of its halves", readonly=True)
    path.write_bytes(b"")
    require_corrupt(store, "neither of its halves", readonly=False)
    path.unlink()
    require_corrupt(store, "is missing", readonly=True)
    require_corrupt(store, "is missing", readonly=False)


@pytest.mark.parametrize("name", ["catalog", "session"])
def test_a_lost_database_is_not_made_anew(store: Path, name: str) -> None:
    for file in store.glob(f"{name}.db*"):
        file.unlink()
    with pytest.raises(facegrep.StoreCorrupt, match=rf"{name}\.db is missing or empty"):
        facegrep.open(store)
    if name == "session":
        (store / "session.acknowledged").unlink()  # as the error says
        with facegrep.open(store) as engine:
            assert engine.answers.get("lib", "1") is None
            assert engine.search("lib", vector=np.ones(DIM)).total == 5


def test_an_engine_that_is_open_notices_before_its_next_answer(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        side = AcknowledgedFile(path / "catalog.db")
        newest = side.newest(side.read())
        side.write(newest._replace(seq=newest.seq + 1))  # as if our view had lost a commit
        side.close()
        for _ in range(2):
            with pytest.raises(facegrep.StoreCorrupt, match="was acknowledged"):
                engine.search("lib", vector=np.ones(DIM))
            with pytest.raises(facegrep.StoreCorrupt, match="was acknowledged"):
                engine.add_vectors("lib", ["m"], np.ones((1, DIM)))
