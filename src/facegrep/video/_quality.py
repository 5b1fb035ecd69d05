"""How much a face says about who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep.vision import Box

_FULL_SIDE_PX: Final = 80.0
"""A face of SFace's crop has its eyes 35 px apart, as in a box of about 80."""
_FULL_SCORE, _NO_SCORE = 0.9, 0.5
_PROFILE: Final = 0.2
"""What a face is worth that shows one side only."""
_FULL_SHARPNESS: Final = 200.0
"""Variance of the Laplacian, grey levels squared, of an aligned face that is in focus."""

POOR: Final = 0.2
"""Below, two faces of one person differ by noise more than by pose; and strangers resemble one
another: of LFW, blurred by 3 px and dark, 1 pair in 60 has 0.42, and with good photos still none in
40,000."""


def quality(
    box: Box, score: float, landmarks: NDArray[np.float32], crop: NDArray[np.uint8]
) -> float:
    """Return the quality of a face, 0..1: the product of four shares.

    Parameters
    ----------
    box, landmarks
        In square px of the picture that the crop was cut from.
    score
        The detector's.
    crop
        Aligned, RGB.

    Notes
    -----
    Useful for choosing among faces of one person. It is no probability.
    """
    size = min(1.0, min(box.width, box.height) / _FULL_SIDE_PX)
    certain = min(max((score - _NO_SCORE) / (_FULL_SCORE - _NO_SCORE), 0.0), 1.0)
    sharp = min(1.0, sharpness(crop) / _FULL_SHARPNESS) ** 0.5
    turned = _PROFILE + (1.0 - _PROFILE) * frontality(landmarks)
    return float(size * certain * sharp * turned)


def frontality(landmarks: NDArray[np.float32]) -> float:
    """Return 1 for a face seen from the front, 0 for a profile.

    By where the nose is between the eyes, along the line that joins them: it is nearer to the
    camera than they are, and moves to a side as the head turns.
    """
    left, right, nose = (complex(*point) for point in landmarks[:3].astype(float))
    across = right - left
    if not abs(across) > 0:
        return 0.0
    share = ((nose - left) * across.conjugate()).real / abs(across) ** 2
    return max(0.0, 1.0 - 2.0 * abs(share - 0.5))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Return the variance of a crop's Laplacian, its border (often black) left out."""
    side = len(crop)
    edge = side // 6
    grey = crop[edge : side - edge, edge : side - edge].mean(axis=2, dtype=np.float32)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var())
