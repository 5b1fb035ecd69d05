"""From a shot's tracklets to appearances: whose faces they are decides, where boxes could not."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.video._cuts import unlikeness
from facegrep.video._quality import POOR
from facegrep.video._results import PixelBox
from facegrep.video._tracklets import overlap_over_union

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from facegrep.video._faces import SeenFace
    from facegrep.video._tracklets import Tracklet

ABSENCE_MS: Final = 2000
"""Who is not seen for longer has left; for less, something stood before the camera."""

# Against the manifest's threshold for strangers (SFace: 0.42, one in 10,000): in one shot, seconds
# apart, it is much likelier to be the same person. At 0.30 one stranger in 100 would pass.
_SAME_SHOT_LESS: Final = 0.12
# Nor of poor faces' at 0.38; at 0.30 one in 20.
_SAME_SHOT_BOTH_POOR_LESS: Final = 0.04
# Where the face also is where the other one was a moment ago. At 0.2 one stranger in 10.
_SAME_PLACE_LESS: Final = 0.22
_SAME_PLACE_SAMPLES: Final = 2
# What followed from box to box is one person unless the faces are this unlike; if its box jumped,
# the doubt weighs more. Strangers' faces: 0.09 in the mean; one person's, 1 s apart: above 0.5.
_TWO_PEOPLE: Final = 0.15
_TWO_PEOPLE_AT_A_JUMP: Final = 0.3
_JUMP: Final = 0.6
_NEIGHBOURS: Final = 3
# The likeliest of those that a piece may go on from. A face that a stranger's film has 32 times in
# a frame, each time elsewhere, may go on from 256: 30 frames of that made 61 MB of pairs, now 7.
_EARLIER_MAX: Final = 16


@dataclass(slots=True, eq=False)
class Appearance:
    """One person in one shot, without an absence.

    Attributes
    ----------
    numbers, times_ms
        Of the samples, ascending.
    boxes
        int32 (n, 4).
    faces
        The embedded ones, in order of time; not empty.
    """

    numbers: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    boxes: NDArray[np.int32]
    faces: list[SeenFace]


def appearances(tracklets: Sequence[Tracklet], threshold: float) -> list[Appearance]:
    """Put the tracklets of a shot together.

    Parameters
    ----------
    tracklets
        Ended, their chosen faces embedded.
    threshold
        The model's, for strangers.
    """
    if not tracklets:
        return []
    pieces: list[Appearance] = []
    parted = set()
    for tracklet in tracklets:
        parts = _split(tracklet)
        parted |= {(n, n + 1) for n in range(len(pieces), len(pieces) + len(parts) - 1)}
        pieces += parts
    pairs = _likely_pairs(pieces, parted, threshold)
    group_of = list(range(len(pieces)))
    members = {number: [number] for number in group_of}
    seen = [set(piece.numbers.tolist()) for piece in pieces]
    for _, one, other in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        keep, gone = group_of[one], group_of[other]
        if keep == gone or not seen[keep].isdisjoint(seen[gone]):
            continue
        # The smaller into the larger, or a face that flickers for an hour takes another.
        if len(members[keep]) < len(members[gone]):
            keep, gone = gone, keep
        for number in members[gone]:
            group_of[number] = keep
        members[keep] += members.pop(gone)
        seen[keep] |= seen[gone]
        seen[gone] = set()
    groups = sorted(sorted(group) for group in members.values())
    return [_joined([pieces[number] for number in group]) for group in groups]


def _whole(tracklet: Tracklet) -> Appearance:
    return Appearance(
        np.array(tracklet.numbers, np.int64),
        np.array(tracklet.times_ms, np.int64),
        np.array(tracklet.boxes, np.int32).reshape(-1, 4),
        tracklet.embedded,
    )


def _split(tracklet: Tracklet) -> list[Appearance]:
    """Divide a tracklet where one person took another's place: at a cut or fade not seen as one."""
    whole = _whole(tracklet)
    looks = np.frombuffer(tracklet.looks, np.uint8).reshape(len(whole.numbers), -1)
    vectors = _vectors(whole.faces)
    pieces, begin, face = [], 0, 0
    for at in range(1, len(vectors)):
        before = _mean(vectors[max(face, at - _NEIGHBOURS) : at])
        likeness = float(before @ _mean(vectors[at : at + _NEIGHBOURS]))
        if likeness >= _TWO_PEOPLE_AT_A_JUMP:
            continue
        # Between two embedded faces it happened where the look changed most.
        first, last = np.searchsorted(
            whole.times_ms, [whole.faces[at - 1].time_ms, whole.faces[at].time_ms]
        )
        change = [
            unlikeness(one, other)
            for one, other in itertools.pairwise(looks[first : last + 1].astype(np.float32))
        ]
        end = int(first) + 1 + int(np.argmax(change))
        jumped = overlap_over_union(_box(whole, end - 1), _box(whole, end)) < _JUMP
        if likeness < (_TWO_PEOPLE_AT_A_JUMP if jumped else _TWO_PEOPLE):
            pieces.append(_part(whole, begin, end, face, at))
            begin, face = end, at
    pieces.append(_part(whole, begin, len(whole.numbers), face, len(vectors)))
    return pieces


