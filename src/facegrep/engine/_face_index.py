"""Switching a library's face index."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from facegrep._names import check_library_name
from facegrep.engine._libraries import check_face_index
from facegrep.engine._results import IndexingReport
from facegrep.engine._view import EngineCore
from facegrep.engine._waiting import Kept, look_at
from facegrep.store import Job, list_unanalysed, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep.engine._results import FaceIndexStatus
    from facegrep.store import Faces, LibraryRow, MediaRow, Store

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
            Gets the bytes of sources that are URLs; without it, or where it raises, they cannot be
            read again. Called in several threads at once.

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
        failed: list[tuple[str, str]] = []
        group: list[tuple[int, Faces | None, Job]] = []
        submit_ms = now_ms()
        waiting = _waiting(store, library)
        first = next(waiting, None)
        if first is None:
            return IndexingReport()
        analyzer = None if library.model is None else self._analyzer_of(library)

        rows = itertools.chain([first], waiting)
        for row, found, reason in look_at(Kept(store, library, fetch), rows, analyzer):
            if found is not None:
                group.append((row.ordinal, found, Job("Success", submit_ms, now_ms())))
                analysed += 1
                faces += len(found.codes)
            else:
                group.append((row.ordinal, None, Job("Fail", submit_ms, now_ms(), reason)))
                failed.append((row.media_id, reason or ""))
            if len(group) >= _GROUP or row.media_type == "video":
                store.set_analyses(library, group, actor=self._actor)
                group = []
        store.set_analyses(library, group, actor=self._actor)
        return IndexingReport(
            analysed=analysed,
            faces=faces,
            failed=tuple(failed),
            provider=analyzer.provider if analyzer is not None and analysed else None,
        )


def _waiting(store: Store, library: LibraryRow) -> Iterator[MediaRow]:
    after = -1
    while True:
        with store.catalog.read() as connection:
            rows = list_unanalysed(connection, library, after, _GROUP)
        yield from rows
        if len(rows) < _GROUP:
            return
        after = rows[-1].ordinal
