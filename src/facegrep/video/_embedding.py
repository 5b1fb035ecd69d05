"""Faces to embeddings, in batches, beside everything else."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.video._stages import Stages

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from facegrep.video._faces import SeenFace
    from facegrep.vision import FaceAnalyzer

# Waiting batches a worker: their crops take 37 KB each.
_BATCHES_A_WORKER: Final = 16


class EmbeddingQueue:
    """Embeds faces in other threads. To be used from one.

    Parameters
    ----------
    analyzer
        Says how large a batch is: one face on the CPU, which gains nothing by more.
    workers
        Where it is done.
    """

    def __init__(self, analyzer: FaceAnalyzer, workers: ThreadPoolExecutor, stages: Stages) -> None:
        self._analyzer = analyzer
        self._workers = workers
        self._stages = stages
        self._waiting: list[SeenFace] = []
        self._running: deque[Future[None]] = deque()

    def put(self, faces: list[SeenFace]) -> None:
        """Take faces; waits while too many are on their way."""
        self._waiting += faces
        while len(self._waiting) >= self._analyzer.embed_batch:
            self._start(self._analyzer.embed_batch)
        while self._running and (
            self._running[0].done()
            or len(self._running) > _BATCHES_A_WORKER * self._analyzer.threads
        ):
            self._running.popleft().result()

    def drain(self) -> None:
        """Embed all that was put."""
        if self._waiting:
            self._start(len(self._waiting))
        while self._running:
            self._running.popleft().result()

    def _start(self, count: int) -> None:
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._running.append(self._workers.submit(self._embed, batch))

    def _embed(self, faces: list[SeenFace]) -> None:
        with self._stages.measure("embed"):
            crops = np.stack([face.crop for face in faces if face.crop is not None])
            for face, embedding in zip(faces, self._analyzer.embed(crops), strict=True):
                face.embedding, face.crop = embedding, None
        self._stages.count("embed", len(faces))
