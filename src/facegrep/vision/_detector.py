"""Which faces a picture shows, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facegrep.vision import _yunet
from facegrep.vision._faces import Box, Detections, FoundFace, RefusedFace
from facegrep.vision._manifest import DetectorManifest, Model
from facegrep.vision._network import Network
from facegrep.vision._runtime import Device

# YuNet knows faces of about 10 to 300 px with something around them. A face from edge to edge is
# missed (10 of 155 close crops of 1500 px) or has its landmarks misplaced; a black frame of half
# the picture's size around it helps: mean cosine with the uncropped face's embedding 0.69 -> 0.80
# at 112 px, 0.78 -> 0.82 at 640 px, none missed. Faces with more room gain nothing (1.3x: +0.004).
_SECOND_LOOK_BORDER = 0.5
_FILLS_PICTURE = 0.85


class Detector:
    """A face detector. Reentrant.

    Parameters
    ----------
    model, manifest
        What to load, and its `DetectorManifest`.
    device
        See `FaceAnalyzer`.
    """

    def __init__(self, model: Model, manifest: DetectorManifest, device: Device) -> None:
        self._detection = manifest.detection
        self._network = Network(model, "folded", device, _yunet.OUTPUT_NAMES)
        self.provider = self._network.provider

    def canvas(
        self, picture: NDArray[np.uint8], size_px: tuple[int, int] | None = None
    ) -> _yunet.Canvas:
        """Return the picture as the network sees it; pictures of one canvas size share a batch.

        ``size_px`` is the width and height of what the picture is a reduced copy of, if it is one:
        in its px faces are measured.
        """
        return _yunet.draw(picture, self._detection, size_px)

    def find(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        canvases: Sequence[_yunet.Canvas],
        *,
        second_look: bool = True,
    ) -> list[Detections]:
        """Find the faces of pictures whose canvases have one size."""
        found = self.look(canvases)
        for index, (picture, canvas) in enumerate(zip(pictures, canvases, strict=True)):
            if second_look and _needs_second_look(found[index], canvas.size_px):
                framed = _yunet.draw(
                    picture, self._detection, canvas.size_px, border=_SECOND_LOOK_BORDER
                )
                second = self.look([framed])[0]
                if second.faces:
                    found[index] = second
        return found

    def look(self, canvases: Sequence[_yunet.Canvas]) -> list[Detections]:
        outputs = self._network.run(np.stack([canvas.pixels for canvas in canvases]))
        return [
            self._sort_out(_yunet.decode(outputs, index, canvas, self._detection), canvas.size_px)
            for index, canvas in enumerate(canvases)
        ]

    def _sort_out(self, found: _yunet.Candidates, size_px: tuple[int, int]) -> Detections:
        faces, refused = [], []
        for raw, landmarks, raw_score in zip(*found, strict=True):
            box, score = _inside(raw, size_px), float(raw_score)
            if score < self._detection.score_min:
                reason = f"detector score below {self._detection.score_min:g}"
            elif min(box.width, box.height) < self._detection.face_side_min_px:
                reason = f"smaller than {self._detection.face_side_min_px} px"
            else:
                faces.append(FoundFace(box, score, landmarks))
                continue
            if box.width > 0 and box.height > 0:
                refused.append(RefusedFace(box, score, reason))
        faces.sort(key=lambda face: -face.box.width * face.box.height)
        refused.sort(key=lambda face: -face.box.width * face.box.height)
        return Detections(tuple(faces), tuple(refused))


def _needs_second_look(found: Detections, size_px: tuple[int, int]) -> bool:
    if not found.faces:
        return True
    box = found.faces[0].box
    return bool(max(box.width, box.height) >= _FILLS_PICTURE * max(size_px))


def _inside(raw: NDArray[np.float32], size_px: tuple[int, int]) -> Box:
    """Clip a box to the picture."""
    width, height = size_px
    x, y, w, h = map(float, raw)
    left, right = (min(max(value, 0.0), float(width)) for value in (x, x + w))
    top, bottom = (min(max(value, 0.0), float(height)) for value in (y, y + h))
    return Box(left, top, right - left, bottom - top)
