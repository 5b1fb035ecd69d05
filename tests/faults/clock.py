"""The time that stores see here: it stands still, and the plan moves it.

What has expired is then the same whenever a process is killed or looked at, to the millisecond. A
process of the harness has a time of its own, or shares that of a board.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from facegrep.store import _clock

START_MS: Final = 1_800_000_000_000
"""When every store is made; at that time nothing of it has expired."""

TICK_MS: Final = 100
"""The plan moves it by a few of these: frozen answers live 24 hours, longer than any run here."""

_CLOCK: Final = vars(_clock)
_cell = memoryview(bytearray(8)).cast("q")
_cell[0] = START_MS


class _Stopped:
    """What the store's clock finds in place of the module `time`."""

    @staticmethod
    def time_ns() -> int:
        return _cell[0] * 1_000_000


def now_ms() -> int:
    """What it is."""
    return _cell[0]


def move_to(ms: int) -> None:
    """Move it; it may go back."""
    _cell[0] = ms


@contextlib.contextmanager
def at(ms: int) -> Iterator[None]:
    """Look at a store as it is at another time, in this process alone."""
    global _cell
    mine, _cell = _cell, memoryview(bytearray(8)).cast("q")
    _cell[0] = ms
    try:
        yield
    finally:
        _cell = mine


def share(cell: memoryview) -> None:
    """Have the time of a board, from now on."""
    global _cell
    _cell = cell


def stop() -> None:
    """Stop it, in a process that does nothing else."""
    _CLOCK["time"] = _Stopped


@contextlib.contextmanager
def stopped() -> Iterator[None]:
    """Stop it for a while, in a process that does other things, too."""
    running = _CLOCK["time"]
    stop()
    try:
        yield
    finally:
        _CLOCK["time"] = running
