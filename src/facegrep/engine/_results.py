"""What the Engine returns: plain, frozen values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from facegrep._errors import FacegrepError
    from facegrep._result import Plan
    from facegrep.store import Answer, VideoFacts
    from facegrep.vision import Box, Quality, RefusedFace

FaceIndexStatus: TypeAlias = Literal["active", "deactive"] | None
"""A library's face index: active, there but off, or never made."""

MediaType: TypeAlias = Literal["image", "video", "audio"]


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Says "leave it as it is" where ``None`` means "nothing"."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library as it is in the catalog.

    Attributes
    ----------
    name
        Unique in its account.
    model
        Id of the model whose vectors it holds; ``None`` for a library of vectors.
    dim
        Length of its vectors.
    threshold
        Its own threshold (cosine, -1..1); ``None`` when it follows its model and its size.
    face_index
        ``"active"``, ``"deactive"``, or ``None`` when it has no face index.
    media_count, face_count
        Assets that are neither deleted nor expired, and their faces.
    config
        Text kept for the caller, uninterpreted.
    created_ms
        When it was created, milliseconds since 1970 UTC.
    ttl_ms
        How long an asset is kept after it was added; ``None``: until it is deleted.
    recognition
        Ids of the recognition libraries whose people are recognised in it, three at most.
    """

    name: str
    model: str | None
    dim: int
    threshold: float | None
    face_index: FaceIndexStatus
    media_count: int
    face_count: int
    config: str
    created_ms: int
    ttl_ms: int | None = None
    recognition: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face of an asset.

    Attributes
    ----------
    face_no
        0, 1, ... in the order of adding; of a picture the largest face is 0. Of a video a few
        faces are kept for each appearance of a person, appearance by appearance, best first.
    box
        Where it is, in px of the upright original, or ``None`` when it came as a vector.
    score
        The detector's score, of a video the face's quality (0..1); ``None`` when it came as a
        vector.
    precision
        Of the embedding: ``"fp32"`` or ``"int8"``; ``None`` when it came as a vector.
    code
        int8 ``(dim,)``, when vectors were asked for.
    """

    face_no: int
    box: Box | None
    score: float | None
    precision: str | None
    code: NDArray[np.int8] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class IndexJob:
    """The analysis of an asset: when it was asked for, and how it ended (ms since 1970 UTC)."""

    status: Literal["Running", "Success", "Fail"]
    submit_ms: int
    finish_ms: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Media:
    """What is stored of an asset.

    Attributes
    ----------
    fields
        Those of ``intField1``, ``strField1``, ``strField2`` that have a value.
    source
        Absolute path or URL; ``None`` when it was added as bytes, array, file object or vectors.
    content_sha256
        Lowercase hex; of the encoded bytes, of an array's shape and pixels, or of vectors' codes.
        Empty of a video behind a URL until it was fetched and analysed.
    faces
        In the order of ``face_no``.
    job
        Its analysis; ``None`` when none was asked for since the face index was last made.
    video
        Of a video that is analysed: its size and length, how far it was looked at, its people.
    """

    media_id: str
    media_type: MediaType
    namespace: str | None
    fields: Mapping[str, int | str]
    utc_create_ms: int
    title: str | None
    source: str | None
    content_sha256: str
    faces: tuple[StoredFace, ...]
    job: IndexJob | None
    video: VideoFacts | None = None


@dataclass(frozen=True, slots=True)
class AddResult:
    """What became of one ``add``.

    Attributes
    ----------
    added
        ``False`` when the same asset was there already: nothing was written.
    faces, refused
        Faces kept, and faces seen but not kept (empty when the asset was there already).
    analysed
        ``False`` while the library's face index is not active: stored, not searchable yet; also of
        an asset that was there already and whose analysis failed.
    provider
        What ran the model, as its session says; ``None`` when this call analysed nothing.
    video
        Of a video that is analysed: its size and length, how far it was looked at, its people.
    """

    media_id: str
    added: bool
    faces: tuple[StoredFace, ...]
    refused: tuple[RefusedFace, ...]
    analysed: bool
    provider: str | None = None
    video: VideoFacts | None = None


