"""Adding without waiting: assets are stored at once, and analysed in the background."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from facegrep._arguments import shown
from facegrep._errors import (
    AlreadyExistsError,
    FacegrepError,
    InvalidArgumentError,
    PictureError,
    VideoError,
)
from facegrep._names import check_library_name, check_names
from facegrep.engine._ingest import IngestOperations
from facegrep.engine._items import (
    Item,
    ReadItem,
    ReadVideo,
    check_item,
    read_item,
    read_video_item,
    require_no_picture,
)
from facegrep.engine._results import AddResult
from facegrep.engine._search import require_active
from facegrep.engine._view import require_model
from facegrep.engine._waiting import Kept
from facegrep.store import (
    Job,
    Rerun,
    find_identities,
    find_stored,
    list_libraries,
    list_running,
    list_to_fetch,
    running_libraries,
)
from facegrep.video._pyav import pyav

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facegrep.engine._downloads import Fetcher
    from facegrep.engine._items import CheckedItem
    from facegrep.engine._results import MediaType
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow, MediaRow, NewAsset

_POLL_S = 0.1
"""How often is looked for what other processes did."""


class JobOperations(IngestOperations):
    """The Engine's operations on analyses in the background."""

    def submit(
        self,
        library: str,
        *,
        media_id: str,
        source: PictureSource | None,
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
        only the path, unless its origin is a URL. A picture is decoded before this returns, a video
        only hashed.

        A video may be behind a URL. The engine's fetcher looks at its beginning before this
        returns, and gets it later; until it is analysed it lies in a file of the store, which is
        overwritten after that, or when the asset goes. Until then it is the same again if its URL
        is, after that if its content is, or its URL.

        Parameters
        ----------
        library, media_id, namespace, fields, utc_create_ms, title
            As of `add`.
        source, media_type, origin
            As of `add`; or ``None``, ``"video"`` and the URL.

        Returns
        -------
        AddResult
            Not `analysed`, unless the same asset was there already and was.

        Raises
        ------
        NotFoundError, PictureError, VideoError, AlreadyExistsError, InvalidArgumentError
            As of `add`. Of a video whose content is not as its beginning promises, the job fails.
            ``source=None`` without a fetcher, a URL or ``"video"``; the URL is refused.
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
        fetch = _fetcher_of(checked, self._shared.fetcher) if source is None else None
        store = self._writable
        row = self._find(library)
        require_model(row)
        job = Job("Running", checked.submit_ms) if row.face_index == "active" else None
        if fetch is not None:
            asset = checked.asset(b"", None, None, job, None)
            if self._is_there(row, asset):
                return self._same_again(library, media_id)
            beginning = fetch.begin_video(str(origin))
            if not beginning:
                raise VideoError("the URL leads to an empty video", reason="empty")
            require_no_picture(beginning)
            pyav()
        else:
            asset = _read(checked).asset(None, job)
        (added,) = store.add(
            row,
            [asset],
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
        What `fetch` gets is in memory one at a time, and each is a commit; the others are one.

        Parameters
        ----------
        library, media_ids
            Their names.
        fetch
            Gets the bytes of sources that are URLs, now; where it raises, the asset is left as it
            is. Without it they are got in the background if the engine has a fetcher, else left.

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
        ids = list(dict.fromkeys(check_names(media_ids, "media_ids")))
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        require_active(row)
        running, unknown = set(), set()
        to_fetch = self._to_fetch(row, ids, fetch)
        for asset in to_fetch:
            content = self._fetched(row, asset, fetch)
            if content is not None:
                one, contents = [asset.media_id], {asset.ordinal: content}
                rerun = store.rerun_jobs(row, one, contents, actor=self._actor)
                running.update(rerun.media_ids)
                unknown.update(rerun.unknown_ids)
                self._shared.worker.wake()
        handled = {asset.media_id for asset in to_fetch}
        others = [media_id for media_id in ids if media_id not in handled]
        rerun = store.rerun_jobs(row, others, {}, actor=self._actor)
        if rerun.media_ids:
            self._shared.worker.wake()
        running.update(rerun.media_ids)
        unknown.update(rerun.unknown_ids)
        return Rerun([i for i in ids if i in running], [i for i in ids if i in unknown])

    def wait_for_jobs(self, library: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Wait until no job is Running any more.

        But for those that wait for an engine with a fetcher, if this one has none.

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
        StoreCorrupt
            Nor can it where the library's vectors are damaged; other libraries are gone on with.
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
        kinds = [False] if self._shared.fetcher is None else [False, True]
        with self._store.catalog.read() as connection:
            running = set(running_libraries(connection))
            rows = list_libraries(connection, self._account) if running else []
            waiting = [
                row.id
                for row in rows
                if row.id in running
                and library in (None, row.name)
                and any(  # one that has expired waits for nothing
                    list_running(connection, row, -1, 1, to_fetch=to_fetch) for to_fetch in kinds
                )
            ]
        damages = self._shared.worker.damages
        for library_id in waiting:
            if library_id in damages:
                raise damages[library_id]
        return bool(waiting)

    def _is_there(self, library: LibraryRow, asset: NewAsset) -> bool:
        """Whether the same asset is stored; another of its id is `AlreadyExistsError`."""
        with self._store.catalog.read() as connection:
            stored = find_identities(connection, library, [asset.media_id]).get(asset.media_id)
        if stored is not None and not asset.is_same(stored):
            raise AlreadyExistsError(asset.describe_conflict(stored))
        return stored is not None

    def _to_fetch(
        self, library: LibraryRow, ids: Sequence[str], fetch: Callable[[str], bytes] | None
    ) -> list[MediaRow]:
        """Find those that are to be made again, and that the worker cannot get the content of."""
        if fetch is None and self._shared.fetcher is not None:
            return []
        with self._store.catalog.read() as connection:
            rows = find_stored(connection, library, ids)
            failed = [row for row in rows if row.job_status in (None, "Fail")]
            to_fetch = list_to_fetch(connection, library, [row.ordinal for row in failed])
        return [row for row in failed if row.ordinal in to_fetch]

    def _fetched(
        self, library: LibraryRow, row: MediaRow, fetch: Callable[[str], bytes] | None
    ) -> bytes | None:
        try:
            content, _ = Kept(self._store, library, fetch).content(row)
        except PictureError:  # its job says so already, or there was none
            return None
        return content if isinstance(content, bytes) else None


def _read(checked: CheckedItem) -> ReadItem | ReadVideo:
    if not checked.is_video:
        return read_item(checked, analysed=False)
    require_no_picture(checked.source)
    pyav()
    return read_video_item(checked, analysed=False)


def _fetcher_of(checked: CheckedItem, fetcher: Fetcher | None) -> Fetcher:
    """Return what gets the video behind a URL, if that is what was submitted."""
    if not checked.is_video or checked.origin is None or checked.origin.startswith("/"):
        raise InvalidArgumentError("source: None is for media_type='video' with a URL as origin")
    if fetcher is None:
        raise InvalidArgumentError(
            "source: None needs an engine that was opened with a fetcher; facegrep.fetch."
            "PictureFetcher is one"
        )
    return fetcher
