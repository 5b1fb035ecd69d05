"""One query on two cores, and eight Python threads that search at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from benches.measure import Meter, about
from facegrep._bench.engines import Engine, Facegrep
from facegrep._bench.judge import judge_answers

THREADS = 8
SEARCHES_A_THREAD = 4


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as made:
        yield made


@pytest.mark.parametrize("threads", [1, 2])
def bench_two_threads(meter: Meter, engine: Engine, threads: int) -> None:
    engine.use_threads(threads)
    label = f"{threads} thread" + "s" * (threads > 1)
    meter.search(engine, "one query on two cores", label=label, threads=threads)


@pytest.mark.parametrize("threads", [1, THREADS])
def bench_many_python_threads(
    meter: Meter, engine: Engine, pool: ThreadPoolExecutor, threads: int
) -> None:
    """Throughput: one row is 32 searches, made by one Python thread or by eight."""
    encoded = [engine.encode(query[None]) for query in engine.library.queries]
    searches = (encoded * THREADS)[: THREADS * SEARCHES_A_THREAD]

    def some(start: int) -> list[object]:
        return [engine.search(query) for query in searches[start::threads]]

    def all_at_once() -> list[list[object]]:
        if threads == 1:
            return [some(0)]
        return list(pool.map(some, range(threads)))

    found = all_at_once()
    first = [engine.answers(found[query % threads][query // threads])[0] for query in range(32)]
    quality = judge_answers(engine, first)
    meter.time(
        [partial(all_at_once)],
        "searches by 8 Python threads",
        len(searches),
        **about(engine, f"{threads} Python thread" + "s" * (threads > 1)),
        recall=round(quality.recall, 4),
        total_error=quality.total_error,
        threads=threads,
    )


def _uses_threads(kind: type[Engine]) -> bool:
    return issubclass(kind, Facegrep) or "faiss" in kind.needs


bench_two_threads.suits = _uses_threads  # type: ignore[attr-defined]
bench_many_python_threads.suits = _uses_threads  # type: ignore[attr-defined]
