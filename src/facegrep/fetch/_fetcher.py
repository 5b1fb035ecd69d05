"""A stranger's URL to what it names, from the public network and nowhere else."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import quote

import h11

from facegrep._errors import FacegrepError, InvalidArgumentError, PictureError
from facegrep.fetch._addresses import is_possible, is_public
from facegrep.fetch._body import File, Memory, VideoFile, Written, read
from facegrep.fetch._exchange import (
    Body,
    Connect,
    Deadline,
    Redirect,
    Wanted,
    connect,
    exchange,
    too_slow,
)
from facegrep.fetch._url import Broken, Url, read_url, refused
from facegrep.media import read_below

MAX_FETCH_BYTES: Final = 16 << 20
"""A camera's JPEG of 25 megapixels has 8 to 15 MiB."""

MAX_VIDEO_FETCH_BYTES: Final = 1 << 30
"""Two hours at 1.2 Mbit/s, or 17 minutes at 8."""

FETCH_S: Final = 6.0
"""For everything; the vendor's client waits 10 s for the whole answer."""

VIDEO_FETCH_S: Final = 600.0
"""For all of a video, in the background; the largest one comes in time at 15 Mbit/s."""

_SILENCE_S: Final = 15.0
_PAUSES_S: Final = (1.0, 5.0)
_BEGINNING_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1 << 20
_OCTETS: Final = ("application/octet-stream", "binary/octet-stream")
_VIDEOS: Final = ("video/", "application/mp4", *_OCTETS)

_MAX_REDIRECTS: Final = 3
_MAX_ADDRESSES: Final = 3
_RESOLVING: Final = threading.BoundedSemaphore(64)
_ALLOWED: Final = re.compile(r"(\*\.)?[a-z0-9.-]{1,253}|\[[0-9a-f:.]+\]")
_OSS: Final = re.compile(r"oss://(?P<bucket>[a-z0-9][a-z0-9-]{1,61}[a-z0-9])/(?P<key>[^/].*)")

