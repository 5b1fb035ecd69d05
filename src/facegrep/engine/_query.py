"""What is searched for: the face of a picture, those of several fused, a person's samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegrep._errors import (
    InvalidArgumentError,
    ModelMismatchError,
    NoFaceError,
    NotFoundError,
    OperationDeniedError,
)
from facegrep.engine._fusion import fuse, quality_of
from facegrep.engine._items import face_values
from facegrep.engine._recognition_results import face_of_sample
from facegrep.engine._results import QueryPhoto
from facegrep.engine._roster import fuse_samples
from facegrep.media import read_picture
from facegrep.store import find_entity, list_recognition, list_samples
from facegrep.vision import assess

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow
    from facegrep.vision import Analysis, Box, FaceAnalyzer, QualityLimits


@dataclass(frozen=True, slots=True)
class Query:
    """An embedding, and where it came from: see `SearchResult`."""

    embedding: NDArray[np.float32]
    provider: str | None = None
    faces: int = 0
    boxes: tuple[Box, ...] = ()
    photos: tuple[QueryPhoto, ...] = ()


def picture_query(analyzer: FaceAnalyzer, sources: Sequence[PictureSource]) -> Query:
    """Embed the largest face of each picture, one picture in memory at a time, and fuse them."""
    faces, count = [], 0
    for number, source in enumerate(sources):
        picture = read_picture(source)
        analysis = analyzer.analyze([picture.pixels])[0]
        if not analysis.faces:
            which = f"picture[{number}]" if len(sources) > 1 else "picture"
            raise no_face(analysis, f"{which} {picture.source!r}" if picture.source else which)
        faces.append(analysis.faces[0])
        count += len(analysis.faces)
    values = np.stack([face_values(face) for face in faces])
    fused = fuse(np.stack([face.embedding for face in faces]), quality_of(values, len(faces)))
    if fused is None:
        raise InvalidArgumentError("picture: these faces cancel each other out; give photos of one")
    shares = zip(fused.weights.tolist(), fused.agreements.tolist(), faces, strict=True)
    photos = tuple(
        QueryPhoto(weight, agreement, face.box, face.quality) for weight, agreement, face in shares
    )
    boxes = tuple(face.box for face in faces)
    return Query(fused.embedding, analyzer.provider, count, boxes, photos)


def entity_query(
    connection: sqlite3.Connection,
    library: LibraryRow,
    entity_id: str,
    limits: QualityLimits | None,
) -> Query:
    """Fuse the samples of a person; `limits` are the model's."""
    for whose in list_recognition(connection, library.account):
        entity = find_entity(connection, whose, entity_id)
        if entity is not None:
            samples = list_samples(connection, whose, entity)
            break
    else:
        raise NotFoundError("entity", entity_id, "create_entity makes one")
    if (whose.model, whose.dim) != (library.model, library.dim):
        raise ModelMismatchError(
            f"entity: its samples are of {whose.model or 'no model'} and length {whose.dim}, "
            f"library {library.name!r} takes {library.model or 'no model'} and {library.dim}"
        )
    fused = fuse_samples(samples, whose.dim) if samples else None
    if fused is None:
        raise OperationDeniedError(
            f"entity {entity_id!r} has no sample, or they cancel each other out; add_sample "
            "adds photos of it"
        )
    photos = []
    shares = zip(fused.weights.tolist(), fused.agreements.tolist(), samples, strict=True)
    for weight, agreement, sample in shares:
        face = face_of_sample(sample)
        box = None if face is None else face.box
        quality = None
        # Of a face of a video neither landmarks nor the detector's score are kept.
        if face is not None and limits is not None and np.isfinite(face.landmarks).all():
            quality = assess(face, None, limits)
        photos.append(QueryPhoto(weight, agreement, box, quality, sample.sample_id))
    return Query(fused.embedding, photos=tuple(photos))


def no_face(analysis: Analysis, name: str) -> NoFaceError:
    """Build the error of a picture without a usable face."""
    reasons = ", ".join(sorted({refused.reason for refused in analysis.refused}))
    reason = f"no usable face ({reasons})" if reasons else "no face"
    return NoFaceError(f"{name}: {reason} was found; give a photo with a face", reason=reason)
