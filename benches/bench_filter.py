"""One query over the assets that pass a filter, one thread.

Bitmaps (or rows) at hand where an engine can hold them; `cold` rows make them anew for each search.
Engines that evaluate a filter each time have one row, which is to be compared with the cold ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from benches.measure import Meter
from facegrep._bench.engines import Engine
from facegrep._bench.library import Window

CASES = [("intField1", 0.001), ("intField1", 0.01), ("intField1", 0.1), ("utcCreate", 0.1)]
COLD_WINDOWS = 257  # more than anybody would keep bitmaps of

Field = Literal["intField1", "utcCreate"]


def _work(field: Field, share: float) -> str:
    how = "at random" if field == "intField1" else "by time"
    return f"filter passes {share * 100:g} % {how}"


def _filters_ahead(kind: type[Engine]) -> bool:
    return kind.filters == "ahead"


def _filters(kind: type[Engine]) -> bool:
    return kind.filters != "no"


@pytest.mark.parametrize(("field", "share"), CASES)
def bench_filter_at_hand(meter: Meter, engine: Engine, field: Field, share: float) -> None:
    window = engine.library.window(field, share)
    meter.search(engine, _work(field, share), window=window, selectivity=share)


@pytest.mark.parametrize(("field", "share"), CASES)
def bench_filter_cold(meter: Meter, engine: Engine, field: Field, share: float) -> None:
    starts = np.random.default_rng(3).random(COLD_WINDOWS)
    windows: list[Window] = [engine.library.window(field, share, start) for start in starts]
    meter.search_cold(engine, _work(field, share), windows)


bench_filter_at_hand.suits = _filters_ahead  # type: ignore[attr-defined]
bench_filter_cold.suits = _filters  # type: ignore[attr-defined]
