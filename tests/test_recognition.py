"""People: whose face a face is, the assets that they are in, and how long that is true."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index_oracle import exact_scores
from tests.recognised import DIM, THRESHOLD, Vectors, like, people, seen, vectors

import facegrep
from facegrep.engine import _roster
from facegrep.engine._fusion import fuse
from facegrep.engine._roster import NOBODY


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=THRESHOLD)
        yield engine


def expected(
    engine: facegrep.Engine, queries: dict[str, Vectors], threshold: float
) -> dict[str, dict[str, set[int]]]:
    """By definition: who is which face of which asset, from the codes alone."""
    found: dict[str, dict[str, set[int]]] = {entity: {} for entity in queries}
    for media in engine.media("lib", limit=1000, vectors=True):
        for face in media.faces:
            assert face.code is not None
            scored = sorted(
                (-float(exact_scores(query, face.code[np.newaxis])[0]), entity)
                for entity, query in queries.items()
            )
            if scored and -scored[0][0] >= threshold:
                found[scored[0][1]].setdefault(media.media_id, set()).add(face.face_no)
    return found


CLOSE = st.integers(-2, 2)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Vectors], list[list[Vectors]]]:
    """Few directions and small steps, so that faces are between people, and ties are common."""
    face = st.lists(CLOSE, min_size=4, max_size=4).filter(any)
    samples = draw(st.lists(st.lists(face, min_size=1, max_size=3), min_size=1, max_size=5))
    assets = draw(st.lists(st.lists(face, min_size=1, max_size=4), min_size=1, max_size=8))

    def rows(faces: list[list[int]]) -> Vectors:
        return np.array([np.tile(face, 3) for face in faces], dtype=np.float32)

    return [rows(faces) for faces in samples], [list(rows(faces)) for faces in assets]


@settings(max_examples=25, deadline=None)
@given(crowd=crowds(), threshold=st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]))
def test_every_face_is_the_one_person_that_it_is_most_like(
    crowd: tuple[list[Vectors], list[list[Vectors]]],
    threshold: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    samples, assets = crowd
    with facegrep.open(tmp_path_factory.mktemp("crowd") / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=threshold)
        ids = [f"m{number}" for number, faces in enumerate(assets) for _ in faces]
        engine.add_vectors("lib", ids, [face for faces in assets for face in faces])
        known = engine.create_recognition_library("people", dim=DIM).recognition_id
        queries: dict[str, Vectors] = {}
        nobody = []
        for number, faces in enumerate(samples):
            entity = engine.create_entity(known, f"p{number}").entity_id
            for face in faces:
                engine.add_sample(known, entity, vector=face)
            codes = [sample.code for sample in engine.samples(known, entity)]
            fused = fuse(np.array(codes, dtype=np.float32), np.ones(len(codes)))
            if fused is None:
                nobody.append(entity)
            else:
                queries[entity] = fused.embedding
        engine.set_recognition("lib", [known])
        found = expected(engine, queries, threshold)
        taken: set[tuple[str, int]] = set()
        for entity, where in found.items():
            assert seen(engine, entity) == sorted(where)
            faces_of = {(media, face) for media, numbers in where.items() for face in numbers}
            assert not faces_of & taken
            taken |= faces_of
        assert [seen(engine, entity) for entity in nobody] == [[] for _ in nobody]
        said = {
            (media.media_id, face.face_no, face.entity_id)
            for media in engine.media("lib", limit=1000)
            for face in engine.recognise("lib", media.media_id)
        }
        assert said == {
            (media, face, entity)
            for entity, where in found.items()
            for media, numbers in where.items()
            for face in numbers
        }


def test_the_score_of_a_face_is_that_of_a_search_to_the_bit(engine: facegrep.Engine) -> None:
    faces = vectors(40)
    (entity,) = people(engine, 1, faces)
    engine.set_threshold("lib", -1.0)
    engine.add_vectors("lib", [str(number) for number in range(40)], faces)
    found = engine.search("lib", entity=entity, limit=40)
    for hit in found:
        (face,) = engine.recognise("lib", hit.media_id)
        assert np.float32(face.score) == np.float32(hit.score)


def test_a_face_between_many_people_is_decided_by_the_exact_score() -> None:
    # People who differ by less than float32 products tell apart.
    chance = np.random.default_rng(3)
    base = chance.normal(size=DIM)
    queries = (base + 1e-7 * chance.normal(size=(100, DIM))).astype(np.float32)
    names = tuple(_roster.Known(f"{number:03}", "", "") for number in range(100))
    roster = _roster.Roster((), names, queries, _roster.units_of(queries))
    codes = facegrep._core.quantize(chance.normal(size=(15, DIM)).astype(np.float32))
    who, scores = roster.assign(codes, -1.0)
    for code, number, score in zip(codes, who, scores, strict=True):
        exact = np.array([exact_scores(query, code[np.newaxis])[0] for query in queries])
        assert number == exact.argmax()
        assert score == exact.max()


def test_faces_are_compared_in_parts_with_the_same_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = vectors(7)
    names = tuple(_roster.Known(str(number), "", "") for number in range(7))
    roster = _roster.Roster((), names, queries, _roster.units_of(queries))
    codes = facegrep._core.quantize(vectors(100, seed=5))
    whole = roster.assign(codes, 0.2)
    assert NOBODY in whole[0]
    monkeypatch.setattr(_roster, "_VALUES", 20 * DIM)
    for at_once, in_parts in zip(whole, roster.assign(codes, 0.2), strict=True):
        np.testing.assert_array_equal(at_once, in_parts)


def test_of_two_who_are_alike_to_the_bit_the_first_by_id_is_seen(engine: facegrep.Engine) -> None:
    face = vectors(1)
    engine.add_vectors("lib", ["a"], face)
    twins = sorted(people(engine, 4, face.repeat(4, axis=0)))
    assert [seen(engine, twin) for twin in twins] == [["a"], [], [], []]
    assert [one.entity_id for one in engine.recognise("lib", "a")] == twins[:1]


def test_a_face_at_the_threshold_is_seen_and_the_next_below_is_not(
    engine: facegrep.Engine,
) -> None:
    face = vectors(1)
    (one,) = people(engine, 1, face)
    engine.add_vectors("lib", ["a"], [like(face[0], 0.7)])
    (seen_face,) = engine.recognise("lib", "a")
    engine.set_threshold("lib", seen_face.score)
    assert (seen(engine, one), len(engine.recognise("lib", "a"))) == (["a"], 1)
    engine.set_threshold("lib", float(np.nextafter(seen_face.score, 2)))
    assert (seen(engine, one), len(engine.recognise("lib", "a"))) == ([], 0)


def test_what_goes_elsewhere_is_not_subtracted_from_their_total(engine: facegrep.Engine) -> None:
    faces = vectors(2)
    one, _ = people(engine, 2, faces)
    engine.add_vectors("lib", ["a", "b", "c"], faces[[0, 0, 1]])
    found = engine.search("lib", vector=faces[0], threshold=None, limit=1, recognised=one)
    assert (found.total, found.media_ids) == (2, ["a"])
    engine.delete("lib", ["c"])
    assert found.page(0, 1).total == 2
    engine.delete("lib", ["b"])
    assert found.page(0, 1).total == 1


def test_with_filters_and_thresholds_it_is_one_more_condition(engine: facegrep.Engine) -> None:
    faces = vectors(200)
    entities = people(engine, 5, faces)
    rows = np.concatenate([faces[:5].repeat(20, axis=0) + 0.3 * vectors(100, seed=9), faces[5:105]])
    ids = [f"m{number:03}" for number in range(200)]
    engine.add_vectors("lib", ids, rows, {"intField1": [number % 3 for number in range(200)]})
    for entity in entities:
        theirs = set(seen(engine, entity))
        assert theirs
        for limit in (0, 3, 1000):
            query = {"vector": rows[7], "limit": limit, "where": {"intField1": [0, 2]}}
            every = engine.search("lib", **{**query, "limit": 1000}, threshold=0.1)
            kept = [media_id for media_id in every.media_ids if media_id in theirs]
            found = engine.search("lib", **query, threshold=0.1, recognised=entity)
            assert (found.total, found.media_ids) == (len(kept), kept[:limit])
            best = engine.search("lib", **query, threshold=None, recognised=entity)
            passing = [one for one in theirs if int(one[1:]) % 3 != 1]
            assert best.total == len(passing)
            assert set(best.media_ids) <= set(passing)
            assert len(best) == min(limit, len(passing))


def test_a_person_who_is_unknown_or_not_listed_is_in_no_asset(engine: facegrep.Engine) -> None:
    faces = vectors(3)
    (listed,) = people(engine, 1, faces)
    other = engine.create_recognition_library("not listed", dim=DIM).recognition_id
    stranger = engine.create_entity(other, "stranger").entity_id
    engine.add_sample(other, stranger, vector=faces[1])
    without = engine.create_entity(engine.library("lib").recognition[0], "no sample").entity_id
    engine.add_vectors("lib", ["a", "b"], faces[:2])
    assert seen(engine, listed) == ["a"]
    for entity in (stranger, without, "nobody", "../x", "é" * 200):
        assert seen(engine, entity) == []
    assert engine.search("lib", entity=stranger).media_ids == ["b"]
    with pytest.raises(facegrep.InvalidArgumentError, match="recognised"):
        seen(engine, "a\x00b")


def test_who_is_recognised_follows_every_change(engine: facegrep.Engine) -> None:
    faces = vectors(6)
    one, two = people(engine, 2, faces)
    (known,) = engine.library("lib").recognition
    near = like(faces[0], 0.7)
    engine.add_vectors("lib", ["same", "near", "two"], [faces[0], near, faces[1]])
    assert (seen(engine, one), seen(engine, two)) == (["near", "same"], ["two"])
    engine.add_vectors("lib", ["later"], [faces[0]])
    assert seen(engine, one) == ["later", "near", "same"]
    engine.delete("lib", ["same"])
    assert seen(engine, one) == ["later", "near"]
    # Somebody else turns out to be more like it.
    third = engine.create_entity(known, "third").entity_id
    assert seen(engine, third) == []
    sample = engine.add_sample(known, third, vector=near).sample.sample_id
    assert (seen(engine, one), seen(engine, third)) == (["later"], ["near"])
    engine.delete_sample(known, third, sample)
    assert (seen(engine, one), seen(engine, third)) == (["later", "near"], [])
    engine.set_threshold("lib", 0.9)
    assert seen(engine, one) == ["later"]
    engine.set_threshold("lib", THRESHOLD)
    engine.delete_entity(known, one)
    assert (seen(engine, one), seen(engine, two)) == ([], ["two"])
    engine.set_recognition("lib", [])
    assert seen(engine, two) == []
    engine.set_recognition("lib", [known])
    assert seen(engine, two) == ["two"]
    engine.delete_recognition_library(known)
    assert seen(engine, two) == []
    assert engine.library("lib").recognition == (known,)
    assert engine.verify().damages == ()


def test_what_another_process_changes_is_seen(engine: facegrep.Engine) -> None:
    faces = vectors(2)
    entities = people(engine, 2, faces)
    (known,) = engine.library("lib").recognition
    engine.add_vectors("lib", ["a", "b"], faces)
    assert [seen(engine, entity) for entity in entities] == [["a"], ["b"]]
    code = "import sys, facegrep; facegrep.open(sys.argv[1]).delete_entity(*sys.argv[2:])"
    subprocess.run([sys.executable, "-c", code, engine.path, known, entities[0]], check=True)
    assert [seen(engine, entity) for entity in entities] == [[], ["b"]]
    assert [entity.name for entity in engine.entities(known)] == ["person 1"]


def test_a_person_whom_another_process_erased_is_seen_no_more(engine: facegrep.Engine) -> None:
    faces = vectors(2)
    one, two = people(engine, 2, faces)
    engine.add_vectors("lib", ["a"], [like(faces[0], 0.6)])
    assert seen(engine, one) == ["a"]
    with facegrep.open(engine.path) as other:
        erased = other.erase_person("lib", vector=faces[0], threshold=0.9, dry_run=False)
        assert (erased.media_ids, len(erased.samples)) == ((), 1)
    assert (seen(engine, one), seen(engine, two)) == ([], [])


def test_an_answer_stays_as_it_was_when_people_change(engine: facegrep.Engine) -> None:
    faces = vectors(2)
    one, _ = people(engine, 2, faces)
    (known,) = engine.library("lib").recognition
    ids = [f"m{number}" for number in range(30)]
    engine.add_vectors("lib", ids, faces[0] + 0.1 * vectors(30, seed=4))
    found = engine.search("lib", vector=faces[0], recognised=one, limit=7)
    engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, found.embedding, found)
    engine.delete_entity(known, one)
    frozen = engine.answers.get("lib", "token")
    assert frozen is not None
    pages = [frozen.page(offset, 7) for offset in range(0, 30, 7)]
    assert [page.total for page in pages] == [30] * 5
    assert sorted(hit.media_id for page in pages for hit in page.hits) == sorted(ids)


def test_it_is_found_again_from_memory_until_something_changes(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = vectors(3)
    one, two = people(engine, 2, faces)
    engine.add_vectors("lib", ["a", "b"], faces[:2])
    asked: list[int] = []
    assign = _roster.Roster.assign

    def counting(self: _roster.Roster, *arguments: Any) -> Any:
        asked.append(1)
        return assign(self, *arguments)

    monkeypatch.setattr(_roster.Roster, "assign", counting)
    for _ in range(3):
        assert (seen(engine, one), seen(engine, two)) == (["a"], ["b"])
    assert len(asked) == 2
    engine.add_vectors("lib", ["c"], faces[:1])
    assert seen(engine, one) == ["a", "c"]
    assert len(asked) == 3


def test_threads_that_search_while_people_change_see_one_state_or_the_other(
    engine: facegrep.Engine,
) -> None:
    faces = vectors(2)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    near = like(faces[0], 0.8)
    engine.add_vectors("lib", ["same", "near"], [faces[0], near])
    other = engine.create_entity(known, "other").entity_id
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            found = seen(engine, one)
            if found not in (["near", "same"], ["same"]):
                wrong.append(found)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        sample = engine.add_sample(known, other, vector=near).sample.sample_id
        assert seen(engine, one) == ["same"]
        engine.delete_sample(known, other, sample)
        assert seen(engine, one) == ["near", "same"]
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_has_expired_is_where_nobody_is_recognised(engine: facegrep.Engine) -> None:
    faces = vectors(1)
    (one,) = people(engine, 1, faces)
    engine.add_vectors("lib", ["a"], faces)
    assert seen(engine, one) == ["a"]
    engine.set_retention("lib", 1)
    assert seen(engine, one) == []
    engine.set_retention("lib", None)
    assert seen(engine, one) == ["a"]
