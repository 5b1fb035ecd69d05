"""What a scraper of Prometheus sees: how many calls, how they ended, how long they took."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from facegrep.ice import ACTIONS

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one app; of all worker processes, where they share a folder."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "facegrep_requests",
            "Calls that were answered, by action and code.",
            ["action", "code"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "facegrep_request_seconds",
            "Time from the whole request to the reply, by action.",
            ["action"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._running = Gauge(
            "facegrep_requests_in_progress",
            "Calls that are waiting or being carried out.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a call while it is in progress."""
        with self._running.track_inprogress():
            yield

    def answered(self, action: str, code: str, started_s: float) -> None:
        """Count an answer; `started_s` is of `time.perf_counter`."""
        known = action if action in ACTIONS else "other"  # strangers make no labels
        self._requests.labels(known, code).inc()
        self._seconds.labels(known).observe(time.perf_counter() - started_s)

    def text(self) -> bytes:
        """Write them as Prometheus reads them."""
        if os.environ.get(_SHARED_FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
