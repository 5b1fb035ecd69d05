"""One query over all faces, one thread. facegrep: threshold 0.48, grouping, Total, order, ids."""

from __future__ import annotations

import copy

from benches.measure import Meter
from facegrep._bench.engines import Engine, Facegrep


def bench_one_query(meter: Meter, engine: Engine) -> None:
    meter.search(engine, "one query")


def bench_best_ten(meter: Meter, engine: Engine) -> None:
    """Without a threshold: nearest to what the rivals are asked for."""
    without_threshold = copy.copy(engine)
    without_threshold.threshold = None
    meter.search(without_threshold, "one query", label="best 10")


def _is_facegrep(kind: type[Engine]) -> bool:
    return kind is Facegrep


bench_best_ten.suits = _is_facegrep  # type: ignore[attr-defined]
