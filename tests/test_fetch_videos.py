"""Videos of strangers' URLs: looked at in a picture's time, fetched in parts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faked_network import PUBLIC, Network, redirect, reply

import facegrep
from facegrep.fetch import PictureFetcher, _exchange, _fetcher

URL = "http://pictures.example/a.mp4"
VIDEO = bytes(range(256)) * 12_000  # 3 MB


class File:
    """Takes what comes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.restarts = 0

    def write(self, data: bytes) -> None:
        self.parts.append(data)

    def restart(self) -> None:
        self.parts = []
        self.restarts += 1

    @property
    def content(self) -> bytes:
        return b"".join(self.parts)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setattr(_fetcher, "_PAUSES_S", (0.01, 0.02))
    made = Network()
    made.names["pictures.example"] = [PUBLIC]
    made.replies["pictures.example"] = video(VIDEO)
    yield made
    made.join()


def video(body: bytes, **more: str) -> bytes:
    return reply(body, **{"kind": "video/mp4", **more})


def go_on() -> None:
    pass


def save(fetcher: PictureFetcher, url: str = URL) -> bytes:
    file = File()
    fetcher.save_video(url, file, go_on)
    return file.content


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(facegrep.PictureError) as caught:
        call()
    for word in ("93.", "127.", "secret", "example", "Errno"):
        assert word not in caught.value.reason
    return caught.value.reason.removeprefix("cannot be fetched: ")


def test_a_video_comes_in_parts_and_the_address_is_checked_each_time(network: Network) -> None:
    fetcher, file, calls = network.fetcher(), File(), []
    assert fetcher.begin_video(URL) == VIDEO[: len(fetcher.begin_video(URL))]
    fetcher.save_video(URL, file, lambda: calls.append(1))
    assert file.content == VIDEO
    assert max(map(len, file.parts)) <= 1 << 16
    assert len(calls) >= len(file.parts)
    assert b"Accept: video/*\r\n" in network.requests[-1]
    assert network.resolved == ["pictures.example"] * 3
    network.names["pictures.example"] = [[PUBLIC], ["127.0.0.1"]]
    fetcher.begin_video(URL)
    connected = len(network.connected)
    assert "its host is none" in reason(lambda: save(fetcher))
    assert len(network.connected) == connected


def test_only_the_beginning_is_taken_of_what_is_only_looked_at(network: Network) -> None:
    held = threading.Event()

    def endless(connection: socket.socket) -> None:
        connection.sendall(video(VIDEO)[:8192])
        held.wait(30)

    network.replies["pictures.example"] = endless
    begun = network.fetcher().begin_video(URL)
    held.set()
    assert 4000 < len(begun) <= 8192
    network.replies["pictures.example"] = video(b"tiny")
    assert network.fetcher().begin_video(URL) == b"tiny"
    network.replies["pictures.example"] = reply(b"GIF89a", kind="image/gif")  # the bytes say it
    assert network.fetcher().begin_video(URL) == b"GIF89a"
    assert "no video" in reason(lambda: save(network.fetcher()))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (video(b"", status="404 Not Found"), "did not give a video"),
        (video(b"", status="206 Partial Content"), "did not give a video"),
        (reply(kind="text/html"), "says that it is no video"),
        (video(b"x", extra="Content-Encoding: gzip\r\n"), "compressed"),
        (video(b"x" * 3000), "more than"),
        (redirect("http://127.0.0.1/secret"), "its host is none"),
        (redirect("file:///secret"), "no http or https URL"),
    ],
)
def test_what_is_no_video_is_refused_at_once_and_asked_for_once(
    network: Network, answer: bytes, said: str
) -> None:
    network.replies["pictures.example"] = answer
    fetcher = network.fetcher(video_max_bytes=2000)
    assert said in reason(lambda: fetcher.begin_video(URL))
    assert said in reason(lambda: save(fetcher))
    assert len(network.requests) == 2


def test_a_video_that_turns_out_too_large_is_refused(network: Network) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n"
    network.replies["pictures.example"] = head + b"x" * 200_000
    fetcher = network.fetcher(video_max_bytes=100_000)
    file = File()
    assert "more than" in reason(lambda: fetcher.save_video(URL, file, go_on))
    assert len(file.content) <= 100_000
    assert len(network.requests) == 1


