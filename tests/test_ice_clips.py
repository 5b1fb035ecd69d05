"""SearchMediaClipByFace on real videos: who, when and where, after a coarse search."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recognised import like
from tests.tracked import add_videos, track, video_asset, video_of
from tests.video_maker import (
    ARDERN,
    ARDERN_LATER,
    MACRON,
    MACRON_LATER,
    OBAMA,
    PORTRAITS,
    Actor,
    Scene,
    film,
    moving,
    still,
)

import facegrep
from facegrep.ice import IceError, Service

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")

TOLERANCE_S = 0.5
SIZE = 640, 360
# One talks to the other; a cut to the other alone; then one walks by, leaves and comes back.
LEFT, RIGHT = still(0.28, 0.5, 0.28), still(0.72, 0.5, 0.28)
WALK = moving((0.3, 0.55, 0.3), (0.7, 0.55, 0.3), 0.0, 2.0)
SCENES = [
    Scene(2.0, [Actor(MACRON, LEFT), Actor(ARDERN, RIGHT)], 1),
    Scene(1.6, [Actor(ARDERN, still(0.5, 0.55, 0.3))], 2),
    Scene(6.0, [Actor(MACRON, WALK, 0.0, 2.0), Actor(MACRON, still(0.6, 0.55, 0.3), 4.0)], 3),
]
# Within the tolerance: seconds from the beginning.
APPEARANCES = {MACRON: [(0.0, 2.0), (3.6, 5.6), (7.6, 9.6)], ARDERN: [(0.0, 2.0), (2.0, 3.6)]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a film is."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "film.mp4").write_bytes(film(*SCENES))
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("ice") / "store", device="cpu") as engine:
        engine.create_library("lib")
        engine.add("lib", media_id="film", source=folder / "film.mp4")
        engine.add("lib", media_id="photo", source=ARDERN)
        yield engine


@pytest.fixture
def service(engine: facegrep.Engine) -> Service:
    return Service(engine, files=PORTRAITS)


def coarse(service: Service, photo: Path, token: str, **params: str) -> list[str]:
    found = service.call(
        "SearchMediaByFace",
        {
            "SearchLibName": "lib",
            "PersonImageUrl": photo.as_uri(),
            "FaceSearchToken": token,
            **params,
        },
    )
    return [media["MediaId"] for media in found["MediaInfoList"]]


def fine(service: Service, media_id: str, token: str, **params: str) -> dict[str, Any]:
    named = {"SearchLibName": "lib", "MediaId": media_id, "FaceSearchToken": token}
    return service.call("SearchMediaClipByFace", named | params)


@contextlib.contextmanager
def refused(status: int, code: str, *words: str) -> Iterator[None]:
    with pytest.raises(IceError) as caught:
        yield
    assert (caught.value.http_status, caught.value.code) == (status, code)
    for word in words:
        assert word in caught.value.message


def seconds(clip: dict[str, Any]) -> list[tuple[float, float]]:
    return [(one["StartTime"], one["EndTime"]) for one in clip["OccurrencesInfos"]]


def test_the_score_of_a_clip_is_the_probability_of_the_hit(
    engine: facegrep.Engine, service: Service
) -> None:
    coarse(service, MACRON_LATER, "t")
    (clip,) = fine(service, "film", "t")["MediaClipList"]
    (hit,) = [hit for hit in engine.search("lib", MACRON_LATER) if hit.media_id == "film"]
    (same,) = engine.clips("lib", "film", MACRON_LATER).clips
    assert hit.probability is not None
    assert clip["Score"] == same.probability == hit.probability > 0.9
    assert same.score == hit.score < hit.probability


@pytest.mark.parametrize(("photo", "shown"), [(MACRON_LATER, MACRON), (ARDERN_LATER, ARDERN)])
def test_a_clip_says_when_and_where_the_person_is_seen(
    service: Service, engine: facegrep.Engine, photo: Path, shown: Path
) -> None:
    assert "film" in coarse(service, photo, "t")
    reply = fine(service, "film", "t")
    assert (reply["Success"], reply["Code"], reply["Total"]) == ("true", "200", 1)
    (clip,) = reply["MediaClipList"]
    (likely,) = [hit.probability for hit in engine.search("lib", photo) if hit.media_id == "film"]
    assert likely is not None
    assert clip["Score"] == likely > 0.9
    assert clip["Category"] == "unknown"
    assert not {"EntityId", "LabelName"} & clip.keys()
    found = seconds(clip)
    assert len(found) == len(APPEARANCES[shown])
    assert np.abs(np.array(found) - APPEARANCES[shown]).max() <= TOLERANCE_S
    for occurrence in clip["OccurrencesInfos"]:
        points = occurrence["TrackData"]
        moments = [point["Timestamp"] for point in points]
        assert moments == sorted(moments)
        assert occurrence["StartTime"] <= moments[0]
        assert moments[-1] <= occurrence["EndTime"]
        for point in points:
            box = point["BoxPosition"]
            assert all(type(side) is int for side in box.values())
            assert 0 <= box["X"] < box["X"] + box["W"] <= SIZE[0]
            assert 0 <= box["Y"] < box["Y"] + box["H"] <= SIZE[1]
    if shown == MACRON:
        first, walk, _ = (one["TrackData"] for one in clip["OccurrencesInfos"])
        centres = [p["BoxPosition"]["X"] + p["BoxPosition"]["W"] / 2 for p in first]
        assert np.abs(np.array(centres) - 0.28 * SIZE[0]).max() < 30
        assert walk[-1]["BoxPosition"]["X"] - walk[0]["BoxPosition"]["X"] > 0.25 * SIZE[0]


def test_of_a_picture_it_is_the_moment_0_and_its_box(service: Service) -> None:
    assert set(coarse(service, ARDERN_LATER, "p")) == {"film", "photo"}
    (clip,) = fine(service, "photo", "p")["MediaClipList"]
    (occurrence,) = clip["OccurrencesInfos"]
    (point,) = occurrence["TrackData"]
    assert (occurrence["StartTime"], occurrence["EndTime"], point["Timestamp"]) == (0.0, 0.0, 0.0)
    assert min(point["BoxPosition"].values()) > 0


def test_somebody_else_is_in_no_clip(service: Service) -> None:
    assert coarse(service, OBAMA, "o") == []
    reply = fine(service, "film", "o")
    assert (reply["MediaClipList"], reply["Total"]) == ([], 0)


def test_the_coarse_searchs_filters_are_not_applied_again(service: Service) -> None:
    assert coarse(service, MACRON_LATER, "f", MediaType="image") == []
    assert fine(service, "film", "f")["Total"] == 1


def test_a_person_who_is_known_is_named_and_can_be_asked_for(
    service: Service, engine: facegrep.Engine
) -> None:
    known = engine.create_recognition_library("leaders").recognition_id
    macron = engine.create_entity(known, "Emmanuel Macron").entity_id
    engine.add_sample(known, macron, MACRON_LATER)
    engine.set_recognition("lib", [known])
    coarse(service, MACRON_LATER, "k")
    (clip,) = fine(service, "film", "k", EntityId=macron)["MediaClipList"]
    assert (clip["EntityId"], clip["LabelName"], clip["Category"]) == (
        macron,
        "Emmanuel Macron",
        "custom",
    )
    assert fine(service, "film", "k", EntityId="unknown")["Total"] == 0
    coarse(service, ARDERN_LATER, "k")  # the token is another search now
    assert fine(service, "film", "k", EntityId=macron)["Total"] == 0
    (clip,) = fine(service, "film", "k")["MediaClipList"]
    assert clip["Category"] == "unknown"
    engine.set_recognition("lib", [])


def test_clips_are_paged_and_counted(service: Service, engine: facegrep.Engine) -> None:
    coarse(service, MACRON_LATER, "m")
    kept = engine.answers.get("lib", "m")
    assert kept is not None
    tracks = [track(person, 1000 * person, 1000 * person + 500) for person in range(12)]
    faces = np.stack([like(kept.embedding, 0.95 - person / 100, person) for person in range(12)])
    add_videos(engine, "lib", [video_asset("crowd", video_of(*tracks), faces)])
    pages = [fine(service, "crowd", "m", PageNo=str(n), PageSize="5") for n in (1, 2, 3, 4)]
    assert [page["Total"] for page in pages] == [12] * 4
    assert [len(page["MediaClipList"]) for page in pages] == [5, 5, 2, 0]
    clips = [clip for page in pages for clip in page["MediaClipList"]]
    assert [seconds(clip) for clip in clips] == [[(n, n + 0.5)] for n in range(12)]
    assert [clip["Score"] for clip in clips] == sorted((c["Score"] for c in clips), reverse=True)
    assert len(fine(service, "crowd", "m")["MediaClipList"]) == 10
    engine.delete("lib", ["crowd"])


def test_what_is_not_there_is_said(service: Service, engine: facegrep.Engine) -> None:
    coarse(service, MACRON_LATER, "t")
    with refused(400, "InvalidParameter", '"FaceSearchToken"', "SearchMediaByFace"):
        fine(service, "film", "never")
    with refused(404, "ResourceNotFound", "'gone'"):
        fine(service, "gone", "t")
    with refused(404, "ResourceNotFound", "'nowhere'"):
        fine(service, "film", "t", SearchLibName="nowhere")
    with refused(400, "MissingParameter", "MediaId"):
        fine(service, "", "t")
    with refused(400, "MissingParameter", "FaceSearchToken"):
        fine(service, "film", "")
    with refused(400, "InvalidParameter", "PageSize"):
        fine(service, "film", "t", PageSize="51")
    other = Service(engine, account="other", files=PORTRAITS)
    other.call("CreateSearchLib", {"SearchLibName": "lib"})
    with refused(403, "OperationDenied", "no active face index"):
        fine(other, "film", "t")
    other.call("CreateSearchIndex", {"SearchLibName": "lib", "IndexType": "face"})
    with refused(400, "InvalidParameter", '"FaceSearchToken"'):
        fine(other, "film", "t")


def test_the_man_of_the_photos_is_found_at_the_right_times(
    shared_data: Path, tmp_path: Path
) -> None:
    clip = shared_data / "video" / "short_hamilton_clip.mp4"
    photos = shared_data / "faces" / "several_faces" / "alex_lacamoire"
    if not clip.exists() or not photos.exists():
        pytest.skip("the clip or the photos of the man in it are not here (FACEGREP_TEST_DATA)")
    with facegrep.open(tmp_path / "store", device="cpu") as engine:
        engine.create_library("lib")
        engine.add("lib", media_id="clip", source=clip)
        found = engine.search("lib", sorted(photos.glob("*.jpg")))
        assert found.media_ids == ["clip"]
        him = engine.clips("lib", "clip", found)[0]
        # By eye: at the piano from the cut at 1.52 s to about 2.5 s, and before it, small.
        at_the_piano = [one for one in him.occurrences if abs(one.start_ms - 1520) <= 500]
        assert at_the_piano
        assert abs(at_the_piano[0].end_ms - 2500) <= 500
        # The singer, alone from 3.59 to 7.89 s, is another clip.
        assert all(not 3600 < one.start_ms < 7800 for one in him.occurrences)
