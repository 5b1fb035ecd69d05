"""Which frames are looked at, and to which shot each belongs.

Four a second, and the first of each shot. A face turns from profile to front in about half a
second, so two looks at it; a second frame rate costs as much again and finds the same tracks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facegrep.video._cuts import GRID, CutFinder, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facegrep.video._decode import Video
    from facegrep.video._upright import Converter

SAMPLE_EVERY_MS: Final = 250
# A strobe makes every frame a suspect.
_SUSPECTS_EVERY_MS: Final = 80
_POINTS: Final = 4
"""Points a cell and side: averaged, so that noise and fine texture do not count."""


@dataclass(slots=True, eq=False)
class Sample:
    """A frame that is looked at.

    Attributes
    ----------
    number
        Counts samples from 0.
    time_ms, shown_until_ms
        When it is shown: until the next decoded frame, sampled or not.
    shot
        Counts shots from 0.
    frame
        ``av.VideoFrame``.
    """

    number: int
    time_ms: int
    frame: Any
    shown_until_ms: int = 0
    shot: int = 0


class Sampler:
    """Chooses among all frames of a video, in order.

    Attributes
    ----------
    cuts_ms
        First frames of shots but the first one's, as far as `samples` has come.
    """

    def __init__(self, converter: Converter) -> None:
        self._converter = converter
        self._finder = CutFinder()
        self._count = 0
        self._due_ms = 0
        self._suspected_ms = -_SUSPECTS_EVERY_MS
        self.cuts_ms: list[int] = []

    def samples(self, video: Video) -> Iterator[Sample]:
        """Yield what is to be looked at, in order, late by a frame, or by a cut in doubt."""
        held: list[Sample] = []
        last: Sample | None = None  # of the frame before, if that was sampled
        for frame, time_ms in video.frames():
            if last is not None:
                last.shown_until_ms = time_ms
            verdict = self._finder.feed(self._grey(frame), time_ms)
            if verdict is Verdict.CONFIRMED:
                self._cut(held)
            if not self._finder.suspecting:
                yield from held
                held.clear()
            last = self._sample(frame, time_ms, verdict)
            if last is not None:
                held.append(last)
        if last is not None:
            last.shown_until_ms = video.end_ms
        if self._finder.suspecting:
            self._cut(held)
        yield from held

    def _sample(self, frame: Any, time_ms: int, verdict: Verdict) -> Sample | None:  # noqa: ANN401
        wanted = time_ms >= self._due_ms
        if verdict is Verdict.SUSPECTED:
            wanted |= time_ms - self._suspected_ms >= _SUSPECTS_EVERY_MS
            self._suspected_ms = time_ms
        if not wanted:
            return None
        # A grid, so that frames of 40 ms are sampled every 250 ms on average, not every 280.
        self._due_ms = max(self._due_ms + SAMPLE_EVERY_MS, time_ms + SAMPLE_EVERY_MS // 2)
        self._count += 1
        return Sample(self._count - 1, time_ms, frame, time_ms, len(self.cuts_ms))

    def _cut(self, held: list[Sample]) -> None:
        self.cuts_ms.append(self._suspected_ms)
        for sample in held:
            if sample.time_ms >= self._suspected_ms:
                sample.shot = len(self.cuts_ms)

    def _grey(self, frame: Any) -> NDArray[np.float32]:  # noqa: ANN401
        rows, columns = GRID
        points = self._converter.grey(frame, columns * _POINTS, rows * _POINTS)
        cells = points.reshape(rows, _POINTS, columns, _POINTS)
        return np.asarray(cells.mean(axis=(1, 3), dtype=np.float32))
