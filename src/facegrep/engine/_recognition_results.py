"""What the Engine returns of recognition libraries: plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.store import unpack_faces
from facegrep.vision import Box, FoundFace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep.store import EntityRow, RecognitionRow, SampleRow
    from facegrep.vision import Quality, RefusedFace


@dataclass(frozen=True, slots=True)
class RecognitionLibrary:
    """People who can be recognised.

    Attributes
    ----------
    recognition_id
        32 hex digits, given when it was made.
    name, description
        Yours; names need not differ.
    model, dim
        As of a `Library`: search libraries of the same can list it.
    entity_count
        People in it.
    created_ms
        Milliseconds since 1970 UTC.
    """

    recognition_id: str
    name: str
    description: str
    model: str | None
    dim: int
    entity_count: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class Entity:
    """A person of a recognition library; `info` is text of yours, `entity_id` 32 hex digits."""

    recognition_id: str
    entity_id: str
    name: str
    info: str
    sample_count: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A face of an entity.

    Attributes
    ----------
    source
        Absolute path or URL; ``None`` when it came as bytes, array, file object or vector.
    content_sha256
        Lowercase hex; of the encoded bytes, of an array's shape and pixels, or of a vector's code.
    box, score
        The face, in px of the upright original, and the detector's score of it (of a video the
        face's quality, 0..1); ``None`` when it came as a vector.
    precision
        Of the embedding: ``"fp32"`` or ``"int8"``; ``None`` when it came as a vector.
    code
        int8 ``(dim,)``.
    """

    recognition_id: str
    entity_id: str
    sample_id: str
    source: str | None
    content_sha256: str
    box: Box | None
    score: float | None
    precision: str | None
    created_ms: int
    code: NDArray[np.int8] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class AddSampleResult:
    """What became of an ``add_sample``.

    Attributes
    ----------
    sample
        As it is stored.
    added
        ``False`` when the entity had the same picture already: nothing was written.
    faces
        Usable faces in the picture, of which the largest was taken; 0 for a vector.
    refused
        Faces seen but not usable, and why.
    provider
        What ran the model, as its session says; ``None`` for a vector.
    quality
        How good that face is to be recognised by; ``None`` for a vector, and where the model sets
        no limits. Later results say no more whether it is blurred: pictures are not kept.
    """

    sample: Sample
    added: bool
    faces: int = 0
    refused: tuple[RefusedFace, ...] = ()
    provider: str | None = None
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class RecognisedFace:
    """A face of an asset, and whose it is.

    Attributes
    ----------
    face_no
        Its number in the asset.
    box
        Where it is; ``None`` when it came as a vector.
    entity_id, name, recognition_id
        Who it is, and who knows them.
    score
        The cosine with their fused samples: at least the library's threshold, and more than any
        other entity's.
    """

    face_no: int
    box: Box | None
    entity_id: str
    name: str
    recognition_id: str
    score: float


def recognition_library_of(row: RecognitionRow) -> RecognitionLibrary:
    """Give a row of the catalog to the caller."""
    return RecognitionLibrary(
        recognition_id=row.lib_id,
        name=row.name,
        description=row.description,
        model=row.model,
        dim=row.dim,
        entity_count=row.entity_count,
        created_ms=row.created_ms,
    )


def entity_of(library: RecognitionRow, row: EntityRow) -> Entity:
    """Give a row of the catalog to the caller."""
    return Entity(
        recognition_id=library.lib_id,
        entity_id=row.entity_id,
        name=row.name,
        info=row.info,
        sample_count=row.sample_count,
        created_ms=row.created_ms,
    )


def sample_of(library: RecognitionRow, row: SampleRow) -> Sample:
    """Give a row of the catalog to the caller."""
    face = face_of_sample(row)
    return Sample(
        recognition_id=library.lib_id,
        entity_id=row.entity_id,
        sample_id=row.sample_id,
        source=row.source,
        content_sha256=row.content_sha256.hex(),
        box=None if face is None else face.box,
        score=None if face is None else face.score,
        precision=row.precision,
        created_ms=row.created_ms,
        code=np.frombuffer(row.code, dtype=np.int8),
    )


def face_of_sample(row: SampleRow) -> FoundFace | None:
    """Return a sample's face as the detector saw it; ``None`` when it came as a vector."""
    try:
        faces = unpack_faces(row.face_data, 1)
    except ValueError as error:
        raise StoreCorrupt(f"a sample of a recognition library: {error}") from error
    if faces is None:
        return None
    values = faces[0]
    return FoundFace(Box(*map(float, values[:4])), float(values[4]), values[5:].reshape(5, 2))
