"""Videos in libraries: added beside pictures, found by photos of who appears in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tracked import video_in
from tests.video_maker import (
    ARDERN,
    ARDERN_LATER,
    MACRON,
    MACRON_LATER,
    OBAMA,
    Actor,
    Scene,
    encode,
    film,
    render,
    still,
)

import facegrep
from facegrep.engine import VideoProgress

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")

TALK = Scene(2.0, [Actor(MACRON, still(0.28, 0.5, 0.3)), Actor(ARDERN, still(0.72, 0.5, 0.3))], 1)
ALONE = Scene(1.6, [Actor(MACRON, still(0.5, 0.55, 0.3))], 2)


@pytest.fixture(scope="module")
def talk() -> bytes:
    """Two people, then one of them alone."""
    return film(TALK, ALONE)


@pytest.fixture
def path(tmp_path: Path, talk: bytes) -> Path:
    file = tmp_path / "talk.mp4"
    file.write_bytes(talk)
    return file


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store", device="cpu") as opened:
        opened.create_library("lib")
        yield opened


def found(engine: facegrep.Engine, photo: Path, **more: Any) -> list[str]:
    return sorted(engine.search("lib", photo, **more).media_ids)


def test_everybody_in_a_video_is_found_by_another_photo_of_them(
    engine: facegrep.Engine, path: Path
) -> None:
    steps: list[VideoProgress] = []
    added = engine.add("lib", media_id="talk", source=path, progress=steps.append)
    assert added.video is not None
    assert (added.video.person_count, added.video.truncated) == (2, None)
    assert (added.video.width, added.video.height) == (640, 360)
    assert abs(added.video.duration_ms - 3600) < 100
    assert added.analysed
    # Two faces that stand still, in 14 frames that were looked at.
    assert 3 <= len(added.faces) <= 6
    assert [step.time_ms for step in steps] == sorted({step.time_ms for step in steps})
    media = engine.get("lib", "talk")
    assert (media.media_type, media.source) == ("video", str(path))
    assert (media.video, media.faces) == (added.video, added.faces)
    assert engine.media("lib") == [media]
    assert found(engine, MACRON_LATER) == ["talk"]
    assert found(engine, ARDERN_LATER) == ["talk"]
    assert found(engine, OBAMA) == []
    assert found(engine, MACRON_LATER, where={"mediaType": "image"}) == []
    assert engine.verify().damages == ()


def test_the_same_again_writes_nothing_and_another_video_is_refused(
    engine: facegrep.Engine, path: Path, talk: bytes
) -> None:
    first = engine.add("lib", media_id="talk", source=path)
    again = engine.add("lib", media_id="talk", source=talk)
    assert (first.added, again.added, again.analysed) == (True, False, True)
    assert (again.faces, again.video) == (first.faces, first.video)
    with pytest.raises(facegrep.AlreadyExistsError, match="content"):
        engine.add("lib", media_id="talk", source=film(ALONE))
    assert engine.get("lib", "talk").source == str(path)


def test_of_bytes_nothing_is_kept_but_what_was_found(engine: facegrep.Engine, talk: bytes) -> None:
    engine.add("lib", media_id="talk", source=talk, origin="https://example.org/talk.mp4")
    assert engine.get("lib", "talk").source == "https://example.org/talk.mp4"
    kept = b"".join(file.read_bytes() for file in engine.path.rglob("*.db*"))
    assert not [at for at in range(0, len(talk) - 64, 5000) if talk[at : at + 64] in kept]


@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska", "webm", "avi", "mpegts", "flv"])
def test_a_video_is_known_by_its_first_bytes_whatever_it_is_called(
    engine: facegrep.Engine, tmp_path: Path, kind: str
) -> None:
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(kind, "libx264")
    file = tmp_path / "holiday.jpg"
    file.write_bytes(encode(_frames(12), kind=kind, codec=codec))
    assert engine.add("lib", media_id="m", source=file).video is not None
    assert engine.get("lib", "m").media_type == "video"
    assert engine.add("lib", media_id="bytes", source=file.read_bytes()).video is not None


def _frames(count: int) -> Iterator[Any]:
    return render([Scene(count / 25, [Actor(MACRON, still())], 1)], 320, 180)


@pytest.mark.parametrize(
    ("source", "media_type", "error"),
    [
        (MACRON, "video", facegrep.VideoError),
        (MACRON.read_bytes(), "video", facegrep.VideoError),
        ("talk.mp4", "image", facegrep.PictureError),
        (b"\x00\x00\x00\x18ftypheic" + bytes(200), None, facegrep.PictureError),
        (b"\x00\x00\x00\x18ftypisom" + bytes(200), None, facegrep.VideoError),
        (b"", "video", facegrep.VideoError),
        ("missing.mp4", "video", facegrep.VideoError),
        ("missing.mp4", None, facegrep.PictureError),
        ("folder", "video", facegrep.VideoError),
        (3, "video", facegrep.VideoError),
    ],
)
def test_what_is_not_what_it_is_said_to_be_is_an_error_and_nothing_is_stored(
    engine: facegrep.Engine,
    path: Path,
    source: Any,
    media_type: Any,
    error: type[Exception],
) -> None:
    path.with_name("folder").mkdir()
    if isinstance(source, str):
        source = path.with_name(source)
    with pytest.raises(error):
        engine.add("lib", media_id="m", source=source, media_type=media_type)
    assert engine.media("lib") == []


@pytest.mark.parametrize("source", [b"", "missing.mp4", "folder", 3])
def test_a_video_that_cannot_be_read_is_refused_although_nothing_is_analysed(
    engine: facegrep.Engine, path: Path, source: Any
) -> None:
    path.with_name("folder").mkdir()
    engine.set_face_index("lib", None)
    if isinstance(source, str):
        source = path.with_name(source)
    with pytest.raises(facegrep.VideoError):
        engine.add("lib", media_id="m", source=source, media_type="video")
    assert engine.media("lib") == []


def test_sound_without_pictures_is_refused_and_a_broken_tail_is_said(
    engine: facegrep.Engine,
) -> None:
    with pytest.raises(facegrep.VideoError):
        engine.add("lib", media_id="m", source=encode([], sound_s=1.0), media_type="video")
    cut = encode(_frames(60), kind="matroska")
    added = engine.add("lib", media_id="cut", source=cut[: len(cut) * 2 // 3])
    assert added.video is not None
    assert added.video.truncated
    assert engine.get("lib", "cut").video == added.video
    ends = {"whole": len(cut), "half": len(cut) // 2}
    items = [{"media_id": one, "source": cut[:end]} for one, end in ends.items()]
    result = engine.add_many("lib", [*items, {"media_id": "photo", "source": MACRON}])
    video = engine.get("lib", "half").video
    assert video is not None
    assert result.truncated == (("half", video.truncated),)
    assert (result.added, result.errors) == (3, ())
    assert engine.add_many("lib", items).truncated == ()


def test_a_file_that_changes_while_it_is_looked_at_is_refused(
    engine: facegrep.Engine, path: Path
) -> None:
    def change(_: VideoProgress) -> None:
        os.utime(path, ns=(1, 1))

    with pytest.raises(facegrep.VideoError, match="changed while it was read"):
        engine.add("lib", media_id="m", source=path, progress=change)
    assert engine.media("lib") == []


def test_what_a_progress_raises_ends_the_call_and_nothing_is_added(
    engine: facegrep.Engine, path: Path
) -> None:
    class Enough(Exception):
        pass

    def stop(_: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        engine.add("lib", media_id="m", source=path, progress=stop)
    items = [{"media_id": "p", "source": MACRON}, {"media_id": "m", "source": path}]
    with pytest.raises(Enough):
        engine.add_many("lib", items, video_progress=lambda _, step: stop(step))
    assert [media.media_id for media in engine.media("lib")] == ["p"]


def test_pictures_and_videos_are_added_together_in_their_order(
    engine: facegrep.Engine, path: Path
) -> None:
    broken = path.with_name("broken.mp4")
    broken.write_bytes(path.read_bytes()[:300])
    items = [
        {"media_id": "a", "source": MACRON},
        {"media_id": "b", "source": path},
        {"media_id": "c", "source": broken, "media_type": "video"},
        {"media_id": "d", "source": ARDERN},
        {"media_id": "e", "source": OBAMA},
        {"media_id": "f", "source": path, "title": "again"},
    ]
    done: list[tuple[int, int | None]] = []
    seen: set[str] = set()
    result = engine.add_many(
        "lib",
        items,
        progress=lambda *step: done.append(step),
        video_progress=lambda media_id, _: seen.add(media_id),
        on_error="collect",
    )
    assert (result.added, result.unchanged) == (5, 0)
    assert [media_id for media_id, _ in result.errors] == ["c"]
    assert isinstance(result.errors[0][1], facegrep.VideoError)
    assert result.provider == "CPUExecutionProvider"
    assert [step for step, _ in done] == sorted(step for step, _ in done)
    assert done[-1] == (6, 6)
    assert {"b", "f"} <= seen
    assert found(engine, MACRON_LATER) == ["a", "b", "f"]
    assert found(engine, ARDERN_LATER) == ["b", "d", "f"]
    again = engine.add_many("lib", items[:2] + items[3:])
    assert (again.added, again.unchanged, again.provider) == (0, 5, None)
    with pytest.raises(facegrep.VideoError) as caught:
        engine.add_many("lib", [{"media_id": "g", "source": OBAMA}, items[2], items[0]])
    assert caught.value.acknowledged == 1


def test_without_pyav_the_error_names_the_extra_and_pictures_go_on(
    engine: facegrep.Engine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av.video.reformatter", None)
    with pytest.raises(facegrep.MissingExtraError, match=r"pip install 'facegrep\[video\]'"):
        engine.add("lib", media_id="m", source=path)
    items = [{"media_id": "v", "source": path}, {"media_id": "p", "source": MACRON}]
    result = engine.add_many("lib", items, on_error="collect")
    assert isinstance(result.errors[0][1], facegrep.MissingExtraError)
    assert [media.media_id for media in engine.media("lib")] == ["p"]


def test_a_face_index_that_is_made_later_looks_at_the_videos_too(
    engine: facegrep.Engine, path: Path, talk: bytes
) -> None:
    engine.set_face_index("lib", None)
    changed = path.with_name("changed.mp4")
    changed.write_bytes(talk)
    for media_id, source in (("path", path), ("bytes", talk), ("changed", changed)):
        assert not engine.add("lib", media_id=media_id, source=source).analysed
    engine.add("lib", media_id="picture", source=MACRON)
    changed.write_bytes(film(ALONE))
    report = engine.set_face_index("lib", "active")
    assert (report.analysed, report.provider) == (3, "CPUExecutionProvider")
    assert [(one, "changed" in why) for one, why in report.failed] == [("changed", True)]
    assert found(engine, MACRON_LATER) == ["bytes", "path", "picture"]
    job = engine.get("lib", "changed").job
    assert job is not None
    assert (job.status, video_in(engine, "lib", "changed")) == ("Fail", None)
    engine.set_face_index("lib", "deactive")  # then nothing is left of the bytes
    report = engine.set_face_index("lib", "active", fetch=lambda _: b"")
    assert sorted(one for one, _ in report.failed) == ["bytes", "changed"]
    assert found(engine, ARDERN_LATER) == ["path"]
    assert engine.verify().damages == ()


def test_the_boxes_that_are_kept_lie_within_the_frame_and_hold_the_face(
    engine: facegrep.Engine, path: Path
) -> None:
    engine.add("lib", media_id="talk", source=path)
    video = video_in(engine, "lib", "talk")
    assert video is not None
    for one in video.tracks:
        x, y, width, height = one.samples[:, 1:].T
        assert (x >= 0).all()
        assert (y >= 0).all()
        assert (x + width <= 640).all()
        assert (y + height <= 360).all()
    people = {one.person: one for one in video.tracks if one.start_ms == 0}
    centres = sorted(float((t.samples[:, 1] + t.samples[:, 3] / 2).mean()) for t in people.values())
    assert abs(centres[0] - 0.28 * 640) < 30
    assert abs(centres[1] - 0.72 * 640) < 30


def test_of_a_person_named_by_a_video_nothing_is_said_of_their_pictures(
    engine: facegrep.Engine, path: Path
) -> None:
    engine.add("lib", media_id="talk", source=path)
    engine.add("lib", media_id="photo", source=MACRON_LATER)
    known = engine.create_recognition_library("known").recognition_id
    engine.set_recognition("lib", [known])
    macron = engine.name_person("lib", "photo#0", "Emmanuel Macron")
    sources = {
        sample.sample_id: sample.source for sample in engine.samples(known, macron.entity_id)
    }
    assert set(sources.values()) == {str(path), str(MACRON_LATER)}
    for photo in engine.search("lib", entity=macron.entity_id).query_photos:
        assert photo.sample_id is not None
        # Of a film's face neither the landmarks nor the detector's score are kept.
        assert (photo.quality is None) == (sources[photo.sample_id] == str(path))


def test_a_picture_of_a_frame_finds_its_video(engine: facegrep.Engine, path: Path) -> None:
    engine.add("lib", media_id="talk", source=path)
    frame = next(iter(_frames(1)))
    result = engine.search("lib", frame)
    assert result.media_ids == ["talk"]
    assert result.hits[0].score > 0.8
    assert result.hits[0].box is not None


def test_the_man_of_the_photos_is_found_in_the_clip(
    engine: facegrep.Engine, shared_data: Path
) -> None:
    clip = shared_data / "video" / "short_hamilton_clip.mp4"
    folder = shared_data / "faces" / "several_faces" / "alex_lacamoire"
    if not clip.exists() or not folder.exists():
        pytest.skip("the clip or the photos of the man in it are not here (FACEGREP_TEST_DATA)")
    engine.add("lib", media_id="clip", source=clip)
    one, other = sorted(folder.glob("*.jpg"))
    for photos in (one, other, [one, other]):
        found = engine.search("lib", photos)
        assert found.threshold_reason.startswith("the floor of model")
        assert found.media_ids == ["clip"]
