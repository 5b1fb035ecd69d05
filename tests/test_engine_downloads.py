"""Who waits for whom while videos are fetched: few at a time, and nobody else for their servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faked_servers import URL, WAIT_S, Servers, files_in, job_of, submit, until
from tests.tracked import store_of
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
from facegrep.store import Store

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


def test_closing_does_not_wait_for_a_server(engine: facegrep.Engine, servers: Servers) -> None:
    servers.hold.add(URL)
    submit(engine)
    assert servers.halfway.wait(WAIT_S)
    engine.close()
    assert not servers.go.is_set()
    assert list((engine.path / "tmp").iterdir()) == []
    with facegrep.open(engine.path, readonly=True) as reader:
        assert job_of(reader) == ("Running", None)


def test_a_slow_server_keeps_nobody_waiting_for_an_analysis(
    engine: facegrep.Engine, servers: Servers
) -> None:
    servers.hold.add(URL)
    submit(engine)
    assert servers.halfway.wait(WAIT_S)
    engine.submit("lib", media_id="photo", source=OBAMA)
    until(lambda: job_of(engine, "photo")[0] == "Success")
    with facegrep.open(engine.path, device="cpu") as other:  # who leaves it to the first
        with pytest.raises(facegrep.StoreBusy), store_of(other).jobs_lock.held(0.0):
            pass
        other.submit("lib", media_id="theirs", source=ARDERN)
        until(lambda: job_of(engine, "theirs")[0] == "Success")
    assert job_of(engine) == ("Running", None)
    assert servers.ended == []


def test_few_are_fetched_at_once_and_fewer_of_one_library(
    engine: facegrep.Engine, servers: Servers, clip: bytes
) -> None:
    urls = [f"https://videos.example/{number}.mp4" for number in range(5)]
    servers.content = dict.fromkeys(urls, clip)
    servers.hold = set(urls)
    libraries = ["lib", "b", "c"]
    for library in libraries[1:]:
        engine.create_library(library)
    for library in libraries:
        for url in urls:
            engine.submit(library, media_id=url, source=None, origin=url, media_type="video")
    until(lambda: len(files_in(engine)) == _downloads.AT_ONCE)
    time.sleep(0.3)
    assert len(servers.saved) == _downloads.AT_ONCE
    kinds = [name.partition("-")[0] for name in files_in(engine)]
    assert max(map(kinds.count, kinds)) == _downloads.PER_LIBRARY
    servers.go.set()
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert [engine.search(name, MACRON_LATER).total for name in libraries] == [5, 5, 5]
    assert sorted(servers.saved) == sorted(3 * urls)


def test_the_libraries_take_turns(
    engine: facegrep.Engine, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_downloads, "AT_ONCE", 1)
    first, later = "https://videos.example/{}.mp4", "https://videos.example/later.mp4"
    engine.create_library("later")
    urls = [first.format(number) for number in range(4)]
    servers.hold.add(urls[0])
    servers.content[urls[0]] = servers.content[URL]
    for url in urls[1:]:
        servers.content[url] = b"no video"
    servers.content[later] = b"no video"
    for url in urls:
        submit(engine, url, url)
    engine.submit("later", media_id="m", source=None, origin=later, media_type="video")
    servers.go.set()
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert servers.saved == [urls[0], later, *urls[1:]]


def test_what_cannot_be_entered_is_not_fetched_again_and_again(
    engine: facegrep.Engine, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object, **__: object) -> None:
        raise facegrep.StoreCorrupt("a block is damaged")

    slow = "https://videos.example/slow.mp4"
    servers.content[slow] = servers.content[URL]
    servers.hold.add(slow)
    monkeypatch.setattr(Store, "set_analyses", damaged)
    submit(engine, "slow", slow)
    assert servers.halfway.wait(WAIT_S)
    submit(engine)
    until(lambda: len(files_in(engine)) == 2)
    until(lambda: len(files_in(engine)) == 1)
    time.sleep(0.7)  # passes go on, since one is under way
    assert servers.saved.count(URL) == 1


def test_the_worker_rests_when_there_can_be_no_file_and_goes_on_later(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "_DISK_FAILED_S", 0.2)
    folder = engine.path / "tmp"
    folder.rename(folder.with_name("v") / "away")
    submit(engine)
    with pytest.raises(facegrep.StoreError):
        engine.wait_for_jobs(timeout_s=WAIT_S)
    (engine.path / "v" / "away").rename(folder)
    until(lambda: job_of(engine)[0] == "Success")
