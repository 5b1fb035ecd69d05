"""Bytes on disk that are not what was written: said, named, and kept to their library."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.store_fuzz import make_libraries_right

import facegrep
from facegrep.store import LibraryRow, list_libraries
from facegrep.store._assets import MediaRow
from facegrep.store._checksum import checksum
from facegrep.store._media_rows import sealed
from facegrep.store._segments import HEADER_BYTES

DIM = 16
ROWS = 9000  # three blocks of 64 KiB


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a store with the libraries `big` and `other`."""
    path = tmp_path_factory.mktemp("damage") / "store"
    vectors = np.random.default_rng(5).normal(size=(ROWS, DIM))
    with facegrep.open(path) as engine:
        for name, count in (("big", ROWS), ("other", 10)):
            engine.create_library(name, dim=DIM, threshold=-1.0)
            engine.add_vectors(name, [f"{row:05}" for row in range(count)], vectors[:count])
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def store(tmp_path: Path, original: dict[str, bytes]) -> Path:
    path = tmp_path / "store"
    for name, content in original.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / "tmp").mkdir()
    return path


def segment_of(store: Path, library: str) -> Path:
    connection = sqlite3.connect(store / "catalog.db")
    query = (
        "SELECT library_id, segment.generation, number FROM segment"
        " JOIN library ON library.id = library_id WHERE name = ?"
    )
    row = connection.execute(query, (library,)).fetchone()
    connection.close()
    return store / "v" / "{}-{}-{}.vec".format(*row)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def require_damage(store: Path, pattern: str) -> None:
    """Searching and reading `big` fails as said; `other` answers; both again and again."""
    with facegrep.open(store, readonly=True) as engine:
        for _ in range(2):
            with pytest.raises(facegrep.StoreCorrupt, match=pattern):
                engine.search("big", vector=np.ones(DIM))
            assert engine.search("other", vector=np.ones(DIM)).total == 10
        assert len(engine.media("big", limit=ROWS)) == ROWS  # what is not damaged


def test_the_files_as_written_pass_every_check(store: Path) -> None:
    with facegrep.open(store) as engine:
        assert engine.search("big", vector=np.ones(DIM)).total == ROWS


def test_any_flipped_bit_of_committed_vectors_names_library_and_block(store: Path) -> None:
    path = segment_of(store, "big")
    chance = random.Random(11)
    for _ in range(12):
        offset = chance.randrange(ROWS * DIM)
        bit = chance.randrange(8)
        flip(path, HEADER_BYTES + offset, bit)
        block = offset // (1 << 16)
        require_damage(store, rf"library 'big'.*block {block} fails its checksum")
        flip(path, HEADER_BYTES + offset, bit)


def test_a_damaged_block_does_not_keep_other_assets_from_being_read(store: Path) -> None:
    flip(segment_of(store, "big"), HEADER_BYTES + (1 << 16))
    with facegrep.open(store) as engine:
        assert engine.get("big", "00000", vectors=True).faces[0].code is not None
        with pytest.raises(facegrep.StoreCorrupt, match="block 1"):
            engine.get("big", f"{(1 << 16) // DIM:05}", vectors=True)
        assert engine.get("big", f"{(1 << 16) // DIM:05}").faces[0].code is None


def test_a_library_answers_again_once_its_file_is_repaired(store: Path) -> None:
    with facegrep.open(store) as engine:
        assert engine.search("big", vector=np.ones(DIM)).total == ROWS
        engine.add_vectors("big", ["new"], np.ones((1, DIM)))
        engine.update("big", "00000", title="also changed")
        offset = HEADER_BYTES + ROWS * DIM
        flip(segment_of(store, "big"), offset)
        for _ in range(2):  # what was loaded before is not half of the answer
            with pytest.raises(facegrep.StoreCorrupt, match="block 2"):
                engine.search("big", vector=np.ones(DIM))
        flip(segment_of(store, "big"), offset)
        assert engine.search("big", vector=np.ones(DIM)).total == ROWS + 1


@pytest.mark.parametrize("offset", [0, 8, 10, 12, 16, 24, 32, 45, 80, 2000, HEADER_BYTES - 1])
def test_any_flipped_bit_of_a_header_is_found(store: Path, offset: int) -> None:
    flip(segment_of(store, "big"), offset, bit=3)
    require_damage(store, "library 'big'.*header")


