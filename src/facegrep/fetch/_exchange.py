"""One request and its reply over one connection, in bounded time and space."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import h11

from facegrep.fetch._url import Url, refused

CONNECT_S: Final = 3.0
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_MAX_HEAD_BYTES: Final = 32 << 10
_CHUNK_BYTES: Final = 64 << 10
_TYPES: Final = ("image/", "application/octet-stream", "binary/octet-stream")

Connect = Callable[[str, int, float], socket.socket]
"""Address, port, seconds: a connected socket."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the picture is instead."""

    location: str


class Deadline:
    """A point in time, after which everything fails."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds that are left.

        Raises
        ------
        PictureError
            None.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise too_slow()
        return left


def too_slow() -> Exception:
    """Say that time was up."""
    return refused("its server did not answer in time")


def connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to an address: never a name, so that nothing is resolved again."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def exchange(
    url: Url, address: str, deadline: Deadline, max_bytes: int, connect: Connect
) -> bytes | Redirect:
    """Ask a server, at an address that was checked, for a picture.

    Every wait is for what is left of the time, so a server that sends a byte now and then gains
    nothing.

    Raises
    ------
    PictureError
        It does not give one: another status or type, compressed, too large, too late.
    OSError, h11.ProtocolError
        The connection fails, TLS included, or what comes is no HTTP.
    """
    connection = connect(address, url.port, min(CONNECT_S, deadline.left_s()))
    try:
        if url.scheme == "https":
            connection.settimeout(deadline.left_s())
            connection = _tls().wrap_socket(connection, server_hostname=url.host)
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        _send(connection, protocol, url, deadline)
        return _receive(connection, protocol, deadline, max_bytes)
    finally:
        connection.close()


def _send(
    connection: socket.socket, protocol: h11.Connection, url: Url, deadline: Deadline
) -> None:
    headers = [
        ("Host", url.host_header),
        ("User-Agent", "facegrep"),
        ("Accept", "image/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    request = h11.Request(method="GET", target=url.target, headers=headers)
    data = (protocol.send(request) or b"") + (protocol.send(h11.EndOfMessage()) or b"")
    connection.settimeout(deadline.left_s())
    connection.sendall(data)


def _receive(
    connection: socket.socket, protocol: h11.Connection, deadline: Deadline, max_bytes: int
) -> bytes | Redirect:
    data = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            connection.settimeout(deadline.left_s())
            protocol.receive_data(connection.recv(_CHUNK_BYTES))
        elif isinstance(event, h11.Response):
            redirect = _check_head(event, max_bytes)
            if redirect is not None:
                return redirect
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > max_bytes:
                raise _too_large(max_bytes)
        elif isinstance(event, h11.EndOfMessage):
            return bytes(data)
        elif not isinstance(event, h11.InformationalResponse):
            raise refused("its server did not give a picture")


def _check_head(response: h11.Response, max_bytes: int) -> Redirect | None:
    """Refuse, before its body, what is no picture."""
    headers: dict[bytes, bytes] = {}
    for name, value in response.headers:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    if response.status_code in REDIRECTS:
        return Redirect(headers.get(b"location", b"").decode("latin-1"))
    if response.status_code != 200:
        raise refused("its server did not give a picture")
    kind = headers.get(b"content-type", b"").decode("latin-1").strip().lower()
    if not kind.startswith(_TYPES):
        raise refused("its server says that it is no picture")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise refused("its server sent it compressed")
    if int(headers.get(b"content-length", b"0")) > max_bytes:
        raise _too_large(max_bytes)
    return None


def _too_large(max_bytes: int) -> Exception:
    return refused(f"more than {max_bytes // 2**20} MiB")
