"""Videos by the actions of the wire: inserted at once, analysed later, found, and where in them."""

from __future__ import annotations

import base64
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faked_network import PUBLIC, Network, reply
from tests.video_maker import ARDERN, MACRON, MACRON_LATER, PORTRAITS, Actor, Scene, film, still

import facegrep
from facegrep.engine import _worker
from facegrep.ice import IceError, Service, _sources

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")

Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    scene = Scene(1.0, [Actor(MACRON, still())], 1)
    (folder / "clip.mp4").write_bytes(film(scene, width=320, height=180))
    (folder / "folder").mkdir()
    (folder / "outside").symlink_to(PORTRAITS)
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store", device="cpu") as opened:
        opened.create_library("lib")
        yield opened


def caller(engine: facegrep.Engine, folder: Path, **more: Any) -> Call:
    service = Service(engine, files=[folder], **more)

    def call(action: str, **params: str) -> dict[str, Any]:
        return service.call(action, {"SearchLibName": "lib", **params})

    return call


@contextlib.contextmanager
def refused(status: int, code: str, *words: str) -> Iterator[None]:
    with pytest.raises(IceError) as caught:
        yield
    assert (caught.value.http_status, caught.value.code) == (status, code)
    for word in words:
        assert word.lower() in caught.value.message.lower()


def job_of(call: Call, media_id: str) -> dict[str, str]:
    (job,) = call("QueryMediaIndexJob", MediaId=media_id)["IndexJobInfoList"]
    assert isinstance(job, dict)
    return job


