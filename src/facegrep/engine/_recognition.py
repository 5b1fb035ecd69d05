"""Recognition libraries: people, and the photos by which they are recognised."""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from facegrep import _core
from facegrep._errors import (
    InvalidArgumentError,
    ModelMismatchError,
    NotFoundError,
    StoreCorrupt,
)
from facegrep._index import _real_float32
from facegrep._names import check_library_name, check_name, check_text
from facegrep.engine._items import face_values
from facegrep.engine._libraries import model_and_dim
from facegrep.engine._query import no_face
from facegrep.engine._recognition_results import (
    AddSampleResult,
    Entity,
    RecognisedFace,
    RecognitionLibrary,
    Sample,
    entity_of,
    recognition_library_of,
    sample_of,
)
from facegrep.engine._roster import NOBODY
from facegrep.engine._search import SearchOperations
from facegrep.engine._threshold import live_faces, threshold_rule
from facegrep.media import read_picture
from facegrep.store import (
    NewSample,
    find_media,
    find_recognition,
    list_entities,
    list_recognition,
    list_samples,
    read_asset_codes,
    require_entity,
    unpack_faces,
)
from facegrep.vision import Box

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from facegrep.media._picture import PictureSource
    from facegrep.store import LibraryRow, RecognitionRow
    from facegrep.vision import Quality, RefusedFace

_Seen: TypeAlias = "tuple[int, tuple[RefusedFace, ...], str | None, Quality | None]"
"""The rest of an `AddSampleResult`."""


