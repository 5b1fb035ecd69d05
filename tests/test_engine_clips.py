"""Where somebody is in an asset: against a model of it, with vectors instead of pictures."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index_oracle import exact_scores
from tests.recognised import DIM, THRESHOLD, Vectors, like, people, vectors
from tests.tracked import add_videos, track, video_asset, video_of

import facegrep
from facegrep.engine import Clip
from facegrep.store import Video

ONE, OTHER, THIRD = vectors(3)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as opened:
        opened.create_library("lib", dim=DIM, threshold=THRESHOLD)
        yield opened


def talk() -> Video:
    """One and another together, then one alone, then the other, who is seen twice there."""
    return video_of(
        track(0, 0, 5000, faces=2),
        track(1, 0, 5000),
        track(0, 7000, 8000),
        track(1, 9000, 12_000, faces=2),
    )


TALK_FACES = np.stack(
    [
        *(like(ONE, cosine, 10 + number) for number, cosine in enumerate((0.9, 0.7))),
        like(OTHER, 0.8, 12),
        like(ONE, 0.2, 13),
        *(like(OTHER, cosine, 14 + number) for number, cosine in enumerate((0.9, 0.6))),
    ]
)


def add_talk(engine: facegrep.Engine, media_id: str = "talk") -> None:
    add_videos(engine, "lib", [video_asset(media_id, talk(), TALK_FACES)])


def require_appearances(clip: Clip, video: Video) -> None:
    """All tracks of the clip's person, and nothing else."""
    theirs = [one for one in video.tracks if one.person == clip.person]
    assert [(one.start_ms, one.end_ms) for one in clip.occurrences] == sorted(
        (one.start_ms, one.end_ms) for one in theirs
    )
    for occurrence in clip.occurrences:
        (match,) = [one for one in theirs if one.start_ms == occurrence.start_ms]
        np.testing.assert_array_equal(occurrence.times_ms, match.samples[:, 0])
        np.testing.assert_array_equal(occurrence.boxes, match.samples[:, 1:])


def test_a_clip_is_one_person_with_all_their_appearances(engine: facegrep.Engine) -> None:
    add_talk(engine)
    (clip,) = engine.clips("lib", "talk", vector=ONE)
    assert (clip.person, clip.time_ms, clip.probability) == (0, 0, None)
    # Also the appearance of which no face reaches the threshold.
    assert [(one.start_ms, one.end_ms) for one in clip.occurrences] == [(0, 5000), (7000, 8000)]
    require_appearances(clip, talk())
    assert clip.box is not None
    assert list(clip.box) == talk().tracks[0].samples[0, 1:].tolist()
    assert abs(clip.score - 0.9) < 0.02
    (clip,) = engine.clips("lib", "talk", vector=OTHER)
    assert (clip.person, clip.time_ms) == (1, 9000)
    require_appearances(clip, talk())
    result = engine.clips("lib", "talk", vector=THIRD)
    assert (result.clips, result.media_type) == ((), "video")
    assert result.video is not None
    assert result.video.person_count == 2


@st.composite
def videos(draw: st.DrawFn) -> tuple[Video, Vectors]:
    starts = draw(st.lists(st.integers(0, 10**7), unique=True, max_size=8))
    tracks = [
        track(draw(st.integers(0, 3)), start, start + 500, faces=draw(st.integers(0, 3)))
        for start in starts
    ]
    count = sum(len(one.face_times_ms) for one in tracks)
    return video_of(*tracks), vectors(max(count, 1), draw(st.integers(0, 99)))[:count]


@pytest.fixture(scope="module")
def kept_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("clips") / "store") as opened:
        opened.create_library("lib", dim=DIM, threshold=THRESHOLD)
        yield opened


@settings(max_examples=60, deadline=None)
@given(videos(), st.floats(-1, 1) | st.none(), st.integers(0, 99))
def test_they_are_those_of_the_definition(
    kept_engine: facegrep.Engine,
    made: tuple[Video, Vectors],
    threshold: float | None,
    seed: int,
) -> None:
    video, faces = made
    query = vectors(1, 1000 + seed)[0]
    kept_engine.delete("lib", ["v"])
    add_videos(kept_engine, "lib", [video_asset("v", video, faces)])
    found = kept_engine.clips("lib", "v", vector=query, threshold=threshold)
    hits = kept_engine.search("lib", vector=query, threshold=threshold).hits
    scores = exact_scores(query, facegrep._core.quantize(faces)) if len(faces) else np.zeros(0)
    persons = [one.person for one in video.tracks for _ in one.face_times_ms]
    best: dict[int, float] = {}
    for person, score in zip(persons, scores.tolist(), strict=True):
        best[person] = max(score, best.get(person, -2.0))
    kept = [(-s, p) for p, s in best.items() if threshold is None or s >= threshold]
    assert [clip.person for clip in found] == [person for _, person in sorted(kept)]
    for clip in found:
        assert clip.score == float(np.float32(best[clip.person]))
        require_appearances(clip, video)
    # To the bit what the search says of the asset.
    assert [hit.score for hit in hits] == [clip.score for clip in found][:1]