Resolve = Callable[[str, int], list[str]]
"""Name and port: its addresses."""


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class PictureFetcher:
    """Gets pictures, and videos, by ``https:``, ``http:`` and ``oss:`` URLs of strangers.

    A host is resolved once; if any of its addresses is not public it is refused, else one of just
    these addresses is connected to. Each redirect, three at most, is a new URL. Nothing of the
    environment is used (proxies, .netrc), no cookie is kept, nothing that comes is shown.

    Parameters
    ----------
    allow_http
        Whether ``http:`` URLs are fetched, too.
    hosts
        If given, only from these: names, or ``*.example.com`` for all below one.
    exceptions
        ``HOST:PORT``, ``*.HOST:PORT`` too: fetched from whatever the address, but for those of
        metadata services, and the only way to another port than 80 and 443.
    oss
        Where ``oss://bucket/key`` is: a folder, as ``FOLDER/bucket/key``; or an ``http(s)`` URL of
        an endpoint, as ``https://bucket.ENDPOINT/key``, to which all of the above applies.
    timeout_s, max_bytes
        For all of one picture.
    video_timeout_s, video_max_bytes
        For all of one video.
    resolve, connect
        For tests.

    Raises
    ------
    InvalidArgumentError
        An argument is not of its form.

    Notes
    -----
    Thread-safe. A call raises `PictureError`, whose ``reason`` says nothing of the network.
    """

    def __init__(
        self,
        *,
        allow_http: bool = False,
        hosts: Iterable[str] = (),
        exceptions: Iterable[str] = (),
        oss: str | Path | None = None,
        timeout_s: float = FETCH_S,
        max_bytes: int = MAX_FETCH_BYTES,
        video_timeout_s: float = VIDEO_FETCH_S,
        video_max_bytes: int = MAX_VIDEO_FETCH_BYTES,
        resolve: Resolve = _resolve,
        connect: Connect = connect,
    ) -> None:
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._hosts = tuple(_pattern(host, "hosts") for host in hosts)
        self._exceptions = tuple(_exception(text) for text in exceptions)
        self._oss = None if oss is None else _oss_root(oss)
        self._timeout_s = timeout_s
        self._picture = Wanted("picture", "image/*", ("image/", *_OCTETS), max_bytes)
        self._video_timeout_s = video_timeout_s
        self._video = Wanted("video", "video/*", _VIDEOS, video_max_bytes)
        # A picture's type as well: what it is, its first bytes say better.
        self._beginning = Wanted("video", "video/*", (*_VIDEOS, "image/"), video_max_bytes)
        self._resolve = resolve
        self._connect = connect

    def __call__(self, url: str) -> bytes:
        """Return the bytes of the picture; raises `PictureError`."""
        there = self._locate(url)
        if isinstance(there, File):
            return read_below(there.root, there.parts)
        body = Memory()
        self._get(there, Deadline(self._timeout_s), self._picture, body)
        return bytes(body.data)

    def begin_video(self, url: str) -> bytes:
        """Return a video's first bytes, having asked for all of it; raises `PictureError`.

        As long as for a picture at most. What has the type of a picture is returned as well.
        """
        there = self._locate(url)
        if isinstance(there, File):
            with there.open(self._video) as file:
                return read(file, _BEGINNING_BYTES)
        body = Memory(_BEGINNING_BYTES)
        self._get(there, Deadline(self._timeout_s), self._beginning, body)
        return bytes(body.data)

    def save_video(self, url: str, file: VideoFile, go_on: Callable[[], None]) -> None:
        """Write a video to a file, in parts; raises `PictureError`, and what the file raises.

        A server that fails, or is silent for 15 s, is asked again, twice, and for all of it.

        Parameters
        ----------
        go_on
            Called between the parts and, while nothing comes, twice a second: what it raises
            ends the fetching. A name or a connection may keep it from being called for 6 s.
        """
        there = self._locate(url)
        if isinstance(there, File):
            with there.open(self._video) as source:
                while data := read(source, _CHUNK_BYTES):
                    go_on()
                    file.write(data)
            return
        deadline = Deadline(self._video_timeout_s, silence_s=_SILENCE_S, go_on=go_on)
        for pause_s in (*_PAUSES_S, None):
            try:
                self._get(there, deadline, self._video, Written(file))
            except Broken:
                if pause_s is None:
                    raise
                deadline.pause(pause_s)
                file.restart()
            else:
                return

    def _locate(self, url: str) -> Url | File:
        """Read a URL; nothing is resolved or opened yet."""
        if url[:4].lower() != "oss:":
            return read_url(url)
        found = _OSS.fullmatch(url)
        if self._oss is None or found is None:
            raise refused("this service reads no such oss: URL")
        bucket, key = found["bucket"], found["key"]
        if isinstance(self._oss, Path):
            return File(str(self._oss), (bucket, *key.split("/")))
        scheme, _, endpoint = self._oss.partition("://")
        return read_url(f"{scheme}://{bucket}.{endpoint}/{quote(key, errors='replace')}")

    def _get(self, there: Url, deadline: Deadline, wanted: Wanted, body: Body) -> None:
        for _ in range(_MAX_REDIRECTS + 1):
            redirect = self._ask(there, deadline, wanted, body)
            if redirect is None:
                return
            there = there.follow(redirect.location)
        raise refused("it is redirected too often")

    def _ask(self, url: Url, deadline: Deadline, wanted: Wanted, body: Body) -> Redirect | None:
        addresses = self._addresses(url, deadline)
        for place, address in enumerate(addresses, 1):
            try:
                return exchange(url, address, deadline, wanted, body, self._connect)
            except (OSError, h11.ProtocolError, ValueError) as error:
                if isinstance(error, FacegrepError):
                    raise
                deadline.left_s()
                if place == len(addresses):
                    raise refused(f"its server did not give a {wanted.noun}", Broken) from error
                body.restart()
        raise AssertionError("unreachable")

    def _addresses(self, url: Url, deadline: Deadline) -> list[str]:
        """Find the addresses of a host, once, all of them fit to be connected to."""
        excepted = any(
            _matches(host, url.host) and port == url.port for host, port in self._exceptions
        )
        if url.scheme not in self._schemes:
            raise refused("this service fetches https: URLs only")
        if not excepted and not url.is_default_port:
            raise refused("this service fetches from the ports 80 and 443 only")
        allowed = not self._hosts or any(_matches(host, url.host) for host in self._hosts)
        named = "." in url.host or ":" in url.host
        if not excepted and not (allowed and named):
            raise _forbidden()
        is_fit = is_possible if excepted else is_public
        found = self._resolve_in_time(url, deadline)
        if not found or not all(map(is_fit, found)):
            raise _forbidden()
        return list(dict.fromkeys(found))[:_MAX_ADDRESSES]

    def _resolve_in_time(self, url: Url, deadline: Deadline) -> list[str]:
        """Resolve in a thread that may be left behind: nothing can end a resolver that waits."""
        if ":" in url.host or url.host.replace(".", "").isdigit():
            return [url.host]
        if not _RESOLVING.acquire(timeout=deadline.step_s()):
            raise too_slow()
        found: SimpleQueue[list[str]] = SimpleQueue()

        def run() -> None:
            try:
                found.put(self._resolve(url.host, url.port))
            except (OSError, UnicodeError):
                found.put([])
            finally:
                _RESOLVING.release()

        threading.Thread(target=run, name="facegrep-resolve", daemon=True).start()
        try:
            return found.get(timeout=deadline.step_s())
        except Empty:
            raise too_slow() from None


def _forbidden() -> PictureError:
    # The same whether a name does not exist or leads inside: nobody maps a network by asking.
    return refused("its host is none that this service fetches from")


def _matches(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def _pattern(text: str, argument: str) -> str:
    if not _ALLOWED.fullmatch(text.lower()):
        raise InvalidArgumentError(
            f"{argument}: expected a host such as pictures.example.com or *.example.com, got "
            f"{text!r:.80}"
        )
    return text.lower().strip("[]")


def _exception(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise InvalidArgumentError(f"exceptions: expected HOST:PORT, got {text!r:.80}")
    return _pattern(host, "exceptions"), int(port)


def _oss_root(root: str | Path) -> str | Path:
    if isinstance(root, str) and re.match("https?://", root):
        url = read_url(root)
        if url.target != "/" or ":" in url.host:
            raise InvalidArgumentError(
                f"oss: expected an endpoint without a path, got {root!r:.80}"
            )
        return f"{url.scheme}://{url.host_header}"
    folder = Path(root).resolve()
    if not str(root) or not folder.is_dir():
        raise InvalidArgumentError(f"oss: expected a folder or an endpoint, got {str(root)!r:.80}")
    return folder
