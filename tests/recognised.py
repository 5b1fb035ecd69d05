"""People who are recognised, for the tests of that: made of vectors, and looked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import facegrep

DIM = 12
THRESHOLD = 0.5
Vectors = NDArray[np.float32]


def vectors(count: int, seed: int = 1) -> Vectors:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def like(face: Vectors, cosine: float, seed: int = 2) -> Vectors:
    """A vector of a given cosine with `face`."""
    other = np.random.default_rng(seed).normal(size=face.shape)
    other -= face * (other @ face) / (face @ face)
    other *= np.linalg.norm(face) / np.linalg.norm(other)
    return np.asarray(cosine * face + np.sqrt(1 - cosine**2) * other, dtype=np.float32)


def people(engine: facegrep.Engine, count: int, faces: Vectors, library: str = "lib") -> list[str]:
    """Entities with one sample each, in a recognition library that the library lists."""
    known = engine.create_recognition_library("people", dim=DIM).recognition_id
    found = []
    for number in range(count):
        entity = engine.create_entity(known, f"person {number}")
        engine.add_sample(known, entity.entity_id, vector=faces[number])
        found.append(entity.entity_id)
    listed = engine.library(library).recognition
    engine.set_recognition(library, [*listed, known])
    return found


def seen(engine: facegrep.Engine, entity: str, **more: Any) -> list[str]:
    """All assets that a person is in."""
    query = np.ones(DIM)
    found = engine.search(
        "lib", vector=query, threshold=-1.0, limit=1000, recognised=entity, **more
    )
    assert found.total == len(found.media_ids)
    return sorted(found.media_ids)
