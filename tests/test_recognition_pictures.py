"""Recognition by real photos: what is kept of them, how much each counts, who is seen where."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facegrep
from facegrep.engine._fusion import quality_of
from facegrep.vision import Verdict

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg"
MACRON_LATER = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
ARDERN = PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"
ARDERN_LATER = PORTRAITS / "Jacinda_Ardern" / "person_b_2.jpg"
OBAMA = PORTRAITS / "Barack_Obama" / "impostor_1.jpg"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("people") / "store") as engine:
        known = engine.create_recognition_library("leaders").recognition_id
        engine.create_library("press", recognition=[known])
        for photo in (MACRON, ARDERN, OBAMA):
            engine.add("press", media_id=photo.parent.name, source=photo)
        yield engine


@pytest.fixture(scope="module")
def known(engine: facegrep.Engine) -> str:
    return engine.recognition_libraries()[0].recognition_id


@pytest.fixture(scope="module")
def leaders(engine: facegrep.Engine, known: str) -> dict[str, str]:
    """Two of the three, by photos that are not in the library."""
    found = {}
    for photo in (MACRON_LATER, ARDERN_LATER):
        name = photo.parent.name
        found[name] = engine.create_entity(known, name).entity_id
        engine.add_sample(known, found[name], photo)
    return found


def beside_each_other(*photos: Path, height: int = 400) -> bytes:
    """One picture of several."""
    parts = []
    for photo in photos:
        with Image.open(photo) as picture:
            width = picture.width * height // picture.height
            parts.append(picture.convert("RGB").resize((width, height)))
    whole = Image.new("RGB", (sum(part.width for part in parts), height))
    left = 0
    for part in parts:
        whole.paste(part, (left, 0))
        left += part.width
    file = io.BytesIO()
    whole.save(file, "PNG")
    return file.getvalue()


def test_each_is_recognised_where_they_are_and_nowhere_else(
    engine: facegrep.Engine, leaders: dict[str, str]
) -> None:
    for name, entity in leaders.items():
        found = engine.search("press", OBAMA, threshold=-1.0, recognised=entity)
        assert (found.total, found.media_ids) == (1, [name])
        (face,) = engine.recognise("press", name)
        assert (face.name, face.entity_id) == (name, entity)
        assert face.score >= 0.42
        assert face.box == engine.get("press", name).faces[face.face_no].box
        assert engine.search("press", entity=entity).media_ids == [name]
    assert engine.recognise("press", OBAMA.parent.name) == ()


def test_two_people_in_one_photo_have_a_face_each(
    engine: facegrep.Engine, leaders: dict[str, str]
) -> None:
    engine.add("press", media_id="both", source=beside_each_other(ARDERN, OBAMA, MACRON))
    faces = engine.recognise("press", "both")
    assert {face.name for face in faces} == set(leaders)
    assert len({face.face_no for face in faces}) == 2
    middle = {face.name: face.box.x for face in faces if face.box is not None}
    assert middle["Jacinda_Ardern"] < middle["Emmanuel_Macron"]
    for name, entity in leaders.items():
        found = engine.search("press", OBAMA, threshold=-1.0, recognised=entity)
        assert sorted(found.media_ids) == sorted(["both", name])
    engine.erase("press", ["both"])


def test_of_a_photo_its_embedding_and_where_it_came_from_are_kept(
    engine: facegrep.Engine, known: str
) -> None:
    entity = engine.create_entity(known, "somebody", info="of the test").entity_id
    result = engine.add_sample(known, entity, OBAMA)
    assert (result.added, result.faces, result.provider) == (True, 1, "CPUExecutionProvider")
    sample = result.sample
    assert sample.source == str(OBAMA)
    assert sample.box is not None
    stored = engine.get("press", OBAMA.parent.name, vectors=True)
    assert sample.content_sha256 == stored.content_sha256
    assert (sample.box, sample.score) == (stored.faces[0].box, stored.faces[0].score)
    np.testing.assert_array_equal(sample.code, stored.faces[0].code)
    assert engine.samples(known, entity) == [sample]
    again = engine.add_sample(known, entity, OBAMA.read_bytes())
    assert (again.added, again.sample) == (False, sample)
    given = engine.add_sample(known, entity, MACRON.read_bytes(), origin="https://host/a.jpg")
    assert given.sample.source == "https://host/a.jpg"
    nowhere = engine.add_sample(known, entity, beside_each_other(ARDERN))
    assert nowhere.sample.source is None
    (found,) = [one for one in engine.entities(known) if one.entity_id == entity]
    assert (found.name, found.info, found.sample_count) == ("somebody", "of the test", 3)
    engine.delete_entity(known, entity)


def test_a_picture_without_a_face_is_no_sample(engine: facegrep.Engine, known: str) -> None:
    entity = engine.create_entity(known, "nobody").entity_id
    with pytest.raises(facegrep.NoFaceError):
        engine.add_sample(known, entity, np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(facegrep.PictureError):
        engine.add_sample(known, entity, b"no picture")
    assert engine.samples(known, entity) == []
    engine.delete_entity(known, entity)


def small(photo: Path, side: int) -> bytes:
    with Image.open(photo) as picture:
        picture.thumbnail((side, side))
        file = io.BytesIO()
        picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


def test_a_small_face_counts_for_less(engine: facegrep.Engine, known: str) -> None:
    sharp, blurred = MACRON, small(MACRON_LATER, 110)
    found = engine.search("press", [sharp, blurred])
    first, second = found.query_photos
    assert first.weight + second.weight == pytest.approx(1)
    assert first.weight > 1.5 * second.weight
    assert first.agreement > second.agreement > 0.5
    assert (first.box, second.box) == found.query_boxes
    # The same, by samples of an entity: but for the rounding of their codes.
    entity = engine.create_entity(known, "him").entity_id
    for photo in (sharp, blurred):
        engine.add_sample(known, entity, photo)
    by_entity = engine.search("press", entity=entity)
    assert by_entity.query_faces == 0
    weights = [photo.weight for photo in by_entity.query_photos]
    assert weights == pytest.approx([first.weight, second.weight])
    cosine = by_entity.embedding @ found.embedding
    assert cosine / np.linalg.norm(by_entity.embedding) > 0.9999
    engine.delete_entity(known, entity)


def test_a_sample_is_judged_when_it_is_added_and_but_for_blur_when_it_is_searched_with(
    engine: facegrep.Engine, known: str
) -> None:
    entity = engine.create_entity(known, "small").entity_id
    good, tiny = small(MACRON, 400), beside_each_other(MACRON_LATER, height=60)
    added = [engine.add_sample(known, entity, photo).quality for photo in (good, tiny)]
    by_vector = engine.add_sample(known, entity, vector=np.ones(128))
    found = [photo.quality for photo in engine.search("press", entity=entity).query_photos]
    engine.delete_entity(known, entity)
    verdicts = [Verdict.GOOD, Verdict.TOO_SMALL]
    assert [quality and quality.verdict for quality in added] == verdicts
    assert [quality and quality.verdict for quality in found] == [*verdicts, None]
    assert (by_vector.quality, found[2]) == (None, None)
    for then, now in zip(added, found[:2], strict=True):
        assert then is not None
        assert now is not None
        assert now.sharpness is None
        assert then.sharpness is not None
        # Boxes and landmarks are kept in float32.
        assert now.yaw_deg == pytest.approx(then.yaw_deg, abs=1e-3)
        assert now.side_px == pytest.approx(then.side_px, rel=1e-6)


def test_one_photo_is_searched_for_as_it_is(engine: facegrep.Engine) -> None:
    (photo,) = engine.search("press", MACRON).query_photos
    assert (photo.weight, photo.agreement, photo.sample_id) == (1.0, 1.0, None)
    assert engine.search("press", vector=np.ones(128), limit=0).query_photos == ()


def test_quality_is_positive_and_grows_with_the_face_and_the_detectors_score() -> None:
    values = np.zeros((4, 15), dtype=np.float32)
    values[:, 2:4] = [[20, 20], [60, 60], [112, 112], [500, 500]]
    values[:, 4] = [0.6, 0.6, 0.6, 0.9]
    quality = quality_of(values, 4)
    assert (np.diff(quality) > 0).all()
    assert quality_of(np.zeros((1, 15), dtype=np.float32), 1)[0] > 0
    assert quality_of(None, 3).tolist() == [1, 1, 1]


def test_photos_and_vectors_of_another_model_do_not_meet(engine: facegrep.Engine) -> None:
    other = engine.create_recognition_library("vectors", dim=128).recognition_id
    with pytest.raises(facegrep.ModelMismatchError):
        engine.set_recognition("press", [other])
    entity = engine.create_entity(other, "somebody").entity_id
    engine.add_sample(other, entity, vector=np.ones(128))
    with pytest.raises(facegrep.ModelMismatchError):
        engine.search("press", entity=entity)
    engine.delete_recognition_library(other)
