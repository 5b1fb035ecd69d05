"""What is behind URLs, on its way into files of the store: a few at a time, each in a thread.

So a slow server keeps nobody waiting but those who fetch as well. A file lies until it was
analysed, which bounds what is on the disk.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from facegrep._errors import InvalidArgumentError, PictureError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegrep.store import FetchedFile, LibraryRow, MediaRow, Store

AT_ONCE: Final = 4
"""Each is at most as large as the fetcher lets it be: 1 GiB."""
PER_LIBRARY: Final = 2
"""So that one library with slow servers leaves room for others."""
STILL_WANTED_S: Final = 1.0
"""How often is looked whether an asset is still there."""
_END_S: Final = 15.0


class FetchedTo(Protocol):
    """Where a fetcher puts a video."""

    def write(self, data: bytes, /) -> object:
        """Append all of it."""

    def restart(self) -> None:
        """Begin anew: what was written is void."""


class Fetcher(Protocol):
    """Gets what is behind URLs, of strangers too: `facegrep.fetch.PictureFetcher` is one.

    Thread-safe. Refuses with a `PictureError`, whose ``reason`` is shown; it must bound time, size
    and where it connects to.
    """

    def __call__(self, url: str, /) -> bytes:
        """Return a picture."""

    def begin_video(self, url: str, /) -> bytes:
        """Return the first bytes of a video, within seconds; what is none is refused."""

    def save_video(self, url: str, file: FetchedTo, go_on: Callable[[], None], /) -> None:
        """Write a video, calling `go_on` at least once a second; what that raises ends it."""


def check_fetcher(fetcher: Fetcher) -> Fetcher:
    """Refuse what gets pictures alone."""
    given: object = fetcher
    names = ("__call__", "begin_video", "save_video")
    missing = next((name for name in names if not callable(getattr(given, name, None))), None)
    if missing is not None:
        raise InvalidArgumentError(
            f"fetcher: expected one of pictures and videos, got {type(given).__name__} without "
            f"{missing}; facegrep.fetch.PictureFetcher is one"
        )
    return fetcher


@dataclass(slots=True)
class Download:
    """One of them.

    Attributes
    ----------
    file
        Where it goes.
    wanted
        Whether somebody still waits for it.
    done
        Whether it ended.
    reason
        Why it failed; ``None``: the file is whole, if it was wanted to the end.
    """

    library_id: int
    row: MediaRow
    file: FetchedFile
    wanted: bool = True
    done: bool = False
    reason: str | None = None
    thread: threading.Thread | None = None


@dataclass(slots=True)
class Downloads:
    """Those of a worker, whose thread alone calls the methods.

    Attributes
    ----------
    fetch
        ``None``: nothing can be fetched, and what would have to be waits for another process.
    is_wanted
        Whether an asset still waits, and the engine is not being closed; for any thread.
    on_done
        Called in a download's thread when it ended.
    last_library_id
        Of which one was begun last: the others' turn is first.
    """

    store: Store
    fetch: Fetcher | None
    is_wanted: Callable[[LibraryRow, MediaRow], bool]
    on_done: Callable[[], None]
    last_library_id: int = 0
    _running: dict[tuple[int, int], Download] = field(default_factory=dict)
    _given_up: set[tuple[int, int]] = field(default_factory=set)

    @property
    def any(self) -> bool:
        """Whether there is one that was not dropped."""
        return bool(self._running)

    def done(self) -> list[Download]:
        """List those that ended and were not dropped."""
        return [download for download in self._running.values() if download.done]

    @property
    def is_full(self) -> bool:
        """Whether none may begin."""
        return self.fetch is None or len(self._running) >= AT_ONCE

    def has_room(self, library_id: int) -> bool:
        """Whether one more of a library may begin."""
        of_it = sum(library_id == one for one, _ in self._running)
        return not self.is_full and of_it < PER_LIBRARY

    def begin(self, library: LibraryRow, row: MediaRow) -> None:
        """Begin to fetch what an asset is made of, unless that was begun.

        Raises
        ------
        StoreError
            There can be no file of it.
        """
        key = library.id, row.ordinal
        if key in self._running or key in self._given_up:
            return
        self.last_library_id = library.id
        begun = Download(library.id, row, self.store.fetched.create(*key))
        self._running[key] = begun
        begun.thread = threading.Thread(
            target=self._fetch, args=(library, begun), name="facegrep-fetch", daemon=True
        )
        begun.thread.start()

    def drop(self, download: Download) -> None:
        """Overwrite and remove what was fetched; nothing the second time."""
        if self._running.pop((download.library_id, download.row.ordinal), None) is None:
            return
        with contextlib.suppress(StoreError):  # whoever works next tries again
            download.file.discard()

    def give_up(self, download: Download) -> None:
        """Begin it no more before `end`: its outcome cannot be entered."""
        self._given_up.add((download.library_id, download.row.ordinal))

    def end(self) -> None:
        """Break all off, and drop them."""
        self._given_up.clear()
        for download in self._running.values():
            download.wanted = False
        until = time.monotonic() + _END_S
        for download in list(self._running.values()):
            if download.thread is not None:
                download.thread.join(max(until - time.monotonic(), 0.0))
            if download.done:
                self.drop(download)
        self._running.clear()  # what a fetcher that never ends holds is overwritten by the next

    def _fetch(self, library: LibraryRow, download: Download) -> None:
        row, file = download.row, download.file
        looked_s = time.monotonic()

        def go_on() -> None:
            nonlocal looked_s
            if time.monotonic() - looked_s >= STILL_WANTED_S:
                looked_s = time.monotonic()
                download.wanted = download.wanted and self.is_wanted(library, row)
            if file.removed or not download.wanted:
                download.wanted = False
                raise _NotWanted

        try:
            assert self.fetch is not None
            assert row.source is not None
            if row.media_type == "video":
                self.fetch.save_video(row.source, file, go_on)
            else:
                file.write(self.fetch(row.source))
        except PictureError as error:
            download.reason = error.reason
        except StoreError as error:
            download.reason = str(error)
        except Exception:
            download.reason = "its source could not be fetched"
        finally:
            download.done = True
            self.on_done()


class _NotWanted(Exception):
    """The asset is no more, or the worker ends."""
