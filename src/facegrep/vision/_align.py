"""Faces cut out upright: five landmarks mapped onto the places where a model expects them.

References
----------
S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
IEEE TPAMI 13(4), 1991. A similarity in the plane needs no SVD: on complex numbers it is
``a z + b``, and least squares gives ``a`` in closed form. Unlike his, it cannot mirror.

Least squares alone cuts a turned head too close: its eyes have come together, so that five points
as wide apart as a crop wants them would make a face of twice the height. From the eyes to the mouth
it stays as long, so what a face measures there is the least scale.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facegrep.vision._manifest import Crop

_Points = NDArray[np.float32] | NDArray[np.float64]

# Bilinear sampling reads 2x2 pixels: from here on, pixels of the original would be skipped.
_REDUCE_FROM_SCALE = 2.0


def similarity(source: _Points, target: _Points) -> tuple[complex, complex]:
    """Return the similarity ``z -> a z + b`` that best maps points (n, 2) to points (n, 2).

    Points are complex numbers x + iy. All-equal source points give a = 0.
    """
    z = np.asarray(source, np.float64) @ (1, 1j)
    w = np.asarray(target, np.float64) @ (1, 1j)
    centred = z - z.mean()
    spread = float(np.vdot(centred, centred).real)
    a = complex(np.vdot(centred, w - w.mean())) / spread if spread > 0 else 0j
    return a, complex(w.mean()) - a * complex(z.mean())


def placement(landmarks: _Points, crop: Crop) -> tuple[complex, complex]:
    """Return ``z -> a z + b`` from crop to picture: the direction in which pixels are looked up.

    The similarity of least squares, but that eyes and mouth are not farther apart in the crop than
    in its template; their common centre stays where it is.
    """
    template = np.asarray(crop.landmarks_px, np.float64)
    a, b = similarity(template, landmarks)
    fitted, least = abs(a) * _eyes_to_mouth(template), _eyes_to_mouth(landmarks)
    if 0 < fitted < least:
        centre = complex(*template.mean(axis=0))
        kept = a * centre + b
        a *= least / fitted
        b = kept - a * centre
    return a, b


def _eyes_to_mouth(landmarks: _Points) -> float:
    points = np.asarray(landmarks, np.float64)
    return float(np.linalg.norm(points[3:].mean(axis=0) - points[:2].mean(axis=0)))


def align(
    picture: NDArray[np.uint8], landmarks: NDArray[np.float32], crop: Crop
) -> NDArray[np.uint8]:
    """Cut one face out of a picture.

    Parameters
    ----------
    picture
        RGB, (h, w, 3).
    landmarks
        (5, 2), finite, px of the picture.
    crop
        Where the landmarks belong.

    Returns
    -------
    crop
        RGB, (side, side, 3); black where the crop reaches beyond the picture.
    """
    side = crop.side_px
    a, b = placement(landmarks, crop)
    corners = [a * corner + b for corner in (0, side, side * 1j, side * (1 + 1j))]
    scale = math.floor(abs(a)) if abs(a) >= _REDUCE_FROM_SCALE else 1
    margin = 2 * scale
    left, right = _span([corner.real for corner in corners], margin, picture.shape[1])
    top, bottom = _span([corner.imag for corner in corners], margin, picture.shape[0])
    if left >= right or top >= bottom:
        return np.zeros((side, side, 3), np.uint8)
    region = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    if scale > 1:
        region = region.reduce(scale)
    # Landmarks are indices of pixels (centres at integers), Pillow's coordinates are of corners.
    b += 0.5 * (1 + 1j) * (1 - a)
    a, b = a / scale, (b - complex(left, top)) / scale
    coefficients = (a.real, -a.imag, b.real, a.imag, a.real, b.imag)
    warped = region.transform(
        (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(warped)


def _span(values: list[float], margin: int, size: int) -> tuple[int, int]:
    low = min(max(min(values), 0.0), float(size))
    high = min(max(max(values), 0.0), float(size))
    return max(0, math.floor(low) - margin), min(size, math.ceil(high) + margin)
