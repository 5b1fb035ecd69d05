"""Faces to search, and what a search must answer, computed from the definition in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD: Final = 0.48
LIMIT: Final = 10
_CHUNK_ROWS: Final = 16_384
_FIRST_UTC_MS: Final = 1_600_000_000_000


class Window(NamedTuple):
    """A filter: assets whose field is ``first`` to ``last``."""

    field: Literal["intField1", "utcCreate"]
    first: int
    last: int


class Answer(NamedTuple):
    """What an engine said. A face is its row's number, an asset its number in order of adding."""

    best: NDArray[np.intp]
    total: int | None  # None: it does not say
    of: Literal["assets", "faces"]


@dataclass(frozen=True)
class Truth:
    """Scores of every face, by brute force, for a few queries.

    Attributes
    ----------
    floats
        Cosines with the float32 vectors, (queries, faces): what nobody who stores less can beat.
    codes
        Cosines with facegrep's int8 codes in float64: what it must answer to the last asset.
    """

    floats: NDArray[np.float32]
    codes: NDArray[np.float64]


def quantized(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """The int8 codes: scale 127 / max|x|, half to even, all in float32."""
    scale = np.float32(127) / np.abs(vectors).max(axis=1, keepdims=True)
    return np.asarray(np.rint(vectors * scale), np.int8)


class Library:
    """Faces of assets with two fields: ``intField1`` in random order, ``utcCreate`` as added.

    Parameters
    ----------
    vectors
        Unit float32 vectors (n, dim); the faces of one asset are neighbours.
    asset_of_face
        (n,), from 0 upwards without a gap.
    queries
        Unit float32 vectors (q, dim).
    checked
        How many of the queries have their truth computed; a matter of time and memory.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        asset_of_face: NDArray[np.intp],
        queries: NDArray[np.float32],
        checked: int = 8,
    ) -> None:
        self.vectors = vectors
        self.asset_of_face = asset_of_face
        self.queries = queries
        self.checked = min(checked, len(queries))
        self.assets = int(asset_of_face[-1]) + 1
        self.rank_of_asset = np.random.default_rng(7).permutation(self.assets)
        self.first_face = np.flatnonzero(np.diff(asset_of_face, prepend=-1))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self.vectors.shape[1])

    def media_id(self, asset: int) -> str:
        """Ids whose bytewise order is that of the assets' numbers."""
        return f"photo-{asset:09d}.jpg"

    def chunks(self, rows: int = 65_536) -> Iterator[slice]:
        """Slices of faces; an asset's are together."""
        start = 0
        while start < len(self):
            end = min(start + rows, len(self))
            if end < len(self):
                end = int(self.first_face[self.asset_of_face[end]])
            yield slice(start, end)
            start = end

    @cached_property
    def media_ids(self) -> list[str]:
        """By face."""
        names = [self.media_id(asset) for asset in range(self.assets)]
        return [names[asset] for asset in self.asset_of_face.tolist()]

    @cached_property
    def fields(self) -> dict[str, NDArray[np.int64]]:
        """By face."""
        return {
            "intField1": self.rank_of_asset[self.asset_of_face].astype(np.int64),
            "utcCreate": self.asset_of_face.astype(np.int64) + _FIRST_UTC_MS,
        }

    def window(
        self, field: Literal["intField1", "utcCreate"], share: float, start: float = 0.25
    ) -> Window:
        """A filter that passes `share` of the assets; `start` (0 to 1) chooses which."""
        passing = max(1, round(share * self.assets))
        first = int(start * (self.assets - passing))
        if field == "utcCreate":
            first += _FIRST_UTC_MS
        return Window(field, first, first + passing - 1)

    def passing(self, window: Window) -> NDArray[np.bool_]:
        """By face."""
        column = self.fields[window.field]
        return np.asarray((column >= window.first) & (column <= window.last))

    @cached_property
    def codes(self) -> NDArray[np.int8]:
        """What facegrep must store."""
        codes = np.empty(self.vectors.shape, np.int8)
        for rows in self.chunks():
            codes[rows] = quantized(self.vectors[rows])
        return codes

    @cached_property
    def truth(self) -> Truth:
        """Of the first queries; 2 s a million faces and 128 dimensions."""
        queries = self.queries[: self.checked]
        floats = np.empty((self.checked, len(self)), np.float32)
        codes = np.empty((self.checked, len(self)), np.float64)
        queries64 = queries.astype(np.float64)
        queries64 /= np.linalg.norm(queries64, axis=1, keepdims=True)
        for rows in self.chunks(_CHUNK_ROWS):
            floats[:, rows] = queries @ np.asarray(self.vectors[rows]).T
            chunk = self.codes[rows].astype(np.float64)
            cosines = queries64 @ (chunk.T / np.linalg.norm(chunk, axis=1))
            codes[:, rows] = np.round(cosines, 12)  # so that equal codes have equal scores
        return Truth(floats, codes)

    def best_assets(
        self, scores: NDArray[np.floating], threshold: float | None, window: Window | None = None
    ) -> Answer:
        """The best assets and their Total, from the scores of every face."""
        best = np.maximum.reduceat(scores, self.first_face)
        if window is not None:
            best = np.where(self.passing(window)[self.first_face], best, -np.inf)
        lowest = -np.inf if threshold is None else threshold
        matching = np.flatnonzero((best >= lowest) & (best > -np.inf))
        order = np.lexsort((matching, -best[matching]))[:LIMIT]
        return Answer(matching[order], len(matching), "assets")

    def best_faces(
        self, scores: NDArray[np.floating], window: Window | None = None
    ) -> NDArray[np.intp]:
        """The rows of the best faces."""
        if window is not None:
            scores = np.where(self.passing(window), scores, -np.inf)
        best = np.argpartition(-scores, min(LIMIT, len(scores) - 1))[:LIMIT]
        best = best[scores[best] > -np.inf]
        return np.asarray(best[np.argsort(-scores[best], kind="stable")])