@pytest.mark.parametrize("length", [0, 100, HEADER_BYTES, HEADER_BYTES + ROWS * DIM - 1])
def test_a_file_cut_short_is_found(store: Path, length: int) -> None:
    path = segment_of(store, "big")
    path.write_bytes(path.read_bytes()[:length])
    require_damage(store, f"library 'big'.*{length} bytes long")
    with facegrep.open(store) as engine:  # and nothing is appended to it
        with pytest.raises(facegrep.StoreCorrupt):
            engine.add_vectors("big", ["new"], np.ones((1, DIM)))
        engine.add_vectors("other", ["new"], np.ones((1, DIM)))


def test_a_missing_or_swapped_file_is_found(store: Path) -> None:
    big, other = segment_of(store, "big"), segment_of(store, "other")
    content = big.read_bytes()
    big.unlink()
    require_damage(store, "library 'big'.*missing")
    big.write_bytes(other.read_bytes() + bytes(len(content)))
    require_damage(store, "library 'big'.*header")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE media SET first_slot = 900000",
        "UPDATE media SET first_slot = -1",
        "UPDATE media SET first_slot = NULL",
        "UPDATE media SET face_count = 1 << 60",
        "UPDATE media SET face_count = -1",
        "UPDATE media SET segment_id = 77",
        "UPDATE media SET segment_id = 2",
        "UPDATE media SET media_id = char(1) || media_id",
        "UPDATE segment SET committed_bytes = committed_bytes + 1",
        "UPDATE segment SET committed_bytes = 1 << 62",
        "UPDATE segment SET committed_bytes = -16",
        "UPDATE block SET length = length - 1",
        "DELETE FROM block",
    ],
)
def test_a_catalog_that_lies_is_an_error_not_a_crash(store: Path, statement: str) -> None:
    connection = sqlite3.connect(store / "catalog.db")
    big = "SELECT id FROM library WHERE name = 'big'"
    column = "library_id" if "block" not in statement else "segment_id"
    if column == "segment_id":
        big = f"SELECT id FROM segment WHERE library_id = ({big})"
    connection.execute(f"{statement} WHERE {column} = ({big})")
    connection.commit()
    connection.close()
    with facegrep.open(store, readonly=True) as engine:
        with pytest.raises(facegrep.StoreCorrupt, match="'big'"):
            engine.search("big", vector=np.ones(DIM))
        assert engine.search("other", vector=np.ones(DIM)).total == 10


@pytest.mark.parametrize("statement", ["dim = 0", "dim = 4097", "face_index = 'x'"])
def test_a_library_row_that_lies_is_an_error(store: Path, statement: str) -> None:
    connection = sqlite3.connect(store / "catalog.db")
    connection.execute(f"UPDATE library SET {statement} WHERE name = 'big'")
    connection.commit()
    connection.close()
    with facegrep.open(store, readonly=True) as engine:
        with pytest.raises(facegrep.StoreCorrupt, match="'big'"):
            engine.search("big", vector=np.ones(DIM))
        assert engine.search("other", vector=np.ones(DIM)).total == 10


@pytest.mark.parametrize("claimed", [1 << 31, 1 << 40, (1 << 63) - 1])
def test_a_library_row_with_a_right_checksum_takes_no_memory_for_what_it_claims(
    store: Path, claimed: int
) -> None:
    rewrite_library(store, "big", "next_ordinal", claimed)
    with facegrep.open(store, readonly=True) as engine:
        with pytest.raises(facegrep.StoreCorrupt, match=r"'big'.*contradict"):
            engine.search("big", vector=np.ones(DIM))
        assert engine.search("other", vector=np.ones(DIM)).total == 10


@pytest.mark.parametrize("first_slot", [None, -1, ROWS, 1 << 62, (1 << 63) - 1])
def test_verify_says_what_a_row_with_a_right_checksum_has_no_place_for(
    store: Path, first_slot: int | None
) -> None:
    connection = sqlite3.connect(store / "catalog.db")
    row = MediaRow(*connection.execute("SELECT * FROM media WHERE media_id = '00007'").fetchone())
    place = sealed(row._replace(first_slot=first_slot))[0]
    update = "UPDATE media SET first_slot = ?, checksum = ? WHERE library_id = ? AND ordinal = ?"
    connection.execute(update, (first_slot, place.checksum, row.library_id, row.ordinal))
    connection.commit()
    connection.close()
    with facegrep.open(store, readonly=True) as engine:
        damages = [damage.what for damage in engine.verify().damages]
        assert len(damages) == 1
        assert "slots of segment" in damages[0]


