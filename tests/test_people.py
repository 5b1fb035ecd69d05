"""The unknown people of a library: found, named, merged, split, and the same tomorrow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recognised import DIM, THRESHOLD, Vectors, like
from tests.tracked import add_videos, track, video_asset, video_of

import facegrep
from facegrep.engine import People, UnknownPerson
from facegrep.store import Video

ANNA, BEN, CARL, DORA = np.eye(DIM, dtype=np.float32)[:4]


def photo(person: Vectors, seed: int) -> Vectors:
    return like(person, 0.9, seed)


PHOTOS: dict[str, list[Vectors]] = {
    "a1": [photo(ANNA, 1)],
    "a2": [photo(ANNA, 2), photo(BEN, 3)],
    "a3": [photo(ANNA, 4)],
    "b1": [photo(BEN, 5)],
    "c1": [photo(CARL, 6)],
    "d1": [photo(DORA, 7), photo(DORA, 8)],  # twins in one picture
}
ANNAS, BENS = ["a1#0", "a2#0", "a3#0"], ["a2#1", "b1#0"]
ALONE = ["c1#0", "d1#0", "d1#1"]


def fill(engine: facegrep.Engine, photos: dict[str, list[Vectors]], **fields: Any) -> None:
    ids = [media_id for media_id, faces in photos.items() for _ in faces]
    rows = np.array([face for faces in photos.values() for face in faces])
    engine.add_vectors("lib", ids, rows, {name: [one] * len(ids) for name, one in fields.items()})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=THRESHOLD)
        fill(engine, PHOTOS)
    return tmp_path / "store"


@pytest.fixture
def engine(path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(path) as engine:
        yield engine


def faces_of(person: UnknownPerson) -> list[str]:
    return sorted(face.face_id for face in person.faces)


def found(people: People) -> list[list[str]]:
    return [faces_of(person) for person in people]


def alone(people: People) -> list[str]:
    return [face.face_id for face in people.unclustered]


def test_people_are_the_largest_first_and_who_is_alone_is_nobody(engine: facegrep.Engine) -> None:
    people = engine.people("lib")
    assert found(people) == [ANNAS, BENS]
    assert alone(people) == ALONE
    assert [one.person_id for one in people] == [ANNAS[0], BENS[0]]
    assert [(one.face_count, one.media_count, one.told) for one in people] == [
        (3, 3, False),
        (2, 2, False),
    ]
    for person in people:
        scores = [face.score for face in person.faces]
        assert scores == sorted(scores, reverse=True)
        assert person.best == person.faces[0]  # of vectors all are as good
    assert (people.recognised, people.threshold) == (0, THRESHOLD)
    assert engine.people("lib", min_faces=3).people == people.people[:1]
    assert alone(engine.people("lib", min_faces=3)) == sorted(ALONE + BENS)


def test_a_score_is_the_cosine_with_the_mean_of_the_person(engine: facegrep.Engine) -> None:
    person = engine.people("lib")[0]
    codes = {
        f"{media.media_id}#{face.face_no}": face.code.astype(float)
        for media in engine.media("lib", vectors=True)
        for face in media.faces
        if face.code is not None
    }
    units = {key: code / np.linalg.norm(code) for key, code in codes.items()}
    mean = np.sum([units[key] for key in faces_of(person)], axis=0)
    for face in person.faces:
        cosine = units[face.face_id] @ mean / np.linalg.norm(mean)
        assert face.score == pytest.approx(cosine, abs=1e-6)


def test_two_faces_of_one_picture_are_two_people_but_not_of_a_video(tmp_path: Path) -> None:
    for media_type, expected in (("image", []), ("video", [["d1#0", "d1#1"]])):
        with facegrep.open(tmp_path / media_type) as engine:
            engine.create_library("lib", dim=DIM, threshold=THRESHOLD)
            fill(engine, {"d1": PHOTOS["d1"]}, mediaType=media_type)
            assert found(engine.people("lib")) == expected


def add_video(engine: facegrep.Engine, media_id: str, video: Video, faces: list[Vectors]) -> None:
    add_videos(engine, "lib", [video_asset(media_id, video, np.array(faces))])


def test_two_faces_of_a_video_are_two_people_if_they_are_seen_at_once(path: Path) -> None:
    twins = [photo(DORA, seed) for seed in range(40, 45)]
    at_once = video_of(
        track(0, 0, 4000, faces=2), track(1, 4000, 8000, faces=2), track(2, 9000, 9500)
    )
    assert at_once.tracks[0].samples[-1, 0] == at_once.tracks[1].samples[0, 0]
    one_after_another = video_of(track(0, 0, 4000), track(1, 4100, 8000))
    with facegrep.open(path) as engine:
        engine.delete("lib", list(PHOTOS))
        add_video(engine, "v1", at_once, twins)
        (first, second) = found(engine.people("lib"))
        # Who is seen later, alone, is one of the two.
        assert len(first) == 3
        assert {"v1#4"} == {*first, *second} - {"v1#0", "v1#1", "v1#2", "v1#3"}
        assert not any({"v1#0", "v1#2"} <= set(part) for part in (first, second))
        assert {"v1#0", "v1#1"} <= set(first) or {"v1#0", "v1#1"} == set(second)
        add_video(engine, "v2", one_after_another, twins[:2])
        assert sorted(map(len, found(engine.people("lib")))) in ([2, 5], [3, 4])
        # Whoever knows better says so: a mirror, a photo on the wall.
        engine.merge_people("lib", ["v1#0", "v1#2"])
        assert [len(part) for part in found(engine.people("lib"))] == [7]
        assert engine.verify().damages == ()
    with facegrep.open(path, readonly=True) as engine:
        assert [len(part) for part in found(engine.people("lib"))] == [7]


def test_faces_that_a_video_shows_badly_belong_to_nobody_unless_it_is_said(path: Path) -> None:
    video = video_of(track(0, 0, 1000), track(1, 2000, 3000), track(2, 4000, 5000))
    asset = video_asset("dark", video, np.array([photo(DORA, seed) for seed in (50, 51, 52)]))
    assert asset.faces is not None
    assert asset.faces.values is not None
    asset.faces.values[:2, 4] = 0.05
    with facegrep.open(path) as engine:
        engine.delete("lib", ["d1"])
        add_videos(engine, "lib", [asset])
        people = engine.people("lib")
        assert found(people) == [ANNAS, BENS]
        assert {"dark#0", "dark#1", "dark#2"} <= set(alone(people))
        engine.merge_people("lib", ["dark#0", "dark#2"])
        assert ["dark#0", "dark#2"] in found(engine.people("lib"))


def test_people_are_the_same_in_any_order_of_adding_and_in_any_process(
    tmp_path: Path, engine: facegrep.Engine
) -> None:
    expected = engine.people("lib")
    with facegrep.open(tmp_path / "backwards") as other:
        other.create_library("lib", dim=DIM, threshold=THRESHOLD)
        for media_id, faces in reversed(PHOTOS.items()):
            fill(other, {"gone": [BEN]})
            fill(other, {media_id: faces})
            other.delete("lib", ["gone"])
        assert other.people("lib") == expected
        other.compact(min_dead_share=0)
        assert other.people("lib") == expected
    code = "import sys, facegrep; print(facegrep.open(sys.argv[1], readonly=True).people('lib'))"
    command = [sys.executable, "-c", code, str(engine.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected}\n"


def test_whoever_is_named_is_recognised_and_left_out(engine: facegrep.Engine) -> None:
    known = engine.create_recognition_library("family", dim=DIM).recognition_id
    people = engine.people("lib")
    with pytest.raises(facegrep.OperationDeniedError, match="lists no recognition library"):
        engine.name_person("lib", people[0], "Anna")
    engine.set_recognition("lib", [known])
    entity = engine.name_person("lib", people[0], "Anna", info="a sister", samples=2)
    assert (entity.name, entity.info, entity.sample_count) == ("Anna", "a sister", 2)
    assert len(engine.samples(known, entity.entity_id)) == 2
    query = np.ones(DIM)
    there = engine.search("lib", vector=query, threshold=-1.0, recognised=entity.entity_id)
    assert sorted(there.media_ids) == ["a1", "a2", "a3"]
    left = engine.people("lib")
    assert (found(left), left.recognised) == ([BENS], 3)
    again = engine.name_person("lib", "c1#0", entity_id=entity.entity_id)
    assert (again.name, again.sample_count) == ("Anna", 3)
    with pytest.raises(facegrep.NotFoundError, match="person"):
        engine.name_person("lib", "a1#0", "Anna")  # who is known already
    assert engine.verify().damages == ()


def test_any_face_stands_for_its_person(engine: facegrep.Engine) -> None:
    merged = engine.merge_people("lib", ["a3#0", "b1#0", "c1#0"][::2])
    assert merged == ANNAS[0]
    assert found(engine.people("lib")) == [[*ANNAS, "c1#0"], BENS]


def test_what_was_merged_and_split_survives_a_restart_and_more_photos(path: Path) -> None:
    with facegrep.open(path) as engine:
        first = engine.people("lib")
        engine.merge_people("lib", [first[1], "c1#0"])
        assert engine.split_person("lib", first[0], ["a3#0"]) == "a3#0"
        said = engine.people("lib")
        assert found(said) == [[*BENS, "c1#0"], ["a1#0", "a2#0"]]
        assert alone(said) == ["a3#0", "d1#0", "d1#1"]
        assert [one.told for one in said] == [True, True]
    with facegrep.open(path) as engine:
        assert engine.people("lib") == said
        more = {"a4": [photo(ANNA, 20)], "b2": [photo(BEN, 21)], "c2": [photo(CARL, 22)]}
        fill(engine, more)
        after = engine.people("lib")
        assert found(after)[0] == sorted([*BENS, "b2#0", "c1#0", "c2#0"])
        parts = [set(part) for part in (*found(after), ["a3#0"])]
        assert not any({"a1#0", "a3#0"} <= part for part in parts)
        assert any({"a1#0", "a2#0"} <= part for part in parts)
        everybody = engine.people("lib", threshold=-1.0)  # whatever is alike
        assert not any({"a1#0", "a3#0"} <= set(part) for part in found(everybody))
        engine.compact(min_dead_share=0)
        assert engine.people("lib") == after
        engine.backup(path.with_name("copy"))
        assert engine.verify().damages == ()
    with facegrep.open(path.with_name("copy")) as engine:
        assert engine.people("lib") == after


def test_the_later_word_holds(engine: facegrep.Engine) -> None:
    before = engine.people("lib")
    engine.split_person("lib", before[0], ["a3#0"])
    assert found(engine.people("lib", threshold=-1.0)) != found(before)
    engine.merge_people("lib", ["a3#0", "a1#0"])
    assert found(engine.people("lib")) == found(before)
    engine.split_person("lib", "a1#0", ["a1#0", "a2#0"])
    people = engine.people("lib")
    assert ["a1#0", "a2#0"] in found(people)
    assert "a3#0" in alone(people)
    engine.merge_people("lib", ["a1#0", "c1#0"])  # the smaller part keeps what was said of it
    assert ["a1#0", "a2#0", "c1#0"] in found(engine.people("lib"))


def test_who_is_merged_brings_along_whom_they_were_told_to_be(engine: facegrep.Engine) -> None:
    fill(engine, {"e1": [-ANNA]})
    before = {one.person_id: one for one in engine.people("lib", min_faces=1)}
    engine.merge_people("lib", ["c1#0", "b1#0"])
    engine.merge_people("lib", ["d1#0", "e1#0"])
    engine.merge_people("lib", [before["c1#0"], before["d1#0"]])  # of before: a face each
    assert sorted([*BENS, "c1#0", "d1#0", "e1#0"]) in found(engine.people("lib"))


def test_a_photo_that_shows_both_of_whom_were_merged_is_of_one_of_them(
    engine: facegrep.Engine,
) -> None:
    engine.merge_people("lib", ["c1#0", "b1#0"])
    fill(engine, {"x1": [photo(CARL, 30), photo(BEN, 31)]})
    people = engine.people("lib")
    both = {"x1#0", "x1#1"}
    assert all(len(both & set(part)) < 2 for part in found(people))
    assert any(both & set(part) for part in found(people))


REFUSED: dict[str, tuple[type[Exception], Callable[[facegrep.Engine], object]]] = {
    "two of one picture": (
        facegrep.OperationDeniedError,
        lambda engine: engine.merge_people("lib", ["a1#0", "b1#0"]),
    ),
    "twins": (
        facegrep.OperationDeniedError,
        lambda engine: engine.merge_people("lib", ["d1#0", "d1#1"]),
    ),
    "one alone": (
        facegrep.InvalidArgumentError,
        lambda engine: engine.merge_people("lib", ["a1#0"]),
    ),
    "a name": (facegrep.InvalidArgumentError, lambda engine: engine.merge_people("lib", "a1#0")),
    "no face": (
        facegrep.InvalidArgumentError,
        lambda engine: engine.merge_people("lib", ["a1", "b1#x"]),
    ),
    "nobody": (
        facegrep.NotFoundError,
        lambda engine: engine.merge_people("lib", ["a1#1", "b1#0"]),
    ),
    "all of them": (
        facegrep.InvalidArgumentError,
        lambda engine: engine.split_person("lib", "a1#0", [*ANNAS, "c1#0"]),
    ),
    "none": (facegrep.InvalidArgumentError, lambda engine: engine.split_person("lib", "a1#0", [])),
    "another's": (
        facegrep.InvalidArgumentError,
        lambda engine: engine.split_person("lib", "a1#0", ["b1#0"]),
    ),
    "no library": (facegrep.NotFoundError, lambda engine: engine.people("nowhere")),
    "no threshold": (
        facegrep.InvalidArgumentError,
        lambda engine: engine.people("lib", threshold=None),
    ),
    "name and entity": (
        facegrep.InvalidArgumentError,
        lambda engine: engine.name_person("lib", "a1#0", "Anna", entity_id="0" * 32),
    ),
    "no index": (
        facegrep.OperationDeniedError,
        lambda engine: (engine.set_face_index("lib", "deactive"), engine.people("lib")),
    ),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused_changes_nothing(engine: facegrep.Engine, refused: str) -> None:
    engine.merge_people("lib", ["a1#0", "c1#0"])
    before = engine.people("lib"), len(list(engine.audit()))
    error, call = REFUSED[refused]
    with pytest.raises(error):
        call(engine)
    if refused != "no index":
        assert (engine.people("lib"), len(list(engine.audit()))) == before


def test_a_person_whose_face_went_meanwhile_is_refused(engine: facegrep.Engine) -> None:
    people = engine.people("lib")
    engine.delete("lib", ["a2"])
    calls: list[Callable[[], str]] = [
        lambda: engine.merge_people("lib", [people[0], "c1#0"]),
        lambda: engine.split_person("lib", people[0], ["a1#0"]),
    ]
    for call in calls:
        with pytest.raises(facegrep.NotFoundError, match="a2#0"):
            call()
    assert found(engine.people("lib")) == [["a1#0", "a3#0"]]


def test_a_person_of_a_face_that_another_picture_has_not_is_refused(
    engine: facegrep.Engine,
) -> None:
    known = engine.create_recognition_library("family", dim=DIM).recognition_id
    engine.set_recognition("lib", [known])
    ben = engine.people("lib")[1]
    engine.delete("lib", ["a2"])
    fill(engine, {"a2": [photo(CARL, 40)]})
    calls: list[Callable[[], object]] = [
        lambda: engine.merge_people("lib", [ben, "d1#0"]),
        lambda: engine.split_person("lib", ben, ["b1#0"]),
        lambda: engine.name_person("lib", ben, "Ben"),
    ]
    for call in calls:
        with pytest.raises(facegrep.NotFoundError, match="a2#1"):
            call()
    assert engine.entities(known) == []


def test_nobody_is_named_by_faces_of_another_length(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = engine.create_recognition_library("longer", dim=DIM + 1).recognition_id
    known = engine.create_recognition_library("family", dim=DIM).recognition_id
    engine.set_recognition("lib", [known])
    (anna, _), before = engine.people("lib"), engine._find("lib")
    with pytest.raises(facegrep.ModelMismatchError, match="recognition_id"):
        engine.name_person("lib", anna, "Anna", recognition_id=longer)
    engine.drop_library("lib")
    engine.create_library("lib", dim=DIM + 1, threshold=THRESHOLD)
    engine.add_vectors("lib", ["a1", "a2", "a3"], np.ones((3, DIM + 1)))
    monkeypatch.setattr(engine, "_find", lambda _: before)  # replaced since it was looked at
    with pytest.raises(facegrep.ModelMismatchError, match="recognition_id"):
        engine.name_person("lib", anna, "Anna")
    assert engine.entities(known) == engine.entities(longer) == []


def test_looking_for_people_is_audited_where_searches_are(engine: facegrep.Engine) -> None:
    engine.set_search_audit(True)
    engine.people("lib")
    entries = [entry for entry in engine.audit(searches=True) if entry.action == "people"]
    assert [entry.details["people"] for entry in entries] == [2]
    assert [entry.media_count for entry in entries] == [6]


@pytest.mark.parametrize("dim", [1, 2, 4095, 4096])
def test_people_are_found_by_vectors_of_any_length_but_the_greatest(
    tmp_path: Path, dim: int
) -> None:
    ones = np.ones((3, dim), dtype=np.float32)
    ones[2, ::2] = -1
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=dim, threshold=THRESHOLD)
        engine.add_vectors("lib", ["a", "b", "c"], ones)
        if dim == 4096:
            with pytest.raises(facegrep.OperationDeniedError, match="less than 4096"):
                engine.people("lib")
        else:
            assert found(engine.people("lib")) == [["a#0", "b#0"]]
