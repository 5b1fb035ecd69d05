"""Assets that were stored and not analysed: their content found again, and looked at."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from facegrep._errors import MissingExtraError, PictureError, VideoError
from facegrep.engine._analysis import Work, analyse
from facegrep.engine._items import faces_of, read_pending
from facegrep.engine._videos import VideoContent, faces_of_video
from facegrep.media import read_picture
from facegrep.store import find_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from facegrep.media import Picture
    from facegrep.store import Faces, LibraryRow, MediaRow, Store
    from facegrep.video import VideoProgress
    from facegrep.vision import FaceAnalyzer


class Looked(NamedTuple):
    """An asset that was looked at: its faces, or why there are none."""

    row: MediaRow
    faces: Faces | None
    reason: str | None
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the content of a library's assets is: in the store, in files, or behind URLs.

    Attributes
    ----------
    fetch
        Gets the bytes of a source that is a URL; ``None``: nothing does.
    fetched
        Of one asset: the file of what was fetched.
    """

    store: Store
    library: LibraryRow
    fetch: Callable[[str], bytes] | None
    fetched: str | None = None

    def content(self, row: MediaRow) -> tuple[bytes | str, bool]:
        """Return an asset's bytes or path, and whether the bytes are an array.

        Raises
        ------
        PictureError
            It was not kept, or cannot be had any more.
        """
        if self.fetched is not None:
            return self.fetched, False
        with self.store.catalog.read() as connection:
            pending = find_pending(connection, self.library, row.ordinal)
        if pending is not None:
            return pending
        source = row.source
        if source is None:
            raise _cannot("its content was not kept: it was added as vectors, bytes or an array")
        if source.startswith("/"):
            return source, False
        if self.fetch is None:
            raise _cannot("its source is a URL, and nothing to fetch it with was given")
        return _fetched(self.fetch, source), False


def look_at(
    kept: Kept,
    rows: Iterable[MediaRow],
    analyzer: FaceAnalyzer | None,
    *,
    progress: Callable[[VideoProgress], None] | None = None,
) -> Iterator[Looked]:
    """Analyse assets, in their order: pictures as `analyse` does, videos one by one.

    Parameters
    ----------
    rows
        Taken as they are needed, in the caller's thread.
    analyzer
        ``None``: the library has no model, and nothing can be analysed.
    progress
        Of videos; what it raises goes to the caller.
    """
    for is_video, run in itertools.groupby(rows, _is_video):
        if is_video and analyzer is not None:
            yield from (_look_at_video(kept, row, analyzer, progress) for row in run)
        else:
            yield from _look_at_pictures(kept, run, analyzer)


def _is_video(row: MediaRow) -> bool:
    return row.media_type == "video"


def _look_at_video(
    kept: Kept,
    row: MediaRow,
    analyzer: FaceAnalyzer,
    progress: Callable[[VideoProgress], None] | None,
) -> Looked:
    try:
        content, _ = kept.content(row)
        video = VideoContent.read(content)
        _require_same(video.sha256, row)
        found = video.analyse(analyzer, progress)
    except (PictureError, VideoError) as error:
        return Looked(row, None, error.reason)
    except MissingExtraError as error:
        return Looked(row, None, str(error))
    return Looked(row, faces_of_video(found, analyzer.precision), None, video.sha256)


def _look_at_pictures(
    kept: Kept, rows: Iterable[MediaRow], analyzer: FaceAnalyzer | None
) -> Iterator[Looked]:
    works = (Work(row.media_id, _Reader(kept, row)) for row in rows)
    for work in analyse(works, analyzer, lambda _: None):
        assert isinstance(work.read, _Reader)
        row = work.read.row
        if analyzer is not None and work.analysis is not None:
            faces = faces_of(work.analysis, analyzer.dim, analyzer.precision)
            yield Looked(row, faces, None)
        else:
            reason = work.error.reason if isinstance(work.error, PictureError) else "no model"
            yield Looked(row, None, reason)


@dataclass(frozen=True, slots=True)
class _Again:
    picture: Picture


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads an asset's picture again, from what was kept of it."""

    kept: Kept
    row: MediaRow

    def __call__(self) -> _Again:
        content, is_array = self.kept.content(self.row)
        if isinstance(content, str):
            picture = read_picture(content)
        else:
            picture = read_pending(content, is_array=is_array)
        _require_same(picture.sha256, self.row)
        return _Again(picture)


def _require_same(sha256: bytes, row: MediaRow) -> None:
    if row.content_sha256 and sha256 != row.content_sha256:  # empty: not known before
        raise _cannot("its content has changed since it was added")


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
