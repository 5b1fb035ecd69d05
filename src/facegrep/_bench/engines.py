"""Exact engines behind one interface: facegrep, and those that it must be faster than."""

from __future__ import annotations

import abc
import importlib
import importlib.util
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from facegrep._bench.library import LIMIT, THRESHOLD, Answer, Library, Window, quantized
from facegrep._index import FaceIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facegrep._result import SearchResult

    F32 = NDArray[np.float32]


class Engine(abc.ABC):
    """A library put into an engine, to be searched in its own way with one thread.

    `encode` and `prepare` are what can be done ahead of a search, `answers` what is done after it;
    `search` alone is timed.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # modules
    stores: ClassVar[str]
    exact: ClassVar[bool] = True
    leaves_out: ClassVar[str] = "grouping by asset, threshold, Total"
    filters: ClassVar[Literal["ahead", "each time", "no"]] = "ahead"
    threshold: float | None = THRESHOLD  # of its Total, if it has one

    def __init__(self, library: Library) -> None:
        self.library = library
        self.bytes_stored = 0  # vectors and rows, not ids
        self.build_seconds = self.build_cpu_seconds = 0.0  # whoever builds it knows

    def encode(self, queries: F32) -> Any:
        """Queries (q, dim) in the form that the engine searches with."""
        return queries

    def prepare(self, window: Window) -> Any:
        """A filter in the form that the engine searches with."""
        raise NotImplementedError

    @abc.abstractmethod
    def search(self, queries: Any, chosen: Any = None) -> Any:
        """The best 10 of each query; `chosen` is a prepared filter."""

    @abc.abstractmethod
    def answers(self, found: Any) -> list[Answer]:
        """What `search` returned, as rows or assets."""

    def use_threads(self, count: int) -> None:  # noqa: B027 - most ignore it
        """From now on; engines that cannot ignore it."""

    def notes(self, found: Any) -> dict[str, Any]:  # noqa: ARG002
        """What the engine says about what it did."""
        return {}


class Facegrep(Engine):
    """Threshold, grouping, exact Total, order and the first page's ids: the whole answer."""

    name = "facegrep"
    stores = "int8"
    leaves_out = ""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.index = FaceIndex(library.dim)
        for rows in library.chunks():
            fields = {name: column[rows].tolist() for name, column in library.fields.items()}
            self.index.add(library.media_ids[rows], library.vectors[rows], fields)
        self.bytes_stored = self.index.nbytes
        self.threads = 1

    def use_threads(self, count: int) -> None:
        self.threads = count

    def prepare(self, window: Window) -> dict[str, dict[str, int]]:
        return {window.field: {"gte": window.first, "lte": window.last}}

    def search(self, queries: F32, chosen: Any = None) -> list[SearchResult]:
        found: list[SearchResult] = self.index.search(
            queries, threshold=self.threshold, limit=LIMIT, where=chosen, threads=self.threads
        )
        for result in found:
            _ = result.media_ids, result.scores  # cut when they are asked for
        return found

    def answers(self, found: list[SearchResult]) -> list[Answer]:
        return [
            Answer(
                np.array([int(media_id[6:-4]) for media_id in result.media_ids], np.intp),
                result.total,
                "assets",
            )
            for result in found
        ]

    def notes(self, found: list[SearchResult]) -> dict[str, Any]:
        return {"plan": asdict(found[0].plan)}


