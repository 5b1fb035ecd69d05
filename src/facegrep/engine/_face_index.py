"""Switching a library's face index."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from facegrep._names import check_library_name
from facegrep.engine._libraries import check_face_index
from facegrep.engine._results import IndexingReport
from facegrep.engine._view import EngineCore
from facegrep.engine._waiting import Kept, look_at
from facegrep.store import Job, Outcome, list_to_fetch, list_unanalysed, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep.engine._results import FaceIndexStatus
    from facegrep.store import LibraryRow, MediaRow, Store

_GROUP: Final = 64
"""Pictures a commit: what a crash takes back. A video is a commit of its own."""


class IndexingOperations(EngineCore):
    """The Engine's operation on a library's face index."""

    def set_face_index(
        self,
        library: str,
        status: FaceIndexStatus,
        *,
        fetch: Callable[[str], bytes] | None = None,
    ) -> IndexingReport:
        """Make, switch or drop a library's face index.

        Activating it analyses what is there and was not analysed: durable in groups, so that an
        interrupted call is taken up by the next. Switching it off overwrites the vectors.

        Parameters
        ----------
        library
            Its name.
        status
            ``"active"``, ``"deactive"``, or ``None`` for none.
        fetch
            Gets the bytes of sources that are URLs; where it raises, they cannot be read again.
            Called in several threads at once. Without it, such assets are left to the background
            if the engine has a fetcher, else they cannot be read again.

        Returns
        -------
        IndexingReport
            What was analysed, erased, and what can no longer be analysed: assets added as vectors,
            or whose content was not kept, is gone or has changed. Their jobs are Fail.

        Raises
        ------
        NotFoundError
            No such library.
        """
        wanted = check_face_index(status)
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        if wanted != "active":
            if row.face_index == "active" or row.face_count:
                return IndexingReport(erased=store.erase_faces(row, wanted, actor=self._actor))
            store.change_library(row, "face_index", wanted, actor=self._actor)
            return IndexingReport()
        if row.face_index != "active":
            store.change_library(row, "face_index", wanted, actor=self._actor)
            row = self._find(library)
        return self._analyse_waiting(store, row, fetch)

    def _analyse_waiting(
        self, store: Store, library: LibraryRow, fetch: Callable[[str], bytes] | None
    ) -> IndexingReport:
        analysed = faces = 0
        left: list[str] = []
        failed: list[tuple[str, str]] = []
        group: list[Outcome] = []
        submit_ms = now_ms()
        waiting = self._waiting(store, library, left, can_fetch=fetch is not None)
        first = next(waiting, None)
        if first is None:
            return IndexingReport(left=tuple(left))
        analyzer = None if library.model is None else self._analyzer_of(library)

        rows = itertools.chain([first], waiting)
        for row, found, reason, sha256 in look_at(Kept(store, library, fetch), rows, analyzer):
            if found is not None:
                job = Job("Success", submit_ms, now_ms())
                group.append(Outcome(row.ordinal, found, job, sha256))
                analysed += 1
                faces += len(found.codes)
            else:
                job = Job("Fail", submit_ms, now_ms(), reason)
                group.append(Outcome(row.ordinal, None, job))
                failed.append((row.media_id, reason or ""))
            if len(group) >= _GROUP or row.media_type == "video":
                store.set_analyses(library, group, actor=self._actor)
                group = []
        store.set_analyses(library, group, actor=self._actor)
        return IndexingReport(
            analysed=analysed,
            faces=faces,
            failed=tuple(failed),
            left=tuple(left),
            provider=analyzer.provider if analyzer is not None and analysed else None,
        )

    def _waiting(
        self, store: Store, library: LibraryRow, left: list[str], *, can_fetch: bool
    ) -> Iterator[MediaRow]:
        """Yield what this call is to analyse; names in `left` what it leaves to the background."""
        after = -1
        while True:
            with store.catalog.read() as connection:
                rows = list_unanalysed(connection, library, after, _GROUP)
                ordinals = [row.ordinal for row in rows]
                to_fetch = set() if can_fetch else list_to_fetch(connection, library, ordinals)
            if self._shared.fetcher is None:  # what is Running waits for who has one
                away = [r for r in rows if r.ordinal in to_fetch and r.job_status == "Running"]
            else:
                away = [row for row in rows if row.ordinal in to_fetch]
            if away:
                ids = [row.media_id for row in away]
                if self._shared.fetcher is not None:
                    store.rerun_jobs(library, ids, {}, actor=self._actor)
                    self._shared.worker.wake()
                left += ids
            yield from (row for row in rows if row not in away)
            if len(rows) < _GROUP:
                return
            after = rows[-1].ordinal
