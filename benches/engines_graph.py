"""Graphs: fast, and not exact. Both with 16 links a node and 128 candidates while building."""

from __future__ import annotations

import abc
import importlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from facegrep._bench.engines import Engine
from facegrep._bench.library import LIMIT, Answer, Library, quantized

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINKS = 16
CANDIDATES = 128


class Graph(Engine):
    """Built with every core; searched with one thread."""

    exact = False
    filters = "no"

    @abc.abstractmethod
    def set_effort(self, candidates: int) -> None:
        """How many candidates a search keeps."""


class UsearchGraph(Graph):
    """usearch, int8."""

    name = "usearch HNSW"
    needs = ("usearch",)
    stores = "int8, graph"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        usearch: Any = importlib.import_module("usearch.index")
        self.index = usearch.Index(
            ndim=library.dim,
            metric="cos",
            dtype="i8",
            connectivity=LINKS,
            expansion_add=CANDIDATES,
        )
        # facegrep's codes: its own, made of unit vectors, would use a tenth of the int8 range.
        self.index.add(np.arange(len(library)), library.codes, threads=os.cpu_count())
        self.bytes_stored = int(self.index.serialized_length)

    def encode(self, queries: NDArray[np.float32]) -> NDArray[np.int8]:
        return quantized(queries)

    def set_effort(self, candidates: int) -> None:
        self.index.expansion_search = candidates

    def search(self, queries: NDArray[np.int8], chosen: Any = None) -> Any:  # noqa: ARG002
        return self.index.search(queries, LIMIT, threads=1)

    def answers(self, found: Any) -> list[Answer]:
        rows = np.atleast_2d(np.asarray(found.keys, np.intp))
        return [Answer(keys, None, "faces") for keys in rows]


class Hnswlib(Graph):
    """hnswlib, float32."""

    name = "hnswlib"
    needs = ("hnswlib",)
    stores = "float32, graph"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        hnswlib: Any = importlib.import_module("hnswlib")
        self.index = hnswlib.Index("ip", library.dim)
        self.index.init_index(len(library), M=LINKS, ef_construction=CANDIDATES)
        self.index.add_items(library.vectors, num_threads=os.cpu_count())
        self.bytes_stored = int(self.index.index_file_size())

    def set_effort(self, candidates: int) -> None:
        self.index.set_ef(candidates)

    def search(self, queries: NDArray[np.float32], chosen: Any = None) -> Any:  # noqa: ARG002
        return self.index.knn_query(queries, LIMIT, num_threads=1)[0]

    def answers(self, found: NDArray[np.uint64]) -> list[Answer]:
        return [Answer(rows.astype(np.intp), None, "faces") for rows in found]
