"""Whether a face is good enough to search with: its size, its sharpness, its pose.

References
----------
F. Crete, T. Dolmiere, P. Ladret, M. Nicolas, "The blur effect: perception and estimation with a new
no-reference perceptual blur metric", SPIE 6492, 2007: blurring what is blurred already changes it
little. `sharpness` is one minus theirs. Of five measures tried on photos of LFW that were blurred
on purpose, it and the variance of the Laplacian followed the loss of cosine best (rank correlation
0.86 and 0.87), and unlike the other it does not depend on contrast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.vision._faces import Quality, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep.vision._faces import FoundFace
    from facegrep.vision._manifest import QualityLimits

_BLUR_PX: Final = 9  # theirs; of a crop of 112 px
_LUMA: Final = np.array([0.299, 0.587, 0.114])

# How far the nose's tip stands out before the plane of eyes and mouth, in distances of the eyes.
# With it the turned faces of LFW whose eyes have come closest together are at 60 to 70 degrees,
# which is also what the distance of their eyes says.
_NOSE_STANDS_OUT: Final = 0.4


def assess(face: FoundFace, crop: NDArray[np.uint8] | None, limits: QualityLimits) -> Quality:
    """Measure a face and compare it with a model's limits. 0.2 ms.

    Parameters
    ----------
    face
        As the detector saw it.
    crop
        RGB, (side, side, 3): the face as the model sees it; ``None``: then nothing is blurred.
    limits
        From the model's manifest.
    """
    side_px = min(face.box.width, face.box.height)
    sharp = None if crop is None else sharpness(crop)
    yaw_deg, roll_deg = pose(face.landmarks)
    wrong: list[tuple[Verdict, str]] = []
    if side_px < limits.side_min_px:
        what = f"the face is {side_px:.0f} px, and wants {limits.side_min_px} px"
        wrong.append((Verdict.TOO_SMALL, what))
    if abs(yaw_deg) > limits.yaw_max_deg:
        what = f"it is turned {abs(yaw_deg):.0f} degrees sideways, of at most"
        wrong.append((Verdict.TURNED_AWAY, f"{what} {limits.yaw_max_deg:g}"))
    if abs(roll_deg) > limits.roll_max_deg:
        what = f"it is tilted {abs(roll_deg):.0f} degrees, of at most {limits.roll_max_deg:g}"
        wrong.append((Verdict.TURNED_AWAY, what))
    # What is too small is enlarged for the model, and is blurred by that already.
    if sharp is not None and sharp < limits.sharpness_min and side_px >= limits.side_min_px:
        what = f"it is blurred: sharpness {sharp:.2f}, of at least {limits.sharpness_min:g}"
        wrong.append((Verdict.BLURRED, what))
    # Of what nothing else explains: covered, turned, or tilted, which its landmarks hardly show.
    if face.score < limits.detector_score_min and not wrong:
        what = f"the detector is not sure of it, with a score of {face.score:.2f}"
        what = f"{what}, of at least {limits.detector_score_min:g}: tilted, turned or covered?"
        wrong.append((Verdict.TURNED_AWAY, what))
    return Quality(
        verdict=wrong[0][0] if wrong else Verdict.GOOD,
        reason="; ".join(reason for _, reason in wrong),
        side_px=side_px,
        sharpness=sharp,
        yaw_deg=yaw_deg,
        roll_deg=roll_deg,
    )


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Return the share of the contrast between neighbours that a box blur takes away, 0 to 1.

    Along rows and along columns, the lesser of both: motion blurs one of them. Only the face's
    middle counts, without hair, background and black corners.
    """
    side = crop.shape[0]
    middle = slice(round(side * 0.2), round(side * 0.93)), slice(round(side / 7), -round(side / 7))
    luma = crop[middle] @ _LUMA
    return min(_lost(luma), _lost(luma.T))


def _lost(luma: NDArray[np.float64]) -> float:
    width = min(_BLUR_PX, luma.shape[1] - 1)
    sums = np.cumsum(luma, axis=1)
    blurred = (sums[:, width:] - sums[:, :-width]) / width
    before = np.abs(np.diff(luma[:, width // 2 + 1 :], axis=1))[:, : blurred.shape[1] - 1]
    after = np.abs(np.diff(blurred, axis=1))
    contrast = float(before.sum())
    lost = float(np.maximum(before - after, 0).sum())
    return min(lost / contrast, 1.0) if contrast else 0.0


def pose(landmarks: NDArray[np.float32]) -> tuple[float, float]:
    """Estimate how far a face is turned and tilted.

    Parameters
    ----------
    landmarks
        (5, 2): image-left eye, image-right eye, nose, mouth corners.

    Returns
    -------
    yaw_deg, roll_deg
        To the right and clockwise in the picture are positive. Yaw within -90..90, about 10 off.
    """
    left, right, nose, *mouth = (complex(x, y) for x, y in landmarks.tolist())
    eyes, lips = (left + right) / 2, sum(mouth) / len(mouth)
    if lips == eyes or left == right:  # no face at all
        return 90.0, 0.0
    down = (lips - eyes) / abs(lips - eyes)
    # Turning moves the nose off the line from eyes to mouth, and brings the eyes closer.
    offset = -((nose - eyes) / down).imag
    yaw = math.atan2(offset, _NOSE_STANDS_OUT * abs(right - left))
    # Not from the line of the eyes, which is short where they are behind one another.
    return math.degrees(yaw), math.degrees(math.atan2(-down.real, down.imag))
