"""Videos behind URLs: stored at once, fetched and analysed later, gone with their asset."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faked_servers import URL, WAIT_S, Servers, files_in, files_with, job_of, submit, until
from tests.tracked import video_in
from tests.video_maker import (
    ARDERN,
    MACRON,
    MACRON_LATER,
    OBAMA,
    Actor,
    Scene,
    film,
    still,
)

import facegrep
from facegrep.engine import _downloads, _worker
from facegrep.store import FetchedFile, _holdings

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")


@pytest.fixture(scope="module")
def clip() -> bytes:
    return film(Scene(1.0, [Actor(MACRON, still())], 1), width=320, height=180)


@pytest.fixture
def servers(clip: bytes) -> Iterator[Servers]:
    made = Servers({URL: clip})
    yield made
    made.go.set()


@pytest.fixture
def engine(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[facegrep.Engine]:
    monkeypatch.setattr(_downloads, "STILL_WANTED_S", 0.05)
    with facegrep.open(tmp_path / "store", device="cpu", fetcher=servers) as opened:
        opened.create_library("lib")
        yield opened


def test_it_is_stored_at_once_and_ends_as_an_added_one(
    engine: facegrep.Engine, servers: Servers, clip: bytes
) -> None:
    servers.hold.add(URL)
    assert submit(engine, title="a", fields={"intField1": 3})
    assert job_of(engine) == ("Running", None)
    media = engine.get("lib", "m")
    assert (media.source, media.content_sha256, media.title) == (URL, "", "a")
    assert engine.verify().damages == ()
    assert servers.halfway.wait(WAIT_S)
    (name,) = files_in(engine)
    kind = _holdings.kind_of(f"tmp/{name}")
    assert kind is not None
    assert kind.name == _holdings.FETCHED
    assert (engine.path / "tmp" / name).stat().st_size == 3 * len(clip) // 4
    assert not engine.wait_for_jobs(timeout_s=0.1)
    with (engine.path / "tmp" / name).open("rb") as file:
        servers.go.set()
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
        assert files_in(engine) == []
        left = file.read()
    assert (len(left), left.strip(b"\0")) == (len(clip), b"")  # overwritten
    assert engine.search("lib", MACRON_LATER).media_ids == ["m"]
    engine.add("lib", media_id="same", source=clip)
    media, same = engine.get("lib", "m"), engine.get("lib", "same")
    assert (media.faces, media.video) == (same.faces, same.video)
    assert media.content_sha256 == same.content_sha256
    assert video_in(engine, "lib", "m") is not None
    assert engine.verify().damages == ()
    assert (len(servers.begun), len(servers.saved)) == (1, 1)


def test_the_same_url_is_no_other_job_and_another_is_refused(
    engine: facegrep.Engine, servers: Servers, clip: bytes
) -> None:
    servers.hold.add(URL)
    assert submit(engine)
    for _ in range(2):
        assert not submit(engine)
        with pytest.raises(facegrep.AlreadyExistsError, match="content"):
            submit(engine, url="https://videos.example/other.mp4")
        with pytest.raises(facegrep.AlreadyExistsError):
            submit(engine, fields={"intField1": 1})
        with pytest.raises(facegrep.AlreadyExistsError):
            engine.submit("lib", media_id="m", source=ARDERN)
        servers.go.set()
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert not engine.submit("lib", media_id="m", source=clip).added
    assert engine.submit("lib", media_id="bytes", source=clip, origin=URL).added
    assert not submit(engine, "bytes")
    assert (len(servers.begun), len(servers.saved)) == (1, 1)


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"origin": "https://videos.example/none.mp4"}, facegrep.PictureError, "did not give"),
        ({"origin": "https://videos.example/a.jpg"}, facegrep.VideoError, "picture"),
        ({"origin": "https://videos.example/empty.mp4"}, facegrep.VideoError, "empty"),
        ({"origin": None}, facegrep.InvalidArgumentError, "origin"),
        ({"origin": "/a.mp4"}, facegrep.InvalidArgumentError, "origin"),
        ({"media_type": None}, facegrep.InvalidArgumentError, "video"),
        ({"media_type": "image"}, facegrep.InvalidArgumentError, "video"),
        ({"library": "none"}, facegrep.NotFoundError, "none"),
    ],
)
def test_what_can_be_told_at_once_is_refused_at_once(
    engine: facegrep.Engine, servers: Servers, more: Any, error: type[Exception], words: str
) -> None:
    servers.content["https://videos.example/a.jpg"] = ARDERN.read_bytes()
    servers.content["https://videos.example/empty.mp4"] = b""
    call: Any = {"library": "lib", "source": None, "origin": URL, "media_type": "video"} | more
    with pytest.raises(error) as caught:
        engine.submit(media_id="m", **call)
    assert words in str(getattr(caught.value, "reason", caught.value))
    assert (engine.media("lib"), servers.saved, files_in(engine)) == ([], [], [])


def test_without_a_fetcher_no_url_is_taken_and_no_such_job_is_touched(
    engine: facegrep.Engine, servers: Servers
) -> None:
    path = engine.path
    servers.hold.add(URL)
    submit(engine)
    assert servers.halfway.wait(WAIT_S)
    engine.close()
    with facegrep.open(path, device="cpu") as other:
        with pytest.raises(facegrep.InvalidArgumentError, match="fetcher"):
            submit(other, "n")
        other.submit("lib", media_id="photo", source=OBAMA)
        assert other.wait_for_jobs(timeout_s=WAIT_S)
        assert (job_of(other), job_of(other, "photo")) == (("Running", None), ("Success", None))
        assert other.set_face_index("lib", "active").left == ("m",)
        assert job_of(other) == ("Running", None)
    servers.go.set()
    with facegrep.open(path, device="cpu", fetcher=servers) as again:
        assert again.wait_for_jobs(timeout_s=WAIT_S)
        assert job_of(again) == ("Success", None)
    with pytest.raises(facegrep.InvalidArgumentError, match="fetcher"):
        facegrep.open(path, fetcher=lambda _: b"")  # type: ignore[arg-type]


def test_what_cannot_be_fetched_or_is_no_video_fails_and_can_be_made_again(
    engine: facegrep.Engine, servers: Servers, clip: bytes
) -> None:
    broken = "https://videos.example/broken.mp4"
    servers.content[broken] = clip[:400]
    servers.lost.add(URL)
    submit(engine, "broken", broken)
    submit(engine)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert job_of(engine) == ("Fail", "its server did not give a video")
    assert job_of(engine, "broken")[0] == "Fail"
    assert engine.get("lib", "broken").content_sha256 == ""
    servers.lost.clear()
    servers.content[broken] = clip  # it was repaired
    rerun = engine.rerun_jobs("lib", ["broken", "m", "gone"])
    assert (rerun.media_ids, rerun.unknown_ids) == (["broken", "m"], ["gone"])
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert sorted(engine.search("lib", MACRON_LATER).media_ids) == ["broken", "m"]
    assert files_in(engine) == []


def test_a_fetcher_that_breaks_and_a_full_disk_fail_the_job_and_say_so(
    engine: facegrep.Engine, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise facegrep.StoreFull("keeping what is fetched failed: no space left")

    def broken(*_: object) -> None:
        raise KeyError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(FetchedFile, "write", full)
        submit(engine)
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert job_of(engine) == ("Fail", "keeping what is fetched failed: no space left")
    with monkeypatch.context() as patch:
        patch.setattr(servers, "save_video", broken)
        submit(engine, "n")
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert job_of(engine, "n") == ("Fail", "its source could not be fetched")
    assert files_in(engine) == []


@pytest.mark.parametrize(
    "end",
    [
        lambda engine: engine.delete("lib", ["m"]),
        lambda engine: engine.erase("lib", ["m"]),
        lambda engine: engine.drop_library("lib"),
        lambda engine: (engine.set_retention("lib", 1), engine.purge()),
        lambda engine: engine.set_face_index("lib", "deactive"),
    ],
    ids=["delete", "erase", "drop", "expire", "deactive"],
)
def test_the_job_and_what_was_fetched_end_with_the_asset(
    engine: facegrep.Engine, servers: Servers, clip: bytes, end: Callable[[facegrep.Engine], object]
) -> None:
    servers.hold.add(URL)
    submit(engine)
    assert servers.halfway.wait(WAIT_S)
    assert files_with(engine.path, clip) == 1
    end(engine)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    until(lambda: servers.ended == [URL])  # though its server never went on
    until(lambda: files_in(engine) == [])
    assert files_with(engine.path, clip) == 0
    assert engine.verify().damages == ()


def test_what_is_erased_is_overwritten_before_anybody_is_told_also_by_another_process(
    engine: facegrep.Engine, servers: Servers, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_downloads, "STILL_WANTED_S", 1e9)  # who fetches finds out by the file
    servers.hold.add(URL)
    submit(engine)
    assert servers.halfway.wait(WAIT_S)
    held = (engine.path / "tmp" / files_in(engine)[0]).open("rb")
    with facegrep.open(engine.path) as stranger:  # which wipes what is nobody's
        assert files_with(engine.path, clip) == 1
        stranger.erase("lib", ["m"])
        assert files_with(engine.path, clip) == 0
    until(lambda: servers.ended == [URL])
    with held:
        assert not held.read().strip(b"\0")
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert engine.media("lib") == []


def test_one_that_is_back_again_is_fetched_again(
    engine: facegrep.Engine, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, opened = threading.Event(), threading.Event()
    look = getattr(_worker, "look_at")  # noqa: B009 - not exported

    def held(*args: Any, **more: Any) -> Any:
        looking.set()
        opened.wait(WAIT_S)
        return look(*args, **more)

    servers.hold.add(URL)
    submit(engine)
    assert servers.halfway.wait(WAIT_S)
    monkeypatch.setattr(_worker, "look_at", held)
    engine.submit("lib", media_id="photo", source=OBAMA)
    assert looking.wait(WAIT_S)  # so that nobody sees what becomes of the download meanwhile
    engine.set_face_index("lib", "deactive")
    until(lambda: servers.ended == [URL])
    servers.go.set()
    report = engine.set_face_index("lib", "active")
    assert (report.left, report.failed, report.analysed) == (("m",), (), 1)
    opened.set()
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert job_of(engine) == ("Success", None)
    assert servers.saved == [URL, URL]


def test_without_an_active_face_index_it_is_not_fetched(
    engine: facegrep.Engine, servers: Servers
) -> None:
    engine.set_face_index("lib", None)
    submit(engine)
    assert (job_of(engine), engine.wait_for_jobs(timeout_s=1)) == ((None, None), True)
    assert servers.saved == []
    engine.set_face_index("lib", "active")
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert job_of(engine) == ("Success", None)


CHILD = """
import os, signal, sys
import facegrep

