"""Searching: a face in, the assets that contain it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from facegrep._arguments import check_count, check_threshold
from facegrep._errors import (
    InvalidArgumentError,
    ModelMismatchError,
    NoFaceError,
    OperationDeniedError,
)
from facegrep._index import _real_float32
from facegrep._names import check_library_name
from facegrep._where import compile_where
from facegrep.engine._pages import cut_page
from facegrep.engine._results import Page, SearchResult
from facegrep.engine._view import EngineCore
from facegrep.media import read_picture
from facegrep.store import Answer, find_library, read_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from facegrep._result import SearchResult as IndexResult
    from facegrep._where import Where
    from facegrep.engine._library_index import LibraryIndex
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow
    from facegrep.vision import Analysis, Box, FaceAnalyzer

_Found: TypeAlias = (
    "tuple[LibraryRow, IndexResult, NDArray[np.int64] | None, NDArray[np.int64] | None]"
)
Threshold: TypeAlias = float | Literal["library"] | None


@dataclass(frozen=True, slots=True)
class _Query:
    embedding: NDArray[np.float32]
    provider: str | None = None
    faces: int = 0
    boxes: tuple[Box, ...] = ()


class SearchOperations(EngineCore):
    """The Engine's search."""

    def search(
        self,
        library: str,
        picture: PictureSource | Sequence[PictureSource] | None = None,
        *,
        vector: ArrayLike | None = None,
        threshold: Threshold = "library",
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
    ) -> SearchResult:
        """Find the assets that contain a person.

        Parameters
        ----------
        library
            Its name.
        picture
            A path, encoded bytes, binary file object or RGB array (uint8): the face with the
            largest box is searched for. A list of photos of one person: their largest faces are
            fused into the mean of their embeddings, weighted by the detector's scores.
        vector
            ``(dim,)`` instead of a picture.
        threshold
            The cosine (-1 to 1) that a match must reach. ``"library"``: the library's own, else
            its model's. ``None``: the best ``offset + limit`` assets, whatever their scores.
        limit, offset
            The first page. With a threshold the result keeps every match, and cuts other pages.
        where
            A filter on the fields, applied before anything is ranked (`facegrep._where`).

        Returns
        -------
        SearchResult
            Assets by score descending, then media id ascending, bytewise; its total is exact.

        Raises
        ------
        NotFoundError
            No such library.
        OperationDeniedError
            Its face index is not active.
        NoFaceError
            A picture has no usable face.
        PictureError
            A picture cannot be read.
        ModelMismatchError
            A picture, but the library has no model; a vector of another length.
        InvalidArgumentError
            Names the argument; also where a threshold is needed and the library has none.
        StoreCorrupt
            The library's vectors are damaged; other libraries still answer.

        Notes
        -----
        Everything that any process had made durable when the call began is seen.
        """
        check_library_name(library)
        conditions = compile_where(where)  # before a picture is looked at
        first, count = check_count(offset, "offset"), check_count(limit, "limit")
        with self._store.catalog.read() as connection:
            row = find_library(connection, self._account, library)
            audited = bool(read_store(connection).search_audit)
        if audited:
            self._store.require_auditable()
        _require_active(row)
        required, reason = self._threshold_of(row, threshold)
        query = self._query(row, picture, vector)

        def search(now: LibraryRow, index: LibraryIndex | None) -> _Found:
            _require_active(now)
            if index is None or now.dim != row.dim or now.model != row.model:
                raise ModelMismatchError(
                    f"library {library!r} was replaced meanwhile; search again"
                )
            faces = index.faces
            found = faces.search(
                query.embedding, threshold=required, limit=count, offset=first, where=where
            )
            # What is deleted later is subtracted from the total, so it must be known what counted.
            incomplete = found.total > len(found._core)
            matching = faces._core.keys(conditions) if incomplete else None
            return (
                now,
                found,
                matching,
                index.added_ms(found._core.keys if matching is None else matching),
            )

        now, found, matching, added_ms = self._shared.indexes.search(self._account, library, search)
        core = found._core
        answer = Answer(
            library_id=now.id,
            seq=now.seq,
            ordinals=core.keys,
            scores=core.scores.astype(np.float32),
            faces=core.faces.astype(np.int32),
            total=core.total,
            matching=matching,
            added_ms=added_ms,
        )
        page = self._cut(answer, first, count)
        if audited:
            details = {"threshold": required, "fields": sorted(where or ())}
            self._store.note_search(now, "search", self._actor, media=page.total, details=details)
        return SearchResult(
            hits=page.hits,
            total=page.total,
            threshold=required,
            threshold_reason=reason,
            plan=found.plan,
            model=row.model,
            provider=query.provider,
            query_faces=query.faces,
            query_boxes=query.boxes,
            embedding=query.embedding,
            answer=answer,
            _cut=self._cut,
        )

    def _cut(self, answer: Answer, offset: int, limit: int) -> Page:
        return cut_page(self._store, answer, offset, limit)

    def _threshold_of(self, library: LibraryRow, threshold: object) -> tuple[float | None, str]:
        """Return the cosine that is required, and why that one."""
        if threshold is None:
            return None, "none: the best, whatever their score"
        if not isinstance(threshold, str) or threshold != "library":
            return check_threshold(threshold), "asked for"
        if library.threshold is not None:
            return library.threshold, f"set for library {library.name!r}"
        if library.model is None:
            raise InvalidArgumentError(
                f"threshold: library {library.name!r} has no model and no threshold of its own; "
                "give one here, or with set_threshold"
            )
        manifest = self._shared.manifest(library.model)
        return manifest.threshold_floor, f"the floor of model {manifest.id}"

    def _query(
        self,
        library: LibraryRow,
        picture: PictureSource | Sequence[PictureSource] | None,
        vector: ArrayLike | None,
    ) -> _Query:
        if (picture is None) == (vector is None):
            raise InvalidArgumentError("search: expected a picture or a vector, one of the two")
        if vector is not None:
            embedding = _real_float32(vector, "vector")
            if embedding.shape != (library.dim,):
                raise ModelMismatchError(
                    f"vector: library {library.name!r} takes shape ({library.dim},), got "
                    f"{embedding.shape}"
                )
            return _Query(embedding)
        analyzer = self._analyzer_of(library)
        if not isinstance(picture, (list, tuple)):
            return _fused(analyzer, [cast("PictureSource", picture)])
        if not picture:
            raise InvalidArgumentError("picture: expected at least one photo, got an empty list")
        return _fused(analyzer, picture)


