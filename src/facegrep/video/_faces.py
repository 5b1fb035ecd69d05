"""The faces of a sampled frame, cut out, so that the frame can be let go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.video._quality import quality
from facegrep.video._upright import view_of
from facegrep.vision import Detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facegrep.video._results import PixelBox
    from facegrep.video._samples import Sample
    from facegrep.video._upright import Converter
    from facegrep.vision import Box, FaceAnalyzer, FoundFace

# The detector lets boxes of one face stand whose overlap over union is 0.3 at most: a mouth with a
# chin within a head. Of real faces, none covers another so far and is found still.
_WITHIN: Final = 0.6
LOOK_SIDE: Final = 8


@dataclass(slots=True, eq=False)
class SeenFace:
    """A face in a sampled frame.

    Attributes
    ----------
    box
        In stored pixels of the video's first frame size.
    crop
        Aligned; ``None`` once it is embedded, or is not going to be.
    look
        64 bytes: the crop's greys, 8 x 8. Kept of every face, to tell when one replaced another.
    embedding
        ``None`` until it is embedded.
    """

    time_ms: int
    box: PixelBox
    score: float
    quality: float
    crop: NDArray[np.uint8] | None
    look: bytes
    embedding: NDArray[np.float32] | None = None

    @property
    def vector(self) -> NDArray[np.float32]:
        """The embedding, of a face that is embedded."""
        if self.embedding is None:
            raise RuntimeError("the face is not embedded yet")
        return self.embedding


@dataclass(slots=True, eq=False)
class Looked:
    """A sampled frame that was looked at."""

    sample: Sample
    faces: list[SeenFace]


class Looker:
    """Finds the faces of sampled frames and cuts them out. Thread-safe.

    Parameters
    ----------
    analyzer, converter
        What it uses.
    pixel_aspect
        See `view_of`.
    faces_max
        Of a frame: the largest.
    size_px
        Width and height of the upright frame that boxes are reported for.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        converter: Converter,
        pixel_aspect: float,
        faces_max: int,
        size_px: tuple[int, int],
    ) -> None:
        self._analyzer = analyzer
        self._converter = converter
        self._pixel_aspect = pixel_aspect
        self._faces_max = faces_max
        self._size_px = size_px

    def look(self, samples: Sequence[Sample]) -> list[Looked]:
        """Look at frames, which are let go: each sample's `frame` is ``None`` afterwards."""
        side = self._analyzer.detector_long_side_px
        views = [view_of(sample.frame, self._pixel_aspect, side) for sample in samples]
        reduced = [
            self._converter.reduced(sample.frame, view)
            for sample, view in zip(samples, views, strict=True)
        ]
        # No second look: most frames without a face are really without.
        found = self._analyzer.detect(
            reduced, sizes_px=[view.square_px for view in views], second_look=False
        )
        looked = []
        for sample, view, detections in zip(samples, views, found, strict=True):
            kept = distinct(detections.faces)[: self._faces_max]
            faces = []
            if kept:
                whole = self._converter.square(sample.frame, view)
                crops = self._analyzer.align(whole, Detections(tuple(kept), ()))
                for face, crop in zip(kept, crops, strict=True):
                    worth = quality(face.box, face.score, face.landmarks, crop)
                    box = view.pixel_box(face.box, self._size_px)
                    # A copy: a crop that stays would keep all the others of its frame.
                    faces.append(
                        SeenFace(sample.time_ms, box, face.score, worth, crop.copy(), look_of(crop))
                    )
            sample.frame = None
            looked.append(Looked(sample, faces))
        return looked


def look_of(crop: NDArray[np.uint8]) -> bytes:
    """Return what a face looks like from afar: its greys in `LOOK_SIDE` rows and columns."""
    cell = len(crop) // LOOK_SIDE
    side = cell * LOOK_SIDE
    grey = crop[:side, :side].mean(axis=2, dtype=np.float32)
    cells = grey.reshape(LOOK_SIDE, cell, LOOK_SIDE, cell).mean(axis=(1, 3))
    return bytes(cells.astype(np.uint8))


def distinct(faces: Sequence[FoundFace]) -> list[FoundFace]:
    """Leave out boxes that lie, for the most part, within one of a better score."""
    kept: list[FoundFace] = []
    for face in sorted(faces, key=lambda face: -face.score):
        area = face.box.width * face.box.height
        if all(shared_area(face.box, other.box) <= _WITHIN * area for other in kept):
            kept.append(face)
    kept.sort(key=lambda face: -face.box.width * face.box.height)
    return kept


def shared_area(one: Box | PixelBox, other: Box | PixelBox) -> float:
    """Return the area that two boxes share."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(0.0, width) * max(0.0, height)
