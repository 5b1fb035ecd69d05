"""Names and connections that are faked, and recorded: no packet leaves the process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

import facegrep
from facegrep.fetch import PictureFetcher

PUBLIC = "93.184.215.14"
PICTURE = b"\xff\xd8 a picture"


def reply(
    body: bytes = PICTURE, status: str = "200 OK", kind: str = "image/jpeg", extra: str = ""
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def redirect(to: str) -> bytes:
    return reply(b"", "302 Found", "text/html", f"Location: {to}\r\n")


class Network:
    """Names, and what answers at addresses; remembers who was resolved and connected to."""

    def __init__(self) -> None:
        self.names: dict[str, list[str] | list[list[str]]] = {}
        self.replies: dict[str, bytes | Callable[[socket.socket], None]] = {}
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.requests: list[bytes] = []
        self._threads: list[threading.Thread] = []

    def resolve(self, host: str, _port: int) -> list[str]:
        self.resolved.append(host)
        found = self.names.get(host)
        if found is None:
            raise OSError("no such name")
        if found and isinstance(found[0], list):  # another answer each time
            return found.pop(0)
        return list(found)  # type: ignore[arg-type]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        assert timeout_s <= 3
        self.connected.append((address, port))
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=self._answer, args=(theirs, address))
        self._threads.append(thread)
        thread.start()
        return ours

    def _answer(self, connection: socket.socket, address: str) -> None:
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                part = connection.recv(4096)
                if not part:
                    return
                request += part
            self.requests.append(request)
            host = request.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
            answer = self.replies.get(host, self.replies.get(address, reply()))
            try:
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
            except OSError:  # nobody listens any more
                pass

    def fetcher(self, **options: Any) -> PictureFetcher:
        options = {"allow_http": True} | options
        return PictureFetcher(resolve=self.resolve, connect=self.connect, **options)

    def refused(self, url: str, **options: Any) -> str:
        """The reason, in which is nothing of the URL, an address or what came."""
        with pytest.raises(facegrep.PictureError) as caught:
            self.fetcher(**options)(url)
        assert caught.value.reason.startswith("cannot be fetched: ")
        for word in ("93.", "127.", "secret", "example", "Errno"):
            assert word not in caught.value.reason
        return caught.value.reason.removeprefix("cannot be fetched: ")

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
