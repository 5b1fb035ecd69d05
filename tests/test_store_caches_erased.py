"""Saved indexes beside those who erase, write and save: nothing erased is in one, nobody waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.engine import _indexes, _library_index
from facegrep.store import CacheName

DIM = 16
VECTORS = np.random.default_rng(5).standard_normal((600, DIM)).astype(np.float32)
IDS = [f"asset number {number:04}" for number in range(300)]
NAMES = [f"somebody's name {number:04}" for number in range(300)]
NUMBERS = [0x1122334455667788 + number for number in range(300)]


@pytest.fixture(autouse=True)
def small_libraries_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_library_index, "MIN_CHANGES", 8)


def add(engine: facegrep.Engine) -> None:
    twice = [number for number in range(300) for _ in range(2)]
    fields: dict[str, list[int | str | None]] = {
        "strField1": [NAMES[number] for number in twice],
        "intField1": [NUMBERS[number] for number in twice],
    }
    engine.add_vectors("lib", [IDS[number] for number in twice], VECTORS, fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store whose library `lib` was added, saved, and closed."""
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=0.2)
        add(engine)
    return path


def files(path: Path) -> list[Path]:
    return sorted((path / "cache").iterdir())


def ids_found(engine: facegrep.Engine) -> set[str]:
    return set(engine.search("lib", vector=VECTORS[0], threshold=-1.0, limit=1000).media_ids)


def holding(path: Path, number: int) -> list[str]:
    """The files that hold anything of an asset: its id, its fields, the code of a face."""
    code = facegrep._core.quantize(VECTORS[2 * number : 2 * number + 1]).tobytes()
    integer = NUMBERS[number].to_bytes(8, "little")
    needles = (IDS[number].encode(), NAMES[number].encode(), integer, code)
    return [
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file() and any(needle in file.read_bytes() for needle in needles)
    ]


def test_nothing_of_what_was_erased_is_in_the_index_that_is_saved_after_it(path: Path) -> None:
    assert any(name.startswith("cache/") for name in holding(path, 7))
    with facegrep.open(path) as engine:
        engine.erase("lib", [IDS[7]])
        assert len(files(path)) == 1
        assert not holding(path, 7)
        assert len(ids_found(engine)) == 299
    assert not holding(path, 7)
    with facegrep.open(path, readonly=True) as engine:
        assert ids_found(engine) == {*IDS} - {IDS[7]}
        some = engine.search("lib", vector=VECTORS[0], where={"strField1": NAMES[7:9]}, limit=9)
        assert set(some.media_ids) <= {IDS[8]}


def test_an_erasure_takes_what_a_process_that_died_was_making(path: Path) -> None:
    (file,) = files(path)
    (segment,) = (path / "v").iterdir()
    with facegrep.open(path) as engine:  # opened before they died
        shutil.copy(file, path / "tmp" / file.name)  # it was saving the index,
        shutil.copy(segment, path / "tmp" / "2-0-9.vec")  # or compacting the segment,
        shutil.copy(segment, path / "v" / "2-0-8.vec")  # and had not committed it
        assert len(holding(path, 7)) > 4
        engine.erase("lib", [IDS[7]])
        assert not holding(path, 7)
        assert not [*(path / "tmp").iterdir()]


