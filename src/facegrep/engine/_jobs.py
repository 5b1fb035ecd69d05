"""Adding without waiting: assets are stored at once, and analysed in the background."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from facegrep._arguments import shown
from facegrep._errors import FacegrepError, InvalidArgumentError, PictureError
from facegrep._names import check_library_name, check_names
from facegrep.engine._ingest import IngestOperations
from facegrep.engine._items import (
    Item,
    ReadItem,
    ReadVideo,
    check_item,
    read_item,
    read_video_item,
)
from facegrep.engine._results import AddResult
from facegrep.engine._search import require_active
from facegrep.engine._view import require_model
from facegrep.engine._waiting import Kept
from facegrep.store import (
    Job,
    find_pending,
    find_stored,
    list_libraries,
    list_running,
    running_libraries,
)
from facegrep.video._pyav import pyav

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facegrep.engine._results import MediaType
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow, Rerun

_POLL_S = 0.1
"""How often is looked for what other processes did."""


class JobOperations(IngestOperations):
    """The Engine's operations on analyses in the background."""

    def submit(
        self,
        library: str,
        *,
        media_id: str,
        source: PictureSource,
        media_type: MediaType | None = None,
        namespace: str | None = None,
        fields: Mapping[str, int | str | None] | None = None,
        utc_create_ms: int | None = None,
        title: str | None = None,
        origin: str | None = None,
    ) -> AddResult:
        """Store a picture or a video, durable when this returns, and analyse it later.

        A thread of this engine does, one video or a few pictures at a time. `get` has the job's
        state, `wait_for_jobs` waits. What is Running when the engine is closed, or its process
        dies, is taken up by the next that opens the store to write or submits to it. A deleted or
        erased asset's job ends with it.

        Bytes and arrays are kept in the store until then, and go as erased assets do; of a path
        only the path. A picture is decoded before this returns, a video only hashed.

        Parameters
        ----------
        library, media_id, source, media_type, namespace, fields, utc_create_ms, title, origin
            As of `add`.

        Returns
        -------
        AddResult
            Not `analysed`, unless the same asset was there already and was.

        Raises
        ------
        NotFoundError, PictureError, VideoError, AlreadyExistsError, InvalidArgumentError
            As of `add`. Of a video whose content is not as its beginning promises, the job fails.
        MissingExtraError
            A video, and PyAV (``facegrep[video]``) is not installed.
        StoreError
            It could not be made durable; nothing was stored.
        """
        item = Item(
            media_id=media_id,
            source=source,
            media_type=media_type,
            namespace=namespace,
            fields=fields,
            utc_create_ms=utc_create_ms,
            title=title,
            origin=origin,
        )
        checked = check_item(item)
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        require_model(row)
        read: ReadItem | ReadVideo
        if checked.is_video:
            pyav()
            read = read_video_item(checked, analysed=False)
        else:
            read = read_item(checked, analysed=False)
        job = Job("Running", checked.submit_ms) if row.face_index == "active" else None
        (added,) = store.add(
            row,
            [read.asset(None, job)],
            stop_at_conflict=True,
            action="submit",
            actor=self._actor,
        )
        if isinstance(added, FacegrepError):
            raise added
        if not added:
            return self._same_again(library, media_id)
        if job is not None:
            self._shared.worker.wake()
        return AddResult(media_id=media_id, added=True, faces=(), refused=(), analysed=False)

    def rerun_jobs(
        self,
        library: str,
        media_ids: Sequence[str],
        *,
        fetch: Callable[[str], bytes] | None = None,
    ) -> Rerun:
        """Analyse assets again whose analysis failed, or was never asked for, in the background.

        One that succeeded would give the same again, and is left as it is; so is one that waits.

        Parameters
        ----------
        library, media_ids
            Their names.
        fetch
            Gets the bytes of sources that are URLs, now; without it, or where it raises, such an
            analysis fails again.

        Returns
        -------
        Rerun
            Which are Running now, and the ids that no asset has.

        Raises
        ------
        NotFoundError
            No such library.
        OperationDeniedError
            Its face index is not active.
        """
        ids = check_names(media_ids, "media_ids")
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        require_active(row)
        rerun = store.rerun_jobs(row, ids, self._fetched(row, ids, fetch), actor=self._actor)
        if rerun.media_ids:
            self._shared.worker.wake()
        return rerun

    def wait_for_jobs(self, library: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Wait until no job is Running any more.

        Parameters
        ----------
        library
            In this one; by default in all of the account.
        timeout_s
            How long at most; by default as long as it takes.

        Returns
        -------
        bool
            Whether none is.

        Raises
        ------
        NotFoundError
            No such library.
        StoreError
            The outcome of an analysis cannot be made durable.
        """
        given: object = timeout_s  # whatever the caller gave
        if given is not None and not (isinstance(given, (int, float)) and 0 <= given < 1e9):
            raise InvalidArgumentError(f"timeout_s: expected seconds, got {shown(given)}")
        if library is not None:
            check_library_name(library)
            self._find(library)
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while self._is_running(library):
            left_s = _POLL_S if ends is None else min(_POLL_S, ends - time.monotonic())
            if left_s <= 0:
                return False
            error = self._shared.worker.wait(left_s)
            if error is not None:
                raise error
        return True

    def _is_running(self, library: str | None) -> bool:
        with self._store.catalog.read() as connection:
            running = set(running_libraries(connection))
            rows = list_libraries(connection, self._account) if running else []
            return any(
                row.id in running
                and library in (None, row.name)
                and list_running(connection, row, -1, 1)  # one that has expired waits for nothing
                for row in rows
            )

    def _fetched(
        self, library: LibraryRow, ids: Sequence[str], fetch: Callable[[str], bytes] | None
    ) -> dict[int, bytes]:
        """Get the content of those assets that is behind URLs and was not kept."""
        with self._store.catalog.read() as connection:
            failed = [
                row
                for row in find_stored(connection, library, ids)
                if row.job_status in (None, "Fail")
                and row.source is not None
                and not row.source.startswith("/")
                and find_pending(connection, library, row.ordinal) is None
            ]
        contents: dict[int, bytes] = {}
        kept = Kept(self._store, library, fetch)
        for row in failed:
            try:
                content, _ = kept.content(row)
            except PictureError:  # the job will say so
                continue
            if isinstance(content, bytes):
                contents[row.ordinal] = content
        return contents
