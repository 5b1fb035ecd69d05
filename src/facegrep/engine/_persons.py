"""Clusters of faces as people: who is typical, who to show, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegrep import _core
from facegrep.engine._people_results import People, PersonFace, UnknownPerson
from facegrep.engine._roster import units_of
from facegrep.engine._unknown import UNTOLD
from facegrep.vision import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep.engine._unknown import UnknownFaces


def people_of(
    library: str,
    faces: UnknownFaces,
    firsts: NDArray[np.int64],
    min_faces: int,
    threshold: float,
    reason: str,
) -> People:
    """Describe clusters; `firsts` is the first face of each face's cluster."""
    order = np.argsort(firsts, kind="stable")
    starts = np.flatnonzero(np.diff(firsts[order], prepend=-1))
    scores = _typical(faces.codes, order, starts)
    worth = scores * faces.qualities()
    people, unclustered = [], []
    for members in np.split(order, starts[1:]) if len(order) else ():
        ranked = members[np.lexsort((members, -scores[members]))].tolist()
        if len(ranked) < min_faces:
            unclustered += ranked
            continue
        found = {row: _face(faces, row, scores) for row in ranked}
        people.append(
            UnknownPerson(
                person_id=found[int(members[0])].face_id,
                best=found[int(members[np.argmax(worth[members])])],
                faces=tuple(found[row] for row in ranked),
                media_count=len({faces.media_ids[row] for row in ranked}),
                told=bool((faces.told[members] != UNTOLD).any()),
            )
        )
    people.sort(key=lambda person: -person.face_count)  # stable: then by their first faces
    alone = tuple(_face(faces, row, scores) for row in sorted(unclustered))
    return People(library, tuple(people), alone, faces.recognised, threshold, reason)


def _typical(
    codes: NDArray[np.int8], order: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the cosine of each face with the mean of its cluster, in the order of the faces."""
    scores = np.ones(len(codes))
    ends = np.append(starts, len(order))[1:]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start > 1:
            members = order[start:end]
            mean = units_of(codes[members]).astype(np.float64).sum(axis=0)
            queries = np.broadcast_to(mean.astype(np.float32), (len(members), codes.shape[1]))
            scores[members] = _core.scores(np.ascontiguousarray(queries), codes[members])
    return scores


def _face(faces: UnknownFaces, row: int, scores: NDArray[np.float64]) -> PersonFace:
    values = faces.values[row, :4].tolist()
    return PersonFace(
        media_id=faces.media_ids[row],
        face_no=int(faces.keys[row, 1]),
        box=None if np.isnan(values[0]) else Box(*values),
        score=float(scores[row]),
    )
