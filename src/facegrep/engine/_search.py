"""Searching: a face in, the assets that contain it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from facegrep._arguments import check_count
from facegrep._errors import (
    InvalidArgumentError,
    ModelMismatchError,
    OperationDeniedError,
)
from facegrep._index import _real_float32
from facegrep._names import check_library_name, check_name
from facegrep._result import Plan
from facegrep._stages import stage
from facegrep._where import compile_where
from facegrep.engine._pages import cut_page
from facegrep.engine._query import Query, entity_query, picture_query
from facegrep.engine._results import Page, SearchResult
from facegrep.engine._threshold import Threshold, threshold_rule
from facegrep.engine._view import EngineCore
from facegrep.store import Answer, find_library, read_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from facegrep import _core
    from facegrep._where import Where
    from facegrep.engine._library_index import LibraryIndex
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow


class _Found(NamedTuple):
    """What one state of the library answered; see `Answer`."""

    library: LibraryRow
    core: _core.SearchResult
    threshold: float | None
    reason: str
    matching: NDArray[np.int64] | None
    added_ms: NDArray[np.int64] | None


class SearchOperations(EngineCore):
    """The Engine's search."""

    def search(
        self,
        library: str,
        picture: PictureSource | Sequence[PictureSource] | None = None,
        *,
        vector: ArrayLike | None = None,
        entity: str | None = None,
        threshold: Threshold = "library",
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        recognised: str | None = None,
    ) -> SearchResult:
        """Find the assets that contain a person.

        Parameters
        ----------
        library
            Its name.
        picture
            A path, encoded bytes, binary file object or RGB array (uint8): the face with the
            largest box is searched for. A list of photos of one person: their largest faces are
            fused into the mean of their embeddings, weighted by quality: the detector's score,
            and less for a face below 112 px.
        vector
            ``(dim,)`` instead of a picture.
        entity
            The id of an entity of any recognition library, instead: all its samples, fused in the
            same way.
        threshold
            The cosine (-1 to 1) that a match must reach. ``"library"``: the library's own, else
            its model's floor, or what is needed to expect at most 0.1 false matches among all its
            faces, if that is more. ``None``: the best ``offset + limit`` assets, whatever their
            scores.
        limit, offset
            The first page. With a threshold the result keeps every match, and cuts other pages.
        where
            A filter on the fields, applied before anything is ranked (`facegrep._where`).
        recognised
            The id of an entity: only assets with a face that is recognised as theirs, by the
            samples of now. That is a face that reaches the library's threshold with the entity's
            fused samples, and more than with any other entity of the recognition libraries that the
            library lists; whatever `threshold` is. An entity of no such library is in no asset.

        Returns
        -------
        SearchResult
            Assets by score descending, then media id ascending, bytewise; its total is exact.

        Raises
        ------
        NotFoundError
            No such library, or no such `entity`.
        OperationDeniedError
            Its face index is not active; the `entity` has no sample.
        NoFaceError
            A picture has no usable face.
        PictureError
            A picture cannot be read.
        ModelMismatchError
            A picture, but the library has no model; a vector of another length; samples of another
            model.
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
        wanted = None if recognised is None else check_name(recognised, "recognised")
        first, count = check_count(offset, "offset"), check_count(limit, "limit")
        with self._store.catalog.read() as connection:
            row = find_library(connection, self._account, library)
            audited = bool(read_store(connection).search_audit)
        if audited:
            self._store.require_auditable()
        require_active(row)
        rule = threshold_rule(row, threshold, self._shared.manifest)
        calibration = self._shared.calibration(row.model)
        query = self._query(row, picture, vector, entity)

        def search(now: LibraryRow, index: LibraryIndex | None) -> _Found:
            require_active(now)
            if index is None or now.dim != row.dim or now.model != row.model:
                raise ModelMismatchError(
                    f"library {library!r} was replaced meanwhile; search again"
                )
            required, reason = rule.among(len(index.faces))
            core = index.faces._core
            among = None if wanted is None else self._recognised_in(now, index, wanted)
            (found,) = core.search(
                query.embedding[np.newaxis],
                threshold=required,
                limit=count,
                offset=first,
                where=conditions,
                threads=0,
                among=among,
            )
            # What is deleted later is subtracted from the total, so it must be known what counted.
            matching = core.keys(conditions, among) if found.total > len(found) else None
            added_ms = index.added_ms(found.keys if matching is None else matching)
            return _Found(now, found, required, reason, matching, added_ms)

        with stage("scan"):
            found = self._shared.indexes.search(self._account, library, search)
        now, core, plan = found.library, found.core, Plan(*found.core.plan)
        expected = None
        if calibration is not None and found.threshold is not None:
            expected = calibration.false_match_rate(found.threshold) * plan.rows_live
        answer = Answer(
            library_id=now.id,
            seq=now.seq,
            ordinals=core.keys,
            scores=core.scores.astype(np.float32),
            faces=core.faces.astype(np.int32),
            total=core.total,
            matching=found.matching,
            added_ms=found.added_ms,
        )

        def cut(answer: Answer, offset: int, limit: int) -> Page:
            return cut_page(self._store, calibration, answer, offset, limit)

        page = cut(answer, first, count)
        if audited:
            fields = [*(where or ()), *([] if wanted is None else ["recognised"])]
            details = {"threshold": found.threshold, "fields": sorted(fields)}
            self._store.note_search(now, "search", self._actor, media=page.total, details=details)
        return SearchResult(
            hits=page.hits,
            total=page.total,
            threshold=found.threshold,
            threshold_reason=found.reason,
            expected_false_matches=expected,
            plan=plan,
            model=row.model,
            provider=query.provider,
            query_faces=query.faces,
            query_boxes=query.boxes,
            query_photos=query.photos,
            embedding=query.embedding,
            answer=answer,
            _cut=cut,
        )

    def _recognised_in(
        self, library: LibraryRow, index: LibraryIndex, entity_id: str
    ) -> NDArray[np.int64]:
        """Return the ordinals of the assets in which somebody is recognised now."""
        with self._store.catalog.read() as connection:
            roster = self._shared.rosters.read(connection, library)
        if roster.number_of(entity_id) is None:
            return np.zeros(0, dtype=np.int64)
        rule = threshold_rule(library, "library", self._shared.manifest)
        threshold, _ = rule.among(len(index.faces))
        core = index.faces._core
        return index.recognised.of(core, index.seq, roster, entity_id, cast("float", threshold))

    def _query(
        self,
        library: LibraryRow,
        picture: PictureSource | Sequence[PictureSource] | None,
        vector: ArrayLike | None,
        entity: str | None,
    ) -> Query:
        if sum(given is not None for given in (picture, vector, entity)) != 1:
            raise InvalidArgumentError(
                "search: expected a picture, a vector or an entity, one of the three"
            )
        if entity is not None:
            check_name(entity, "entity")
            manifest = self._shared.manifest_if_here(library.model)
            limits = None if manifest is None else manifest.quality
            with self._store.catalog.read() as connection:
                return entity_query(connection, library, entity, limits)
        if vector is not None:
            embedding = _real_float32(vector, "vector")
            if embedding.shape != (library.dim,):
                raise ModelMismatchError(
                    f"vector: library {library.name!r} takes shape ({library.dim},), got "
                    f"{embedding.shape}"
                )
            return Query(embedding)
        analyzer = self._analyzer_of(library)
        if not isinstance(picture, (list, tuple)):
            return picture_query(analyzer, [cast("PictureSource", picture)])
        if not picture:
            raise InvalidArgumentError("picture: expected at least one photo, got an empty list")
        return picture_query(analyzer, picture)


def require_active(library: LibraryRow) -> None:
    """Refuse a search of a library whose face index is not active."""
    if library.face_index != "active":
        raise OperationDeniedError(
            f"the face index of library {library.name!r} is "
            f"{'deactive' if library.face_index else 'not there'}; set_face_index activates it"
        )
