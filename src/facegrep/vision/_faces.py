"""What vision finds: boxes, faces, and the faces it turned down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """A rectangle in pixels of the upright original, inside the picture.

    ``x`` and ``y`` are the left upper corner; pixel (0, 0) covers 0..1 on both axes.
    """

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face as the detector saw it. ``landmarks``: float32 (5, 2), px, image-left eye first."""

    box: Box
    score: float
    landmarks: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Face(FoundFace):
    """A kept face. ``embedding``: float32 (dim,), of length 1, finite."""

    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RefusedFace:
    """A face that is not kept, and why, in a phrase such as ``"smaller than 20 px"``."""

    box: Box
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Detections:
    """One picture's faces before embedding, largest box first."""

    faces: tuple[FoundFace, ...]
    refused: tuple[RefusedFace, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """One picture's faces, largest box first, and those that were turned down."""

    faces: tuple[Face, ...]
    refused: tuple[RefusedFace, ...]
