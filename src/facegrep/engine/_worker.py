"""The thread that makes the analyses that were submitted, one video or a few pictures at a time.

Its queue is the catalog, so it is bounded by what is stored, and outlives the process: whoever
submits next, or opens the store to write, takes up what another left. Of all processes of a store
one works at a time; the others wait for what it leaves. Content that is behind a URL is fetched
beside it (`_downloads.py`), by a process that was given a fetcher; the others leave it Running.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from typing import TYPE_CHECKING, Final

from facegrep._errors import (
    FacegrepError,
    NotFoundError,
    OperationDeniedError,
    StoreBusy,
    StoreCorrupt,
    StoreError,
)
from facegrep.engine._downloads import STILL_WANTED_S, Downloads
from facegrep.engine._waiting import Kept, Looked, look_at
from facegrep.store import (
    Job,
    Outcome,
    find_ordinals,
    library_by_id,
    list_running,
    now_ms,
    running_libraries,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facegrep.engine._downloads import Download, Fetcher
    from facegrep.store import LibraryRow, MediaRow, Store
    from facegrep.video import VideoProgress
    from facegrep.vision import FaceAnalyzer

TAKE_UP_AFTER_S: Final = 0.5
"""From an opening on: who opens a store to do one thing should not wait for a model to load."""
_PICTURES: Final = 16
_OTHERS_WORK_S: Final = 0.2
_OTHERS_WAIT_S: Final = 1.0
_DISK_FAILED_S: Final = 30.0
# Of a library that was dropped or switched off: its jobs ended with it.
_ENDED: Final = (NotFoundError, OperationDeniedError)


class Worker:
    """One thread a store handle, started when it is first needed.

    Parameters
    ----------
    store
        Open for writing.
    analyzer_of
        Gives the analyzer of a model.
    fetch
        Gets what is behind URLs, if that can be done here.
    """

    def __init__(
        self, store: Store, analyzer_of: Callable[[str], FaceAnalyzer], fetch: Fetcher | None
    ) -> None:
        self._store = store
        self._analyzer_of = analyzer_of
        self._downloads = Downloads(store, fetch, self._is_wanted, self._wake_for_download)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted_at: float | None = None
        self._fetched = False
        self._closing = False
        self._error: StoreError | None = None
        self.damages: dict[int, StoreCorrupt] = {}
        """By library, what keeps its analyses from being entered: they stay Running."""

    def wake(self, *, after_s: float = 0.0) -> None:
        """Have it look for jobs that are Running, soon."""
        with self._changed:
            if self._closing:
                return
            at = time.monotonic() + after_s
            self._wanted_at = at if self._wanted_at is None else min(at, self._wanted_at)
            self._error = None
            if self._thread is None:
                # A daemon: it must not keep a program that forgets to close from ending.
                self._thread = threading.Thread(target=self._run, name="facegrep-jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> StoreError | None:
        """Wait until something is done, or for so long; the error for which it rests, if any."""
        with self._changed:
            self._changed.wait(timeout_s)
            return self._error

    def close(self) -> None:
        """End it; what it has begun stays Running."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while self._waits_for_work():
            rest_s, error = 0.0, None
            try:
                with self._store.jobs_lock.held(0.0):
                    self._work()
            except _Stop:
                return
            except StoreBusy:
                rest_s = _OTHERS_WORK_S
            except StoreError as failure:
                rest_s, error = _DISK_FAILED_S, failure
            if rest_s:
                self.wake(after_s=rest_s)
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _waits_for_work(self) -> bool:
        """Wait until there is something to do; not, if the engine is being closed."""
        with self._changed:
            while not self._closing:
                if self._wanted_at is None:
                    self._changed.wait()
                elif (missing_s := self._wanted_at - time.monotonic()) > 0:
                    self._changed.wait(missing_s)
                else:
                    self._wanted_at = None
                    return True
            return False

    def _work(self) -> None:
        """Make all analyses whose job is Running."""
        self._store.fetched.wipe_all()  # of a process that died: nobody else works
        try:
            self._make_all()
            while self._downloads.any:
                with self._changed:
                    # Not for long: other processes leave to this one what they submit.
                    if not (self._fetched or self._closing):
                        self._changed.wait(_OTHERS_WORK_S)
                self._require_open()
                self._make_all()
        finally:
            self._downloads.end()

    def _make_all(self) -> None:
        """Make those that can be made now, and begin to fetch what there is room for."""
        self._see_to_downloads()
        for library_id in self._libraries():
            with self._left_if_damaged(library_id), contextlib.suppress(*_ENDED):
                self._work_on(library_id)

    def _libraries(self) -> list[int]:
        with self._store.catalog.read() as connection:
            return running_libraries(connection)

    def _see_to_downloads(self) -> None:
        """Analyse what has come, and begin the next: library after library."""
        with self._changed:
            self._fetched = False
        for download in self._downloads.done():
            with self._left_if_damaged(download.library_id):
                try:
                    self._take(download)
                except (StoreCorrupt, *_ENDED) as error:
                    self._downloads.give_up(download)
                    if isinstance(error, StoreCorrupt):
                        raise
        if self._downloads.is_full:
            return
        last = self._downloads.last_library_id
        for library_id in sorted(self._libraries(), key=lambda one: (one <= last, one)):
            if self._downloads.has_room(library_id):
                with self._left_if_damaged(library_id), contextlib.suppress(*_ENDED):
                    self._fetch(library_id)

    @contextlib.contextmanager
    def _left_if_damaged(self, library_id: int) -> Iterator[None]:
        """Go on with the other libraries, and keep what is wrong for who waits for this one."""
        try:
            yield
        except StoreCorrupt as error:
            self.damages[library_id] = error
            with self._changed:
                self._changed.notify_all()

    def _take(self, download: Download) -> None:
        """Analyse what was fetched, if it is still wanted."""
        try:
            with self._store.catalog.read() as connection:
                library = library_by_id(connection, download.library_id)
                if library is None or not download.wanted:
                    return
                rows = find_ordinals(connection, library, [download.row.ordinal])
            rows = [row for row in rows if row.job_status == "Running"]
            if rows:
                self._analyse(library, rows, download)
        finally:
            self._downloads.drop(download)

    def _fetch(self, library_id: int) -> None:
        for library, rows in self._running(library_id, to_fetch=True):
            for row in rows:
                if not self._downloads.has_room(library_id):
                    return
                self._downloads.begin(library, row)

    def _work_on(self, library_id: int) -> None:
        seen_s = time.monotonic()
        for library, rows in self._running(library_id, to_fetch=False):
            if time.monotonic() - seen_s >= _OTHERS_WAIT_S:  # it reads all rows that wait
                self._see_to_downloads()
                seen_s = time.monotonic()
            for is_video, run in itertools.groupby(rows, lambda row: row.media_type == "video"):
                for some in [[row] for row in run] if is_video else [list(run)]:
                    self._analyse(library, some, None)

    def _running(
        self, library_id: int, *, to_fetch: bool
    ) -> Iterator[tuple[LibraryRow, list[MediaRow]]]:
        """Yield a library as it is now, with some assets whose job is Running."""
        after = -1
        while True:
            with self._store.catalog.read() as connection:
                library = library_by_id(connection, library_id)
                if library is None or library.face_index != "active":
                    return
                rows = list_running(connection, library, after, _PICTURES, to_fetch=to_fetch)
            if not rows:
                return
            yield library, rows
            after = rows[-1].ordinal

    def _analyse(
        self, library: LibraryRow, rows: Sequence[MediaRow], download: Download | None
    ) -> None:
        """Analyse a video or some pictures, and enter the outcome."""
        try:
            looked = self._look(library, rows, download)
        except _Gone:
            return
        if download is not None:  # before anybody can see that it is done
            self._downloads.drop(download)
        moment_ms = now_ms()
        outcomes = []
        for row, faces, reason, sha256 in looked:
            status = "Success" if faces is not None else "Fail"
            submit_ms = moment_ms if row.job_submit_ms is None else row.job_submit_ms
            job = Job(status, submit_ms, moment_ms, reason)
            outcomes.append(Outcome(row.ordinal, faces, job, sha256))
        self._store.set_analyses(library, outcomes)
        self.damages.pop(library.id, None)
        with self._changed:
            self._changed.notify_all()

    def _look(
        self, library: LibraryRow, rows: Sequence[MediaRow], download: Download | None
    ) -> list[Looked]:
        self._require_open()
        if download is not None and download.reason is not None:
            return [Looked(row, None, download.reason) for row in rows]
        watch = functools.partial(self._watch, library, rows[0], [time.monotonic()])
        try:
            analyzer = None if library.model is None else self._analyzer_of(library.model)
            fetched = None if download is None else str(download.file.path)
            kept = Kept(self._store, library, None, fetched)
            return list(look_at(kept, rows, analyzer, progress=watch))
        except (_Stop, _Gone, StoreError):
            raise
        except FacegrepError as error:  # the model is missing, or failed
            reason = str(error)
        except Exception as error:
            # When the program ends, no thread can be started any more: that is no failed job.
            if not threading.main_thread().is_alive():
                raise _Stop from error
            reason = f"unexpected {type(error).__name__}"
        return [Looked(row, None, reason) for row in rows]

    def _watch(
        self, library: LibraryRow, row: MediaRow, looked_at: list[float], _: VideoProgress
    ) -> None:
        """End the analysis of a video when it is of no use any more."""
        self._require_open()
        if time.monotonic() - looked_at[0] < STILL_WANTED_S:
            return
        looked_at[0] = time.monotonic()
        if not self._is_wanted(library, row):
            raise _Gone

    def _is_wanted(self, library: LibraryRow, row: MediaRow) -> bool:
        """Whether an asset is still to be analysed; for any thread."""
        if self._closing:
            return False
        with self._store.catalog.read() as connection:
            now = find_ordinals(connection, library, [row.ordinal])
        return bool(now) and now[0].job_status == "Running"

    def _wake_for_download(self) -> None:
        with self._changed:
            self._fetched = True
            self._changed.notify_all()

    def _require_open(self) -> None:
        if self._closing:
            raise _Stop


class _Stop(Exception):
    """The engine is being closed."""


class _Gone(Exception):
    """The asset was deleted, or its job ended otherwise."""
