"""What a scraper of Prometheus sees: how many calls, how they ended, where their time went."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from facegrep._stages import Spent
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
        self._stages = Summary(
            "facegrep_stage_seconds",
            "Time of the stages of a call, by action; those of one call make up its request.",
            ["action", "stage"],
            registry=self._registry,
        )
        self._stages_cpu = Summary(
            "facegrep_stage_cpu_seconds",
            "Processor time of the stages of a call, by action; of its own thread alone.",
            ["action", "stage"],
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
        known = _known(action)
        self._requests.labels(known, code).inc()
        self._seconds.labels(known).observe(time.perf_counter() - started_s)

    def spent(self, action: str, stages: Mapping[str, Spent]) -> None:
        """Count where the time of a call went."""
        known = _known(action)
        for name, spent in stages.items():
            self._stages.labels(known, name).observe(spent.wall_s)
            self._stages_cpu.labels(known, name).observe(spent.cpu_s)

    def text(self) -> bytes:
        """Write them as Prometheus reads them."""
        if os.environ.get(_SHARED_FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)


def _known(action: str) -> str:
    return action if action in ACTIONS else "other"  # strangers make no labels
