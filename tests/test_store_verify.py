"""`verify` finds what is damaged, names it, changes nothing and bears a writer beside it."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store._segments import HEADER_BYTES

DIM = 16
ROWS = 9000  # three blocks of 64 KiB
VECTORS = np.random.default_rng(5).normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "store"
    with facegrep.open(path) as engine:
        for name, count in (("big", ROWS), ("other", 10)):
            engine.create_library(name, dim=DIM, threshold=-1.0)
            engine.add_vectors(name, [f"{row:05}" for row in range(count)], VECTORS[:count])
            found = engine.search(name, vector=np.ones(DIM), limit=5)
            engine.answers.put(name, "token", b"c" * 32, b"u" * 32, found.embedding, found)
        engine.delete("big", ["00007"])
    return path


@pytest.fixture
def store(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


def segment_of(store: Path, library: str) -> Path:
    connection = sqlite3.connect(store / "catalog.db")
    query = "SELECT id FROM library WHERE name = ?"
    (number,) = connection.execute(query, (library,)).fetchone()
    connection.close()
    return store / "v" / f"{number}-0-0.vec"


def flip(path: Path, offset: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ (1 << bit)]))


def verify(store: Path, library: str | None = None) -> facegrep.engine.VerifyReport:
    with facegrep.open(store, readonly=True) as engine:
        return engine.verify(library)


def contents(path: Path) -> dict[str, bytes]:
    """What readers may not change: all but SQLite's index of the log."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.suffix not in (".db-shm", ".db-wal")
    }


def test_a_whole_store_is_whole_and_left_as_it_is(store: Path) -> None:
    before = contents(store)
    report = verify(store)
    assert (report.ok, report.damages, report.leftovers) == (True, (), ())
    assert report.row_count > ROWS
    assert report.block_count == 4
    assert report.vector_bytes == (ROWS + 10) * DIM
    assert report.to_dict()["ok"] is True
    assert verify(store, "other").block_count == 1
    assert contents(store) == before
    with facegrep.open(store) as engine, pytest.raises(facegrep.NotFoundError):
        engine.verify("nobody")