def test_a_vector_is_found_without_a_time_and_a_picture_at_its_only_moment(
    engine: facegrep.Engine,
) -> None:
    faces = np.stack([like(ONE, 0.9, 21), like(OTHER, 0.9, 22), like(ONE, 0.8, 23)])
    engine.add_vectors("lib", ["vectors"] * 3, faces, {"mediaType": ["video"] * 3})
    clips = engine.clips("lib", "vectors", vector=ONE)
    assert [(clip.person, clip.box, clip.time_ms) for clip in clips] == [
        (0, None, None),
        (2, None, None),
    ]
    assert [clip.occurrences for clip in clips] == [(), ()]
    shown = video_asset("picture", video_of(track(0, 0, 0, faces=3)), faces)
    assert shown.faces is not None
    assert shown.faces.values is not None
    shown.faces.values[:, :4] += np.float32(0.4)
    flat = dataclasses.replace(shown.faces, video=None)
    picture = dataclasses.replace(
        shown, columns=shown.columns._replace(media_type="image"), faces=flat
    )
    add_videos(engine, "lib", [picture])
    clips = engine.clips("lib", "picture", vector=ONE)
    assert (clips.media_type, clips.video) == ("image", None)
    assert [clip.person for clip in clips] == [0, 2]
    for clip in clips:
        (moment,) = clip.occurrences
        assert (moment.start_ms, moment.end_ms, moment.times_ms.tolist()) == (0, 0, [0])
        assert moment.boxes.dtype == np.int32
        box = shown.faces.values[clip.person, :4]
        assert np.abs(moment.boxes[0] - box).max() <= 1
        assert clip.box is not None
        assert list(clip.box) == box.tolist()


def test_the_embedding_and_the_threshold_of_a_search_are_used_but_not_its_filters(
    engine: facegrep.Engine,
) -> None:
    add_talk(engine)
    result = engine.search("lib", vector=ONE, threshold=0.6, where={"mediaType": "image"})
    assert result.total == 0
    clips = engine.clips("lib", "talk", result)
    assert (clips.threshold, clips.threshold_reason) == (0.6, "that of the search")
    assert [clip.person for clip in clips] == [0]
    assert engine.clips("lib", "talk", result, threshold=0.95).clips == ()
    everybody = engine.search("lib", vector=ONE, threshold=None)
    assert [clip.person for clip in engine.clips("lib", "talk", everybody)] == [0, 1]
    engine.answers.put("lib", "t", b"c" * 32, b"u" * 32, result.embedding, result)
    kept = engine.answers.get("lib", "t")
    assert kept is not None
    assert [clip.score for clip in engine.clips("lib", "talk", kept)] == [clips[0].score]
    with facegrep.open(engine.path, readonly=True) as reader:
        assert [clip.score for clip in reader.clips("lib", "talk", result)] == [clips[0].score]


def test_a_clip_says_whom_the_recognition_libraries_know(engine: facegrep.Engine) -> None:
    add_talk(engine)
    one, other, third = people(engine, 3, vectors(3))
    (clip,) = engine.clips("lib", "talk", vector=ONE)
    assert (clip.entity_id, clip.name) == (one, "person 0")
    assert clip.recognition_id == engine.library("lib").recognition[0]
    everybody = engine.clips("lib", "talk", vector=ONE, threshold=None)
    assert [clip.entity_id for clip in everybody] == [one, other]
    found = engine.clips("lib", "talk", vector=ONE, threshold=None, recognised=other)
    assert [clip.person for clip in found] == [1]
    assert engine.clips("lib", "talk", vector=ONE, recognised=other).clips == ()
    assert engine.clips("lib", "talk", vector=ONE, recognised=third).clips == ()
    assert engine.clips("lib", "talk", vector=ONE, recognised="nobody").clips == ()
    (clip,) = engine.clips("lib", "talk", entity=one)
    assert clip.entity_id == one
    assert len(engine.clips("lib", "talk", entity=one).query_photos) == 1
    engine.delete_entity(engine.library("lib").recognition[0], one)
    (clip,) = engine.clips("lib", "talk", vector=ONE)
    assert (clip.entity_id, clip.name, clip.recognition_id) == (None, None, None)


