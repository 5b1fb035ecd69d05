"""From samples that were looked at to finished appearances, shot by shot."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from facegrep.video._linking import appearances
from facegrep.video._templates import choose
from facegrep.video._tracklets import Follower

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facegrep.video._embedding import EmbeddingQueue
    from facegrep.video._faces import Looked, SeenFace
    from facegrep.video._linking import Appearance
    from facegrep.video._results import Template

# What the detector mistakes for a face has a score of 0.6 to 0.7; in a still room, again and again.
_CERTAIN_SCORE: Final = 0.75
_PROBABLE_SCORE: Final = 0.7
_PROBABLE_SAMPLES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class FoundTrack:
    """A track before its person has a number; see `Track`.

    ``numbers`` are those of its samples.
    """

    start_ms: int
    end_ms: int
    numbers: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    boxes: NDArray[np.int32]
    templates: tuple[Template, ...]


@dataclass(slots=True, eq=False)
class _Shot:
    number: int
    start_ms: int
    first_sample: int
    end_ms: int = 0
    follower: Follower = field(default_factory=Follower)
    # From when until when each sample is shown. Compact: a shot may last for hours.
    times_ms: array[int] = field(default_factory=lambda: array("q"))
    shown_until_ms: array[int] = field(default_factory=lambda: array("q"))
    asked: list[SeenFace] = field(default_factory=list)


class Tracker:
    """Takes samples in order, asks for faces to be embedded, gives tracks.

    Parameters
    ----------
    queue
        Embeds faces, sooner or later.
    threshold
        The model's, for strangers.

    Attributes
    ----------
    tracks
        Of the shots that are finished.
    tracklets
        How many there are in the shots that are not.
    """

    def __init__(self, queue: EmbeddingQueue, threshold: float) -> None:
        self._queue = queue
        self._threshold = threshold
        self._shot: _Shot | None = None
        self._closed: deque[_Shot] = deque()
        self.tracks: list[FoundTrack] = []

    @property
    def tracklets(self) -> int:
        shots = [*self._closed, *([self._shot] if self._shot else [])]
        return sum(len(shot.follower.tracklets) for shot in shots)

    def feed(self, looked: Looked, cuts_ms: list[int]) -> None:
        """Take the next sample; ``cuts_ms`` has the cuts before it, and maybe more."""
        sample = looked.sample
        if self._shot is None or self._shot.number != sample.shot:
            if self._shot is not None:
                self._close(self._shot, cuts_ms[self._shot.number])
            start_ms = cuts_ms[sample.shot - 1] if sample.shot else sample.time_ms
            self._shot = _Shot(sample.shot, start_ms, sample.number)
        self._shot.times_ms.append(sample.time_ms)
        self._shot.shown_until_ms.append(sample.shown_until_ms)
        self._ask(self._shot, self._shot.follower.feed(looked))
        while self._closed and all(face.embedding is not None for face in self._closed[0].asked):
            self.tracks += self._tracks_of(self._closed.popleft())

    def finish(self, end_ms: int) -> list[FoundTrack]:
        """End the video; returns all tracks."""
        if self._shot is not None:
            self._close(self._shot, end_ms)
        self._queue.drain()
        while self._closed:
            self.tracks += self._tracks_of(self._closed.popleft())
        return self.tracks

    def _ask(self, shot: _Shot, faces: list[SeenFace]) -> None:
        shot.asked += faces
        self._queue.put(faces)

    def _close(self, shot: _Shot, end_ms: int) -> None:
        shot.end_ms = max(end_ms, shot.shown_until_ms[-1])
        self._ask(shot, shot.follower.finish())
        self._closed.append(shot)

    def _tracks_of(self, shot: _Shot) -> list[FoundTrack]:
        found = appearances(shot.follower.tracklets, self._threshold)
        return [_track(shot, one) for one in found if _is_certain(one)]


def _is_certain(found: Appearance) -> bool:
    best = max(face.score for face in found.faces)
    least = _PROBABLE_SCORE if len(found.numbers) >= _PROBABLE_SAMPLES else _CERTAIN_SCORE
    return best >= least


def _track(shot: _Shot, found: Appearance) -> FoundTrack:
    start, end = (int(number) - shot.first_sample for number in found.numbers[[0, -1]])
    # To the cut; else, halfway between where it is shown and where it is not.
    start_ms, end_ms = shot.start_ms, shot.end_ms
    if start > 0:
        start_ms = (shot.shown_until_ms[start - 1] + shot.times_ms[start]) // 2
    if end + 1 < len(shot.times_ms):
        end_ms = (shot.shown_until_ms[end] + shot.times_ms[end + 1]) // 2
    return FoundTrack(
        start_ms, end_ms, found.numbers, found.times_ms, found.boxes, choose(found.faces)
    )