def test_a_flipped_bit_of_vectors_is_named_by_library_and_block(store: Path) -> None:
    chance = random.Random(2)
    path = segment_of(store, "big")
    for _ in range(10):
        offset, bit = chance.randrange(ROWS * DIM), chance.randrange(8)
        flip(path, HEADER_BYTES + offset, bit)
        report = verify(store)
        (damage,) = report.damages
        assert (damage.library, damage.block) == ("big", offset // (1 << 16))
        assert damage.file == f"v/{path.name}"
        assert not verify(store, "big").ok
        assert verify(store, "other").ok
        flip(path, HEADER_BYTES + offset, bit)
    assert verify(store).ok


@pytest.mark.parametrize("offset", [0, 9, 20, 2000, HEADER_BYTES - 1])
def test_a_damaged_header_is_found_even_of_an_empty_segment(store: Path, offset: int) -> None:
    flip(segment_of(store, "other"), offset)
    (damage,) = verify(store).damages
    assert damage.library == "other"
    segment_of(store, "other").unlink()
    (damage,) = verify(store).damages
    assert "missing" in damage.what


@pytest.mark.parametrize(
    ("file", "statement", "library"),
    [
        ("catalog.db", "UPDATE media SET title = 'x' WHERE ordinal = 5", "big"),
        ("catalog.db", "DELETE FROM media WHERE ordinal = 5000", "big"),
        ("catalog.db", "DELETE FROM tombstone", "big"),
        ("catalog.db", "UPDATE library SET media_count = 1 WHERE name = 'other'", "other"),
        ("catalog.db", "UPDATE account SET created_ms = 1", None),
        ("catalog.db", "UPDATE store SET salt = x'00'", None),
        ("catalog.db", "UPDATE block SET crc32 = 1 WHERE segment_id = 1 AND number = 0", None),
        ("catalog.db", "DELETE FROM block WHERE segment_id = 1 AND number = 1", "big"),
        ("catalog.db", "UPDATE segment SET committed_bytes = 16", "big"),
        ("session.db", "UPDATE answer SET total = 1", None),
        ("session.db", "UPDATE store SET seq = seq - 1", None),
    ],
)
def test_a_changed_row_is_found(
    store: Path, file: str, statement: str, library: str | None
) -> None:
    connection = sqlite3.connect(store / file)
    assert connection.execute(statement).rowcount >= 1
    connection.commit()
    connection.close()
    found = []
    try:
        found = list(verify(store).damages)
    except facegrep.StoreCorrupt:  # it did not even open
        assert library is None
        return
    assert found
    if library is not None:
        assert library in {damage.library for damage in found}
    assert all(isinstance(damage.what, str) for damage in found)


def test_a_damaged_page_of_an_index_is_found(store: Path) -> None:
    """What no checksum of a row can see: the key in the index alone."""
    path = store / "catalog.db"
    data = path.read_bytes()
    needle = b"04321"
    starts = [at for at in range(len(data)) if data.startswith(needle, at)]
    assert len(starts) == 2  # the row, and the index
    outcomes = []
    for start in starts:
        flip(path, start + 4)
        outcomes.append({(d.library, "SQLite" in d.what) for d in verify(store).damages})
        flip(path, start + 4)
    assert all(outcomes)
    assert any({(None, True)} == outcome for outcome in outcomes)


def test_flipped_bits_anywhere_are_found_or_change_no_answer(store: Path) -> None:
    def answers() -> object:
        with facegrep.open(store) as engine:
            kept = engine.answers.get("big", "token")
            return (
                engine.search("big", vector=np.ones(DIM), limit=50).media_ids,
                engine.media("other"),
                engine.get("big", "00001", vectors=True).content_sha256,
                kept and [hit.media_id for hit in kept.page(0, 50).hits],
            )

    before = answers()
    files = [f for f in store.rglob("*") if f.is_file() and f.stat().st_size]
    chance = random.Random(20201109)
    found = 0
    for _ in range(60):
        path = chance.choice(files)
        offset, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        flip(path, offset, bit)
        try:
            whole = verify(store).ok
        except facegrep.FacegrepError:
            whole = False
        found += not whole
        if whole:
            assert answers() == before, (path.name, offset, bit)
            assert verify(store).ok
        # The answer may have written: the bit is put back into what is there now.
        flip(path, offset, bit)
    assert found > 20


def test_an_index_that_keeps_a_library_from_being_listed_is_damage(tmp_path: Path) -> None:
    """SQLite's integrity_check says ok of an entry whose end it does not read."""
    store = tmp_path / "small"
    with facegrep.open(store) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        engine.add_vectors("lib", [f"{row:05}" for row in range(60)], VECTORS[:60])
    connection = sqlite3.connect(store / "catalog.db")
    query = "SELECT rootpage FROM sqlite_schema WHERE name = 'media_by_id'"
    (page,) = connection.execute(query).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = (store / "catalog.db").read_bytes()
    begin = content.index(b"00059", (page - 1) * size) - 8  # the entry that was added last
    unreadable = 0
    for place in range(64):
        damaged = tmp_path / f"damaged {place}"
        shutil.copytree(store, damaged)
        flip(damaged / "catalog.db", begin + place // 8, place % 8)
        with contextlib.suppress(facegrep.StoreCorrupt), facegrep.open(damaged) as engine:
            with contextlib.suppress(facegrep.FacegrepError):
                engine.erase("lib", ["00030"])  # rebuilds the file, with the entry as it is
            try:
                engine.media("lib")
            except facegrep.StoreCorrupt:
                unreadable += 1
                assert not engine.verify().ok, place
    assert unreadable


def test_what_a_crash_left_is_listed_and_is_no_damage(store: Path) -> None:
    (store / "v" / "99-0-0.vec").write_bytes(b"x")
    (store / "tmp" / "half").write_bytes(b"x")
    (store / "holiday.jpg").write_bytes(b"x")
    report = verify(store)
    assert report.ok
    assert report.leftovers == ("holiday.jpg", "tmp/half", "v/99-0-0.vec")


def test_a_writer_beside_it_is_never_taken_for_damage(store: Path) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with facegrep.open(store) as engine:
                number = 0
                while not done.is_set():
                    ids = [f"{number}/{row}" for row in range(40)]
                    engine.add_vectors("other", ids, VECTORS[:40] + number)
                    engine.delete("other", ids[::2])
                    engine.set_face_index("big", None if number % 2 else "active")
                    if number % 5 == 0:
                        engine.create_library(f"lib{number}", dim=4)
                        engine.add_vectors(f"lib{number}", ["m"], np.ones((1, 4)))
                        engine.drop_library(f"lib{number}")
                    number += 1
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with facegrep.open(store, readonly=True) as engine:
            for _ in range(12):
                report = engine.verify()
                assert report.damages == ()
    finally:
        done.set()
        writer.join()
    assert not failures