def failing(times: int, answer: bytes = video(VIDEO)[:500_000]) -> Callable[[socket.socket], None]:
    left = [times]

    def reply_or_fail(connection: socket.socket) -> None:
        left[0] -= 1
        connection.sendall(answer if left[0] >= 0 else video(VIDEO))

    return reply_or_fail


@pytest.mark.parametrize("answer", [video(VIDEO)[:500_000], video(b"", status="503 Busy"), b""])
def test_a_server_that_fails_is_asked_twice_more(network: Network, answer: bytes) -> None:
    network.replies["pictures.example"] = failing(2, answer)
    file = File()
    network.fetcher().save_video(URL, file, go_on)
    assert (file.content, file.restarts, len(network.requests)) == (VIDEO, 2, 3)
    network.replies["pictures.example"] = failing(9, answer)
    assert "did not give a video" in reason(lambda: save(network.fetcher()))
    assert len(network.requests) == 6


def test_a_silent_server_is_given_up_and_a_slow_one_when_time_is_up(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetcher, "_SILENCE_S", 0.1)
    monkeypatch.setattr(_exchange, "_LOOK_UP_S", 0.02)

    def silent(connection: socket.socket) -> None:
        connection.sendall(video(VIDEO)[:1000])
        connection.recv(1)

    network.replies["pictures.example"] = silent
    started = time.monotonic()
    assert "did not give a video" in reason(lambda: save(network.fetcher()))
    assert (len(network.requests), time.monotonic() - started < 5) == (3, True)

    def slow(connection: socket.socket) -> None:
        for place in range(len(VIDEO)):
            connection.sendall(video(VIDEO)[place : place + 1])
            time.sleep(0.02)

    network.replies["pictures.example"] = slow
    started = time.monotonic()
    assert "in time" in reason(lambda: save(network.fetcher(video_timeout_s=0.5)))
    assert "in time" in reason(lambda: network.fetcher(timeout_s=0.3).begin_video(URL))
    assert time.monotonic() - started < 5


def test_who_does_not_want_it_any_more_is_not_kept_waiting(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_exchange, "_LOOK_UP_S", 0.02)

    def mute(connection: socket.socket) -> None:
        connection.recv(1)

    network.replies["pictures.example"] = mute
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 4:  # nothing has come
            raise KeyError

    with pytest.raises(KeyError):
        network.fetcher().save_video(URL, File(), stop)
    assert len(network.requests) == 1


def test_a_file_that_takes_no_more_is_said_as_it_is(network: Network) -> None:
    class Full(File):
        def write(self, _: bytes) -> None:
            raise facegrep.StoreFull("the disk is full")

    with pytest.raises(facegrep.StoreFull):
        network.fetcher().save_video(URL, Full(), go_on)
    assert len(network.requests) == 1


def test_of_a_folder_a_video_is_copied_in_parts(network: Network, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.mp4").write_bytes(VIDEO)
    (tmp_path / "bucket" / "folder").mkdir()
    (tmp_path / "bucket" / "link.mp4").symlink_to("a.mp4")
    fetcher = network.fetcher(oss=tmp_path)
    assert fetcher.begin_video("oss://bucket/a.mp4") == VIDEO[:4096]
    assert save(fetcher, "oss://bucket/a.mp4") == VIDEO
    small = network.fetcher(oss=tmp_path, video_max_bytes=1000)
    for call in (small.begin_video, lambda url: save(small, url)):
        assert "more than" in reason(lambda call=call: call("oss://bucket/a.mp4"))  # type: ignore[misc]
    for name in ("none.mp4", "folder", "link.mp4", "../bucket/a.mp4"):
        for call in (fetcher.begin_video, lambda url: save(fetcher, url)):
            with pytest.raises(facegrep.PictureError) as caught:
                call(f"oss://bucket/{name}")
            assert str(tmp_path) not in caught.value.reason
    assert network.connected == []


def test_a_video_behind_tls_comes_though_the_server_pauses(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tls:
        def wrap_socket(self, connection: socket.socket, **_: Any) -> socket.socket:
            return connection

    def pausing(connection: socket.socket) -> None:
        for place in range(0, len(whole), 1_000_000):
            connection.sendall(whole[place : place + 1_000_000])
            time.sleep(0.1)

    whole = video(VIDEO)
    monkeypatch.setattr(_exchange, "_tls", Tls)
    monkeypatch.setattr(_exchange, "_LOOK_UP_S", 0.02)
    network.replies["pictures.example"] = pausing
    assert save(network.fetcher(), URL.replace("http:", "https:")) == VIDEO
