"""Many queries in one call, one thread."""

from __future__ import annotations

import pytest

from benches.engines_store import Store
from benches.measure import Meter
from facegrep._bench.engines import Engine


@pytest.mark.parametrize("queries", [16, 64])
def bench_batch(meter: Meter, engine: Engine, queries: int) -> None:
    meter.search(engine, f"{queries} queries a call", batch=queries)


def _takes_batches(kind: type[Engine]) -> bool:
    return not issubclass(kind, Store)


bench_batch.suits = _takes_batches  # type: ignore[attr-defined]