def _fused(analyzer: FaceAnalyzer, sources: Sequence[PictureSource]) -> _Query:
    """Embed the largest face of each picture, one picture in memory at a time, and fuse them."""
    count, boxes, total = 0, [], np.zeros(analyzer.dim, dtype=np.float64)
    for number, source in enumerate(sources):
        analysis = analyzer.analyze([read_picture(source).pixels])[0]
        if not analysis.faces:
            raise _no_face(analysis, f"picture[{number}]" if len(sources) > 1 else "picture")
        face = analysis.faces[0]
        count += len(analysis.faces)
        boxes.append(face.box)
        total += face.score * (face.embedding / np.linalg.norm(face.embedding))
    if len(sources) == 1:
        return _Query(face.embedding, analyzer.provider, count, tuple(boxes))
    norm = np.linalg.norm(total)
    if not norm:  # opposite faces, and nothing in between
        raise InvalidArgumentError("picture: these faces cancel each other out; give photos of one")
    fused = (total / norm).astype(np.float32)
    return _Query(fused, analyzer.provider, count, tuple(boxes))


def _no_face(analysis: Analysis, name: str) -> NoFaceError:
    reasons = ", ".join(sorted({refused.reason for refused in analysis.refused}))
    reason = f"no usable face ({reasons})" if reasons else "no face"
    return NoFaceError(f"{name}: {reason} was found; give a photo with a face", reason=reason)


def _require_active(library: LibraryRow) -> None:
    if library.face_index != "active":
        raise OperationDeniedError(
            f"the face index of library {library.name!r} is "
            f"{'deactive' if library.face_index else 'not there'}; set_face_index activates it"
        )
