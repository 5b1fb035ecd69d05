"""Recognition libraries on disk: erased without a trace, and found out when they are damaged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.store_fuzz import make_libraries_right, make_parents_right

import facegrep
from facegrep.store import MediaRow, Receipt, Store
from facegrep.store._checksum import checksum
from facegrep.store._media_rows import sealed as media_sealed

DIM = 64
PEOPLE = 300
CHANCE = np.random.default_rng(6)
FACES = CHANCE.normal(size=(PEOPLE, DIM)).astype(np.float32)
CODES = facegrep._core.quantize(FACES)

# By another process: one that uses SQLite may never open its files itself.
SCAN = """
import pathlib, sys
needles = [bytes.fromhex(line) for line in sys.stdin.read().split()]
found = set()
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        data = path.read_bytes()
        found |= {needle for needle in needles if needle in data}
print(len(found))
"""


def name_of(number: int) -> str:
    return f"Somebody Nr {number:05}"


def needles(numbers: list[int]) -> list[bytes]:
    """Of each their name, and windows of their code."""
    found = [name_of(number).encode() for number in numbers]
    return found + [CODES[number].tobytes()[at : at + 40] for number in numbers for at in (0, 17)]


def count_found(store: Path, numbers: list[int]) -> int:
    lines = "\n".join(needle.hex() for needle in needles(numbers))
    command = [sys.executable, "-c", SCAN, str(store)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many people with one sample each, in an order that makes SQLite move rows between pages."""
    path = tmp_path_factory.mktemp("people") / "store"
    with facegrep.open(path) as engine:
        known = engine.create_recognition_library("people", dim=DIM).recognition_id
        engine.create_library("lib", dim=DIM, threshold=0.9, recognition=[known])
        entities = {}
        for number in range(PEOPLE):
            entities[number] = engine.create_entity(known, name_of(number)).entity_id
            engine.add_sample(known, entities[number], vector=FACES[number])
        engine.add_vectors("lib", [str(number) for number in range(PEOPLE)], FACES)
        engine.erase("lib", [str(number) for number in range(PEOPLE)])  # their codes lay there too
    (path.parent / "ids.json").write_text(json.dumps([known, [*entities.values()]]))
    return path