def test_the_next_process_is_fast_even_if_the_one_that_erased_was_killed(path: Path) -> None:
    code = """
import os, sys, facegrep
from facegrep.engine import _library_index
_library_index.MIN_CHANGES = 8
engine = facegrep.open(sys.argv[1])
engine.erase("lib", sys.argv[2:])
os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-c", code, str(path), *IDS[:3]], check=False)
    assert died.returncode == -9
    with facegrep.open(path, readonly=True) as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_library_index, "read_changed_assets", lambda *_: iter(()))
        assert ids_found(engine) == {*IDS[3:]}


def test_memory_that_is_short_costs_the_file_and_not_the_erasure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    with facegrep.open(path) as engine:
        monkeypatch.setattr(_indexes.Indexes, "_followed", short)
        assert engine.erase("lib", [IDS[7]]).media_ids == (IDS[7],)
        assert not files(path)
    monkeypatch.undo()
    assert not holding(path, 7)


def saving(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]
) -> None:
    """Search, so that the index is saved; something happens while its file is half written."""
    save = _library_index.LibraryIndex.save

    def slow(self: _library_index.LibraryIndex, name: CacheName, descriptor: int) -> None:
        save(self, name, descriptor)
        meanwhile()

    with monkeypatch.context() as patch:
        patch.setattr(_library_index.LibraryIndex, "save", slow)
        ids_found(engine)


def test_an_erasure_waits_for_an_index_that_is_being_saved_and_takes_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(path)[0].unlink()
    with (
        facegrep.open(path) as engine,
        facegrep.open(path) as eraser,
        ThreadPoolExecutor(1) as pool,
    ):
        begun = threading.Event()
        erased = []

        def erase() -> None:
            begun.set()
            eraser.erase("lib", [IDS[7]])
            erased.append(holding(path, 7))

        def meanwhile() -> None:
            pool.submit(erase)
            begun.wait()
            while IDS[7] in ids_found(eraser):  # until it is committed
                pass
            assert not erased

        saving(engine, monkeypatch, meanwhile)
        pool.shutdown()
        assert erased == [[]]
        assert ids_found(engine) == ids_found(eraser) == {*IDS} - {IDS[7]}
    assert not holding(path, 7)


def test_writers_do_not_wait_for_an_index_that_is_being_saved_and_it_is_of_use(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(path)[0].unlink()
    with facegrep.open(path) as engine, facegrep.open(path) as writer:
        writer._shared.store.catalog.lock_timeout_s = 0.01

        def meanwhile() -> None:
            writer.add_vectors("lib", ["one more"], VECTORS[:1])
            writer.delete("lib", [IDS[5]])

        saving(engine, monkeypatch, meanwhile)
        assert len(files(path)) == 1
    with facegrep.open(path, readonly=True) as engine:
        assert ids_found(engine) == {*IDS, "one more"} - {IDS[5]}
        assert engine._shared.indexes._by_library[2].saved_seq


def test_an_index_that_another_process_has_saved_is_not_saved_again(path: Path) -> None:
    with facegrep.open(path) as one, facegrep.open(path) as other:
        ids_found(one), ids_found(other)
        one.add_vectors("lib", [f"more {i}" for i in range(200)], VECTORS[:200] + 1)
        ids_found(one)
        (file,) = files(path)
        saved = file.stat()
        one.add_vectors("lib", ["a little more"], VECTORS[:1])
        ids_found(other)
        (now,) = files(path)
        assert (now, now.stat().st_ino, now.stat().st_mtime_ns) == (
            file,
            saved.st_ino,
            saved.st_mtime_ns,
        )
        # What it counts from then on is from that file.
        other.add_vectors("lib", [f"most {i}" for i in range(200)], VECTORS[:200] + 2)
        ids_found(other)
        assert files(path) != [file]


def test_a_file_with_what_has_expired_is_kept_until_a_purge_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each search after somebody took the id of an expired asset would save the index."""
    path = tmp_path / "store"
    now_ms = time.time_ns() // 10**6
    monkeypatch.setattr(time, "time_ns", lambda: now_ms * 10**6)
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=0.2, ttl_ms=1000)
        engine.add_vectors("lib", ["old"], VECTORS[:1] + 1)
        now_ms += 900
        add(engine)
        ids_found(engine)
        saved = files(path)
        for _ in range(3):
            now_ms += 101
            engine.add_vectors("lib", ["old"], VECTORS[:1])  # it has expired the first time
            assert ids_found(engine) == {*IDS, "old"}
            assert files(path) == saved
        assert engine._find("lib").erased_seq > int(saved[0].stem.split("-")[2])
        engine.purge()
        (anew,) = files(path)
        assert anew not in saved
        code = facegrep._core.quantize(VECTORS[:1] + 1).tobytes()
        assert not [
            file for file in path.rglob("*") if file.is_file() and code in file.read_bytes()
        ]
        assert ids_found(engine) == {*IDS, "old"}
        assert files(path) == [anew]


def test_one_that_is_replaced_while_it_is_read_is_no_reason_to_read_the_catalog(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = _library_index.LibraryIndex.load
    attempts = []

    def replaced(self: _library_index.LibraryIndex, *arguments: object) -> None:
        attempts.append(arguments)
        if len(attempts) == 1:
            (file,) = files(path)
            content = file.read_bytes()
            file.write_bytes(bytes(len(content)))
            file.unlink()
            file.write_bytes(content)
        load(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_library_index.LibraryIndex, "load", replaced)
    monkeypatch.setattr(_library_index, "read_changed_assets", lambda *_: iter(()))
    with facegrep.open(path, readonly=True) as engine:
        assert ids_found(engine) == {*IDS}
    assert len(attempts) == 2


def total_in_another_process(path: Path) -> str:
    """Of a search for everything; it must not wait for ever."""
    code = (
        "import sys, numpy, facegrep\n"
        "with facegrep.open(sys.argv[1]) as engine:\n"
        "    print(engine.search('lib', vector=numpy.ones(16), threshold=-1.0).total)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=20).stdout


@pytest.mark.parametrize(
    "name", ["02-0-9999.idx", "2-00-9999.idx", f"{2**63}-0-5.idx", f"2-0-{2**63}.idx", "2-0-9.IDX"]
)
def test_a_file_whose_name_nobody_writes_is_left_alone(path: Path, name: str) -> None:
    (path / "cache" / name).write_bytes(b"whatever")
    assert total_in_another_process(path) == "300\n"
    assert (path / "cache" / name).exists()


def test_what_is_no_file_is_no_saved_index(path: Path) -> None:
    (file,) = files(path)
    file.unlink()
    os.mkfifo(file)  # nobody will ever write to it
    assert total_in_another_process(path) == "300\n"


def test_a_file_from_after_the_end_of_the_catalog_goes_when_the_store_is_opened(path: Path) -> None:
    (file,) = files(path)
    later = file.with_name(f"{file.stem.rpartition('-')[0]}-999.idx")
    shutil.copy(file, later)  # a backup was put in the place of the databases alone
    facegrep.open(path).close()
    assert files(path) == [file]


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.drop_library("lib"),
        lambda engine: engine.set_face_index("lib", "deactive"),
    ],
)
def test_what_was_committed_before_saved_indexes_cannot_be_locked_is_not_denied(
    path: Path, call: Callable[[facegrep.Engine], None]
) -> None:
    with facegrep.open(path) as engine:
        (path / "cache.lock").unlink()
        (path / "cache.lock").mkdir()
        with pytest.raises(facegrep.StoreError, match=r"what was committed is durable") as refused:
            call(engine)
        assert "nothing" not in str(refused.value)
        active = [library.name for library in engine.libraries() if library.face_count]
        assert active == []
        assert files(path)
    (path / "cache.lock").rmdir()
    with facegrep.open(path):
        assert files(path) == []