class Numpy(Engine):
    """What one would write: a matrix product, then threshold, grouping, Total and order."""

    name = "numpy"
    stores = "float32"
    leaves_out = ""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.vectors = library.vectors
        self.bytes_stored = self.vectors.nbytes

    def prepare(self, window: Window) -> NDArray[np.intp]:
        return np.flatnonzero(self.library.passing(window))

    def search(self, queries: F32, chosen: NDArray[np.intp] | None = None) -> list[Answer]:
        if chosen is None:
            scores = self.vectors @ (queries[0] if len(queries) == 1 else queries.T)
        else:
            scores = self.vectors[chosen] @ queries[0]
        columns = scores[:, None] if scores.ndim == 1 else scores
        return [self._answer(column, chosen) for column in columns.T]

    def _answer(self, scores: F32, chosen: NDArray[np.intp] | None) -> Answer:
        hits = np.flatnonzero(scores >= np.float32(THRESHOLD))
        faces = hits if chosen is None else chosen[hits]
        if not len(hits):
            return Answer(faces, 0, "assets")
        assets = self.library.asset_of_face[faces]
        first = np.flatnonzero(np.diff(assets, prepend=-1))
        best = np.maximum.reduceat(scores[hits], first)
        order = np.lexsort((assets[first], -best))[:LIMIT]
        return Answer(assets[first][order], len(first), "assets")

    def answers(self, found: list[Answer]) -> list[Answer]:
        return found


class FaissSq8(Engine):
    """faiss IndexScalarQuantizer, QT_8bit_direct_signed: int8 codes, scanned by inner product.

    The codes share one scale, as large as the int8 range allows, so that inner products order faces
    as cosines do; with a scale of its own for each vector they would not.
    """

    name = "faiss SQ8"
    needs = ("faiss",)
    stores = "int8, one scale"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.faiss: Any = importlib.import_module("faiss")
        self.index = self.empty()
        largest = max(float(np.abs(library.vectors[rows]).max()) for rows in library.chunks())
        self.scale = np.float32(127) / np.float32(largest)
        for rows in library.chunks():
            self.index.add(self.codes(library.vectors[rows]))
        self.bytes_stored = self.index.code_size * len(library)
        self.use_threads(1)

    def empty(self) -> Any:
        """An index without faces."""
        kind = self.faiss.ScalarQuantizer.QT_8bit_direct_signed
        return self.faiss.IndexScalarQuantizer(
            self.library.dim, kind, self.faiss.METRIC_INNER_PRODUCT
        )

    def codes(self, vectors: F32) -> F32:
        """Integers, as the floats that faiss takes them as."""
        return np.asarray(np.rint(vectors * self.scale), np.float32)

    def encode(self, queries: F32) -> Any:
        # Its fast kernel takes the query as integers, and would cut the fractions off.
        return quantized(queries).astype(np.float32)

    def prepare(self, window: Window) -> Any:
        bits = np.packbits(self.library.passing(window), bitorder="little")
        selector = self.faiss.IDSelectorBitmap(bits)
        return self.faiss.SearchParameters(sel=selector)

    def search(self, queries: Any, chosen: Any = None) -> Any:
        return self.index.search(queries, LIMIT, params=chosen)[1]

    def answers(self, found: Any) -> list[Answer]:
        return [Answer(rows[rows >= 0].astype(np.intp), None, "faces") for rows in found]

    def use_threads(self, count: int) -> None:
        self.faiss.omp_set_num_threads(count)


class UsearchExact(Engine):
    """usearch's exact search over facegrep's codes by cosine; it has no filters."""

    name = "usearch exact"
    needs = ("usearch",)
    stores = "int8"
    filters = "no"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        usearch: Any = importlib.import_module("usearch.index")
        self._search: Callable[..., Any] = usearch.search
        self._cosine = usearch.MetricKind.Cos
        self.codes = library.codes
        self.bytes_stored = self.codes.nbytes
        self.threads = 1

    def encode(self, queries: F32) -> NDArray[np.int8]:
        return quantized(queries)

    def search(self, queries: NDArray[np.int8], chosen: Any = None) -> Any:  # noqa: ARG002
        return self._search(
            self.codes, queries, LIMIT, self._cosine, exact=True, threads=self.threads
        )

    def answers(self, found: Any) -> list[Answer]:
        rows = np.atleast_2d(np.asarray(found.keys, np.intp))
        return [Answer(keys, None, "faces") for keys in rows]

    def use_threads(self, count: int) -> None:
        self.threads = count


def installed(engine: type[Engine]) -> bool:
    """Whether the modules that it needs are here."""
    return all(importlib.util.find_spec(module) is not None for module in engine.needs)
