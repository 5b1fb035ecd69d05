"""How fast one core and two read memory: what a scan of one query can reach at best."""

from __future__ import annotations

import pytest

from benches.measure import Meter
from facegrep._bench.bandwidth import BYTES, Reader


@pytest.mark.parametrize("threads", [1, 2])
def bench_bandwidth(meter: Meter, pytestconfig: pytest.Config, threads: int) -> None:
    real = pytestconfig.getoption("seconds") > 0
    reader = Reader(threads, BYTES if real else 1 << 20)
    fastest = reader.fastest(2.0 if real else 0.0)
    engine = f"{threads} core" + "s" * (threads > 1)
    meter.time([fastest], "read memory", reader.bytes, engine=engine, threads=threads)
