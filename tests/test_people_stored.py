"""What users said about people, on disk: it goes with its assets, and damage is found out."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.recognised import DIM, THRESHOLD, like

import facegrep

ANNA, BEN = np.eye(DIM, dtype=np.float32)[:2]
FACES = np.array([like(person, 0.9, seed) for seed in range(1, 6) for person in (ANNA, BEN)])
IDS = [f"{name}{number}" for number in range(1, 6) for name in "ab"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five photos of each of two people; one of the first's is said to be another's."""
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=THRESHOLD)
        engine.add_vectors("lib", IDS, FACES)
        engine.split_person("lib", "a1#0", ["a5#0"])
    return path


@contextlib.contextmanager
def sql(store: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(store / "catalog.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def rows(store: Path) -> list[tuple[int, int, int]]:
    with sql(store) as catalog:
        query = "SELECT ordinal, face_no, person FROM people_face ORDER BY ordinal"
        return catalog.execute(query).fetchall()


def test_a_row_is_an_ordinal_a_number_and_a_person_and_nothing_else(store: Path) -> None:
    ordinals = range(5)  # of Anna's photos: assets are added by their ids
    assert rows(store) == [(one, 0, int(one == 4)) for one in ordinals]


GOES: dict[str, Callable[[facegrep.Engine], object]] = {
    "delete": lambda engine: engine.delete("lib", ["a2", "b1"]),
    "erase": lambda engine: engine.erase("lib", ["a2", "b1"]),
    "erase_person": lambda engine: engine.erase_person(
        "lib", vector=FACES[2], threshold=0.999, dry_run=False
    ),
}


@pytest.mark.parametrize("way", GOES)
def test_what_was_said_of_an_asset_goes_with_it_and_the_rest_holds(store: Path, way: str) -> None:
    with facegrep.open(store) as engine:
        GOES[way](engine)
        people = engine.people("lib")
        assert sorted(face.face_id for face in people[-1].faces) == ["a1#0", "a3#0", "a4#0"]
        assert [face.face_id for face in people.unclustered] == ["a5#0"]
        assert engine.verify().damages == ()
        engine.add_vectors("lib", ["a2"], FACES[2:3])  # another asset, of which nothing was said
    assert [row[0] for row in rows(store)] == [0, 2, 3, 4]


def test_what_was_said_of_expired_assets_goes_when_they_are_purged(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.set_retention("lib", 1)
        assert len(engine.people("lib")) == 0
        assert len(rows(store)) == 5
        engine.purge()
        assert engine.verify().damages == ()
    assert rows(store) == []


def test_what_was_said_goes_with_the_faces_and_with_the_library(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.create_library("other", dim=DIM, threshold=THRESHOLD)
        engine.add_vectors("other", IDS, FACES)
        engine.merge_people("other", ["a1#0", "b2#0"])
        engine.set_face_index("lib", "deactive")
        assert len(rows(store)) == 10
        engine.drop_library("other")
        assert engine.verify().damages == ()
    assert rows(store) == []


def test_numbers_of_people_are_never_used_again(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.delete("lib", ["a5"])
        engine.split_person("lib", "b1#0", ["b1#0"])
    assert sorted({person for _, _, person in rows(store)}) == [0, 2, 3]


DAMAGES = {
    "who it is": "UPDATE people_face SET person = 0 WHERE ordinal = 4",
    "which face it is": "UPDATE people_face SET ordinal = 7 WHERE ordinal = 4",
    "a row that went": "DELETE FROM people_face WHERE ordinal = 4",
    "all rows": "DELETE FROM people_face",
    "how many there are": "UPDATE people SET face_count = 4",
    "that there are some": "DELETE FROM people",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_said_and_is_never_an_answer(store: Path, damage: str) -> None:
    with sql(store) as catalog:
        assert catalog.execute(DAMAGES[damage]).rowcount
    with facegrep.open(store) as engine:
        for use in (
            lambda: engine.people("lib"),
            lambda: engine.merge_people("lib", ["a1#0", "b2#0"]),
        ):
            with pytest.raises(facegrep.StoreCorrupt):
                use()
        assert {one.file for one in engine.verify().damages} == {"catalog.db"}
        assert engine.search("lib", vector=FACES[0]).total == 5  # nobody needs it for that


@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM media WHERE ordinal = 7", "UPDATE media SET added_ms = 1 WHERE ordinal = 7"],
)
def test_people_of_a_library_of_which_an_asset_is_missing_or_damaged_are_no_answer(
    store: Path, damage: str
) -> None:
    with sql(store) as catalog:
        assert catalog.execute(damage).rowcount
    with (
        facegrep.open(store, readonly=True) as engine,
        pytest.raises(facegrep.StoreCorrupt, match="'lib'"),
    ):
        engine.people("lib")


def test_a_row_of_no_face_is_damage(store: Path) -> None:
    with sql(store) as catalog:
        catalog.execute("DELETE FROM media WHERE ordinal = 4")
    with facegrep.open(store, readonly=True) as engine:
        assert any("of no face" in one.what for one in engine.verify().damages)
