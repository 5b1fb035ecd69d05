"""A decoded frame's pixels, upright and square, in the sizes that are needed."""

from __future__ import annotations

import math
import struct
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from facegrep._errors import VideoError
from facegrep.video._pyav import is_of_file, pyav
from facegrep.video._results import PixelBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep.vision import Box


# As a rule, pixels that are not square are stretched, so that no detail is lost; a larger frame is
# shrunk the other way: 36 megapixels, stretched fourfold, would be 432 MB.
_STRETCHED_PIXELS_MAX: Final = 8_300_000


class Turn(NamedTuple):
    """What makes a stored frame upright: swap rows with columns, then mirror along the axes."""

    swap: bool = False
    mirror_rows: bool = False
    mirror_columns: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of the pixels, upright."""
        if self.swap:
            pixels = pixels.swapaxes(0, 1)
        rows = -1 if self.mirror_rows else 1
        columns = -1 if self.mirror_columns else 1
        return pixels[::rows, ::columns]


class View(NamedTuple):
    """How a frame is looked at.

    Attributes
    ----------
    turn
        See `Turn`.
    size_px
        Width and height of the upright frame, in pixels as stored.
    square_px
        The same after scaling to square pixels: what faces are measured and cut in.
    reduced_px
        The same, reduced to what the detector sees.
    """

    turn: Turn
    size_px: tuple[int, int]
    square_px: tuple[int, int]
    reduced_px: tuple[int, int]

    def pixel_box(self, box: Box, size_px: tuple[int, int] | None = None) -> PixelBox:
        """Return a box in whole stored pixels, inside a frame of ``size_px`` (this frame's)."""
        width, height = size_px or self.size_px
        scale_x, scale_y = width / self.square_px[0], height / self.square_px[1]
        left = min(max(round(box.x * scale_x), 0), width - 1)
        top = min(max(round(box.y * scale_y), 0), height - 1)
        right = min(max(round((box.x + box.width) * scale_x), left + 1), width)
        bottom = min(max(round((box.y + box.height) * scale_y), top + 1), height)
        return PixelBox(left, top, right - left, bottom - top)


def view_of(frame: Any, pixel_aspect: float, reduced_side_px: int) -> View:  # noqa: ANN401
    """Say how to look at an ``av.VideoFrame``.

    Parameters
    ----------
    frame
        With or without rotation metadata.
    pixel_aspect
        Width of a pixel over its height, before turning.
    reduced_side_px
        The longer side of the reduced picture, unless the frame is smaller.
    """
    turn = _turn(frame)
    square = _square(frame.width, frame.height, pixel_aspect)
    scale = min(1.0, reduced_side_px / max(square))
    reduced = max(1, round(square[0] * scale)), max(1, round(square[1] * scale))
    stored = frame.width, frame.height
    if turn.swap:
        return View(turn, stored[::-1], square[::-1], reduced[::-1])
    return View(turn, stored, square, reduced)


class Converter:
    """Converts frames to RGB. Thread-safe, but for two threads with one frame."""

    def __init__(self) -> None:
        self._own = threading.local()

    def reduced(self, frame: Any, view: View) -> NDArray[np.uint8]:  # noqa: ANN401
        """Return the picture that faces are looked for in: upright RGB, C-contiguous."""
        # In two steps: swscale shrinks planes 3 times as fast as it shrinks to RGB (720p to 640:
        # 1.1 ms instead of 3.3).
        size = _stored(view.reduced_px, view.turn)
        small = self._convert("shrink", frame, size, "yuv420p", "AREA")
        return np.ascontiguousarray(view.turn.apply(self._rgb("small", small, size)))

    def square(self, frame: Any, view: View) -> NDArray[np.uint8]:  # noqa: ANN401
        """Return the whole picture: upright RGB; a view, not always contiguous."""
        return view.turn.apply(self._rgb("square", frame, _stored(view.square_px, view.turn)))

    def grey(self, frame: Any, width: int, height: int) -> NDArray[np.uint8]:  # noqa: ANN401
        """Return single points of the stored frame's luma, (height, width)."""
        points = self._convert("grey", frame, (width, height), "gray", "FAST_BILINEAR")
        grey: NDArray[np.uint8] = points.to_ndarray()
        return grey

    def _rgb(self, use: str, frame: Any, size: tuple[int, int]) -> NDArray[np.uint8]:  # noqa: ANN401
        converted = self._convert(use, frame, size, "rgb24", "BILINEAR")
        pixels: NDArray[np.uint8] = converted.to_ndarray()
        return pixels

    def _convert(self, use: str, frame: Any, size: tuple[int, int], *how: str) -> Any:  # noqa: ANN401
        """Convert to the pixel format and with the scaling that ``how`` names."""
        # One for each use and thread: it keeps the tables of its last conversion.
        by_use = self._own.__dict__
        if use not in by_use:
            by_use[use] = pyav().video.reformatter.VideoReformatter()
        kind, scaling = how
        try:
            return by_use[use].reformat(frame, *size, kind, interpolation=scaling, threads=1)
        except Exception as error:
            if not is_of_file(error):
                raise
            # Of a file that says of its pixels what no pixels can be.
            raise VideoError(
                f"a frame of the video cannot be converted to {kind}: {error}",
                reason="its pixels are of a kind that cannot be shown",
            ) from error


def _square(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    stretch = width * height * max(pixel_aspect, 1 / pixel_aspect) <= _STRETCHED_PIXELS_MAX
    if (pixel_aspect > 1) == stretch:
        return max(1, round(width * pixel_aspect)), height
    return width, max(1, round(height / pixel_aspect))


def _stored(size: tuple[int, int], turn: Turn) -> tuple[int, int]:
    return size[::-1] if turn.swap else size


def _turn(frame: Any) -> Turn:  # noqa: ANN401
    """Read a frame's display matrix, rounded to quarter turns."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None or len(bytes(side_data)) < 36:
        return Turn()
    # Row vectors: x' = a x + c y, y' = b x + d y, in 16.16 fixed point.
    a, b, _, c, d = struct.unpack("=9i", bytes(side_data)[:36])[:5]
    if math.hypot(b, c) > math.hypot(a, d):
        return Turn(True, b < 0, c < 0)
    return Turn(False, d < 0, a < 0)
