"""One request and its reply over one connection, in bounded time and space."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import h11

from facegrep.fetch._url import Broken, Url, refused

CONNECT_S: Final = 3.0
STEP_S: Final = 6.0
"""For a name or a handshake; the vendor's client waits 10 s for a whole answer."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_MAX_HEAD_BYTES: Final = 32 << 10
_CHUNK_BYTES: Final = 64 << 10
_LOOK_UP_S: Final = 0.5

Connect = Callable[[str, int, float], socket.socket]
"""Address, port, seconds: a connected socket."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server is asked for.

    Attributes
    ----------
    noun
        What it is called where it is refused.
    accept
        What the request says of its type.
    types
        What a reply's type begins with.
    max_bytes
        Of the body.
    """

    noun: str
    accept: str
    types: tuple[str, ...]
    max_bytes: int


class Body(Protocol):
    """Takes what comes."""

    def restart(self) -> None:
        """Begin anew: the server failed, and what came is void."""

    def take(self, data: bytes) -> bool:
        """Take more; whether still more is wanted."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where it is instead."""

    location: str


class Deadline:
    """A point in time, after which everything fails.

    Parameters
    ----------
    seconds
        For everything.
    silence_s
        How long a server may send nothing.
    go_on
        Called now and then while something is waited for, or comes; what it raises ends it.
    """

    def __init__(
        self,
        seconds: float,
        *,
        silence_s: float = math.inf,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._end = time.monotonic() + seconds
        self._silence_s = silence_s
        self._go_on = go_on

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

    def step_s(self) -> float:
        """Seconds for one step before anything comes; raises as `left_s` does."""
        return min(STEP_S, self.left_s())

    def receive(self, connection: socket.socket) -> bytes:
        """Wait for what comes next; ``b""`` when the server is done.

        Raises
        ------
        PictureError
            Time is up.
        OSError
            The connection fails, or was silent for too long.
        """
        silent_since = time.monotonic()
        while True:
            self._go_on()
            connection.settimeout(min(_LOOK_UP_S, self.left_s()))
            try:
                return connection.recv(_CHUNK_BYTES)
            except TimeoutError:
                if time.monotonic() - silent_since >= self._silence_s:
                    raise

    def pause(self, seconds: float) -> None:
        """Wait; raises as `left_s` does."""
        until = time.monotonic() + seconds
        while (missing := until - time.monotonic()) > 0:
            self._go_on()
            time.sleep(min(_LOOK_UP_S, missing, self.left_s()))


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
    url: Url, address: str, deadline: Deadline, wanted: Wanted, body: Body, connect: Connect
) -> Redirect | None:
    """Ask a server, at an address that was checked, for something.

    Every wait is for what is left of the time, so a server that sends a byte now and then gains
    nothing.

    Raises
    ------
    PictureError
        It does not give it: another status or type, compressed, too large, too late; `Broken`
        where it may another time.
    OSError, h11.ProtocolError
        The connection fails, TLS included, or what comes is no HTTP.
    """
    connection = connect(address, url.port, min(CONNECT_S, deadline.left_s()))
    try:
        connection.settimeout(deadline.step_s())
        if url.scheme == "https":
            connection = _tls().wrap_socket(connection, server_hostname=url.host)
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        _send(connection, protocol, url, wanted)
        return _receive(connection, protocol, deadline, wanted, body)
    finally:
        connection.close()


def _send(connection: socket.socket, protocol: h11.Connection, url: Url, wanted: Wanted) -> None:
    headers = [
        ("Host", url.host_header),
        ("User-Agent", "facegrep"),
        ("Accept", wanted.accept),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    request = h11.Request(method="GET", target=url.target, headers=headers)
    data = (protocol.send(request) or b"") + (protocol.send(h11.EndOfMessage()) or b"")
    connection.sendall(data)


def _receive(
    connection: socket.socket,
    protocol: h11.Connection,
    deadline: Deadline,
    wanted: Wanted,
    body: Body,
) -> Redirect | None:
    count = 0
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(deadline.receive(connection))
        elif isinstance(event, h11.Response):
            redirect = _check_head(event, wanted)
            if redirect is not None:
                return redirect
        elif isinstance(event, h11.Data):
            count += len(event.data)
            if count > wanted.max_bytes:
                raise _too_large(wanted)
            if not body.take(bytes(event.data)):
                return None
        elif isinstance(event, h11.EndOfMessage):
            return None
        elif not isinstance(event, h11.InformationalResponse):
            raise refused(f"its server did not give a {wanted.noun}", Broken)


def _check_head(response: h11.Response, wanted: Wanted) -> Redirect | None:
    """Refuse, before its body, what is not wanted."""
    headers: dict[bytes, bytes] = {}
    for name, value in response.headers:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    if response.status_code in REDIRECTS:
        return Redirect(headers.get(b"location", b"").decode("latin-1"))
    if response.status_code != 200:
        kind = Broken if response.status_code >= 500 else None
        raise refused(f"its server did not give a {wanted.noun}", kind)
    said = headers.get(b"content-type", b"").decode("latin-1").strip().lower()
    if not said.startswith(wanted.types):
        raise refused(f"its server says that it is no {wanted.noun}")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise refused("its server sent it compressed")
    if int(headers.get(b"content-length", b"0")) > wanted.max_bytes:
        raise _too_large(wanted)
    return None


def _too_large(wanted: Wanted) -> Exception:
    return refused(f"more than {wanted.max_bytes >> 20} MiB")