@pytest.mark.parametrize("face_count", [ROWS + 1, -1, 1 << 40])
def test_an_asset_of_more_faces_than_its_library_is_damage_and_not_counted_to(
    store: Path, face_count: int
) -> None:
    connection = sqlite3.connect(store / "catalog.db")
    row = MediaRow(*connection.execute("SELECT * FROM media WHERE media_id = '00007'").fetchone())
    whole = sealed(row._replace(face_count=face_count))[0]
    update = "UPDATE media SET face_count = ?, checksum = ? WHERE library_id = ? AND ordinal = ?"
    connection.execute(update, (face_count, whole.checksum, row.library_id, row.ordinal))
    make_libraries_right(connection)
    connection.commit()
    connection.close()
    with facegrep.open(store, readonly=True) as engine:
        name = {row.id: row.name for row in libraries_of(engine)}[row.library_id]
        for vectors in (False, True):
            with pytest.raises(facegrep.StoreCorrupt, match=rf"'{name}'.*{face_count} faces"):
                engine.get(name, "00007", vectors=vectors)
            with pytest.raises(facegrep.StoreCorrupt, match=rf"'{name}'.*{face_count} faces"):
                engine.media(name, limit=100, vectors=vectors)


def libraries_of(engine: facegrep.Engine) -> list[LibraryRow]:
    with engine._shared.store.catalog.read() as connection:
        return list_libraries(connection, engine.account)


def rewrite_library(store: Path, name: str, column: str, value: object) -> None:
    """Change a library's row as somebody would who knows the checksum."""
    connection = sqlite3.connect(store / "catalog.db")
    connection.execute(f"UPDATE library SET {column} = ? WHERE name = ?", (value, name))
    row = connection.execute("SELECT * FROM library WHERE name = ?", (name,)).fetchone()
    update = "UPDATE library SET checksum = ? WHERE name = ?"
    connection.execute(update, (checksum(row[:-1]), name))
    connection.commit()
    connection.close()


