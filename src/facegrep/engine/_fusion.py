"""Several faces of one person made into one query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from facegrep.store import FACE_VALUES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEEN_PX: Final = 112
"""Side of what the network sees of a face; a smaller one has been enlarged, and says less."""


class Fused(NamedTuple):
    """A query, and what each face had to do with it.

    Attributes
    ----------
    embedding
        float32 ``(dim,)``: of several the weighted mean of the unit vectors, of length 1; of one
        the embedding as it is.
    weights
        float64 ``(n,)``: the share of each; together 1.
    agreements
        float64 ``(n,)``: the cosine of each with the embedding.
    """

    embedding: NDArray[np.float32]
    weights: NDArray[np.float64]
    agreements: NDArray[np.float64]


def quality_of(values: NDArray[np.float32] | None, count: int) -> NDArray[np.float64]:
    """Return how much to make of each face: float64 ``(count,)``, positive.

    The detector's score, times the share of the network's input that the box really fills.

    Parameters
    ----------
    values
        float32 ``(count, FACE_VALUES)``; ``None`` for vectors, of which nothing is known.
    """
    if values is None:
        return np.ones(count)
    boxes = values.reshape(count, FACE_VALUES).astype(np.float64)
    side = np.sqrt(np.maximum(boxes[:, 2] * boxes[:, 3], 1.0))
    return np.maximum(boxes[:, 4], 0.01) * np.minimum(side / _SEEN_PX, 1.0)


def fuse(embeddings: NDArray[np.float32], qualities: NDArray[np.float64]) -> Fused | None:
    """Fuse faces of one person; ``None`` when they cancel each other out.

    Parameters
    ----------
    embeddings
        float32 ``(n, dim)``, n at least 1, none all zero.
    qualities
        float64 ``(n,)``, positive.
    """
    if len(embeddings) == 1:
        return Fused(embeddings[0], np.ones(1), np.ones(1))
    weights = qualities / qualities.sum()
    exact = embeddings.astype(np.float64)
    units = exact / np.sqrt((exact * exact).sum(axis=1))[:, None]
    total = (weights[:, None] * units).sum(axis=0)
    length = np.sqrt((total * total).sum())
    if length < 1e-6:  # opposite faces, and nothing in between
        return None
    embedding = total / length
    return Fused(embedding.astype(np.float32), weights, units @ embedding)