def test_an_entity_is_in_an_asset_exactly_when_a_clip_of_it_is(engine: facegrep.Engine) -> None:
    """Also of a person of whom another face is more like somebody else."""
    mixed = video_of(track(0, 0, 5000, faces=2))
    faces = np.stack([like(ONE, 0.9, 21), like(OTHER, 0.7, 22)])
    add_videos(engine, "lib", [video_asset("mixed", mixed, faces)])
    for entity in people(engine, 2, vectors(2)):
        found = engine.search("lib", vector=ONE, threshold=-1.0, recognised=entity)
        assert found.media_ids == ["mixed"]
        (clip,) = engine.clips("lib", "mixed", found, recognised=entity)
        assert clip.entity_id == entity
    assert engine.clips("lib", "mixed", vector=ONE)[0].name == "person 0"


def test_what_cannot_be_asked_is_refused(engine: facegrep.Engine) -> None:
    add_talk(engine)
    with pytest.raises(facegrep.NotFoundError) as caught:
        engine.clips("lib", "gone", vector=ONE)
    assert caught.value.kind == "media"
    with pytest.raises(facegrep.NotFoundError) as caught:
        engine.clips("nowhere", "talk", vector=ONE)
    assert caught.value.kind == "library"
    with pytest.raises(facegrep.InvalidArgumentError):
        engine.clips("lib", "talk")
    with pytest.raises(facegrep.ModelMismatchError):
        engine.clips("lib", "talk", vector=np.ones(DIM + 1))
    result = engine.search("lib", vector=ONE)
    with pytest.raises(facegrep.InvalidArgumentError):
        engine.clips("lib", "talk", result, vector=ONE)
    engine.create_library("longer", dim=DIM + 1, threshold=0.5)
    engine.add_vectors("longer", ["talk"], np.ones((1, DIM + 1)))
    with pytest.raises(facegrep.ModelMismatchError):
        engine.clips("longer", "talk", result)
    with pytest.raises(facegrep.ModelMismatchError):
        engine.clips("ims-default-search-lib", "talk", result)
    other = engine.for_account("other")
    with pytest.raises(facegrep.NotFoundError):
        other.clips("lib", "talk", vector=ONE)
    engine.set_face_index("lib", "deactive")
    with pytest.raises(facegrep.OperationDeniedError):
        engine.clips("lib", "talk", result)


def test_what_was_deleted_erased_or_expired_has_no_clips(engine: facegrep.Engine) -> None:
    for media_id in ("a", "b", "c"):
        add_talk(engine, media_id)
    result = engine.search("lib", vector=ONE)
    engine.delete("lib", ["a"])
    engine.erase("lib", ["b"])
    assert len(engine.clips("lib", "c", result)) == 1
    engine.set_retention("lib", 1)
    for media_id in ("a", "b", "c"):
        with pytest.raises(facegrep.NotFoundError):
            engine.clips("lib", media_id, result)


def test_a_damaged_track_is_said_and_other_videos_still_answer(engine: facegrep.Engine) -> None:
    add_talk(engine, "a")
    add_talk(engine, "b")
    connection = sqlite3.connect(engine.path / "catalog.db", isolation_level=None)
    connection.execute("UPDATE track SET person = 1 WHERE ordinal = 0 AND number = 0")
    connection.close()
    with pytest.raises(facegrep.StoreCorrupt) as caught:
        engine.clips("lib", "a", vector=ONE)
    assert caught.value.library == "lib"
    assert len(engine.clips("lib", "b", vector=ONE)) == 1


def test_it_is_in_the_audit_of_searches(engine: facegrep.Engine) -> None:
    add_talk(engine)
    engine.set_search_audit(True)
    engine.clips("lib", "talk", vector=ONE)
    engine.clips("lib", "talk", vector=THIRD)
    noted = [entry for entry in engine.audit(searches=True) if entry.action == "clips"]
    assert [(entry.library, entry.media_count) for entry in noted] == [("lib", 1), ("lib", 0)]
    with (
        facegrep.open(engine.path, readonly=True) as reader,
        pytest.raises(facegrep.OperationDeniedError),
    ):
        reader.clips("lib", "talk", vector=ONE)
