"""Frames' time stamps to milliseconds that only go forward."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

_BACK_MS: Final = 1000
"""Less than that is disorder of a damaged file; more is a recorder that was restarted."""
_AHEAD_MS: Final = 10_000


class Clock:
    """Tells the time of frames, in their order.

    Parameters
    ----------
    origin_s
        The stamp that counts as 0.
    frame_rate
        What goes for frames without a stamp; held to 1..240.
    duration_ms
        As declared: a leap beyond it is a fault of the stamps, not a long still picture.
    """

    def __init__(self, origin_s: Fraction, frame_rate: Fraction, duration_ms: int | None) -> None:
        self._offset_s = -origin_s
        self._duration_ms = duration_ms
        self._last_ms: int | None = None
        self.step_ms = round(1000 / min(max(frame_rate, Fraction(1)), Fraction(240)))
        """How long a frame is shown, on average."""

    def ms(self, stamp: int | None, time_base: Fraction | None) -> int:
        """Return the time of the next frame, never before the last one's, nor below 0."""
        last = self._last_ms
        if stamp is None or time_base is None:
            time_ms = 0 if last is None else last + self.step_ms
        else:
            time_ms = round((stamp * time_base + self._offset_s) * 1000)
            expected = 0 if last is None else last + self.step_ms
            if self._is_fault(time_ms, expected):
                self._offset_s += Fraction(expected - time_ms, 1000)
                time_ms = expected
        self._last_ms = max(time_ms, last or 0, 0)
        return self._last_ms

    def _is_fault(self, time_ms: int, expected: int) -> bool:
        if time_ms < expected - _BACK_MS:
            return True
        end = self._duration_ms
        return end is not None and time_ms > max(end, expected) + _AHEAD_MS
