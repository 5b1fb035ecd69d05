"""Assets that are stored: looked at, described anew, deleted."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

from facegrep._arguments import check_count
from facegrep._errors import NotFoundError, StoreCorrupt
from facegrep._names import (
    check_fields,
    check_library_name,
    check_name,
    check_names,
    check_optional_name,
    check_text,
)
from facegrep.engine._results import UNSET, IndexJob, Media, StoredFace, Unset
from facegrep.engine._view import EngineCore
from facegrep.store import (
    Columns,
    find_media,
    list_media,
    read_asset_codes,
    read_video_facts,
    unpack_faces,
)
from facegrep.vision import Box

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from facegrep.engine._results import MediaType
    from facegrep.store import LibraryRow, MediaRow, VideoFacts


class MediaOperations(EngineCore):
    """The Engine's operations on stored assets."""

    def get(self, library: str, media_id: str, *, vectors: bool = False) -> Media:
        """Return what is stored of an asset and its faces.

        Parameters
        ----------
        library, media_id
            Their names.
        vectors
            Whether with the codes of its faces.

        Raises
        ------
        NotFoundError
            No such library or media; ``kind`` says which.
        StoreCorrupt
            Codes were asked for and fail their checksum.
        """
        check_library_name(library)
        check_name(media_id, "media_id")
        store = self._store

        def read(connection: sqlite3.Connection, row: LibraryRow) -> Media:
            found = find_media(connection, row, media_id)
            if found is None:
                raise NotFoundError("media", media_id)
            _require_possible(row, [found])
            folder = store.vectors.folder
            codes = read_asset_codes(connection, folder, row, [found])[0] if vectors else None
            return _media_of(found, codes, read_video_facts(connection, row, found))

        return store.read_library(self._account, library, read)

    def media(
        self, library: str, *, after: str | None = None, limit: int = 100, vectors: bool = False
    ) -> list[Media]:
        """List assets by media id, bytewise.

        Parameters
        ----------
        library
            Its name.
        after
            Only assets whose id is greater: the last one of the page before.
        limit
            How many at most.
        vectors
            Whether with the codes of their faces.

        Raises
        ------
        NotFoundError
            No such library.
        StoreCorrupt
            Codes were asked for and fail their checksum.
        """
        check_library_name(library)
        if after is not None:
            check_name(after, "after")
        count = check_count(limit, "limit")
        store = self._store

        def read(connection: sqlite3.Connection, row: LibraryRow) -> list[Media]:
            found = list_media(connection, row, after, count)
            _require_possible(row, found)
            videos = [read_video_facts(connection, row, one) for one in found]
            if not vectors:
                return list(map(_media_of, found, itertools.repeat(None), videos))
            codes = read_asset_codes(connection, store.vectors.folder, row, found)
            return list(map(_media_of, found, codes, videos))

        return store.read_library(self._account, library, read)

    def update(
        self,
        library: str,
        media_id: str,
        *,
        title: str | Unset | None = UNSET,
        fields: Mapping[str, int | str | None] | Unset = UNSET,
        namespace: str | Unset | None = UNSET,
    ) -> None:
        """Change what is said of an asset; its faces and its place in frozen answers stay.

        Parameters
        ----------
        library, media_id
            Their names.
        title, namespace
            ``None`` takes it away.
        fields
            Those named change, a ``None`` takes one away, the others stay.

        Raises
        ------
        NotFoundError
            No such library or media.
        InvalidArgumentError
            Names the argument.
        """
        check_library_name(library)
        check_name(media_id, "media_id")
        new_title = title if isinstance(title, Unset) else check_text(title, "title")
        changed = {} if isinstance(fields, Unset) else check_fields(fields)
        new_namespace = (
            namespace
            if isinstance(namespace, Unset)
            else check_optional_name(namespace, "namespace")
        )

        def change(row: MediaRow) -> tuple[Columns, str | None]:
            columns = Columns(
                row.media_type,
                row.namespace if isinstance(new_namespace, Unset) else new_namespace,
                changed.get("intField1", row.int_field1),  # type: ignore[arg-type]  # as checked
                changed.get("strField1", row.str_field1),  # type: ignore[arg-type]
                changed.get("strField2", row.str_field2),  # type: ignore[arg-type]
            )
            return columns, row.title if isinstance(new_title, Unset) else new_title

        self._writable.update(self._find(library), media_id, change, actor=self._actor)

    def delete(self, library: str, media_ids: Sequence[str]) -> int:
        """Delete assets; their ids are free again.

        No search that starts after this returned finds them, in any process; pages cut later of
        earlier answers leave them out.

        Returns
        -------
        deleted
            How many there were; unknown ids count for nothing.

        Raises
        ------
        NotFoundError
            No such library.
        """
        checked = check_names(media_ids, "media_ids")
        check_library_name(library)
        return self._writable.delete(self._find(library), checked, actor=self._actor)


def _require_possible(library: LibraryRow, rows: Sequence[MediaRow]) -> None:
    """Refuse an asset of more faces than its library has, before one is made of each."""
    for row in rows:
        if not 0 <= row.face_count <= library.face_count:
            raise StoreCorrupt(
                f"library {library.name!r}, media {row.media_id!r}: {row.face_count} faces, of "
                f"{library.face_count} that the library has",
                library=library.name,
            )


def _media_of(row: MediaRow, codes: NDArray[np.int8] | None, video: VideoFacts | None) -> Media:
    fields: dict[str, int | str] = {
        name: value
        for name, value in (
            ("intField1", row.int_field1),
            ("strField1", row.str_field1),
            ("strField2", row.str_field2),
        )
        if value is not None
    }
    try:
        values = unpack_faces(row.face_data, row.face_count)
    except ValueError as error:
        raise StoreCorrupt(f"media {row.media_id!r}: {error}") from error
    faces = tuple(
        StoredFace(
            face_no=number,
            box=None if values is None else Box(*map(float, values[number, :4])),
            score=None if values is None else float(values[number, 4]),
            precision=row.precision,
            code=None if codes is None else codes[number],
        )
        for number in range(row.face_count)
    )
    return Media(
        media_id=row.media_id,
        media_type=media_type_of(row.media_type),
        namespace=row.namespace,
        fields=fields,
        utc_create_ms=row.utc_create_ms,
        title=row.title,
        source=row.source,
        content_sha256=row.content_sha256.hex(),
        faces=faces,
        job=_job_of(row),
        video=video,
    )


def _job_of(row: MediaRow) -> IndexJob | None:
    status: Literal["Running", "Success", "Fail"]
    if row.job_status is None or row.job_submit_ms is None:
        return None
    if row.job_status == "Success":
        status = "Success"
    elif row.job_status == "Fail":
        status = "Fail"
    else:
        status = "Running"
    return IndexJob(status, row.job_submit_ms, row.job_finish_ms, row.job_error)


def media_type_of(text: str) -> MediaType:
    """Return a media type as it is typed."""
    if text == "video":
        return "video"
    return "audio" if text == "audio" else "image"
