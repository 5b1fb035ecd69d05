"""Faces that follow one another in one place, and which of them are embedded.

A tracklet is what boxes alone can vouch for: from sample to sample, one face that overlaps one
before it, and no other that might be meant. At any doubt it ends, and another begins; embeddings
put them together afterwards (`_linking.py`). Embedded are all faces of a tracklet's first second,
and the best of each later one: an embedding takes as long as looking at a frame, and neighbouring
ones say the same; but who is seen for a second only, turned away, needs every one of them. After
ten minutes it is less and less often: who speaks for three hours has 2,300 embeddings, not 10,800.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from facegrep.video._faces import shared_area
from facegrep.video._results import PixelBox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facegrep.video._faces import Looked, SeenFace

EMBED_EVERY_MS: Final = 1000
EMBED_ALL_MS: Final = 1000
EMBED_AGE_SHARE: Final = 600
"""One embedding for each such part of a tracklet's age, where that is more than a second."""
# A face that walks across a frame in 5 s moves half its width in a sample: 0.33 of the union stays.
_OVERLAP_MIN: Final = 0.3
# Another box that overlaps half as much might be meant as well.
_DOUBT: Final = 0.5
_MISSED_SAMPLES_MAX: Final = 1
_MISSED_MS_MAX: Final = 600


@dataclass(slots=True, eq=False)
class Tracklet:
    """Faces of one place in successive samples of a shot.

    Attributes
    ----------
    numbers, times_ms, boxes, looks
        Of the samples; boxes four numbers each, looks 64 bytes. Compact: a shot may last for hours.
    embedded
        Chosen faces, in order of time; their embeddings come later.
    best
        The best face since `best_from_ms`, not embedded yet.
    """

    numbers: array[int] = field(default_factory=lambda: array("q"))
    times_ms: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[int] = field(default_factory=lambda: array("i"))
    looks: bytearray = field(default_factory=bytearray)
    embedded: list[SeenFace] = field(default_factory=list)
    best: SeenFace | None = None
    best_from_ms: int = 0

    def box(self, index: int) -> PixelBox:
        """Return a box by its index, from the end if negative."""
        at = 4 * (index % len(self.numbers))
        return PixelBox(*self.boxes[at : at + 4])

    def expected(self, number: int) -> PixelBox:
        """Return where the face would be in a sample, if it went on as before."""
        last = self.box(-1)
        if len(self.numbers) < 2:
            return last
        before = self.box(-2)
        share = (number - self.numbers[-1]) / (self.numbers[-1] - self.numbers[-2])
        return PixelBox(
            round(last.x + (last.x - before.x) * share),
            round(last.y + (last.y - before.y) * share),
            max(1, round(last.width + (last.width - before.width) * share)),
            max(1, round(last.height + (last.height - before.height) * share)),
        )

    def add(self, number: int, face: SeenFace) -> SeenFace | None:
        """Append a face; returns the one before it that is to be embedded, if one is."""
        done = None
        if self.best is not None:
            age_ms = self.best.time_ms - self.times_ms[0]
            every_ms = (
                max(EMBED_EVERY_MS, age_ms // EMBED_AGE_SHARE) if age_ms >= EMBED_ALL_MS else 0
            )
            if face.time_ms >= self.best_from_ms + every_ms:
                done = self.close()
        if self.best is None:
            self.best, self.best_from_ms = face, face.time_ms
        elif face.quality > self.best.quality:
            self.best = face
        self.numbers.append(number)
        self.times_ms.append(face.time_ms)
        self.boxes.extend(face.box)
        self.looks += face.look
        return done

    def close(self) -> SeenFace | None:
        """Return the best face since the last that was embedded: it is to be embedded, too."""
        done, self.best = self.best, None
        if done is not None:
            self.embedded.append(done)
        return done


class Follower:
    """Makes tracklets of the samples of one shot.

    Attributes
    ----------
    tracklets
        All so far, in order of their beginning.
    """

    def __init__(self) -> None:
        self.tracklets: list[Tracklet] = []
        self._open: list[Tracklet] = []

    def feed(self, looked: Looked) -> list[SeenFace]:
        """Take the next sample; returns the faces to embed."""
        number = looked.sample.number
        to_embed = self._close(
            tracklet
            for tracklet in self._open
            if number - tracklet.numbers[-1] > 1 + _MISSED_SAMPLES_MAX
            or (
                number - tracklet.numbers[-1] > 1
                and looked.sample.time_ms - tracklet.times_ms[-1] > _MISSED_MS_MAX
            )
        )
        follows = self._match(number, looked.faces)
        doubtful = [tracklet for tracklet, face in follows if face is None]
        to_embed += self._close(doubtful)
        taken = set()
        for tracklet, face in follows:
            if face is not None:
                taken.add(id(face))
                to_embed += [done] if (done := tracklet.add(number, face)) else []
        for face in looked.faces:
            if id(face) not in taken:
                tracklet = Tracklet()
                tracklet.add(number, face)
                self._open.append(tracklet)
                self.tracklets.append(tracklet)
        return to_embed

    def finish(self) -> list[SeenFace]:
        """End the shot; returns the last faces to embed."""
        return self._close(list(self._open))

    def _close(self, tracklets: Iterable[Tracklet]) -> list[SeenFace]:
        closing = {id(tracklet): tracklet for tracklet in tracklets}
        self._open = [tracklet for tracklet in self._open if id(tracklet) not in closing]
        return [face for tracklet in closing.values() if (face := tracklet.close())]

    def _match(self, number: int, faces: list[SeenFace]) -> list[tuple[Tracklet, SeenFace | None]]:
        """Pair open tracklets with faces; ``None`` where it is in doubt which face follows."""
        overlaps = sorted(
            (
                (overlap, row, column)
                for row, tracklet in enumerate(self._open)
                for column, face in enumerate(faces)
                if (overlap := _overlap(tracklet, number, face)) >= _DOUBT * _OVERLAP_MIN
            ),
            reverse=True,
        )
        pairs: list[tuple[Tracklet, SeenFace | None]] = []
        rows: dict[int, float] = {}
        columns: dict[int, float] = {}
        for overlap, row, column in overlaps:
            if row in rows or column in columns or overlap < _OVERLAP_MIN:
                continue
            rows[row] = columns[column] = overlap
            rivals = [
                other
                for other, r, c in overlaps
                if (r == row) != (c == column) and other >= _DOUBT * overlap
            ]
            pairs.append((self._open[row], None if rivals else faces[column]))
        return pairs


def _overlap(tracklet: Tracklet, number: int, face: SeenFace) -> float:
    """Return the overlap over union of a face with where the tracklet was, or should be."""
    return max(
        overlap_over_union(tracklet.box(-1), face.box),
        overlap_over_union(tracklet.expected(number), face.box),
    )


def overlap_over_union(one: PixelBox, other: PixelBox) -> float:
    """Return the share that two boxes have in common, 0..1."""
    shared = shared_area(one, other)
    return shared / (one.width * one.height + other.width * other.height - shared)
