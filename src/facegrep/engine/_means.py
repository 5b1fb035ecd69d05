"""Which clusters are most like one: the exact scan, over the means of clusters.

The mean cosine of all pairs of faces across two clusters is the product of their mean vectors. Such
a mean is shorter than 1, and what a face index gives is a cosine: so what a row lacks is added in
further dimensions, which the query has not, and the scan ranks by the product. By how much the int8
code of a row can be off is known, so nobody is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from facegrep import _core
from facegrep.store import MAX_DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPREAD: Final = 16
"""Dimensions over which what a mean lacks is spread: in one it would be the scale of the code."""

_MANY: Final = 64

_FLOAT32: Final = 1e-6
"""More than a query and a row, rounded to float32, can change a product by."""


class Found(NamedTuple):
    """The clusters most like each of some.

    Attributes
    ----------
    counts
        ``(n,)``: how many were found for each.
    clusters
        ``(sum of counts,)``: who, those for one after those for another.
    unseen
        float64 ``(n,)``: nobody else is more like it than that; -inf: nobody else is like it.
    """

    counts: NDArray[np.int64]
    clusters: NDArray[np.int64]
    unseen: NDArray[np.float64]


class MeanIndex:
    """The means of clusters, by their numbers; of fewer than `MAX_DIM` dimensions."""

    def __init__(self, dim: int) -> None:
        self._spread = min(_SPREAD, MAX_DIM - dim)
        self._core = _core.FaceIndex(dim + self._spread)
        self._error = 0.0
        self._longest = 1.0  # a mean of one face can be longer than 1, by what it was rounded
        self._are_many = False

    def put(self, clusters: NDArray[np.int64], means: NDArray[np.float64]) -> None:
        """Enter clusters that are not there."""
        if not len(clusters):
            return
        lengths = np.sqrt((means * means).sum(axis=1))
        self._longest = max(self._longest, float(lengths.max()))
        lacking = np.sqrt(np.maximum(1 - lengths * lengths, 0) / self._spread)
        more = np.repeat(lacking[:, None], self._spread, axis=1)
        rows = np.hstack([means, more]).astype(np.float32)
        codes = _core.quantize(rows)
        self._error = max(self._error, _farthest(rows, codes))
        self._core.add_codes([f"{one:x}" for one in clusters.tolist()], codes, {}, clusters)

    def drop(self, clusters: NDArray[np.int64]) -> None:
        """Take out clusters; those that are not there do not matter."""
        self._core.remove_keys(clusters)

    def search(self, means: NDArray[np.float64], least: float, limit: int) -> Found:
        """Find the clusters with the greatest products, among them the one that asks.

        Parameters
        ----------
        means
            float64 ``(n, dim)``.
        least
            The least product that matters.
        limit
            How many to find of each.
        """
        queries = np.zeros((len(means), self._core.dim), dtype=np.float32)
        queries[:, : means.shape[1]] = means
        off = self._error + _FLOAT32
        lengths = np.sqrt((means * means).sum(axis=1))
        # With a threshold the scan is 5 times as fast, but keeps all that reach it: of one person
        # thousands. A product is the cosine times both lengths.
        reached = least / (max(1.0, float(lengths.max())) * self._longest) - off
        threshold = None if self._are_many or least < 0 else min(reached, 1.0)
        found = self._core.search(queries, threshold, limit, 0, [], 0)
        self._are_many = self._are_many or sum(map(len, found)) > _MANY * len(found)
        unseen = np.full(len(means), -np.inf)
        for number, one in enumerate(found):
            if one.total > limit:
                cosine = one.scores[limit - 1] + off
                unseen[number] = max(cosine, cosine * self._longest) * lengths[number]
        return Found(
            counts=np.array([min(len(one), limit) for one in found], dtype=np.int64),
            clusters=np.concatenate([one.keys[:limit] for one in found]),
            unseen=unseen,
        )


def _farthest(rows: NDArray[np.float32], codes: NDArray[np.int8]) -> float:
    """Return the greatest distance of a row from its code, both of length 1."""
    worst, step = 0.0, 1 << 14
    for start in range(0, len(rows), step):
        exact, coded = (some[start : start + step].astype(np.float64) for some in (rows, codes))
        for some in (exact, coded):
            some /= np.sqrt((some * some).sum(axis=1, keepdims=True))
        worst = max(worst, float(((exact - coded) ** 2).sum(axis=1).max()))
    return float(np.sqrt(worst))
