"""The fine search: where in one asset is the person that a coarse search was for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from facegrep import _core
from facegrep._errors import (
    InvalidArgumentError,
    ModelMismatchError,
    NotFoundError,
    StoreCorrupt,
)
from facegrep._names import check_library_name, check_name
from facegrep.engine._clip_results import Clip, ClipResult, Occurrence
from facegrep.engine._media import media_type_of
from facegrep.engine._pages import FrozenAnswer
from facegrep.engine._results import UNSET, SearchResult, Unset
from facegrep.engine._roster import NOBODY
from facegrep.engine._search import SearchOperations, require_active
from facegrep.engine._threshold import Threshold, ThresholdRule, live_faces, threshold_rule
from facegrep.store import (
    find_media,
    read_asset_codes,
    read_store,
    read_video,
    unpack_faces,
)
from facegrep.vision import Box

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from facegrep.engine._results import QueryPhoto
    from facegrep.engine._roster import Known
    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow, MediaRow, Video
    from facegrep.vision import Calibration


class _Query(NamedTuple):
    embedding: NDArray[np.float32]
    rule: ThresholdRule
    provider: str | None = None
    photos: tuple[QueryPhoto, ...] = ()


class ClipOperations(SearchOperations):
    """The Engine's search within an asset."""

    def clips(
        self,
        library: str,
        media_id: str,
        query: PictureSource | Sequence[PictureSource] | SearchResult | FrozenAnswer | None = None,
        *,
        vector: ArrayLike | None = None,
        entity: str | None = None,
        threshold: Threshold | Unset = UNSET,
        recognised: str | None = None,
    ) -> ClipResult:
        """Find when and where in an asset a person is seen.

        Parameters
        ----------
        library, media_id
            Their names.
        query
            The result of a search, or what `Engine.answers` kept of one: its embedding and its
            threshold are used, not its filters. Or a picture or pictures, as of `search`.
        vector, entity
            Instead of `query`, as of `search`.
        threshold
            As of `search`; by default that of the result, else ``"library"``.
        recognised
            The id of an entity: only if this is recognised as theirs, as in `search`.

        Returns
        -------
        ClipResult
            One clip a person of the asset of whom a face reaches the threshold. Of a picture, and
            of an asset that was added as vectors, each face counts as a person.

        Raises
        ------
        NotFoundError
            No such library, media or `entity`; ``kind`` says which.
        OperationDeniedError, NoFaceError, PictureError, ModelMismatchError, InvalidArgumentError
            As of `search`.
        StoreCorrupt
            What is stored of the asset is damaged.
        """
        check_library_name(library)
        check_name(media_id, "media_id")
        wanted = None if recognised is None else check_name(recognised, "recognised")
        store = self._store
        with store.catalog.read() as connection:
            audited = bool(read_store(connection).search_audit)
        if audited:
            store.require_auditable()
        row = self._find(library)
        require_active(row)
        asked = self._asked(row, query, vector, entity, threshold)
        calibration = self._shared.calibration(row.model)

        def read(connection: sqlite3.Connection, now: LibraryRow) -> ClipResult:
            require_active(now)
            if len(asked.embedding) != now.dim or now.model != row.model:
                raise ModelMismatchError(
                    f"library {library!r} takes vectors of {now.model or 'no model'} and length "
                    f"{now.dim}; search it again"
                )
            media = find_media(connection, now, media_id)
            if media is None:
                raise NotFoundError("media", media_id)
            video = read_video(connection, now, media)
            (codes,) = read_asset_codes(connection, store.vectors.folder, now, [media])
            try:
                people = _People.of(media, video)
            except ValueError as error:
                what = f"library {library!r}, media {media_id!r}: {error}"
                raise StoreCorrupt(what, library=library) from error
            known = self._known(connection, now, codes)
            required, reason = asked.rule.among(live_faces(connection, now))
            return ClipResult(
                clips=_found(people, codes, asked.embedding, required, known, wanted, calibration),
                threshold=required,
                threshold_reason=reason,
                media_id=media_id,
                media_type=media_type_of(media.media_type),
                video=None if video is None else video.facts,
                provider=asked.provider,
                query_photos=asked.photos,
            )

        result = store.read_library(self._account, library, read)
        if audited:
            details = {"threshold": result.threshold}
            found = int(bool(result.clips))
            store.note_search(row, "clips", self._actor, media=found, details=details)
        return result

    def _asked(
        self,
        library: LibraryRow,
        query: PictureSource | Sequence[PictureSource] | SearchResult | FrozenAnswer | None,
        vector: ArrayLike | None,
        entity: str | None,
        threshold: Threshold | Unset,
    ) -> _Query:
        if not isinstance(query, (SearchResult, FrozenAnswer)):
            wanted = "library" if isinstance(threshold, Unset) else threshold
            rule = threshold_rule(library, wanted, self._shared.manifest)
            looked = self._query(library, query, vector, entity)
            return _Query(looked.embedding, rule, looked.provider, looked.photos)
        if vector is not None or entity is not None:
            raise InvalidArgumentError("clips: expected a result, or a vector or an entity")
        if isinstance(query, SearchResult) and query.model != library.model:
            raise ModelMismatchError(
                f"clips: the result is of {query.model or 'no model'}, library {library.name!r} "
                f"holds vectors of {library.model or 'no model'}"
            )
        if isinstance(threshold, Unset):
            return _Query(query.embedding, ThresholdRule(query.threshold, "that of the search"))
        return _Query(query.embedding, threshold_rule(library, threshold, self._shared.manifest))

    def _known(
        self, connection: sqlite3.Connection, library: LibraryRow, codes: NDArray[np.int8]
    ) -> list[tuple[Known, float] | None]:
        """Say whose each face is, and how like."""
        roster = self._shared.rosters.read(connection, library)
        if not roster.people or not len(codes):
            return [None] * len(codes)
        rule = threshold_rule(library, "library", self._shared.manifest)
        threshold, _ = rule.among(live_faces(connection, library))
        who, scores = roster.assign(codes, cast("float", threshold))
        return [
            None if number == NOBODY else (roster.people[number], score)
            for number, score in zip(who.tolist(), scores.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _People:
    """Who is in an asset: of each face its person, its box and its time."""

    of_face: list[int]
    boxes: list[Box | None]
    times_ms: list[int | None]
    occurrences: dict[int, list[Occurrence]]

    @staticmethod
    def of(media: MediaRow, video: Video | None) -> _People:
        values = unpack_faces(media.face_data, media.face_count)
        count = media.face_count
        if values is None:  # vectors
            return _People(list(range(count)), [None] * count, [None] * count, {})
        boxes: list[Box | None] = [Box(*map(float, face[:4])) for face in values]
        occurrences: dict[int, list[Occurrence]] = {}
        if video is None:
            for face, row in enumerate(values):
                moment = np.zeros(1, dtype=np.int64)
                occurrences[face] = [Occurrence(0, 0, moment, _whole_px(row[np.newaxis, :4]))]
            return _People(list(range(count)), boxes, [0] * count, occurrences)
        of_face: list[int] = []
        times_ms: list[int | None] = []
        for track in video.tracks:
            of_face += [track.person] * len(track.face_times_ms)
            times_ms += track.face_times_ms.tolist()
            occurrences.setdefault(track.person, []).append(
                Occurrence(
                    track.start_ms,
                    track.end_ms,
                    track.samples[:, 0].astype(np.int64),
                    track.samples[:, 1:].copy(),
                )
            )
        for some in occurrences.values():
            some.sort(key=lambda one: (one.start_ms, one.end_ms))
        return _People(of_face, boxes, times_ms, occurrences)

    def faces(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each person with the numbers of their faces."""
        by_person: dict[int, list[int]] = {}
        for face, person in enumerate(self.of_face):
            by_person.setdefault(person, []).append(face)
        yield from by_person.items()


def _found(
    people: _People,
    codes: NDArray[np.int8],
    embedding: NDArray[np.float32],
    threshold: float | None,
    known: list[tuple[Known, float] | None],
    wanted: str | None,
    calibration: Calibration | None,
) -> tuple[Clip, ...]:
    """Choose the people of whom a face reaches the threshold; the score to the bit of a search."""
    if not len(codes):
        return ()
    queries = np.broadcast_to(embedding, codes.shape)
    scores = _core.scores(np.ascontiguousarray(queries, dtype=np.float32), codes)
    ranked: list[tuple[float, int, Clip]] = []
    for person, faces in people.faces():
        best = max(faces, key=lambda face: scores[face])  # of equals the first
        if threshold is not None and scores[best] < threshold:
            continue
        names = [name for face in faces if (name := known[face]) is not None]
        if wanted is not None:
            names = [name for name in names if name[0].entity_id == wanted]
            if not names:
                continue
        who = max(names, key=lambda name: name[1], default=(None, 0.0))[0]
        score = float(np.float32(scores[best]))
        clip = Clip(
            person=person,
            score=score,
            probability=None if calibration is None else calibration.probability(score),
            box=people.boxes[best],
            time_ms=people.times_ms[best],
            occurrences=tuple(people.occurrences.get(person, ())),
            entity_id=None if who is None else who.entity_id,
            name=None if who is None else who.name,
            recognition_id=None if who is None else who.recognition_id,
        )
        ranked.append((-scores[best], person, clip))
    return tuple(clip for *_, clip in sorted(ranked, key=lambda one: one[:2]))


def _whole_px(boxes: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the boxes in whole px that are nearest, none empty."""
    corners = np.rint(np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]))
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 1)
    return np.column_stack([corners[:, :2], sides]).astype(np.int32)
