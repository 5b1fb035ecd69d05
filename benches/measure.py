"""One row of the report: a timing, and beside it what the answer was worth."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from facegrep._bench.engines import Engine
from facegrep._bench.judge import judge, judge_answers
from facegrep._bench.library import Window

_ROUNDS_MIN, _ROUNDS_MAX = 5, 2000
_SHORTEST_ROUND_S = 100e-6  # shorter, and the clock and the loop around the call would count


class Meter:
    """Runs calls for about so many seconds under pytest-benchmark.

    Parameters
    ----------
    benchmark
        The fixture of pytest-benchmark.
    seconds
        For each row; at least 5 rounds are run all the same. 0: one round, to see that it works.
    """

    def __init__(self, benchmark: Any, seconds: float) -> None:
        self._benchmark = benchmark
        self._seconds = seconds

    def time(
        self, calls: Iterable[Callable[[], object]], work: str, per: int = 1, **facts: object
    ) -> None:
        """Time calls in turn, over and over.

        Parameters
        ----------
        calls
            Calls of the same size; several, so that none finds its rows in the cache.
        work
            What is done; with the dimension and the size it names the group.
        per
            How many queries (faces, ...) a call is for.
        facts
            For the report.
        """
        benchmark = self._benchmark
        in_turn = itertools.cycle(calls)

        def call() -> object:
            return next(in_turn)()

        call()
        started = time.perf_counter()
        call()
        once = time.perf_counter() - started
        iterations = max(1, math.ceil(_SHORTEST_ROUND_S / once)) if self._seconds else 1
        rounds = round(self._seconds / (once * iterations))
        rounds = min(max(rounds, _ROUNDS_MIN), _ROUNDS_MAX) if self._seconds else 1
        benchmark.group = ", ".join(
            [work, *(f"{facts[key]:,} {key}" for key in ("dim", "faces") if key in facts)]
        )
        wall, cpu = time.perf_counter(), time.process_time()
        benchmark.pedantic(call, rounds=rounds, iterations=iterations, warmup_rounds=1)
        cores = (time.process_time() - cpu) / (time.perf_counter() - wall)
        benchmark.extra_info.update(work=work, per=per, cores=round(cores, 2), **facts)

    def search(
        self,
        engine: Engine,
        work: str,
        *,
        batch: int = 1,
        window: Window | None = None,
        label: str = "",
        **facts: object,
    ) -> None:
        """Judge the engine's answers, then time its searches; `window` is prepared beforehand."""
        chosen = None if window is None else engine.prepare(window)
        queries = engine.library.queries
        if batch == 1:
            quality = judge(engine, window, chosen)
        else:
            found = engine.search(engine.encode(queries[:batch]), chosen)
            quality = judge_answers(engine, engine.answers(found), window)
        encoded = [
            engine.encode(np.take(queries, range(start, start + batch), axis=0, mode="wrap"))
            for start in range(0, len(queries), batch)
        ]
        one = engine.search(encoded[0], chosen)
        self.time(
            [partial(engine.search, some, chosen) for some in encoded],
            work,
            batch,
            **about(engine, label),
            recall=round(quality.recall, 4),
            total_error=quality.total_error,
            **engine.notes(one),
            **facts,
        )

    def search_cold(self, engine: Engine, work: str, windows: list[Window]) -> None:
        """Time filters that nobody has at hand: what `prepare` does is part of each search."""
        quality = judge(engine, windows[-1], engine.prepare(windows[-1]))
        query = engine.encode(engine.library.queries[:1])

        def call(window: Window) -> object:
            return engine.search(query, engine.prepare(window))

        label = "" if engine.filters == "each time" else "cold"
        self.time(
            [partial(call, window) for window in windows],
            work,
            **about(engine, label),
            recall=round(quality.recall, 4),
            total_error=quality.total_error,
        )


def about(engine: Engine, label: str = "") -> dict[str, Any]:
    """Facts about an engine that every row has."""
    return {
        "engine": f"{engine.name}, {label}" if label else engine.name,
        "stores": engine.stores,
        "exact": engine.exact,
        "leaves_out": engine.leaves_out,
        "dim": engine.library.dim,
        "faces": len(engine.library),
        "bytes_stored": engine.bytes_stored,
        "build_s": round(engine.build_seconds, 2),
        "build_cpu_s": round(engine.build_cpu_seconds, 2),
    }
