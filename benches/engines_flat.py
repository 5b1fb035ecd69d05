"""Other exact scans."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from facegrep._bench.engines import Engine, FaissSq8
from facegrep._bench.library import LIMIT, THRESHOLD, Answer, Library, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FACES_FIRST = 256


class FaissSq8Total(FaissSq8):
    """The same scan, asked for as many faces as it takes to fall below the threshold.

    Then threshold, grouping, Total and order in numpy: what facegrep's answer has. faiss's range
    search would be the direct way, but takes a slow path for these codes: 1.4 us a face.
    """

    name = "faiss SQ8, k grows + grouping"
    leaves_out = ""

    def search(self, queries: NDArray[np.float32], chosen: Any = None) -> Any:
        least = np.float32(THRESHOLD * self.scale) * np.linalg.norm(queries, axis=1)
        k = min(_FACES_FIRST, len(self.library))
        while True:
            scores, faces = self.index.search(queries, k, params=chosen)
            if k == len(self.library) or not np.any(scores[:, -1] >= least):
                break
            k = min(4 * k, len(self.library))
        matches = (scores >= least[:, None]) & (faces >= 0)
        return [
            self._group(scores[query, kept], faces[query, kept])
            for query, kept in enumerate(matches)
        ]

    def _group(self, scores: NDArray[np.float32], faces: NDArray[np.int64]) -> Answer:
        if not len(faces):
            return Answer(faces.astype(np.intp), 0, "assets")
        by_face = np.argsort(faces)
        assets = self.library.asset_of_face[faces[by_face]]
        first = np.flatnonzero(np.diff(assets, prepend=-1))
        best = np.maximum.reduceat(scores[by_face], first)
        order = np.lexsort((assets[first], -best))[:LIMIT]
        return Answer(assets[first][order], len(first), "assets")

    def answers(self, found: Any) -> list[Answer]:
        return list(found)


class FaissFlat(Engine):
    """faiss IndexFlatIP."""

    name = "faiss Flat"
    needs = ("faiss",)
    stores = "float32"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.faiss: Any = importlib.import_module("faiss")
        self.index = self.faiss.IndexFlatIP(library.dim)
        self.index.add(library.vectors)
        self.bytes_stored = library.vectors.nbytes
        self.use_threads(1)

    def prepare(self, window: Window) -> Any:
        bits = np.packbits(self.library.passing(window), bitorder="little")
        return self.faiss.SearchParameters(sel=self.faiss.IDSelectorBitmap(bits))

    def search(self, queries: NDArray[np.float32], chosen: Any = None) -> Any:
        return self.index.search(queries, LIMIT, params=chosen)[1]

    def answers(self, found: NDArray[np.int64]) -> list[Answer]:
        return [Answer(rows[rows >= 0].astype(np.intp), None, "faces") for rows in found]

    def use_threads(self, count: int) -> None:
        self.faiss.omp_set_num_threads(count)