def _part(whole: Appearance, begin: int, end: int, face: int, face_end: int) -> Appearance:
    return Appearance(
        whole.numbers[begin:end],
        whole.times_ms[begin:end],
        whole.boxes[begin:end],
        whole.faces[face:face_end],
    )


def _likely_pairs(
    pieces: Sequence[Appearance], parted: set[tuple[int, int]], threshold: float
) -> list[tuple[float, int, int]]:
    """Return how alike pieces are of which the second may be what the first goes on as."""
    vectors = [_vectors(piece.faces) for piece in pieces]
    whole = np.stack([_mean(rows) for rows in vectors])
    begin = np.stack([_mean(rows[:_NEIGHBOURS]) for rows in vectors])
    end = np.stack([_mean(rows[-_NEIGHBOURS:]) for rows in vectors])
    pairs: list[tuple[float, int, int]] = []
    for other, earlier in _near_in_time(pieces):
        likeness = np.maximum(whole[earlier] @ whole[other], end[earlier] @ begin[other])
        order = np.argsort(-likeness, kind="stable")
        likely = (
            (like, one, other)
            for like, one in zip(likeness[order].tolist(), earlier[order].tolist(), strict=True)
            if (one, other) not in parted
            and like >= threshold - _allowance(pieces[one], pieces[other])
        )
        pairs += itertools.islice(likely, _EARLIER_MAX)
    return pairs


def _near_in_time(pieces: Sequence[Appearance]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each piece, and those that ended before it without an absence between."""
    first = np.array([piece.numbers[0] for piece in pieces])
    last = np.array([piece.numbers[-1] for piece in pieces])
    start_ms = np.array([piece.times_ms[0] for piece in pieces])
    end_ms = np.array([piece.times_ms[-1] for piece in pieces])
    near = np.empty(0, np.int64)
    for other in np.argsort(first, kind="stable").tolist():
        # Successive samples may be far apart in time, and nobody was away between them.
        away = start_ms[other] - end_ms[near] > ABSENCE_MS
        near = near[~(away & (first[other] - last[near] > 1))]
        yield other, near[last[near] < first[other]]
        near = np.append(near, other)


def _allowance(earlier: Appearance, later: Appearance) -> float:
    """Return how far below strangers' threshold two pieces may be."""
    samples = int(later.numbers[0] - earlier.numbers[-1])
    same_place = samples <= _SAME_PLACE_SAMPLES and _near(earlier.boxes[-1], later.boxes[0])
    if same_place:
        return _SAME_PLACE_LESS
    are_poor = all(face.quality < POOR for piece in (earlier, later) for face in piece.faces)
    return _SAME_SHOT_BOTH_POOR_LESS if are_poor else _SAME_SHOT_LESS


def _near(one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one.tolist(), other.tolist()
    distance = max(abs(x1 + w1 / 2 - x2 - w2 / 2), abs(y1 + h1 / 2 - y2 - h2 / 2))
    return bool(distance <= min(w1 + w2, h1 + h2) / 2 and 0.6 <= h1 / h2 <= 1 / 0.6)


def _joined(pieces: list[Appearance]) -> Appearance:
    numbers = np.concatenate([piece.numbers for piece in pieces])
    order = np.argsort(numbers)
    faces = sorted((face for piece in pieces for face in piece.faces), key=lambda f: f.time_ms)
    return Appearance(
        numbers[order],
        np.concatenate([piece.times_ms for piece in pieces])[order],
        np.concatenate([piece.boxes for piece in pieces])[order],
        faces,
    )


def _box(piece: Appearance, index: int) -> PixelBox:
    return PixelBox(*piece.boxes[index].tolist())


def _vectors(faces: Sequence[SeenFace]) -> NDArray[np.float32]:
    """Return embeddings as rows, longer the better the face."""
    return np.stack([face.vector * np.float32(face.quality + 0.01) for face in faces])


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    total = vectors.sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)
