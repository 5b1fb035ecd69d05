"""YuNet: what it is shown, and how its anchors become boxes and landmarks.

The network sees float32 BGR 0..255 in NCHW, the picture in the left upper corner of a canvas whose
sides are multiples of 32. For the anchor in column c, row r of stride S it gives an offset of the
box's centre, the logarithms of its size, and offsets of five landmarks, all in units of S.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facegrep.vision._manifest import Detection

STRIDES = (8, 16, 32)
OUTPUT_NAMES = tuple(f"{head}_{s}" for head in ("cls", "obj", "bbox", "kps") for s in STRIDES)

# Below the threshold, faces are reported as refused down to here; lower ones are noise.
REPORTED_SCORE_MIN = 0.4
# Bounds the work of non-maximum suppression on pictures made to excite every anchor.
_CANDIDATES_MAX = 2000
# Far beyond any canvas, in strides: keeps what follows finite whatever the network says.
_OFFSET_MAX, _LOG_SIZE_MAX = 4096.0, 10.0


class Canvas(NamedTuple):
    """A picture as the network sees it; canvas = original * scale + border."""

    pixels: NDArray[np.uint8]
    scale_x: float
    scale_y: float
    border_px: int
    size_px: tuple[int, int]
    """Width and height of the original."""


class Candidates(NamedTuple):
    """Boxes (n, 4) as x, y, width, height; landmarks (n, 5, 2); best score first."""

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]


def draw(
    picture: NDArray[np.uint8],
    detection: Detection,
    size_px: tuple[int, int] | None = None,
    *,
    border: float = 0.0,
) -> Canvas:
    """Place an RGB picture (h, w, 3) on a canvas, shrunk to fit the manifest's long side.

    ``size_px`` is the width and height of the original where the picture is a reduced copy of it;
    ``border`` the width of a black frame around it, as a share of the picture's long side.
    """
    height, width = picture.shape[:2]
    size_px = size_px or (width, height)
    border_px = round(border * max(height, width))
    framed_long = max(height, width) + 2 * border_px
    scale = min(1.0, detection.long_side_px / framed_long)
    small_w, small_h = max(1, round(width * scale)), max(1, round(height * scale))
    small = picture
    if (small_w, small_h) != (width, height):
        small = np.asarray(
            Image.fromarray(picture).resize(
                (small_w, small_h), Image.Resampling.BILINEAR, reducing_gap=2.0
            )
        )
    inset = round(border_px * scale)
    canvas_w, canvas_h = (-(-(side + 2 * inset) // 32) * 32 for side in (small_w, small_h))
    pixels = np.zeros((canvas_h, canvas_w, 3), np.uint8)
    pixels[inset : inset + small_h, inset : inset + small_w] = small
    return Canvas(pixels, small_w / size_px[0], small_h / size_px[1], inset, size_px)


def decode(
    outputs: dict[str, NDArray[np.float32]], index: int, canvas: Canvas, detection: Detection
) -> Candidates:
    """Return the faces of picture ``index`` of a batch, in px of the original picture."""
    canvas_h, canvas_w = canvas.pixels.shape[:2]
    parts = []
    for stride in STRIDES:
        columns, rows = canvas_w // stride, canvas_h // stride
        cls, obj, bbox, kps = (
            outputs[f"{head}_{stride}"][index].reshape(rows * columns, -1)
            for head in ("cls", "obj", "bbox", "kps")
        )
        score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        # NaN compares false, so such anchors drop out here.
        at = np.flatnonzero(score >= min(REPORTED_SCORE_MIN, detection.score_min))
        anchor = np.stack([at % columns, at // columns], axis=1).astype(np.float32)
        centre = (anchor + np.clip(bbox[at, :2], -_OFFSET_MAX, _OFFSET_MAX)) * stride
        size = np.exp(np.clip(bbox[at, 2:], -_LOG_SIZE_MAX, _LOG_SIZE_MAX)) * stride
        offset = np.clip(kps[at], -_OFFSET_MAX, _OFFSET_MAX).reshape(-1, 5, 2)
        points = (anchor[:, None, :] + offset) * stride
        parts.append((np.hstack([centre - size / 2, size]), points, score[at]))
    boxes, points, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(points).all(axis=(1, 2))
    order = np.argsort(-scores[finite], kind="stable")[:_CANDIDATES_MAX]
    boxes, points, scores = (part[finite][order] for part in (boxes, points, scores))
    kept = _suppress(boxes, detection.nms_iou)
    scale = np.array([canvas.scale_x, canvas.scale_y], np.float32)
    boxes[:, :2] -= canvas.border_px
    return Candidates(
        boxes[kept] / np.tile(scale, 2), (points[kept] - canvas.border_px) / scale, scores[kept]
    )


def _suppress(boxes: NDArray[np.float32], iou_max: float) -> list[int]:
    """Return which of the boxes, best first, overlap no better one by more than ``iou_max``."""
    left_top, right_bottom = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    area = boxes[:, 2] * boxes[:, 3]
    alive = np.ones(len(boxes), bool)
    kept = []
    for best in range(len(boxes)):
        if not alive[best]:
            continue
        kept.append(best)
        overlap = np.minimum(right_bottom[best], right_bottom) - np.maximum(
            left_top[best], left_top
        )
        shared = np.prod(np.maximum(overlap, 0), axis=1)
        alive &= shared <= iou_max * (area[best] + area - shared)
    return kept