@pytest.fixture
def store(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


@pytest.fixture
def known(original: Path) -> str:
    """The id of the recognition library."""
    return str(json.loads((original.parent / "ids.json").read_text())[0])


@pytest.fixture
def entities(original: Path) -> list[str]:
    found: list[str] = json.loads((original.parent / "ids.json").read_text())[1]
    return found


@contextlib.contextmanager
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def test_a_deleted_person_is_in_no_file_while_open_and_after(
    store: Path, known: str, entities: list[str]
) -> None:
    assert count_found(store, [3, 4, 5]) == 9
    with facegrep.open(store) as engine:
        engine.delete_entity(known, entities[3])
        assert count_found(store, [3]) == 0
        (sample,) = engine.samples(known, entities[4])
        engine.delete_sample(known, entities[4], sample.sample_id)
        assert count_found(store, [4]) == 1  # the name: the entity stays
        assert engine.entities(known)[3].sample_count == 0
        assert engine.verify().damages == ()
    assert count_found(store, [3, 4]) == 1
    assert count_found(store, [*range(5, PEOPLE)]) == 3 * (PEOPLE - 5)


def test_a_deleted_library_is_in_no_file(store: Path, known: str) -> None:
    with facegrep.open(store) as engine:
        engine.delete_recognition_library(known)
        assert count_found(store, [*range(PEOPLE)]) == 0
        assert engine.verify().damages == ()
        assert engine.recognition_libraries() == []


def test_a_reader_that_holds_back_the_log_is_said_and_it_goes_on(
    store: Path, known: str, entities: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = Store.delete_entity.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout_s", 0.1)
    with facegrep.open(store) as engine:
        with sql(store / "catalog.db") as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM store").fetchone()
            with pytest.raises(facegrep.ErasePending):
                engine.delete_entity(known, entities[7])
            assert [one.name for one in engine.entities(known)].count(name_of(7)) == 0
            reader.rollback()
        engine.purge()
        assert count_found(store, [7]) == 0


def test_a_kill_after_the_commit_is_taken_up(store: Path, known: str, entities: list[str]) -> None:
    code = (
        "import os, signal, sys, facegrep\n"
        "from facegrep.store import _erase\n"
        "_erase.scrub = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "facegrep.open(sys.argv[1]).delete_entity(*sys.argv[2:])\n"
    )
    command = [sys.executable, "-c", code, str(store), known, entities[9]]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with facegrep.open(store) as engine:
        assert name_of(9) not in [one.name for one in engine.entities(known)]
        assert count_found(store, [9]) == 0
        assert engine.verify().damages == ()


def test_erasing_a_person_takes_their_samples_and_names_and_says_so(
    store: Path, known: str, entities: list[str]
) -> None:
    with facegrep.open(store) as engine:
        both = engine.create_entity(known, "two people").entity_id
        engine.add_sample(known, both, vector=FACES[11] * 2)
        engine.add_sample(known, both, vector=FACES[12])
        unlisted = engine.create_recognition_library("unlisted", dim=DIM).recognition_id
        alone = engine.create_entity(unlisted, "alone").entity_id
        engine.add_sample(unlisted, alone, vector=FACES[11])
        elsewhere = engine.create_recognition_library("longer", dim=DIM + 1).recognition_id
        stays = engine.create_entity(elsewhere, "stays").entity_id
        engine.add_sample(elsewhere, stays, vector=np.ones(DIM + 1))
        other = engine.for_account("other")
        theirs = other.create_recognition_library("theirs", dim=DIM).recognition_id
        their_entity = other.create_entity(theirs, "theirs").entity_id
        other.add_sample(theirs, their_entity, vector=FACES[20])
        engine.add_vectors("lib", ["a", "b"], FACES[11:13])
        plan = engine.erase_person("lib", vector=FACES[11], threshold=0.9)
        assert plan.media_ids == ["a"]
        said = {(one.recognition_id, one.entity_id, one.with_entity) for one in plan.samples}
        assert said == {(known, entities[11], True), (known, both, False), (unlisted, alone, True)}
        assert all(one.score > 0.99 for one in plan.samples)
        assert json.loads(json.dumps(plan.to_dict()))["samples"][0]["entity_name"]
        assert len(engine.entities(known)) == PEOPLE + 1  # nothing went
        receipt = engine.erase_person("lib", vector=FACES[11], threshold=0.9, dry_run=False)
        assert (receipt.media_ids, set(receipt.samples)) == (("a",), set(plan.samples))
        assert json.loads(json.dumps(receipt.to_dict()))["samples"]
        assert count_found(store, [11]) == 0
        assert len(engine.entities(known)) == PEOPLE
        assert [one.sample_count for one in engine.entities(known)] == [1] * PEOPLE
        assert engine.entities(unlisted) == []
        assert len(engine.samples(elsewhere, stays)) == 1
        assert len(other.samples(theirs, their_entity)) == 1
        assert engine.verify().damages == ()
        again = Receipt.from_dict(json.loads(json.dumps(receipt.to_dict())))
        assert again == receipt
        assert engine.verify_audit(receipt).ok
        forged = dataclasses.replace(receipt, samples=receipt.samples[1:])
        assert not engine.verify_audit(forged).ok
        nobody = engine.erase_person("lib", vector=FACES[11], threshold=0.9, dry_run=False)
        assert nobody.samples == ()


def test_a_backup_has_the_people(store: Path, known: str, entities: list[str]) -> None:
    copy = store.with_name("copy")
    with facegrep.open(store) as engine:
        engine.backup(copy)
        expected = engine.entities(known), engine.samples(known, entities[0])
    with facegrep.open(copy) as engine:
        assert (engine.entities(known), engine.samples(known, entities[0])) == expected
        assert engine.verify().damages == ()


DAMAGES: dict[str, str] = {
    "a sample's code": "UPDATE recognition_sample SET code = zeroblob(64) WHERE number = 21",
    "a sample that went": "DELETE FROM recognition_sample WHERE number = 21",
    "an entity's name": "UPDATE recognition_entity SET name = 'x' WHERE number = 20",
    "an entity that went": "DELETE FROM recognition_entity WHERE number = 20",
    "a sample moved": "UPDATE recognition_sample SET entity_id = 'x' WHERE number = 21",
    "an entity moved": "UPDATE recognition_entity SET entity_id = 'x' WHERE number = 20",
    "the library": "UPDATE recognition SET entity_count = 299",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_said_and_is_never_an_answer(
    store: Path, entities: list[str], damage: str
) -> None:
    with sql(store / "catalog.db") as catalog:
        assert catalog.execute(DAMAGES[damage]).rowcount == 1
    with facegrep.open(store) as engine:
        assert engine.verify().damages
        engine.add_vectors("lib", ["a"], FACES[:1])
        assert engine.search("lib", vector=FACES[0]).total == 1  # nobody needs them for that
        uses: list[Callable[[], object]] = [
            lambda: engine.search("lib", vector=FACES[0], recognised=entities[0]),
            lambda: engine.recognise("lib", "a"),
            lambda: engine.erase_person("lib", vector=FACES[0]),
        ]
        for use in uses:
            with pytest.raises(facegrep.StoreCorrupt):
                use()


def test_an_entity_that_the_tree_of_rows_lost_is_damage_and_not_unknown(
    store: Path, known: str, entities: list[str]
) -> None:
    with sql(store / "catalog.db") as catalog:
        catalog.execute("DELETE FROM recognition_sample WHERE entity_id = ?", (entities[5],))
        catalog.execute("DELETE FROM recognition_entity WHERE entity_id = ?", (entities[5],))
    with facegrep.open(store) as engine:
        for use in (
            lambda: engine.samples(known, entities[5]),
            lambda: engine.entities(known),
            lambda: engine.delete_entity(known, entities[5]),
            lambda: engine.search("lib", entity=entities[5]),
            lambda: engine.add_sample(known, "unknown", vector=FACES[0]),
        ):
            with pytest.raises(facegrep.StoreCorrupt, match="not those that were written"):
                use()
        assert len(engine.samples(known, entities[6])) == 1


def test_a_library_that_only_rows_or_only_the_index_have_is_damage(
    store: Path, known: str, entities: list[str]
) -> None:
    with sql(store / "catalog.db") as catalog:
        catalog.execute("PRAGMA foreign_keys = OFF")
        catalog.execute("PRAGMA writable_schema = ON")
        # So that the row goes and its entry in the index stays.
        (schema,) = catalog.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'recognition'"
        ).fetchone()
        without = schema.replace("UNIQUE (account, lib_id)", "CHECK (1)")
        catalog.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'recognition'", (without,))
        (page,) = catalog.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_recognition_1'"
        ).fetchone()
        catalog.execute("DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_recognition_1'")
    with sql(store / "catalog.db") as catalog:
        catalog.execute("DELETE FROM recognition")
        catalog.execute("PRAGMA writable_schema = ON")
        catalog.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'recognition'", (schema,))
        catalog.execute(
            "INSERT INTO sqlite_master VALUES"
            " ('index', 'sqlite_autoindex_recognition_1', 'recognition', ?, NULL)",
            (page,),
        )
    with facegrep.open(store) as engine:
        for use in (
            lambda: engine.recognition_libraries(),
            lambda: engine.entities(known),
            lambda: engine.search("lib", vector=FACES[0], recognised=entities[0]),
        ):
            with pytest.raises(facegrep.StoreCorrupt, match="its index names"):
                use()
        assert engine.verify().damages


def test_an_older_row_in_place_of_a_newer_one_is_damage(
    store: Path, known: str, entities: list[str]
) -> None:
    def rows(catalog: sqlite3.Connection) -> list[tuple[object, ...]]:
        query = "SELECT * FROM recognition_sample WHERE entity_id = ?"
        return catalog.execute(query, (entities[8],)).fetchall()

    with sql(store / "catalog.db") as catalog:
        (older,) = rows(catalog)
    with facegrep.open(store) as engine:
        (sample,) = engine.samples(known, entities[8])
        engine.delete_sample(known, entities[8], sample.sample_id)
        engine.add_sample(known, entities[8], vector=FACES[9])
    with sql(store / "catalog.db") as catalog:
        assert len(rows(catalog)) == 1
        catalog.execute("DELETE FROM recognition_sample WHERE entity_id = ?", (entities[8],))
        values = ", ".join("?" * len(older))
        catalog.execute(f"INSERT INTO recognition_sample VALUES ({values})", older)
    with facegrep.open(store) as engine:
        with pytest.raises(facegrep.StoreCorrupt, match="not those that were written"):
            engine.samples(known, entities[8])
        assert len(engine.verify().damages) == 1


def test_verify_says_which_rows_are_wrong(store: Path) -> None:
    with sql(store / "catalog.db") as catalog:
        catalog.execute(DAMAGES["a sample that went"])
    with facegrep.open(store, readonly=True) as engine:
        (damage,) = engine.verify().damages
        assert damage.file == "catalog.db"
        assert "not those that were written" in damage.what


@pytest.mark.parametrize("column", ["face_data", "code"])
def test_a_sample_with_right_checksums_and_a_blob_of_another_length_is_damage(
    store: Path, known: str, entities: list[str], column: str
) -> None:
    with sql(store / "catalog.db") as catalog:
        catalog.execute(f"UPDATE recognition_sample SET {column} = x'00112233' WHERE number = 21")
        seal(catalog, "recognition_sample", "number = 21")
        assert make_parents_right(catalog, "recognition_sample") == "recognition_entity"
        make_parents_right(catalog, "recognition_entity")
    with facegrep.open(store) as engine:
        engine.add_vectors("lib", ["a"], FACES[:1])
        assert engine.verify().damages
        with pytest.raises(facegrep.StoreCorrupt, match="'people'"):
            engine.samples(known, entities[10])
        with pytest.raises(facegrep.StoreCorrupt, match="'people'"):
            engine.recognise("lib", "a")


def test_an_asset_with_right_checksums_and_faces_of_another_number_is_damage(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.add_vectors("lib", ["a"], FACES[:1])
    with sql(store / "catalog.db") as catalog:
        catalog.execute("UPDATE media SET face_data = x'00112233' WHERE media_id = 'a'")
        row = MediaRow._make(catalog.execute("SELECT * FROM media").fetchone())
        catalog.execute("UPDATE media SET checksum = ?", (media_sealed(row)[0].checksum,))
        make_libraries_right(catalog)
    with facegrep.open(store) as engine:
        for use in (engine.recognise, engine.get, partial(engine.clips, vector=FACES[0])):
            with pytest.raises(facegrep.StoreCorrupt, match="'a'"):
                use("lib", "a")


def seal(catalog: sqlite3.Connection, table: str, where: str) -> None:
    """Give a row the checksum that it should have."""
    row = catalog.execute(f"SELECT * FROM {table} WHERE {where}").fetchone()
    catalog.execute(f"UPDATE {table} SET checksum = ? WHERE {where}", (checksum(row[:-1]),))
