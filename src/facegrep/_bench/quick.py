"""The core of the benches, short: one table on the user's own machine and library."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep._bench.bandwidth import read_bandwidth
from facegrep._bench.engines import (
    Engine,
    Facegrep,
    FaissSq8,
    Numpy,
    UsearchExact,
    installed,
)
from facegrep._bench.face_like import FaceLike
from facegrep._bench.judge import Quality, judge
from facegrep._bench.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep._bench.library import Window

ENGINES: Final[tuple[type[Engine], ...]] = (Facegrep, FaissSq8, UsearchExact, Numpy)
_QUERIES: Final = 32
_RUNS_MIN: Final = 3


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One line of ``facegrep bench search``.

    Attributes
    ----------
    work, engine, stores
        What was asked of whom.
    ms_per_query
        From the median call.
    spread
        Half the distance between the quartiles, as a share of the median.
    cores
        Processor time over time: above 1 if it did not keep to one thread, below 1 on a machine
        that had other things to do.
    times_facegrep
        Its median over facegrep's.
    quality
        Against a brute force in float32.
    bytes_touched
        What facegrep's plan says that it read for a query; None for others.
    """

    work: str
    engine: str
    stores: str
    ms_per_query: float
    spread: float
    cores: float
    times_facegrep: float
    quality: Quality
    bytes_touched: int | None


def face_like_library(dim: int, faces: int) -> Library:
    """Generated faces, two an asset."""
    population = FaceLike(dim)
    vectors = np.empty((faces, dim), np.float32)
    filled = 0
    for chunk in population.faces(faces):
        vectors[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return Library(vectors, np.arange(faces) // 2, population.queries(_QUERIES, faces))


def bench_search(
    library: Library, *, seconds: float, progress: Callable[[str], object] = lambda _: None
) -> tuple[list[SearchRow], float]:
    """Measure facegrep and what of its rivals is installed, one thread each.

    Parameters
    ----------
    library
        What is searched; its truth is computed first.
    seconds
        To measure for, beside loading and checking.
    progress
        Called with a line on what is going on.

    Returns
    -------
    rows, bandwidth
        The table, and the bytes per second that one core reads.

    Raises
    ------
    WrongAnswerError
        Whoever is fast is wrong.
    """
    with contextlib.suppress(ImportError):  # numpy's BLAS has no switch of its own
        importlib.import_module("threadpoolctl").threadpool_limits(1)
    progress("computing what is true")
    _ = library.truth
    engines = []
    for kind in filter(installed, ENGINES):
        progress(f"loading {kind.name}")
        engines.append(kind(library))
    works = list(_works(library))
    share = seconds / (len(works) * len(engines))
    rows: list[SearchRow] = []
    for work, batch, window in works:
        facegrep_ms = None
        for engine in engines:
            if window is not None and engine.filters == "no":
                continue
            progress(f"{work}: {engine.name}")
            chosen = None if window is None else engine.prepare(window)
            quality = judge(engine, window, chosen)
            calls = _calls(engine, batch, chosen)
            before, started = time.process_time(), time.perf_counter()
            times = _times(calls, share)
            cores = (time.process_time() - before) / (time.perf_counter() - started)
            low, median, high = statistics.quantiles(times, n=4)
            ms = median * 1000 / batch
            facegrep_ms = facegrep_ms or ms
            rows.append(
                SearchRow(
                    work,
                    engine.name,
                    engine.stores,
                    ms,
                    (high - low) / 2 / median,
                    cores,
                    ms / facegrep_ms,
                    quality,
                    _bytes_touched(engine, calls) if batch == 1 else None,
                )
            )
    progress("reading memory")
    return rows, read_bandwidth()


def _works(library: Library) -> Iterator[tuple[str, int, Window | None]]:
    yield "one query", 1, None
    yield "16 queries", 16, None
    yield "filter passes 10 %", 1, library.window("intField1", 0.1)
    yield "filter passes 1 %", 1, library.window("intField1", 0.01)
    yield "filter passes 10 %, by time", 1, library.window("utcCreate", 0.1)


def _calls(engine: Engine, batch: int, chosen: object) -> Iterator[Callable[[], object]]:
    """Calls with other queries each, so that none finds its rows in the cache."""
    queries = np.resize(engine.library.queries, (max(batch, _QUERIES), engine.library.dim))
    encoded = [
        engine.encode(queries[start : start + batch])
        for start in range(0, len(queries) - batch + 1, batch)
    ]
    return itertools.cycle([partial(engine.search, one, chosen) for one in encoded])


def _times(calls: Iterator[Callable[[], object]], seconds: float) -> list[float]:
    next(calls)()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _RUNS_MIN or time.perf_counter() < end:
        call = next(calls)
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def _bytes_touched(engine: Engine, calls: Iterator[Callable[[], object]]) -> int | None:
    plan = engine.notes(next(calls)()).get("plan", {})
    touched = plan.get("bytes_touched")
    return touched if isinstance(touched, int) else None
