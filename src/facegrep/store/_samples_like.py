"""Samples that show one person: what goes when that person is erased."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facegrep import _core
from facegrep.store._recognition_rows import (
    EntityRow,
    RecognitionRow,
    SampleRow,
    delete_samples,
    list_all_samples,
    list_recognition,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, by their face.

    Attributes
    ----------
    model
        What embedded it; samples of another model, or of vectors of another length, do not compare.
    embedding
        float32 ``(dim,)``.
    threshold
        The cosine from which on a sample is of them.
    """

    model: str | None
    embedding: NDArray[np.float32] = field(repr=False)
    threshold: float


@dataclass(frozen=True, slots=True)
class SampleMatch:
    """A sample of somebody who is erased.

    Attributes
    ----------
    recognition_id, entity_id, sample_id
        Whose it is, and which.
    entity_name
        The entity's name.
    score
        Its cosine with what was searched for.
    with_entity
        Whether the entity goes too, since no sample of it would be left.
    """

    recognition_id: str
    entity_id: str
    entity_name: str
    sample_id: str
    score: float
    with_entity: bool


class EntityLike(NamedTuple):
    """The samples of one entity that are of somebody, with their scores."""

    library: RecognitionRow
    entity: EntityRow
    samples: list[SampleRow]
    scores: list[float]

    @property
    def is_all(self) -> bool:
        """Whether the entity has no other."""
        return len(self.samples) == self.entity.sample_count

    def matches(self) -> list[SampleMatch]:
        """Return them as they are said."""
        return [
            SampleMatch(
                self.library.lib_id,
                self.entity.entity_id,
                self.entity.name,
                sample.sample_id,
                score,
                self.is_all,
            )
            for sample, score in zip(self.samples, self.scores, strict=True)
        ]


def find_samples_like(
    connection: sqlite3.Connection, account: str, person: Person
) -> list[EntityLike]:
    """Find the samples of a person in all recognition libraries of an account."""
    found = []
    query = person.embedding
    for library in list_recognition(connection, account):
        if (library.model, library.dim) != (person.model, len(query)):
            continue
        for entity, samples in list_all_samples(connection, library):
            if not samples:
                continue
            codes = np.frombuffer(b"".join(row.code for row in samples), dtype=np.int8)
            codes = codes.reshape(len(samples), library.dim)
            queries = np.broadcast_to(query, codes.shape)
            scores = _core.scores(np.ascontiguousarray(queries), codes)
            alike = np.flatnonzero(scores >= person.threshold).tolist()
            if alike:
                rows = [samples[number] for number in alike]
                values = [float(scores[number]) for number in alike]
                found.append(EntityLike(library, entity, rows, values))
    return found


def delete_samples_like(
    connection: sqlite3.Connection, found: Sequence[EntityLike], seq: int
) -> None:
    """Remove them, and the entities that have no other."""
    current: dict[int, RecognitionRow] = {}
    for one in found:
        library = current.get(one.library.id, one.library)._replace(seq=seq)
        current[library.id] = delete_samples(
            connection, library, one.entity, one.samples, with_entity=one.is_all
        )
