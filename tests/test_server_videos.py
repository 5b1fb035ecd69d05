"""Videos of the network, inserted by a caller of a running server."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving import make_key, serving, sign
from tests.video_maker import MACRON, Actor, Scene, film, still

import facegrep
from facegrep.fetch import MAX_FETCH_BYTES
from facegrep.keys import AccessKey

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")

WAIT_S = 120.0


class Videos(http.server.BaseHTTPRequestHandler):
    """A server whose videos are larger than a picture may be, and that may stop in the middle."""

    content: bytes
    begun, go_on = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        is_there = self.path == "/clip.mp4"
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(self.content) if is_there else 0))
        self.end_headers()
        if is_there:
            with contextlib.suppress(OSError):  # who asked has seen enough
                self.wfile.write(self.content[: 1 << 20])
                self.begun.set()
                self.go_on.wait(WAIT_S)
                self.wfile.write(self.content[1 << 20 :])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def videos() -> Iterator[str]:
    clip = film(Scene(1.0, [Actor(MACRON, still())], 1), width=320, height=180)
    padding = MAX_FETCH_BYTES + 1000
    Videos.content = clip + (padding + 8).to_bytes(4, "big") + b"free" + bytes(padding)
    Videos.begun.clear()
    Videos.go_on.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Videos) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        Videos.go_on.set()
        server.shutdown()
        thread.join()


def status_of(key: AccessKey, address: str) -> str:
    status, reply = sign(key, "QueryMediaIndexJob", {"MediaId": "m"}).send(address)
    assert status == 200, reply
    (job,) = reply["IndexJobInfoList"]
    return str(job["Status"])


def test_a_large_video_of_a_slow_server_is_taken_at_once_and_outlives_this_one(
    videos: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    key = make_key(store, "studio")
    options = ["--allow-http", "--allow-fetch", videos, "--device", "cpu"]
    insert = {"MediaId": "m", "Input": f"http://{videos}/clip.mp4"}
    with serving(store, *options, workers=2) as (address, _):
        lost = {"MediaId": "n", "Input": f"http://{videos}/lost.mp4"}
        status, reply = sign(key, "InsertMediaToSearchLib", lost).send(address)
        assert (status, reply["Code"]) == (400, "InvalidParameter")
        assert '"Input"' in reply["Message"]
        started = time.monotonic()
        assert sign(key, "InsertMediaToSearchLib", insert).send(address)[0] == 200
        assert time.monotonic() - started < 9  # which a picture's caps and a deadline were
        assert Videos.begun.wait(WAIT_S)
        assert status_of(key, address) == "Running"
    with facegrep.open(store) as engine:  # by who has nothing to fetch it with
        assert engine.wait_for_jobs(timeout_s=WAIT_S)
    with serving(store, *options) as (address, _):
        assert status_of(key, address) == "Running"
        Videos.go_on.set()
        ends = time.monotonic() + WAIT_S
        while status_of(key, address) == "Running" and time.monotonic() < ends:
            time.sleep(0.1)
        assert status_of(key, address) == "Success"
    assert list((store / "tmp").iterdir()) == []
