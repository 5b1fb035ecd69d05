"""What the Engine returns of where somebody is in an asset: plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from facegrep.engine._results import MediaType, QueryPhoto
    from facegrep.store import VideoFacts
    from facegrep.vision import Box


@dataclass(frozen=True, slots=True, eq=False)
class Occurrence:
    """One appearance, ended by a cut or by an absence; of a picture the one moment 0.

    Attributes
    ----------
    start_ms, end_ms
        From when until when, from the video's beginning.
    times_ms
        int64 ``(n,)``, ascending, n >= 1: when the face was looked at.
    boxes
        int32 ``(n, 4)``: x, y, width, height in whole px of the upright frame; where it was then.
    """

    start_ms: int
    end_ms: int
    times_ms: NDArray[np.int64] = field(repr=False)
    boxes: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One person of one asset.

    Attributes
    ----------
    person
        Their number in the asset; of a picture that of the face.
    score
        Cosine of their best face, rounded to float32.
    probability
        That they are who was searched for; ``None`` where the model is not calibrated.
    box, time_ms
        That best face, in px of the upright original, and when it is seen; ``None`` when it came
        as a vector.
    occurrences
        All their appearances, by start, also those in which no face reaches the threshold; empty
        when they came as vectors.
    entity_id, name, recognition_id
        Whom the library's recognition libraries know them as; ``None``: nobody.
    """

    person: int
    score: float
    probability: float | None
    box: Box | None
    time_ms: int | None
    occurrences: tuple[Occurrence, ...]
    entity_id: str | None = None
    name: str | None = None
    recognition_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """Who in an asset is the person searched for: as a rule one clip, or none.

    Iterating, indexing and ``len`` are those of ``clips``.

    Attributes
    ----------
    clips
        By score descending, then by person.
    threshold, threshold_reason
        As of a `SearchResult`.
    media_type, video
        Of the asset; `video` is ``None`` unless it is a video that was analysed.
    provider, query_photos
        As of a `SearchResult`, of the query that was embedded here, if one was.
    """

    clips: tuple[Clip, ...]
    threshold: float | None
    threshold_reason: str
    media_id: str
    media_type: MediaType
    video: VideoFacts | None
    provider: str | None
    query_photos: tuple[QueryPhoto, ...]

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, position: int) -> Clip:
        return self.clips[position]