class Fetcher:
    def __call__(self, url): raise OSError
    def begin_video(self, url): return b"begun"
    def save_video(self, url, file, go_on):
        file.write(open(sys.argv[2], "rb").read())
        os.kill(os.getpid(), signal.SIGKILL)

engine = facegrep.open(sys.argv[1], device="cpu", fetcher=Fetcher())
engine.submit("lib", media_id="m", source=None, origin=sys.argv[3], media_type="video")
engine.wait_for_jobs()
"""


def test_what_a_process_was_fetching_when_it_was_killed_is_taken_up_by_the_next(
    tmp_path: Path, clip: bytes, servers: Servers
) -> None:
    file, path = tmp_path / "clip.mp4", tmp_path / "store"
    file.write_bytes(clip)
    with facegrep.open(path) as engine:
        engine.create_library("lib")
    command = [sys.executable, "-c", CHILD, str(path), str(file), URL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert files_with(path, clip) == 1
    with facegrep.open(path, readonly=True) as reader:
        assert job_of(reader) == ("Running", None)
        report = reader.verify()
        assert (report.damages, len(report.leftovers)) == ((), 1)
        reader.backup(tmp_path / "copy")
    assert files_with(tmp_path / "copy", clip) == 0
    for store in (path, tmp_path / "copy"):
        with facegrep.open(store, device="cpu", fetcher=servers) as engine:
            assert engine.wait_for_jobs(timeout_s=WAIT_S)
            assert job_of(engine) == ("Success", None)
            assert files_in(engine) == []
            assert engine.verify().leftovers == ()
    assert files_with(path, clip) == 0


def test_a_picture_that_is_made_again_is_fetched_in_the_background_too(
    engine: facegrep.Engine, servers: Servers
) -> None:
    photo = "https://pictures.example/a.jpg"
    servers.content[photo] = MACRON.read_bytes()
    engine.submit("lib", media_id="p", source=MACRON.read_bytes(), origin=photo)
    engine.submit("lib", media_id="other", source=MACRON.read_bytes(), origin=photo + "?x")
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert servers.saved == []  # it was at hand
    engine.set_face_index("lib", "deactive")
    servers.content[photo + "?x"] = ARDERN.read_bytes()
    assert set(engine.set_face_index("lib", "active").left) == {"p", "other"}
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert job_of(engine, "p") == ("Success", None)
    assert job_of(engine, "other")[0] == "Fail"
    assert "changed" in (job_of(engine, "other")[1] or "")