def damage_pages(data: bytearray, chance: random.Random) -> None:
    for _ in range(40):
        data[chance.randrange(100, len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


@pytest.mark.parametrize("damage", [damage_pages, cut])
def test_a_damaged_catalog_never_raises_anything_but_an_error_of_ours(
    store: Path, damage: Callable[[bytearray, random.Random], None]
) -> None:
    chance = random.Random(3)
    catalog = store / "catalog.db"
    content = catalog.read_bytes()
    for _ in range(12):
        data = bytearray(content)
        damage(data, chance)
        for leftover in store.glob("catalog.db-*"):
            leftover.unlink()
        catalog.write_bytes(data)
        with (
            contextlib.suppress(facegrep.FacegrepError),
            facegrep.open(store, readonly=True) as engine,
        ):
            engine.libraries()
            engine.search("big", vector=np.ones(DIM))
            engine.media("big", limit=ROWS)


def test_no_flipped_bit_beside_an_id_makes_its_asset_unknown(store: Path) -> None:
    # In the row, what stands before an id says where the row is kept; in the index, what the id is.
    with facegrep.open(store) as engine:
        media_id = "the one"
        engine.add_vectors("other", [media_id], np.ones((1, DIM)))
        expected = engine.get("other", media_id)
    catalog = store / "catalog.db"
    content = catalog.read_bytes()
    places = [place.start() for place in re.finditer(re.escape(media_id.encode()), content)]
    assert len(places) >= 2, "in the table and in its index"
    noticed = 0
    for offset in {place - distance for place in places for distance in range(-1, 33)}:
        for bit in range(8):
            data = bytearray(content)
            data[offset] ^= 1 << bit
            catalog.write_bytes(data)
            try:
                with facegrep.open(store, readonly=True) as engine:
                    assert engine.get("other", media_id) == expected, (offset, bit)
            except facegrep.StoreError:
                noticed += 1
    assert noticed > 100


@pytest.mark.parametrize("expired", [1, 2])
def test_no_flipped_bit_of_a_time_makes_an_asset_expire_or_last(
    store: Path, expired: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 1_800_000_000_000
    times_ms = [now_ms + number * 1000 for number in range(4)]
    monkeypatch.setattr(time, "time_ns", lambda: now_ms * 1_000_000)
    with facegrep.open(store) as engine:
        engine.create_library("brief", dim=DIM, threshold=-1.0, ttl_ms=10_000)
        for now_ms in times_ms:
            engine.add_vectors("brief", [f"{now_ms}"], np.ones((1, DIM)))
    now_ms = times_ms[0] + 10_000 + expired * 1000 - 500
    catalog = store / "catalog.db"
    content = catalog.read_bytes()
    noticed = 0
    for time_ms in times_ms:
        for place in re.finditer(re.escape(time_ms.to_bytes(6, "big")), content):
            for bit in range(0, 48, 5):
                data = bytearray(content)
                data[place.start() + bit // 8] ^= 1 << bit % 8
                catalog.write_bytes(data)
                try:
                    with facegrep.open(store, readonly=True) as engine:
                        assert engine.library("brief").media_count == 4 - expired, (time_ms, bit)
                except facegrep.StoreError:
                    noticed += 1
    assert noticed > 8


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_an_id_that_its_index_lost_may_be_stored_twice_but_never_answered(
    store: Path, is_in_memory: bool
) -> None:
    fields = {"utcCreate": [1]}
    with facegrep.open(store) as engine:
        engine.add_vectors("other", ["the one"], np.ones((1, DIM)), fields)
    catalog = store / "catalog.db"
    content = catalog.read_bytes()
    places = [place.start() for place in re.finditer(b"the one", content)]
    outcomes = []
    for place in places:  # one is in the index, the other in the row
        data = bytearray(content)
        data[place] ^= 1
        catalog.write_bytes(data)
        for part in (*store.glob("cache/*"), *store.glob("catalog.db-*")):
            part.unlink()
        with facegrep.open(store) as engine:
            if is_in_memory:
                with contextlib.suppress(facegrep.StoreCorrupt):
                    engine.search("other", vector=np.ones(DIM))
            try:
                engine.add_vectors("other", ["the one"], -np.ones((1, DIM)), fields)
                outcomes.append("stored")
            except (facegrep.AlreadyExistsError, facegrep.StoreCorrupt) as error:
                outcomes.append(type(error).__name__)
            with pytest.raises(facegrep.StoreCorrupt):
                engine.search("other", vector=np.ones(DIM))
            assert not engine.verify().ok
        if outcomes[-1] == "stored":
            break
    assert "stored" in outcomes


ON_A_BAD_DISK = """
import sys, facegrep
try:
    with facegrep.open(sys.argv[1], readonly=True) as engine:
        print("opened")
        engine.search("big", vector=[1.0] * engine.library("big").dim)
        print("answered")
except facegrep.StoreError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
@pytest.mark.parametrize("first", range(1, 14, 2))
def test_a_disk_that_cannot_be_read_is_not_called_a_damaged_store(store: Path, first: int) -> None:
    injection = f"inject=pread64:error=EIO:when={first}+"
    files = [f"--trace-path={store / name}" for name in ("catalog.db", "session.db")]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", *files, "-e", injection]
    child = [sys.executable, "-c", ON_A_BAD_DISK, str(store)]
    done = subprocess.run([*command, *child], capture_output=True, text=True, timeout=120)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    *_, last = done.stdout.splitlines()
    assert last.startswith("StoreError catalog.db: the disk fails to read it"), done.stderr
    with facegrep.open(store) as engine:
        assert engine.verify().ok


def test_no_flipped_bit_beside_the_name_of_a_library_takes_it_from_the_list(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.create_library("the one", dim=DIM, threshold=0.2)
        expected = engine.libraries()
    catalog = store / "catalog.db"
    content = catalog.read_bytes()
    places = [place.start() for place in re.finditer(b"defaultthe one", content)]
    assert len(places) == 2, "in the table and in its index"
    noticed = 0
    for offset in {place + distance for place in places for distance in range(-6, 18)}:
        for bit in range(8):
            data = bytearray(content)
            data[offset] ^= 1 << bit
            catalog.write_bytes(data)
            try:
                with facegrep.open(store, readonly=True) as engine:
                    assert engine.libraries() == expected, (offset, bit)
                    assert engine.library("the one") in expected, (offset, bit)
            except facegrep.StoreError:
                noticed += 1
    assert noticed > 100
