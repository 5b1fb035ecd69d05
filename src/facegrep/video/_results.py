"""What is known of a video once it was looked at: plain data, without pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PixelBox(NamedTuple):
    """A rectangle inside the upright frame; ``x`` and ``y`` are its left upper corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One face of a track, kept to recognise the person by.

    Attributes
    ----------
    embedding
        float32 (dim,), of length 1, finite.
    box
        Where it is in the frame.
    time_ms
        When; one of the track's `times_ms`.
    quality
        0..1: how large, sharp, frontal and certain the face is.
    """

    embedding: NDArray[np.float32]
    box: PixelBox
    time_ms: int
    quality: float


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One appearance of one person: ended by a cut, or by an absence.

    Attributes
    ----------
    person
        Which person of this video it is, from 0, in the order of appearance. No two tracks of one
        person show faces of the same frame.
    start_ms, end_ms
        From when until when; never beyond a cut. A face that appears between two sampled frames is
        taken to do so halfway.
    times_ms
        int64 (n,), ascending: the sampled frames in which the face was found, n >= 1.
    boxes
        int32 (n, 4): x, y, width, height in each of them, as in `PixelBox`.
    templates
        One to a few, best first. They differ from each other by more than chance.
    """

    person: int
    start_ms: int
    end_ms: int
    times_ms: NDArray[np.int64]
    boxes: NDArray[np.int32]
    templates: tuple[Template, ...]


@dataclass(frozen=True, slots=True, eq=False)
class VideoAnalysis:
    """Who appears in a video, when, and where.

    Times are milliseconds from the file's beginning, as players show them. Boxes are in pixels of
    the frame as it is stored, turned upright by its rotation metadata.

    Attributes
    ----------
    tracks
        By start, then end.
    persons
        How many people; tracks have numbers below it.
    width, height
        Of the upright frame, px. A file may change its size midway: boxes from there on are
        scaled to this one.
    duration_ms
        As far as is known: what the file declares, or what was decoded if that is more.
    analysed_ms
        Up to where frames were decoded: `duration_ms` or nearly so, unless `truncated`.
    frame_rate
        Decoded frames a second, on average; 0 where there was only one.
    cuts_ms
        int64 (n,), ascending: first frames of shots, other than the first one's.
    frames_sampled
        How many frames were looked at.
    frames_damaged
        How many could not be decoded, or only in part, and were left out.
    truncated
        Why the rest was not analysed, in a phrase; ``None`` where all of it was.
    model_id, dim
        Of the embeddings.
    """

    tracks: tuple[Track, ...]
    persons: int
    width: int
    height: int
    duration_ms: int
    analysed_ms: int
    frame_rate: float
    cuts_ms: NDArray[np.int64]
    frames_sampled: int
    frames_damaged: int
    truncated: str | None
    model_id: str
    dim: int


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """How far an analysis is.

    Attributes
    ----------
    time_ms
        Up to where frames were looked at.
    duration_ms
        As the file declares it, ``None`` where it does not.
    faces
        Found so far, each counted in every frame.
    """

    time_ms: int
    duration_ms: int | None
    faces: int
