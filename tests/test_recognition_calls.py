"""Recognition libraries by the Engine's calls: what they keep, refuse and say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recognised import DIM, THRESHOLD, people, seen, vectors

import facegrep


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=THRESHOLD)
        yield engine


def test_all_samples_of_an_entity_are_one_query(engine: facegrep.Engine) -> None:
    faces = vectors(4)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    sample = engine.samples(known, one)[0]
    alone = engine.search("lib", entity=one)
    np.testing.assert_array_equal(alone.embedding, sample.code.astype(np.float32))
    others = [engine.add_sample(known, one, vector=face).sample for face in faces[1:]]
    found = engine.search("lib", entity=one)
    codes = np.array([each.code for each in (sample, *others)], dtype=np.float64)
    mean = (codes / np.linalg.norm(codes, axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.embedding, mean / np.linalg.norm(mean), atol=1e-6)
    assert [photo.sample_id for photo in found.query_photos] == [
        each.sample_id for each in (sample, *others)
    ]
    assert [photo.weight for photo in found.query_photos] == pytest.approx([0.25] * 4)
    for photo, code in zip(found.query_photos, codes, strict=True):
        assert photo.agreement == pytest.approx(
            float(code @ mean / np.linalg.norm(code) / np.linalg.norm(mean))
        )


def test_the_same_sample_again_is_there_once(engine: facegrep.Engine) -> None:
    faces = vectors(1)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    before = engine.samples(known, one)
    again = engine.add_sample(known, one, vector=faces[0])
    assert (again.added, again.sample) == (False, before[0])
    assert engine.samples(known, one) == before


def test_what_is_wrong_is_said_and_changes_nothing(engine: facegrep.Engine) -> None:
    faces = vectors(2)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    longer = engine.create_recognition_library("longer", dim=DIM + 1).recognition_id
    head = engine.audit()[-1]
    refused: list[tuple[type[facegrep.FacegrepError], str, Any]] = [
        (facegrep.NotFoundError, "recognition library", lambda: engine.entities("x")),
        (facegrep.NotFoundError, "entity", lambda: engine.samples(known, "x")),
        (facegrep.NotFoundError, "sample", lambda: engine.delete_sample(known, one, "x")),
        (facegrep.NotFoundError, "entity", lambda: engine.delete_entity(known, "x")),
        (facegrep.NotFoundError, "entity", lambda: engine.delete_entity(longer, one)),
        (facegrep.NotFoundError, "entity", lambda: engine.search("lib", entity="x")),
        (facegrep.NotFoundError, "library", lambda: engine.set_recognition("lib", ["x"])),
        (facegrep.NotFoundError, "library", lambda: engine.create_entity("x", "name")),
        (facegrep.ModelMismatchError, "length", lambda: engine.set_recognition("lib", [longer])),
        (
            facegrep.ModelMismatchError,
            "length",
            lambda: engine.create_library("new", dim=DIM, recognition=[longer]),
        ),
        (
            facegrep.ModelMismatchError,
            "shape",
            lambda: engine.add_sample(known, one, vector=np.ones(DIM + 1)),
        ),
        (facegrep.ModelMismatchError, "pictures", lambda: engine.add_sample(known, one, b"x")),
        (facegrep.InvalidArgumentError, "one of", lambda: engine.add_sample(known, one)),
        (
            facegrep.InvalidArgumentError,
            "zero",
            lambda: engine.add_sample(known, one, vector=np.zeros(DIM)),
        ),
        (
            facegrep.InvalidArgumentError,
            "up to 3",
            lambda: engine.set_recognition("lib", [known, known]),
        ),
        (
            facegrep.InvalidArgumentError,
            "one of the three",
            lambda: engine.search("lib", vector=faces[0], entity=one),
        ),
        (facegrep.InvalidArgumentError, "name", lambda: engine.create_entity(known, "")),
    ]
    for error, message, call in refused:
        with pytest.raises(error, match=message):
            call()
    assert engine.audit()[-1] == head
    assert [library.name for library in engine.libraries()] == ["ims-default-search-lib", "lib"]
    empty = engine.create_entity(known, "empty").entity_id
    with pytest.raises(facegrep.OperationDeniedError, match="no sample"):
        engine.search("lib", entity=empty)


def test_accounts_do_not_know_each_others_people(engine: facegrep.Engine) -> None:
    faces = vectors(1)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    other = engine.for_account("other")
    other.create_library("lib", dim=DIM, threshold=THRESHOLD)
    other.add_vectors("lib", ["a"], faces)
    assert other.recognition_libraries() == []
    assert seen(other, one) == []
    (theirs,) = people(other, 1, faces)
    assert seen(other, theirs) == ["a"]
    assert seen(other, one) == []
    for call in (
        lambda: other.set_recognition("lib", [known]),
        lambda: other.entities(known),
        lambda: other.search("lib", entity=one),
        lambda: other.delete_recognition_library(known),
        lambda: other.create_entity(known, "name"),
    ):
        with pytest.raises(facegrep.NotFoundError):
            call()


def test_the_audit_counts_and_names_nobody(engine: facegrep.Engine) -> None:
    faces = vectors(1)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    engine.delete_entity(known, one)
    entries = [entry for entry in engine.audit() if entry.library == "people"]
    assert [(entry.action, entry.details) for entry in entries] == [
        ("create_recognition_library", {}),
        ("create_entity", {"entities": 1}),
        ("add_sample", {"samples": 1}),
        ("delete_entity", {"entities": 1, "samples": 1}),
    ]
    said = repr(engine.audit())
    assert not any(name in said for name in ("person 0", one, known))


def test_readonly_engines_recognise_and_write_nothing(engine: facegrep.Engine) -> None:
    faces = vectors(1)
    (one,) = people(engine, 1, faces)
    (known,) = engine.library("lib").recognition
    engine.add_vectors("lib", ["a"], faces)
    with facegrep.open(engine.path, readonly=True) as reader:
        assert seen(reader, one) == ["a"]
        assert [face.name for face in reader.recognise("lib", "a")] == ["person 0"]
        for call in (
            lambda: reader.create_recognition_library("x", dim=DIM),
            lambda: reader.create_entity(known, "x"),
            lambda: reader.add_sample(known, one, vector=faces[0]),
            lambda: reader.delete_sample(known, one, "x"),
            lambda: reader.delete_entity(known, one),
            lambda: reader.delete_recognition_library(known),
            lambda: reader.set_recognition("lib", []),
        ):
            with pytest.raises(facegrep.StoreReadOnly):
                call()
