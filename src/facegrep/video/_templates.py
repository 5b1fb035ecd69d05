"""Which few faces of a track are kept: good ones, that differ, each with what is like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.video._quality import POOR
from facegrep.video._results import Template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facegrep.video._faces import SeenFace

TEMPLATES_MAX: Final = 5
# Two faces of one person a second apart have a cosine of 0.8 to 0.95; a turned head or another
# light brings it below. More alike, the second adds a row to the library and no match.
_ALIKE: Final = 0.8
# Of the best one's quality. A blurred face differs from a sharp one, too, but as all blurred do.
_QUALITY_SHARE_MIN: Final = 0.3
# With the track's mean: what is less like it is a wrong box, or somebody else's.
_LIKE_THE_TRACK: Final = 0.5


def choose(faces: Sequence[SeenFace]) -> tuple[Template, ...]:
    """Choose among a track's embedded faces, at least one; best quality first.

    Greedy: the best, then again and again the one of the largest product of quality and distance
    from those chosen. The embedding of each is the mean of the faces that are nearest to it,
    weighted by quality.
    """
    vectors = np.stack([face.vector for face in faces])
    qualities = np.array([face.quality for face in faces])
    weighted = vectors * (qualities + 0.01)[:, None]
    likeness = vectors @ _unit(weighted.sum(axis=0))
    of_track = likeness >= _LIKE_THE_TRACK
    if not of_track.any():
        of_track[int(np.argmax(likeness))] = True
    best = int(np.argmax(np.where(of_track, qualities, -1.0)))
    able = of_track & (qualities >= max(POOR, _QUALITY_SHARE_MIN * qualities[best]))
    chosen = [best]
    nearest = vectors @ vectors[best]
    while len(chosen) < TEMPLATES_MAX:
        gain = np.where(able & (nearest < _ALIKE), qualities * (1.0 - nearest), 0.0)
        another = int(np.argmax(gain))
        if gain[another] <= 0:
            break
        chosen.append(another)
        nearest = np.maximum(nearest, vectors @ vectors[another])
    left = of_track & (nearest < _LIKE_THE_TRACK)
    if left.any() and len(chosen) < TEMPLATES_MAX:
        another = int(np.argmax(np.where(left, qualities, -1.0)))
        if (left & (vectors @ vectors[another] >= _LIKE_THE_TRACK)).sum() > 1:
            chosen.append(another)
    group = np.argmax(vectors @ vectors[chosen].T, axis=1)
    group[chosen] = range(len(chosen))
    kept = []
    for number, index in enumerate(chosen):
        face = faces[index]
        embedding = _unit(weighted[of_track & (group == number)].sum(axis=0))
        kept.append(Template(embedding, face.box, face.time_ms, face.quality))
    return tuple(sorted(kept, key=lambda template: -template.quality))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
