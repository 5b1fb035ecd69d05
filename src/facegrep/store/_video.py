"""What is known of a video besides its faces: its size and length, and who is seen when and where.

A track is one appearance of one person. The faces of a video are those of its tracks, track by
track; so each track says how many of them are its own. Times are int32 milliseconds: 24 days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from facegrep._errors import InvalidArgumentError, StoreCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_VALUES: Final = 5
"""Of a sampled box: when, and its x, y, width and height."""


class VideoFacts(NamedTuple):
    """A video as a whole.

    Attributes
    ----------
    width, height
        Of the upright frame, px.
    duration_ms, analysed_ms
        How long it is, and up to where it was looked at.
    truncated
        Why the rest was not, in a phrase; ``None`` where all of it was.
    person_count
        How many people its tracks are of.
    """

    width: int
    height: int
    duration_ms: int
    analysed_ms: int
    truncated: str | None
    person_count: int


@dataclass(frozen=True, slots=True, eq=False)
class VideoTrack:
    """One appearance of one person.

    Attributes
    ----------
    person
        Which person of this video, from 0.
    start_ms, end_ms
        From when until when.
    samples
        int32 ``(n, SAMPLE_VALUES)``: boxes of the face in whole px of the upright frame, by time.
    face_times_ms
        int32 ``(k,)``: when each of the track's stored faces was seen.
    """

    person: int
    start_ms: int
    end_ms: int
    samples: NDArray[np.int32] = field(repr=False)
    face_times_ms: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A video and its tracks, by start, then end."""

    facts: VideoFacts
    tracks: tuple[VideoTrack, ...] = field(repr=False)


def pack_int32(values: NDArray[Any]) -> bytes:
    """Pack integers as little-endian int32.

    Raises
    ------
    InvalidArgumentError
        One of them is out of range.
    """
    packed = np.ascontiguousarray(values, dtype="<i4")
    if not np.array_equal(packed, values):
        raise InvalidArgumentError("video: expected times and boxes within int32")
    return packed.tobytes()


def unpack_int32(data: bytes, columns: int, whose: str) -> NDArray[np.int32]:
    """Unpack what `pack_int32` packed: ``(n, columns)``, or ``(n,)`` for one column.

    Raises
    ------
    StoreCorrupt
        It does not hold whole rows.
    """
    if len(data) % (4 * columns):
        raise StoreCorrupt(f"{whose}: a track's boxes are cut off")
    values = np.frombuffer(data, dtype="<i4").astype(np.int32)
    return values if columns == 1 else values.reshape(-1, columns)