@dataclass(frozen=True, slots=True)
class AddManyResult:
    """What became of an ``add_many`` or ``add_vectors``.

    Attributes
    ----------
    added, unchanged
        Assets stored, and assets that were there already, the same.
    faces
        Faces stored.
    errors
        ``(media_id, error)`` of each item left out, in the order of the items.
    provider
        What ran the model, as its session says; ``None`` when this call analysed nothing.
    truncated
        ``(media_id, why)`` of each video stored that was looked at in part only, in order.
    """

    added: int
    unchanged: int
    faces: int
    errors: tuple[tuple[str, FacegrepError], ...] = ()
    provider: str | None = None
    truncated: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexingReport:
    """What became of the assets when a face index was switched.

    Attributes
    ----------
    analysed, faces
        Assets analysed by this call, and the faces found in them.
    failed
        ``(media_id, reason)`` of each asset that can no longer be analysed; its job is Fail.
    erased
        Faces whose vectors were overwritten by this call.
    provider
        What ran the model, as its session says; ``None`` when this call analysed nothing.
    left
        The ids of those whose content is behind URLs, and fetched and analysed in the background.
    """

    analysed: int = 0
    faces: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    erased: int = 0
    provider: str | None = None
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """An asset that contains the person.

    Attributes
    ----------
    score
        Cosine of its best face, rounded to float32.
    box
        That face in the original picture; ``None`` when it came as a vector, or is there no more.
    face_count
        Faces stored of the asset.
    probability
        That this face is the person's, 0 to 1, if it was as likely as not before; rises with the
        score. ``None`` where the model is not calibrated. It does not know how many faces were
        searched: `SearchResult.expected_false_matches` does.
    """

    media_id: str
    score: float
    box: Box | None
    face_count: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class QueryPhoto:
    """What one photo, or one sample of an entity, had to do with a query.

    Attributes
    ----------
    weight
        Its share in the embedding searched for; those of a query add up to 1.
    agreement
        Its cosine with that embedding: one far below the others shows somebody else, perhaps.
    box
        Its largest face, in px of it upright; ``None`` of a sample that was a vector.
    quality
        How good that face is to search with: look at the verdict before trusting an answer.
        ``None`` of a vector or a sample from a video, and where the model sets no limits.
    sample_id
        Of an entity's sample; ``None`` of a photo.
    """

    weight: float
    agreement: float
    box: Box | None
    quality: Quality | None
    sample_id: str | None = None


class Page(NamedTuple):
    """A cut of a frozen answer, and the answer's Total now."""

    hits: tuple[Hit, ...]
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """A page of hits, and the frozen answer that it was cut from.

    Iterating, indexing and ``len`` are those of ``hits``.

    Attributes
    ----------
    hits
        This page. Assets deleted since the search are left out, so it may be short.
    total
        Distinct assets that match, less those deleted since the search: exact, never capped.
    threshold, threshold_reason
        The cosine that was required, and where it came from; ``None``: the best ones, whatever
        their score.
    expected_false_matches
        How many of the library's faces are expected to reach the threshold although they are
        somebody else's, before any filter; assets are at most as many. Of strangers, photographed
        as those the model was calibrated on, one photo against one: of several photos or samples
        fused, whose threshold is the same, up to twice as many. ``None`` without a threshold or a
        calibrated model.
    plan
        What the scan did.
    model, provider
        The library's model; what ran it for this query, ``None`` when the query was a vector.
    query_faces
        Usable faces in the query pictures, of each of which the largest was taken; 0 for a vector.
    query_boxes
        Where those largest faces are, one a picture, in px of it upright; empty for a vector.
    query_photos
        What each picture, or each sample of the entity, had to do with it; empty for a vector.
    embedding
        float32 ``(dim,)``: what was searched for.
    """

    hits: tuple[Hit, ...]
    total: int
    threshold: float | None
    threshold_reason: str
    expected_false_matches: float | None
    plan: Plan
    model: str | None
    provider: str | None
    query_faces: int
    query_boxes: tuple[Box, ...]
    query_photos: tuple[QueryPhoto, ...]
    embedding: NDArray[np.float32] = field(repr=False)
    answer: Answer = field(repr=False)
    _cut: Callable[[Answer, int, int], Page] = field(repr=False)

    @property
    def media_ids(self) -> list[str]:
        """Of this page's hits."""
        return [hit.media_id for hit in self.hits]

    @property
    def scores(self) -> NDArray[np.float32]:
        """Of this page's hits: float32 ``(len(hits),)``."""
        return np.array([hit.score for hit in self.hits], dtype=np.float32)

    def page(self, offset: int, limit: int) -> SearchResult:
        """Cut another page of the same answer, by absolute position.

        Pages are disjoint and complete whatever is written meanwhile: nothing is searched again,
        nothing is added; assets deleted since are left out and subtracted from `total`.

        Raises
        ------
        InvalidArgumentError
            A negative `offset` or `limit`; without a threshold, a page beyond those searched for.
        StoreClosed
            The engine was closed.
        """
        hits, total = self._cut(self.answer, offset, limit)
        return replace(self, hits=hits, total=total)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, position: int) -> Hit:
        return self.hits[position]
