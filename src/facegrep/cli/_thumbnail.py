"""Small JPEG pictures cut from a photo, made when a page is written and kept nowhere else."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHOTO_SIDE_PX: Final = 640
FACE_SIDE_PX: Final = 160
_FACE_MARGIN: Final = 1.7  # side of the close-up in sides of the box: hair and chin lie outside it
_JPEG_QUALITY: Final = 82


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A photo made small.

    Attributes
    ----------
    photo
        JPEG bytes of the whole photo, ``width`` x ``height`` px, its longer side at most
        `PHOTO_SIDE_PX`; nothing of the original's metadata.
    box
        ``(x, y, width, height)`` of the face in px of ``photo``, within it; ``None`` without one.
    face
        JPEG bytes of a square close-up of the face; ``None`` without a box.
    """

    photo: bytes
    width: int
    height: int
    box: tuple[float, float, float, float] | None = None
    face: bytes | None = None


def thumbnail(
    pixels: NDArray[np.uint8], box: tuple[float, float, float, float] | None
) -> Thumbnail:
    """Make a photo small; `box` is the face's ``(x, y, width, height)`` in px of `pixels`."""
    image = Image.fromarray(pixels)
    scale = min(1.0, PHOTO_SIDE_PX / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    photo = _jpeg(image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0))
    if box is None:
        return Thumbnail(photo, width, height)
    left, right = (min(max(x * scale, 0.0), width) for x in (box[0], box[0] + box[2]))
    top, bottom = (min(max(y * scale, 0.0), height) for y in (box[1], box[1] + box[3]))
    inside = (left, top, right - left, bottom - top)
    return Thumbnail(photo, width, height, inside, _jpeg(_close_up(image, box)))


def _close_up(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """Cut the square around a box, moved and shrunk to lie within the picture."""
    x, y, width, height = box
    side = min(max(width, height) * _FACE_MARGIN, *image.size)
    left = min(max(x + width / 2 - side / 2, 0.0), image.width - side)
    top = min(max(y + height / 2 - side / 2, 0.0), image.height - side)
    return image.resize(
        (FACE_SIDE_PX, FACE_SIDE_PX),
        Image.Resampling.LANCZOS,
        box=(left, top, left + side, top + side),
        reducing_gap=2.0,
    )


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
