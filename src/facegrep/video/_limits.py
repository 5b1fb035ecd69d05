"""How much of a video is looked at, whatever it claims to be."""

from __future__ import annotations

from dataclasses import dataclass

from facegrep._errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """Bounds that stop an analysis, or refuse a file. Each is an int from 1.

    Attributes
    ----------
    duration_max_ms
        What comes later is not analysed.
    pixels_max
        Of a frame; a larger one is refused. The default lets 8K pass.
    streams_max
        Of all kinds in a file; one with more is refused.
    faces_per_frame_max
        The largest ones are kept.
    tracks_max
        With more the analysis ends there. People are told apart in time and memory quadratic in
        it: 8192 tracks take 0.3 GB.
    """

    duration_max_ms: int = 12 * 3600 * 1000
    pixels_max: int = 36_000_000
    streams_max: int = 64
    faces_per_frame_max: int = 32
    tracks_max: int = 8192

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(f"{name}: expected an int from 1, got {value!r:.80}")
