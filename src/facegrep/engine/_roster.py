"""The people that recognition libraries know, in memory, and whose face a face is.

A face is at most one person: of those whom it reaches the threshold with, the one with the best
score; of two with the same, the one whose entity id comes first. So two people are never the same
face, and a face that is more like somebody else is nobody's second best.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from facegrep import _core
from facegrep.engine._fusion import fuse, quality_of
from facegrep.store import list_all_samples, list_recognition, unpack_faces

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from facegrep.engine._fusion import Fused
    from facegrep.store import LibraryRow, RecognitionRow, SampleRow

State: TypeAlias = tuple[tuple[int, int], ...]
"""Which recognition libraries, by incarnation, and at which commit of each."""

_VALUES: Final = 16 << 20
"""Faces times people times dimensions that are compared at once: 64 MiB, if all are alike."""

NOBODY: Final = -1


class Known(NamedTuple):
    """An entity that can be recognised."""

    entity_id: str
    name: str
    recognition_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """People, in the order of their entity ids.

    Attributes
    ----------
    state
        What it was made from.
    people
        Those with a sample.
    queries
        float32 ``(len(people), dim)``: the fused samples of each.
    units
        The same, each divided by its length.
    """

    state: State
    people: tuple[Known, ...]
    queries: NDArray[np.float32] = field(repr=False)
    units: NDArray[np.float32] = field(repr=False)

    def number_of(self, entity_id: str) -> int | None:
        """Return the number of a person, if they can be recognised."""
        found = (n for n, known in enumerate(self.people) if known.entity_id == entity_id)
        return next(found, None)

    def assign(
        self, codes: NDArray[np.int8], threshold: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Say whose each face is.

        Parameters
        ----------
        codes
            int8 ``(n, dim)``, none all zero.
        threshold
            The cosine that a face must reach.

        Returns
        -------
        who, scores
            ``(n,)``: the number in `people`, or `NOBODY`; the score, to the bit that of a search.
        """
        who = np.full(len(codes), NOBODY)
        scores = np.full(len(codes), -np.inf)
        if not self.people:
            return who, scores
        step = max(_VALUES // (len(self.people) * codes.shape[1]), 1)
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            who[part], scores[part] = self._assign(codes[part], threshold)
        return who, scores

    def _assign(
        self, codes: NDArray[np.int8], threshold: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        # float32 chooses the pairs that can matter, the exact score decides among them. Unit
        # vectors, rounded, and dim products of which the sums of absolute values are at most 1:
        # off by (dim + 8) * 2**-24 at most, in whatever order they are added; twice for two scores.
        near = units_of(codes) @ self.units.T
        slack = (codes.shape[1] + 8) * 2.0**-22
        lowest = np.maximum(near.max(axis=1) - slack, threshold - slack)
        faces, people = np.nonzero(near >= lowest[:, None])
        exact = _core.scores(self.queries[people], np.ascontiguousarray(codes[faces]))
        who = np.full(len(codes), NOBODY)
        scores = np.full(len(codes), -np.inf)
        for face, person, score in zip(
            faces.tolist(), people.tolist(), exact.tolist(), strict=True
        ):  # by person, ascending: a later one must be better
            if score >= threshold and score > scores[face]:
                who[face], scores[face] = person, score
        return who, scores


def fuse_samples(samples: list[SampleRow], dim: int) -> Fused | None:
    """Fuse the samples of an entity, at least one; ``None`` when they cancel each other out."""
    codes = np.frombuffer(b"".join(row.code for row in samples), dtype=np.int8)
    qualities = [quality_of(unpack_faces(row.face_data, 1), 1) for row in samples]
    return fuse(codes.reshape(len(samples), dim).astype(np.float32), np.concatenate(qualities))


class Rosters:
    """The rosters of the libraries of a store that were wanted so far. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._by_library: dict[int, Roster] = {}

    def read(self, connection: sqlite3.Connection, library: LibraryRow) -> Roster:
        """Return whom a library's recognition libraries know in the connection's snapshot.

        Raises
        ------
        StoreCorrupt
            Their rows are damaged.
        """
        wanted = set(library.recognition_ids)
        there = list_recognition(connection, library.account) if wanted else []
        listed = [row for row in there if row.lib_id in wanted]
        state = tuple((row.id, row.seq) for row in listed)
        with self._mutex:
            roster = self._by_library.get(library.id)
        if roster is None or roster.state != state:
            roster = _read_roster(connection, library.dim, listed, state)
            with self._mutex:
                self._by_library[library.id] = roster
        return roster

    def forget(self, library_id: int | None = None) -> None:
        """Let go of a library's roster; of all when people were deleted."""
        with self._mutex:
            if library_id is None:
                self._by_library.clear()
            else:
                self._by_library.pop(library_id, None)


def _read_roster(
    connection: sqlite3.Connection, dim: int, libraries: list[RecognitionRow], state: State
) -> Roster:
    known = []
    for library in libraries:
        for entity, samples in list_all_samples(connection, library):
            fused = fuse_samples(samples, dim) if samples else None
            if fused is not None:
                person = Known(entity.entity_id, entity.name, library.lib_id)
                known.append((person, fused.embedding))
    known.sort(key=lambda one: one[0].entity_id)
    queries = np.zeros((len(known), dim), dtype=np.float32)
    for number, (_, query) in enumerate(known):
        queries[number] = query
    people = tuple(person for person, _ in known)
    return Roster(state, people, queries, units_of(queries))


def units_of(rows: NDArray[np.float32] | NDArray[np.int8]) -> NDArray[np.float32]:
    """Divide each row by its length, in float64, rounded once."""
    exact = rows.astype(np.float64)
    exact /= np.sqrt((exact * exact).sum(axis=1, keepdims=True))
    return exact.astype(np.float32)
