"""Analyses in the background: they end as an `add` would have, and survive what ends a process."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tracked import store_of, video_in
from tests.video_maker import (
    ARDERN,
    ARDERN_LATER,
    MACRON,
    MACRON_LATER,
    OBAMA,
    Actor,
    Scene,
    film,
    still,
)

import facegrep
from facegrep.engine import _worker
from facegrep.store import Store

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")

WAIT_S = 120.0


@pytest.fixture(scope="module")
def clip() -> bytes:
    return film(Scene(1.0, [Actor(MACRON, still())], 1), width=320, height=180)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store", device="cpu") as opened:
        opened.create_library("lib")
        yield opened


def status_of(engine: facegrep.Engine, media_id: str) -> str | None:
    job = engine.get("lib", media_id).job
    return None if job is None else job.status


def found(engine: facegrep.Engine, photo: Path) -> list[str]:
    return sorted(engine.search("lib", photo).media_ids)


def kept_inputs(engine: facegrep.Engine) -> int:
    connection = sqlite3.connect(engine.path / "catalog.db")
    (count,) = connection.execute("SELECT count(*) FROM pending_input").fetchone()
    connection.close()
    return int(count)


class Gate:
    """Holds the worker back from looking at anything until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        look = getattr(_worker, "look_at")  # noqa: B009 - not exported

        def held(*args: Any, **more: Any) -> Any:
            self.reached.set()
            self.opened.wait(WAIT_S)
            return look(*args, **more)

        monkeypatch.setattr(_worker, "look_at", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


def test_what_is_submitted_is_stored_at_once_and_analysed_later(
    engine: facegrep.Engine, gate: Gate, tmp_path: Path, clip: bytes
) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(clip)
    for media_id, source in (
        ("photo", MACRON),
        ("bytes", ARDERN.read_bytes()),
        ("clip", file),
        ("clip bytes", clip),
    ):
        result = engine.submit("lib", media_id=media_id, source=source, title=media_id)
        assert (result.added, result.analysed, result.faces) == (True, False, ())
    job = engine.get("lib", "clip").job
    assert job is not None
    assert (job.status, job.finish_ms, job.error) == ("Running", None, None)
    assert found(engine, MACRON_LATER) == []
    assert not engine.wait_for_jobs(timeout_s=0.05)
    assert kept_inputs(engine) == 2
    gate.opened.set()
    assert engine.wait_for_jobs("lib", timeout_s=WAIT_S)
    assert kept_inputs(engine) == 0
    assert found(engine, MACRON_LATER) == ["clip", "clip bytes", "photo"]
    assert found(engine, ARDERN_LATER) == ["bytes"]
    with facegrep.open(tmp_path / "other", device="cpu") as other:
        other.create_library("lib")
        for media in engine.media("lib"):
            assert media.job is not None
            assert media.job.status == "Success"
            assert media.job.finish_ms is not None
            assert media.job.submit_ms <= media.job.finish_ms
            source = {"photo": MACRON, "bytes": ARDERN}.get(media.media_id, file)
            other.add("lib", media_id=media.media_id, source=source)
            added = other.get("lib", media.media_id)
            assert (media.faces, media.video) == (added.faces, added.video)
    assert engine.verify().damages == ()


def test_the_same_again_is_no_other_job_and_another_content_is_refused(
    engine: facegrep.Engine, gate: Gate, clip: bytes
) -> None:
    engine.submit("lib", media_id="m", source=clip)
    assert not engine.submit("lib", media_id="m", source=clip).added
    assert not engine.add("lib", media_id="m", source=clip).analysed
    with pytest.raises(facegrep.AlreadyExistsError):
        engine.submit("lib", media_id="m", source=ARDERN)
    gate.opened.set()
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert engine.submit("lib", media_id="m", source=clip).analysed


@pytest.mark.parametrize(
    ("source", "media_type", "error"),
    [
        (b"no picture", None, facegrep.PictureError),
        (Path("missing.jpg"), None, facegrep.PictureError),
        (MACRON, "video", facegrep.VideoError),
        (b"", "video", facegrep.VideoError),
        (MACRON, "audio", facegrep.InvalidArgumentError),
    ],
)
def test_what_can_be_told_at_once_is_refused_at_once(
    engine: facegrep.Engine, source: Any, media_type: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        engine.submit("lib", media_id="m", source=source, media_type=media_type)
    assert engine.media("lib") == []


def test_what_is_found_out_later_fails_and_says_why(engine: facegrep.Engine, clip: bytes) -> None:
    engine.submit("lib", media_id="broken", source=clip[:400])
    engine.submit("lib", media_id="good", source=clip)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    job = engine.get("lib", "broken").job
    assert job is not None
    assert (job.status, job.finish_ms is not None, bool(job.error)) == ("Fail", True, True)
    assert status_of(engine, "good") == "Success"


def test_without_pyav_a_video_is_refused_at_once(
    engine: facegrep.Engine, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av.video.reformatter", None)
    with pytest.raises(facegrep.MissingExtraError, match="video"):
        engine.submit("lib", media_id="m", source=clip)
    assert engine.media("lib") == []


def test_without_an_active_face_index_it_waits_for_one(
    engine: facegrep.Engine, gate: Gate, clip: bytes
) -> None:
    gate.opened.set()
    engine.set_face_index("lib", None)
    engine.submit("lib", media_id="early", source=clip)
    assert (status_of(engine, "early"), kept_inputs(engine)) == (None, 1)
    assert engine.wait_for_jobs(timeout_s=0)
    engine.set_face_index("lib", "active")
    assert status_of(engine, "early") == "Success"


def test_switching_the_face_index_off_ends_the_jobs_and_on_makes_them(
    engine: facegrep.Engine, gate: Gate, clip: bytes
) -> None:
    engine.submit("lib", media_id="m", source=clip)
    assert gate.reached.wait(WAIT_S)
    engine.set_face_index("lib", "deactive")
    assert engine.wait_for_jobs(timeout_s=0)
    gate.opened.set()
    report = engine.set_face_index("lib", "active")
    assert report.analysed == 1
    assert found(engine, MACRON_LATER) == ["m"]


@pytest.mark.parametrize(
    "end",
    [
        lambda engine: engine.delete("lib", ["m"]),
        lambda engine: engine.erase("lib", ["m"]),
        lambda engine: engine.drop_library("lib"),
        lambda engine: (engine.set_retention("lib", 1), engine.purge()),
    ],
    ids=["delete", "erase", "drop", "expire"],
)
def test_an_assets_job_ends_with_it(
    engine: facegrep.Engine, gate: Gate, clip: bytes, end: Callable[[facegrep.Engine], object]
) -> None:
    engine.submit("lib", media_id="m", source=clip)
    engine.submit("lib", media_id="photo", source=OBAMA.read_bytes())
    assert gate.reached.wait(WAIT_S)
    assert kept_inputs(engine) == 2
    end(engine)
    gate.opened.set()
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    if engine.libraries()[-1].name == "lib" and engine.library("lib").ttl_ms is None:
        assert [media.media_id for media in engine.media("lib")] == ["photo"]
        assert status_of(engine, "photo") == "Success"
    assert kept_inputs(engine) == 0
    assert engine.verify().damages == ()


def test_what_has_expired_is_not_waited_for(
    engine: facegrep.Engine, gate: Gate, clip: bytes
) -> None:
    engine.submit("lib", media_id="m", source=clip)
    assert gate.reached.wait(WAIT_S)
    engine.set_retention("lib", 1)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    gate.opened.set()


# By another process: one that uses SQLite may never open its files itself.
SCAN = """
import pathlib, sys
needle = sys.stdin.buffer.read()
print(sum(needle in path.read_bytes() for path in pathlib.Path(sys.argv[1]).rglob("*")
    if path.is_file()))
"""


def test_an_input_that_is_erased_is_in_no_file(
    engine: facegrep.Engine, gate: Gate, clip: bytes
) -> None:
    engine.submit("lib", media_id="m", source=clip)
    engine.submit("lib", media_id="other", source=OBAMA.read_bytes())
    assert gate.reached.wait(WAIT_S)

    def files_with(content: bytes) -> int:
        command = [sys.executable, "-c", SCAN, str(engine.path)]
        window = content[len(content) // 2 :][:64]
        done = subprocess.run(command, input=window, capture_output=True, check=True)
        return int(done.stdout)

    assert files_with(clip) > 0
    engine.erase("lib", ["m"])
    assert files_with(clip) == 0
    assert files_with(OBAMA.read_bytes()) > 0


CHILD = """
import os, signal, sys
import facegrep
from facegrep.engine import _worker

{prepare}
engine = facegrep.open(sys.argv[1], device="cpu")
engine.submit("lib", media_id="photo", source=sys.argv[2])
engine.submit("lib", media_id="clip", source=open(sys.argv[3], "rb").read())
{end}
"""
KILLED = {
    "prepare": "_worker.now_ms = lambda: os.kill(os.getpid(), signal.SIGKILL)",
    "end": "engine.wait_for_jobs()",
}
CLOSED = {"prepare": "", "end": "engine.close()"}
FORGOTTEN = {"prepare": "", "end": "while engine.get('lib', 'photo').job.finish_ms is None: pass"}


@pytest.mark.parametrize("how", [KILLED, CLOSED, FORGOTTEN], ids=["killed", "closed", "forgotten"])
def test_what_a_process_leaves_is_taken_up_by_the_next(
    tmp_path: Path, clip: bytes, how: dict[str, str]
) -> None:
    file, path = tmp_path / "clip.mp4", tmp_path / "store"
    file.write_bytes(clip)
    with facegrep.open(path) as engine:
        engine.create_library("lib")
    command = [sys.executable, "-c", CHILD.format(**how), str(path), str(MACRON), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if how is KILLED else 0), done.stderr
    assert done.stderr == ""
    with facegrep.open(path, readonly=True) as reader:
        left = [media.job for media in reader.media("lib")]
        assert not [job for job in left if job is None or job.status == "Fail"]
        assert how is FORGOTTEN or any(job.status == "Running" for job in left if job)
    with facegrep.open(path, device="cpu") as engine:
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
        assert found(engine, MACRON_LATER) == ["clip", "photo"]
        assert engine.verify().damages == ()


def test_closing_breaks_a_video_off_and_does_not_wait_for_its_end(
    tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = threading.Event()
    require = _worker.Worker._require_open

    def required(worker: _worker.Worker) -> None:
        looking.set()
        while not worker._closing:  # a video that never ends
            threading.Event().wait(0.01)
        require(worker)

    engine = facegrep.open(tmp_path / "store", device="cpu")
    engine.create_library("lib")
    with monkeypatch.context() as patch:
        patch.setattr(_worker.Worker, "_require_open", required)
        engine.submit("lib", media_id="m", source=clip)
        assert looking.wait(WAIT_S)
        engine.close()
    with facegrep.open(tmp_path / "store", readonly=True) as reader:
        assert status_of(reader, "m") == "Running"
        assert not reader.wait_for_jobs(timeout_s=0.2)
        with pytest.raises(facegrep.StoreReadOnly):
            reader.submit("lib", media_id="n", source=MACRON)
        with pytest.raises(facegrep.StoreReadOnly):
            reader.rerun_jobs("lib", ["m"])


def test_a_video_that_was_deleted_is_not_looked_at_to_its_end(
    engine: facegrep.Engine, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "STILL_WANTED_S", 0.0)
    watch = _worker.Worker._watch
    steps = []

    def watched(worker: _worker.Worker, *args: Any) -> None:
        steps.append(1)
        if len(steps) == 1:
            engine.delete("lib", ["m"])
        watch(worker, *args)

    monkeypatch.setattr(_worker.Worker, "_watch", watched)
    engine.submit("lib", media_id="m", source=clip)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    engine.close()
    assert len(steps) == 1


def test_jobs_wait_while_another_process_works_and_then_go_on(
    engine: facegrep.Engine, clip: bytes
) -> None:
    with facegrep.open(engine.path) as other:
        with store_of(other).jobs_lock.held(10.0):
            engine.submit("lib", media_id="m", source=clip)
            assert not engine.wait_for_jobs(timeout_s=0.5)
        assert other.wait_for_jobs(timeout_s=WAIT_S)
    assert status_of(engine, "m") == "Success"


def test_a_disk_that_fails_is_said_to_who_waits_and_tried_again(
    engine: facegrep.Engine, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise facegrep.StoreFull("the disk is full")

    monkeypatch.setattr(_worker, "_DISK_FAILED_S", 0.3)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_analyses", full)
        engine.submit("lib", media_id="m", source=clip)
        with pytest.raises(facegrep.StoreFull):
            engine.wait_for_jobs(timeout_s=WAIT_S)
    while not _waited(engine):
        pass
    assert status_of(engine, "m") == "Success"


def test_a_damaged_library_is_said_to_who_waits_for_it_and_holds_up_no_other(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter = Store.set_analyses

    def entered(store: Store, library: Any, *given: Any) -> None:
        if library.name == "lib":
            raise facegrep.StoreCorrupt("its vectors are damaged", library="lib")
        enter(store, library, *given)

    monkeypatch.setattr(Store, "set_analyses", entered)
    engine.create_library("other")
    for library in ("lib", "other"):
        engine.submit(library, media_id="m", source=MACRON)
    for damaged in ("lib", None):
        with pytest.raises(facegrep.StoreCorrupt):
            engine.wait_for_jobs(damaged, timeout_s=WAIT_S)
    assert engine.wait_for_jobs("other", timeout_s=WAIT_S)
    assert engine.for_account("somebody").wait_for_jobs(timeout_s=WAIT_S)


def _waited(engine: facegrep.Engine) -> bool:
    try:
        return engine.wait_for_jobs(timeout_s=WAIT_S)
    except facegrep.StoreFull:  # of the time before
        return False


@pytest.mark.parametrize(
    ("error", "reason"),
    [(facegrep.ModelError("no weights"), "no weights"), (KeyError("x"), "unexpected KeyError")],
)
def test_an_analysis_that_breaks_fails_and_the_next_goes_on(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_worker, "look_at", broken)
        engine.submit("lib", media_id="m", source=MACRON)
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
    job = engine.get("lib", "m").job
    assert job is not None
    assert (job.status, job.error) == ("Fail", reason)
    engine.submit("lib", media_id="n", source=MACRON)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert status_of(engine, "n") == "Success"
    rerun = engine.rerun_jobs("lib", ["m", "n", "gone", "m"])
    assert (rerun.media_ids, rerun.unknown_ids) == (["m"], ["gone"])
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert found(engine, MACRON_LATER) == ["m", "n"]


def test_a_rerun_gets_again_what_is_behind_urls_and_says_what_it_cannot_get(
    engine: facegrep.Engine, clip: bytes
) -> None:
    for media_id, source in (("clip", clip), ("photo", MACRON.read_bytes())):
        engine.submit("lib", media_id=media_id, source=source, origin=f"https://host/{media_id}")
    engine.submit("lib", media_id="bytes", source=ARDERN.read_bytes())
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    engine.set_face_index("lib", "deactive")
    engine.set_face_index("lib", "active")  # nothing fetches
    assert {status_of(engine, one) for one in ("clip", "photo", "bytes")} == {"Fail"}
    contents = {"https://host/clip": clip, "https://host/photo": MACRON.read_bytes()}
    rerun = engine.rerun_jobs("lib", ["clip", "photo", "bytes"], fetch=contents.__getitem__)
    assert rerun.media_ids == ["clip", "photo", "bytes"]
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert found(engine, MACRON_LATER) == ["clip", "photo"]
    assert status_of(engine, "bytes") == "Fail"
    assert video_in(engine, "lib", "clip") is not None
    engine.set_face_index("lib", "deactive")
    with pytest.raises(facegrep.OperationDeniedError):
        engine.rerun_jobs("lib", ["clip"])


def test_many_threads_submit_and_everything_is_analysed(
    engine: facegrep.Engine, clip: bytes
) -> None:
    other = engine.for_account("other")
    other.create_library("lib")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            view = other if number % 2 else engine
            for turn in range(8):
                source = clip if turn == 4 else MACRON
                view.submit("lib", media_id=f"{number}-{turn}", source=source)
            assert view.wait_for_jobs(timeout_s=WAIT_S)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for view in (engine, other):
        assert view.search("lib", MACRON_LATER).total == 16
    assert engine.verify().damages == ()


def test_a_damaged_index_of_jobs_keeps_no_store_from_opening(engine: facegrep.Engine) -> None:
    engine.add("lib", media_id="m", source=MACRON)
    path = engine.path
    engine.close()
    connection = sqlite3.connect(path / "catalog.db", isolation_level=None)
    query = "SELECT rootpage FROM sqlite_master WHERE name = 'media_running'"
    (page,) = connection.execute(query).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with (path / "catalog.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes([255] * 8))
    with facegrep.open(path, device="cpu") as reopened:
        assert found(reopened, MACRON_LATER) == ["m"]
        assert reopened.verify().damages
