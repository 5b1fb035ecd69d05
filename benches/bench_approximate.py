"""Graphs beside the exact scan: time against recall, and what they cost to build. One thread."""

from __future__ import annotations

import pytest

from benches.engines_graph import Graph
from benches.measure import Meter
from facegrep._bench.engines import Engine


@pytest.mark.parametrize("effort", [10, 20, 40, 80, 160, 320, 640])
def bench_graph(meter: Meter, engine: Engine, effort: int) -> None:
    assert isinstance(engine, Graph)
    engine.set_effort(effort)
    meter.search(engine, "time against recall", label=f"ef {effort}", effort=effort)


def bench_exact(meter: Meter, engine: Engine) -> None:
    meter.search(engine, "time against recall")


def _is_graph(kind: type[Engine]) -> bool:
    return issubclass(kind, Graph)


bench_graph.suits = _is_graph  # type: ignore[attr-defined]
bench_exact.suits = lambda kind: not _is_graph(kind)  # type: ignore[attr-defined]
