"""From PersonImageUrl or Input to a picture or video, from where the embedder allows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from facegrep._errors import InvalidArgumentError, PictureError
from facegrep._stages import stage
from facegrep.media import MAX_BYTES, open_below, read_below, read_data_url

MAX_VIDEO_BYTES = 256 * 1024 * 1024
"""Of a video that is fetched: it is in memory, and in the store until it is analysed."""

Fetcher = Callable[[str], bytes]

_FETCHED_SCHEMES = ("http", "https", "oss")


class Sources:
    """Reads pictures by URL: ``data:`` always, ``file:`` under roots, the network by a fetcher.

    Parameters
    ----------
    files
        One folder or several. A ``file:`` URL must lead into one of them after all symbolic links
        are followed; without any, ``file:`` is refused.
    fetcher
        Gets the bytes of an ``http:``, ``https:`` or ``oss:`` URL; without it they are refused.
        What it raises becomes a refusal that tells the caller nothing, but for a `PictureError`,
        whose reason is shown.
    fetches_later
        Whether the engine gets videos, and what is to be analysed again, by itself.

    Raises
    ------
    InvalidArgumentError
        A root that is not a folder.
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        fetcher: Fetcher | None = None,
        *,
        fetches_later: bool = False,
    ) -> None:
        given = (files,) if isinstance(files, (str, os.PathLike)) else files
        self._roots = tuple(_root(path) for path in given)
        self._fetcher = fetcher
        self._fetches_later = fetches_later

    def locate(self, url: str) -> tuple[Callable[[], bytes], str | None]:
        """Decide whether `url` may be read, and return what reads it and the name to keep.

        The name, by which to read it again, is the real path of a file, the URL of what is fetched,
        None for ``data:``. Nothing is opened yet.

        Raises
        ------
        PictureError
            Refused; its reason is fit for a remote caller. So are those that the reader raises:
            not there, or too large.
        """
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            return partial(read_data_url, url), None
        if scheme == "file":
            path = _path(url)
            return partial(_read_below, _root_of(self._roots, path), path), path
        if scheme not in _FETCHED_SCHEMES:
            raise _refused("expected a data:, file:, http(s): or oss: URL")
        if self._fetcher is None:
            raise _refused(f"this service has no access to the network, so no {scheme}: URLs")
        return partial(_fetch, self._fetcher, url), url

    def read(self, url: str) -> tuple[bytes, str | None]:
        """Return the bytes behind `url` and the name to keep; raises as `locate` does."""
        reader, name = self.locate(url)
        return reader(), name

    def read_video(self, url: str) -> tuple[bytes | str | None, str | None]:
        """Return a video's bytes or the path of its file, and the name to keep.

        A file may have any size, and is read where it lies; what is fetched here,
        `MAX_VIDEO_BYTES`. What the engine fetches later is ``None``, and the URL.

        Raises
        ------
        PictureError
            As `locate` raises it; also for a file that is not there.
        """
        scheme = url.partition(":")[0].lower()
        if scheme == "file":
            path = _path(url)
            root = _root_of(self._roots, path)
            with open_below(root, Path(path).relative_to(root).parts):
                return path, path
        if scheme in _FETCHED_SCHEMES and self._fetches_later:
            return None, url
        if scheme in _FETCHED_SCHEMES and self._fetcher is not None:
            return _fetch(self._fetcher, url, MAX_VIDEO_BYTES), url
        return self.read(url)

    @property
    def fetch_again(self) -> Fetcher | None:
        """What gets the bytes behind a URL that was kept; ``None``: the engine does, later."""
        return None if self._fetches_later else self._fetch_again

    def _fetch_again(self, url: str) -> bytes:
        scheme = url.partition(":")[0].lower()
        if scheme not in _FETCHED_SCHEMES or self._fetcher is None:
            return self.read(url)[0]
        return _fetch(self._fetcher, url, MAX_VIDEO_BYTES)


def _root(path: str | os.PathLike[str]) -> str:
    real = os.path.realpath(path)
    if not os.fspath(path) or not Path(real).is_dir():  # "" would be the current folder
        raise InvalidArgumentError(f"files: expected folders, got {os.fspath(path)!r}")
    return real


def _path(url: str) -> str:
    """Give the real path that a ``file:`` URL names, every symbolic link followed."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refused("malformed URL") from error
    if parts.netloc.lower() not in ("", "localhost"):
        raise _refused("a file: URL names no host but localhost")
    if "?" in url or "#" in url:
        raise _refused("percent-encode '?' and '#' in a file: URL")
    if "%2f" in parts.path.lower():
        raise _refused("an encoded slash in a file: URL")
    path = unquote_to_bytes(parts.path)
    if not path.startswith(b"/") or b"\0" in path:
        raise _refused("a file: URL has an absolute path, without NUL")
    try:
        return os.path.realpath(path).decode()
    except UnicodeDecodeError as error:  # no store can keep it as text
        raise _refused("the path of a file: URL is UTF-8") from error


def _root_of(roots: tuple[str, ...], path: str) -> str:
    root = next((root for root in roots if Path(path).is_relative_to(root)), None)
    if root is None or path == root:
        # The same words whether or not there is such a file.
        raise _refused("not in a folder that this service may read")
    return root


def _read_below(root: str, path: str) -> bytes:
    return read_below(root, Path(path).relative_to(root).parts)


def _fetch(fetcher: Fetcher, url: str, max_bytes: int = MAX_BYTES) -> bytes:
    try:
        with stage("fetch"):
            data = fetcher(url)
    except PictureError:
        raise
    except Exception as error:
        raise _refused("it could not be fetched") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"the fetcher must return bytes, got {type(data).__name__}")
    if memoryview(data).nbytes > max_bytes:
        raise _refused(f"more than {max_bytes // 2**20} MiB")
    return bytes(data)


def _refused(reason: str) -> PictureError:
    return PictureError(f"cannot read what the URL names: {reason}", reason=reason)