class RecognitionOperations(SearchOperations):
    """The Engine's operations on recognition libraries, their entities and samples.

    What is deleted here is in no answer that is computed after the call returned, in any process.
    Then the catalog is rebuilt without it, which takes about as long as copying it; `ErasePending`
    while that cannot be finished, as by `Engine.erase`.
    """

    def create_recognition_library(
        self,
        name: str,
        *,
        description: str = "",
        model: str | None = None,
        dim: int | None = None,
    ) -> RecognitionLibrary:
        """Make a recognition library; `Engine.set_recognition` has a library list it.

        Parameters
        ----------
        name
            1 to 512 bytes of UTF-8 without control or direction-changing characters; need not be
            unique.
        description
            Text of up to 4096 bytes.
        model, dim
            As of `create_library`: it recognises in libraries of the same.

        Raises
        ------
        InvalidArgumentError, ModelMismatchError
            Names the argument.
        """
        check_name(name, "name")
        text = check_text(description, "description") or ""
        model_id, length = model_and_dim(model, dim)
        row = self._writable.insert_recognition(
            self._account, name, text, model=model_id, dim=length, actor=self._actor
        )
        return recognition_library_of(row)

    def recognition_libraries(self) -> list[RecognitionLibrary]:
        """List the account's recognition libraries, in the order of making."""
        with self._store.catalog.read() as connection:
            rows = list_recognition(connection, self._account)
        return [recognition_library_of(row) for row in rows]

    def delete_recognition_library(self, recognition_id: str) -> None:
        """Remove a recognition library with its entities and samples, from every file.

        Raises
        ------
        NotFoundError
            The account has none of that id.
        ErasePending
            It is gone, but its remains are not overwritten yet.
        """
        check_name(recognition_id, "recognition_id")
        with self._forgetting():
            self._writable.delete_recognition(self._account, recognition_id, actor=self._actor)

    def create_entity(self, recognition_id: str, name: str, *, info: str = "") -> Entity:
        """Add a person to a recognition library; `add_sample` says what they look like.

        Parameters
        ----------
        recognition_id
            The library's.
        name
            As of a recognition library.
        info
            Text of up to 4096 bytes, kept for you.

        Raises
        ------
        NotFoundError
            No such recognition library.
        InvalidArgumentError
            Names the argument.
        """
        check_name(recognition_id, "recognition_id")
        check_name(name, "name")
        text = check_text(info, "info") or ""
        made = self._writable.insert_entity(
            self._account, recognition_id, name, text, actor=self._actor
        )
        return entity_of(*made)

    def entities(self, recognition_id: str) -> list[Entity]:
        """List the people of a recognition library, in the order of making.

        Raises
        ------
        NotFoundError
            No such recognition library.
        """
        with self._recognition(recognition_id) as (connection, library):
            return [entity_of(library, row) for row in list_entities(connection, library)]

    def delete_entity(self, recognition_id: str, entity_id: str) -> None:
        """Remove a person with their samples, from every file.

        Raises
        ------
        NotFoundError
            No such recognition library or entity; ``kind`` says which.
        ErasePending
            They are gone, but their remains are not overwritten yet.
        """
        check_name(recognition_id, "recognition_id")
        check_name(entity_id, "entity_id")
        with self._forgetting():
            self._writable.delete_entity(
                self._account, recognition_id, entity_id, actor=self._actor
            )

    def add_sample(
        self,
        recognition_id: str,
        entity_id: str,
        picture: PictureSource | None = None,
        *,
        vector: ArrayLike | None = None,
        origin: str | None = None,
    ) -> AddSampleResult:
        """Add a photo of a person: the embedding of its largest face is kept, never the picture.

        Parameters
        ----------
        recognition_id, entity_id
            Whose.
        picture
            A path, encoded bytes, a binary file object, or an RGB array (uint8). Of a path the
            absolute path is kept.
        vector
            ``(dim,)`` instead of a picture.
        origin
            Kept as the sample's source instead: the path or URL where `picture` came from.

        Returns
        -------
        AddSampleResult
            Adding the same picture again writes nothing and says so.

        Raises
        ------
        NotFoundError
            No such recognition library or entity.
        NoFaceError, PictureError
            The picture has no usable face, or cannot be read.
        ModelMismatchError
            A picture for a library without a model; a vector of another length.
        InvalidArgumentError
            Names the argument.
        StoreError
            It could not be made durable; nothing was added.
        """
        check_name(entity_id, "entity_id")
        if (picture is None) == (vector is None):
            raise InvalidArgumentError("add_sample: expected a picture or a vector, one of the two")
        where_from = check_text(origin, "origin")
        store = self._writable
        with self._recognition(recognition_id) as (connection, library):
            require_entity(connection, library, entity_id)
        seen: _Seen = (0, (), None, None)
        if vector is not None:
            new = _vector_sample(library, vector, where_from)
        else:
            new, seen = self._picture_sample(library, cast("PictureSource", picture), where_from)
        row, added = store.insert_sample(
            self._account, recognition_id, entity_id, new, actor=self._actor
        )
        sample = sample_of(library, row)
        return AddSampleResult(sample, added, *seen)

    def samples(self, recognition_id: str, entity_id: str) -> list[Sample]:
        """List the samples of a person, in the order of adding.

        Raises
        ------
        NotFoundError
            No such recognition library or entity; ``kind`` says which.
        """
        check_name(entity_id, "entity_id")
        with self._recognition(recognition_id) as (connection, library):
            entity = require_entity(connection, library, entity_id)
            return [sample_of(library, row) for row in list_samples(connection, library, entity)]

    def delete_sample(self, recognition_id: str, entity_id: str, sample_id: str) -> None:
        """Remove a sample from every file; its entity stays.

        Raises
        ------
        NotFoundError
            No such recognition library, entity or sample; ``kind`` says which.
        ErasePending
            It is gone, but its remains are not overwritten yet.
        """
        check_name(recognition_id, "recognition_id")
        check_name(entity_id, "entity_id")
        check_name(sample_id, "sample_id")
        with self._forgetting():
            self._writable.delete_sample(
                self._account, recognition_id, entity_id, sample_id, actor=self._actor
            )

    def recognise(self, library: str, media_id: str) -> tuple[RecognisedFace, ...]:
        """Say who is in an asset, by the samples of now.

        Returns
        -------
        tuple of RecognisedFace
            In the order of ``face_no``, those faces that are somebody's: each of the one entity
            that it is most like, of those whom it reaches the library's threshold with.

        Raises
        ------
        NotFoundError
            No such library or media; ``kind`` says which.
        InvalidArgumentError
            The library has no model and no threshold of its own.
        """
        check_library_name(library)
        check_name(media_id, "media_id")
        store = self._store

        def read(connection: sqlite3.Connection, row: LibraryRow) -> tuple[RecognisedFace, ...]:
            media = find_media(connection, row, media_id)
            if media is None:
                raise NotFoundError("media", media_id)
            roster = self._shared.rosters.read(connection, row)
            if not roster.people or not media.face_count:
                return ()
            rule = threshold_rule(row, "library", self._shared.manifest)
            threshold, _ = rule.among(live_faces(connection, row))
            (codes,) = read_asset_codes(connection, store.vectors.folder, row, [media])
            try:
                values = unpack_faces(media.face_data, media.face_count)
            except ValueError as error:
                what = f"library {library!r}, media {media_id!r}: {error}"
                raise StoreCorrupt(what, library=library) from error
            who, scores = roster.assign(codes, -1.0 if threshold is None else threshold)
            return tuple(
                RecognisedFace(
                    face_no=face_no,
                    box=None if values is None else Box(*map(float, values[face_no, :4])),
                    entity_id=roster.people[number].entity_id,
                    name=roster.people[number].name,
                    recognition_id=roster.people[number].recognition_id,
                    score=float(scores[face_no]),
                )
                for face_no, number in enumerate(who.tolist())
                if number != NOBODY
            )

        return store.read_library(self._account, library, read)

    @contextlib.contextmanager
    def _recognition(
        self, recognition_id: str
    ) -> Iterator[tuple[sqlite3.Connection, RecognitionRow]]:
        """Read a recognition library in one snapshot."""
        check_name(recognition_id, "recognition_id")
        with self._store.catalog.read() as connection:
            yield connection, find_recognition(connection, self._account, recognition_id)

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Let go of embeddings in memory, whatever became of those on disk."""
        try:
            yield
        finally:
            self._shared.rosters.forget()

    def _picture_sample(
        self, library: RecognitionRow, source: PictureSource, origin: str | None
    ) -> tuple[NewSample, _Seen]:
        if library.model is None:
            raise ModelMismatchError(
                f"recognition library {library.lib_id!r} holds vectors without a model, so it "
                "takes no pictures; give a vector"
            )
        analyzer = self._shared.analyzer(library.model)
        picture = read_picture(source)
        analysis = analyzer.analyze([picture.pixels])[0]
        if not analysis.faces:
            raise no_face(analysis, "picture")
        face = analysis.faces[0]
        sample = NewSample(
            code=_core.quantize(face.embedding[np.newaxis])[0],
            content_sha256=picture.sha256,
            source=origin or picture.source,
            values=face_values(face)[np.newaxis],
            precision=analyzer.precision,
        )
        return sample, (len(analysis.faces), analysis.refused, analyzer.provider, face.quality)


def _vector_sample(library: RecognitionRow, vector: ArrayLike, origin: str | None) -> NewSample:
    embedding = _real_float32(vector, "vector")
    if embedding.shape != (library.dim,):
        raise ModelMismatchError(
            f"vector: recognition library {library.lib_id!r} takes shape ({library.dim},), got "
            f"{embedding.shape}"
        )
    code = _core.quantize(embedding[np.newaxis])[0]
    return NewSample(code, sha256(code.tobytes()).digest(), source=origin)
