"""What vision finds: boxes, faces, and the faces it turned down."""

from __future__ import annotations

import enum
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


class Verdict(enum.StrEnum):
    """Whether a face is good enough to search with, and if not, what is most wrong with it."""

    GOOD = "good"
    TOO_SMALL = "too small"
    TURNED_AWAY = "turned away"
    BLURRED = "blurred"


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a face is to search with.

    Attributes
    ----------
    verdict
        The first that holds of too small, turned away, blurred; else good.
    reason
        One line that says by how much, of everything that is wrong; empty when all is well.
    side_px
        The shorter side of its box, in px of the upright original.
    sharpness
        0 to 1: the share of the aligned face's fine contrast that a blur takes away. ``None`` of a
        stored sample, whose picture is not kept.
    yaw_deg, roll_deg
        How far it is turned sideways (to the right in the picture: positive) and tilted (clockwise
        in the picture: positive), estimated from five landmarks.
    """

    verdict: Verdict
    reason: str
    side_px: float
    sharpness: float | None
    yaw_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class Face(FoundFace):
    """A kept face.

    Attributes
    ----------
    embedding
        float32 (dim,), of length 1, finite.
    quality
        ``None`` where the model's manifest sets no limits.
    """

    embedding: NDArray[np.float32]
    quality: Quality | None = None


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