def test_from_insert_to_clip(
    engine: facegrep.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    look = getattr(_worker, "look_at")  # noqa: B009 - not exported

    def held(*args: Any, **more: Any) -> Any:
        opened.wait(60)
        return look(*args, **more)

    monkeypatch.setattr(_worker, "look_at", held)
    url = (folder / "clip.mp4").as_uri()
    call = caller(engine, folder)
    photos = caller(engine, PORTRAITS)
    body = '{"title":"Élysée","customFields":{"intField1":12}}'
    assert call("InsertMediaToSearchLib", MediaId="m", Input=url, MsgBody=body)["MediaId"] == "m"
    job = job_of(call, "m")
    assert (job["Status"], job["IndexType"], "GmtFinish" in job) == ("Running", "face", False)
    search = {"PersonImageUrl": MACRON_LATER.as_uri(), "FaceSearchToken": "t"}
    assert photos("SearchMediaByFace", **search)["Total"] == 0
    opened.set()
    assert engine.wait_for_jobs(timeout_s=60)
    job = job_of(call, "m")
    assert job["Status"] == "Success"
    assert job["GmtSubmit"] <= job["GmtFinish"]
    filters = {"MediaType": "video", "CustomFilters": '{"intField1":12}'}
    found = photos("SearchMediaByFace", **search, **filters)
    assert (found["MediaInfoList"], found["Total"]) == ([{"MediaId": "m"}], 1)
    reply = call("SearchMediaClipByFace", MediaId="m", FaceSearchToken="t")
    (clip,) = reply["MediaClipList"]
    (seen,) = clip["OccurrencesInfos"]
    assert seen["StartTime"] < 0.5 < 0.9 < seen["EndTime"] < 1.1
    assert engine.get("lib", "m").source == str(folder / "clip.mp4")
    # The same again is no change.
    call("InsertMediaToSearchLib", MediaId="m", Input=url, MsgBody=body)
    assert job_of(call, "m") == job


def test_a_video_comes_by_data_and_by_fetch_too(engine: facegrep.Engine, folder: Path) -> None:
    content = (folder / "clip.mp4").read_bytes()
    call = caller(engine, folder, fetcher=lambda _: content)
    data = "data:video/mp4;base64," + base64.b64encode(content).decode()
    call("InsertMediaToSearchLib", MediaId="data", Input=data)
    call("InsertMediaToSearchLib", MediaId="fetched", Input="oss://bucket/clip.mp4")
    assert engine.wait_for_jobs(timeout_s=60)
    assert {job_of(call, one)["Status"] for one in ("data", "fetched")} == {"Success"}
    assert engine.get("lib", "data").source is None
    assert engine.get("lib", "fetched").source == "oss://bucket/clip.mp4"
    assert engine.search("lib", MACRON_LATER).total == 2
    index = {"IndexType": "face", "IndexStatus": "Deactive"}
    call("AlterSearchIndex", **index)
    call("AlterSearchIndex", **index | {"IndexStatus": "Active"})
    assert engine.search("lib", MACRON_LATER).media_ids == ["fetched"]


@pytest.fixture
def network(folder: Path) -> Iterator[Network]:
    made = Network()
    for host in ("videos.example", "pictures.example", "lost.example"):
        made.names[host] = [PUBLIC]
    made.names["inside.example"] = ["10.0.0.1"]
    made.replies["videos.example"] = reply((folder / "clip.mp4").read_bytes(), kind="video/mp4")
    made.replies["pictures.example"] = reply(ARDERN.read_bytes())
    made.replies["lost.example"] = reply(status="404 Not Found")
    yield made
    made.join()


def test_a_video_of_the_network_is_looked_at_at_once_and_fetched_after_the_reply(
    tmp_path: Path, folder: Path, network: Network
) -> None:
    with facegrep.open(tmp_path / "store", device="cpu", fetcher=network.fetcher()) as engine:
        engine.create_library("lib")
        call = caller(engine, folder)  # the engine's fetcher is its own
        insert = {"MediaId": "m", "Input": "http://videos.example/clip.mp4"}
        call("InsertMediaToSearchLib", **insert)
        assert job_of(call, "m")["Status"] in ("Running", "Success")
        assert engine.wait_for_jobs(timeout_s=60)
        assert job_of(call, "m")["Status"] == "Success"
        assert engine.get("lib", "m").source == insert["Input"]
        call("InsertMediaToSearchLib", **insert)
        assert len(network.requests) == 2  # its beginning, and all of it
        for url, words in (
            ("http://lost.example/a.mp4", "did not give a video"),
            ("http://inside.example/a.mp4", "its host is none"),
            ("http://none.example/a.mp4", "its host is none"),
            ("https://[::1]/a.mp4", "its host is none"),
            ("http://videos.example:99/a.mp4", "ports"),
            ("http://user@videos.example/a.mp4", "no http or https URL"),
            ("oss://bucket/a.mp4", "no such oss: URL"),
        ):
            with refused(400, "InvalidParameter", '"Input"', words):
                call("InsertMediaToSearchLib", MediaId="n", Input=url)
        with refused(400, "InvalidParameter", '"MediaType"', "MediaType=image"):
            call("InsertMediaToSearchLib", MediaId="n", Input="http://pictures.example/a.jpg")
        with refused(400, "InvalidParameter", '"MediaId"', "other content"):
            call("InsertMediaToSearchLib", **insert | {"Input": "http://videos.example/b.mp4"})
        assert [media.media_id for media in engine.media("lib")] == ["m"]


def test_what_is_made_again_is_fetched_after_the_reply_too(
    tmp_path: Path, folder: Path, network: Network
) -> None:
    with facegrep.open(tmp_path / "store", device="cpu", fetcher=network.fetcher()) as engine:
        engine.create_library("lib")
        call = caller(engine, folder)
        index = {"IndexType": "face", "IndexStatus": "Deactive"}
        video, picture = "http://videos.example/clip.mp4", "http://pictures.example/a.jpg"
        call("InsertMediaToSearchLib", MediaId="m", Input=video)
        call("InsertMediaToSearchLib", MediaId="p", Input=picture, MediaType="image")
        assert engine.wait_for_jobs(timeout_s=60)
        call("AlterSearchIndex", **index)
        call("AlterSearchIndex", **index | {"IndexStatus": "Active"})
        assert engine.wait_for_jobs(timeout_s=60)
        assert {job_of(call, one)["Status"] for one in "mp"} == {"Success"}
        before = dict(network.replies)
        network.replies = {"videos.example": reply(status="404 Not Found")}
        call("AlterSearchIndex", **index)
        call("AlterSearchIndex", **index | {"IndexStatus": "Active"})
        assert engine.wait_for_jobs(timeout_s=60)
        assert job_of(call, "m")["Status"] == "Fail"
        network.replies = before
        assert call("SearchIndexJobRerun", MediaIds="m,p,x")["Data"] == {"MediaIdsNoExist": ["x"]}
        assert engine.wait_for_jobs(timeout_s=60)
        assert {job_of(call, one)["Status"] for one in "mp"} == {"Success"}


def test_what_cannot_be_read_is_refused_and_nothing_is_stored(
    engine: facegrep.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sources, "MAX_VIDEO_BYTES", 100)
    call = caller(engine, folder, fetcher=lambda _: b"x" * 101)
    for url, words in (
        ((folder / "missing.mp4").as_uri(), "no such file"),
        ((folder / "folder").as_uri(), "not a regular file"),
        ((folder / "outside" / "README.md").as_uri(), "may read"),
        (Path("/etc/passwd").as_uri(), "may read"),
        ("https://host/a.mp4", "more than"),
        ("data:,", "empty"),
        ("ftp://host/a.mp4", "expected a data:"),
    ):
        with refused(400, "InvalidParameter", '"Input"', words):
            call("InsertMediaToSearchLib", MediaId="m", Input=url)
    with refused(400, "InvalidParameter", '"MediaType"', "MediaType=image"):
        data = "data:;base64," + base64.b64encode(ARDERN.read_bytes()).decode()
        call("InsertMediaToSearchLib", MediaId="m", Input=data)
    monkeypatch.setitem(sys.modules, "av.video.reformatter", None)
    with refused(403, "OperationDenied", "no videos"):
        call("InsertMediaToSearchLib", MediaId="m", Input=(folder / "clip.mp4").as_uri())
    assert engine.media("lib") == []


def test_a_failed_analysis_is_made_again_on_request(engine: facegrep.Engine, folder: Path) -> None:
    content = (folder / "clip.mp4").read_bytes()
    call = caller(engine, folder, fetcher=lambda _: content)
    call("InsertMediaToSearchLib", MediaId="m", Input="https://host/clip.mp4", Namespace="n")
    assert engine.wait_for_jobs(timeout_s=60)
    engine.set_face_index("lib", "deactive")
    engine.set_face_index("lib", "active")  # without what fetches
    assert job_of(call, "m")["Status"] == "Fail"
    rerun = {"MediaIds": "m,gone, m,other"}
    reply = call("SearchIndexJobRerun", **rerun, Task="face", Namespace="else")
    assert reply["Data"] == {"MediaIdsNoExist": ["m", "gone", "other"]}
    assert job_of(call, "m")["Status"] == "Fail"
    assert call("SearchIndexJobRerun", **rerun)["Data"] == {"MediaIdsNoExist": ["gone", "other"]}
    assert engine.wait_for_jobs(timeout_s=60)
    assert job_of(call, "m")["Status"] == "Success"
    assert engine.search("lib", MACRON_LATER).media_ids == ["m"]
    with refused(400, "InvalidParameter", '"Task"', "face index only"):
        call("SearchIndexJobRerun", **rerun, Task="mm")
    with refused(404, "ResourceNotFound"):
        call("SearchIndexJobRerun", **rerun, SearchLibName="nowhere")
    engine.set_face_index("lib", None)
    with refused(403, "OperationDenied", "face index"):
        call("SearchIndexJobRerun", **rerun)
