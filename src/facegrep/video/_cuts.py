"""Where one shot ends and the next begins.

A cut that is missed costs little: two faces in one place are told apart by their embeddings. One
that is seen where there is none splits an appearance in two. So a cut must be evident: the picture
is another one, all over (by correlation, which a change of light leaves alone), much more so than
it was from frame to frame before and is after (else it is a pan, or a cloud of confetti), and stays
another one (else it was a flash). Fades and dissolves are no cuts here.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID: Final = (18, 32)
"""Rows and columns of what is compared: at this size a moving hand is a cell or two."""

# Measured on the clips of the tests and the bench: cuts 0.40 to 1.12 in unlikeness and 12 to 40 in
# grey levels, the lowest where one person stays in place before another room; within a shot at most
# 0.28 and 12.5, but 0.59 and 20 in every frame while a face rushes by.
_UNLIKE: Final = 0.35
# Of twelve parts of the picture, those that show something: a cut changes 11 or 12. Where people
# appear in a room or a video call at once, it is 8 at most.
_PARTS: Final = (3, 4)
_CHANGED_MIN: Final = 0.7
_CHANGED_UNLIKE, _CHANGED_BY, _FLAT = 0.3, 3.0, 3.0
_DIFFERENT: Final = 6.0
_TIMES_BEFORE: Final = 2.5
# A camera that swings round at once looks like a cut, but goes on as it began.
_TIMES_AFTER: Final = 2.0
_RECENT: Final = 6
# From here apart, frames of one shot may differ as much as they like.
_SPARSE_MS: Final = 400
_FLASH_MS: Final = 160
_LIKE_BEFORE: Final = 0.25


class Verdict(Enum):
    """What a frame says about cuts."""

    NOTHING = "as before"
    SUSPECTED = "perhaps the first frame of a shot"
    CONFIRMED = "the frame suspected last was one"
    DISMISSED = "the frame suspected last was a flash, or the camera swung round"


class CutFinder:
    """Watches all frames of a video, in order."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._last_ms = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._before: NDArray[np.float32] | None = None
        self._suspected_ms = 0
        self._suspected_difference = 0.0
        self._after: list[float] = []

    @property
    def suspecting(self) -> bool:
        """Whether a verdict is due."""
        return self._before is not None

    def feed(self, grey: NDArray[np.float32], time_ms: int) -> Verdict:
        """Look at a frame: float32 of shape `GRID`, 0..255."""
        difference = 0.0 if self._last is None else float(np.abs(self._last - grey).mean())
        verdict = self._judge(grey, time_ms, difference)
        if self._last is not None and verdict is not Verdict.SUSPECTED:
            self._recent.append(difference)
        self._last, self._last_ms = grey, time_ms
        return verdict

    def _judge(self, grey: NDArray[np.float32], time_ms: int, difference: float) -> Verdict:
        sparse = time_ms - self._last_ms >= _SPARSE_MS
        if self._before is not None:
            if not sparse:
                self._after.append(difference)
            if unlikeness(self._before, grey) < _LIKE_BEFORE:
                self._before = None
                return Verdict.DISMISSED
            if time_ms - self._suspected_ms < _FLASH_MS:
                return Verdict.NOTHING
            self._before = None
            goes_on = bool(self._after) and (
                self._suspected_difference < _TIMES_AFTER * np.mean(self._after)
            )
            return Verdict.DISMISSED if goes_on else Verdict.CONFIRMED
        if self._last is None:
            return Verdict.NOTHING
        usual = len(self._recent) < 2 or difference < _TIMES_BEFORE * np.mean(self._recent)
        if (
            difference >= _DIFFERENT
            and (sparse or not usual)
            and unlikeness(self._last, grey) >= _UNLIKE
            and changed_share(self._last, grey) >= _CHANGED_MIN
        ):
            self._before, self._suspected_ms = self._last, time_ms
            self._suspected_difference, self._after = difference, []
            return Verdict.SUSPECTED
        return Verdict.NOTHING


def unlikeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return 1 less the correlation of two pictures, 0..2; flat ones are like everything."""
    a, b = one - one.mean(), other - other.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return 1.0 - float((a * b).sum()) / spread if spread > one.size else 0.0


def changed_share(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return which share of a picture's parts are others, 0..1; flat ones do not count."""
    rows, columns = _PARTS
    changed = counted = 0
    for a, b in zip(*(_parts(grey, rows, columns) for grey in (one, other)), strict=True):
        if max(a.std(), b.std()) < _FLAT:
            continue
        counted += 1
        flat = min(a.std(), b.std()) < 1
        different = float(np.abs(a - b).mean()) >= _CHANGED_BY
        changed += different and (flat or unlikeness(a, b) >= _CHANGED_UNLIKE)
    return changed / counted if counted else 1.0


def _parts(grey: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    height, width = grey.shape[0] // rows, grey.shape[1] // columns
    return grey.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(rows * columns, -1)
