"""Where the time of a call goes: the rooms say what they are at, whoever wants to know has a clock.

Nothing is measured, and nothing costs more than 0.2 us, in a thread without one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

Stage = Literal["gate", "fetch", "decode", "detect", "embed", "scan", "keep"]


class Spent(NamedTuple):
    """What a stage took: of the wall's clock, and of the processor in the thread of the call."""

    wall_s: float
    cpu_s: float


class StageClock:
    """Measures one call, in one thread.

    Parameters
    ----------
    rest
        What time is called that belongs to no stage.

    Attributes
    ----------
    spent
        Seconds by stage, the rest once it has run.
    """

    def __init__(self, rest: str = "other") -> None:
        self._rest = rest
        self.spent: dict[str, Spent] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what this thread does in the block."""
        before = _clock.set(self)
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            _clock.reset(before)
            parts = self.spent.values()
            self.spent[self._rest] = Spent(
                time.perf_counter() - wall_s - sum(part.wall_s for part in parts),
                time.thread_time() - cpu_s - sum(part.cpu_s for part in parts),
            )


class stage:
    """Say which stage the block is; stages do not nest. What other threads do is not in its CPU."""

    __slots__ = ("_clock", "_cpu_s", "_name", "_wall_s")

    def __init__(self, name: Stage) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._clock = _clock.get()
        if self._clock is not None:
            self._wall_s, self._cpu_s = time.perf_counter(), time.thread_time()

    def __exit__(self, *_: object) -> None:
        if self._clock is not None:
            wall_s, cpu_s = self._clock.spent.get(self._name, (0.0, 0.0))
            wall_s += time.perf_counter() - self._wall_s
            cpu_s += time.thread_time() - self._cpu_s
            self._clock.spent[self._name] = Spent(wall_s, cpu_s)


_clock: ContextVar[StageClock | None] = ContextVar("facegrep_stage_clock", default=None)
