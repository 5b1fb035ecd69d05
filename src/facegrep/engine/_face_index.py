"""Switching a library's face index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from facegrep._errors import PictureError
from facegrep._names import check_library_name
from facegrep.engine._analysis import Work, analyse
from facegrep.engine._items import faces_of, read_pending
from facegrep.engine._libraries import check_face_index
from facegrep.engine._results import IndexingReport
from facegrep.engine._view import EngineCore
from facegrep.media import read_picture
from facegrep.store import Job, find_pending, list_unanalysed, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep.engine._results import FaceIndexStatus
    from facegrep.media import Picture
    from facegrep.store import Faces, LibraryRow, MediaRow, Store

_GROUP: Final = 64
"""Assets a commit: what a crash takes back."""


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

        def works() -> Iterator[Work[_Again]]:
            for row in (first, *waiting):
                yield Work(row.media_id, _Reader(store, library, row, fetch))

        for work in analyse(works(), analyzer, lambda _: None):
            reader = work.read
            ordinal = reader.row.ordinal if isinstance(reader, _Reader) else -1
            if analyzer is not None and work.analysis is not None:
                found = faces_of(work.analysis, analyzer.dim, analyzer.precision)
                group.append((ordinal, found, Job("Success", submit_ms, now_ms())))
                analysed += 1
                faces += len(found.codes)
            else:
                reason = work.error.reason if isinstance(work.error, PictureError) else "no model"
                group.append((ordinal, None, Job("Fail", submit_ms, now_ms(), reason)))
                failed.append((work.media_id, reason))
            if len(group) >= _GROUP:
                store.set_analyses(library, group, actor=self._actor)
                group = []
        store.set_analyses(library, group, actor=self._actor)
        return IndexingReport(
            analysed=analysed,
            faces=faces,
            failed=tuple(failed),
            provider=analyzer.provider if analyzer is not None and analysed else None,
        )


@dataclass(frozen=True, slots=True)
class _Again:
    picture: Picture


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads an asset's picture again, from what was kept of it."""

    store: Store
    library: LibraryRow
    row: MediaRow
    fetch: Callable[[str], bytes] | None

    def __call__(self) -> _Again:
        picture = self._picture()
        if picture.sha256 != self.row.content_sha256:
            raise _cannot("its content has changed since it was added")
        return _Again(picture)

    def _picture(self) -> Picture:
        with self.store.catalog.read() as connection:
            pending = find_pending(connection, self.library, self.row.ordinal)
        if pending is not None:
            return read_pending(pending[0], is_array=pending[1])
        source = self.row.source
        if source is None:
            raise _cannot("its content was not kept: it was added as vectors, bytes or an array")
        if source.startswith("/"):
            return read_picture(source)
        if self.fetch is None:
            raise _cannot("its source is a URL, and nothing to fetch it with was given")
        return read_picture(_fetched(self.fetch, source))


def _fetched(fetch: Callable[[str], bytes], url: str) -> bytes:
    """Call the caller's function: one source that it does not get must not stop the others."""
    try:
        content: object = fetch(url)
    except PictureError:
        raise
    except Exception as error:
        raise _cannot("its source could not be fetched") from error
    if not isinstance(content, bytes):  # a str would be a path, read in the URL's place
        raise _cannot(f"fetch gave {type(content).__name__} for its source, not bytes")
    return content


def _cannot(reason: str) -> PictureError:
    return PictureError(f"the asset cannot be analysed again: {reason}", reason=reason)


def _waiting(store: Store, library: LibraryRow) -> Iterator[MediaRow]:
    after = -1
    while True:
        with store.catalog.read() as connection:
            rows = list_unanalysed(connection, library, after, _GROUP)
        yield from rows
        if len(rows) < _GROUP:
            return
        after = rows[-1].ordinal
