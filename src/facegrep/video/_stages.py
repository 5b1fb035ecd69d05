"""Where the processor's time goes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stages:
    """Adds up processor time by stage, over all threads that say where they are.

    Attributes
    ----------
    seconds
        By stage: ``"decode"`` (but for what the decoder's own threads take), ``"detect"``,
        ``"embed"``, ``"track"``.
    counts
        Of what went through: faces found, faces embedded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)

    def count(self, stage: str, number: int) -> None:
        """Count faces of a stage."""
        with self._lock:
            self.counts[stage] += number

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the calling thread's time as that of a stage."""
        began = time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.thread_time() - began
