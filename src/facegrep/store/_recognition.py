"""Recognition libraries: made, filled with the faces of people, and emptied without a trace."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facegrep._errors import NotFoundError
from facegrep.store._audit import append_entry
from facegrep.store._clock import now_ms
from facegrep.store._erase import EraseOperations
from facegrep.store._faces import pack_faces
from facegrep.store._libraries import enter_account
from facegrep.store._recognition_rows import (
    EntityRow,
    RecognitionRow,
    SampleRow,
    delete_recognition,
    delete_samples,
    find_recognition,
    insert_entity,
    insert_recognition,
    insert_sample,
    list_samples,
    require_entity,
)
from facegrep.store._scrub import ERASE_TIMEOUT_S, want_scrub

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NewSample:
    """A face of a person, ready to be stored.

    Attributes
    ----------
    code
        int8 ``(dim,)``.
    content_sha256
        32 bytes; an entity has a content once.
    values
        float32 ``(1, FACE_VALUES)``; ``None`` when it came as a vector.
    """

    code: NDArray[np.int8] = field(repr=False)
    content_sha256: bytes
    source: str | None = None
    values: NDArray[np.float32] | None = field(default=None, repr=False)
    precision: str | None = None


class RecognitionOperations(EraseOperations):
    """The Store's operations on recognition libraries.

    What is removed leaves every answer with the transaction; then the catalog is rebuilt without
    it, as after an erasure.
    """

    def insert_recognition(
        self,
        account: str,
        name: str,
        description: str,
        *,
        model: str | None,
        dim: int,
        actor: str | None = None,
    ) -> RecognitionRow:
        """Add a recognition library."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            created_ms = now_ms()
            enter_account(connection, account, created_ms)
            row = RecognitionRow(
                id=0,
                account=account,
                lib_id=_new_id(),
                name=name,
                description=description,
                model=model,
                dim=dim,
                created_ms=created_ms,
                seq=transaction.seq,
                next_number=0,
                entity_count=0,
                digest=0,
            )
            stored = insert_recognition(connection, row)
            _note(connection, stored, "create_recognition_library", actor)
            return stored

    def insert_entity(
        self,
        account: str,
        lib_id: str,
        name: str,
        info: str,
        *,
        samples: Sequence[NewSample] = (),
        actor: str | None = None,
    ) -> tuple[RecognitionRow, EntityRow]:
        """Add an entity, with samples of different contents; returns its library, too."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            library = find_recognition(connection, account, lib_id)
            library = library._replace(seq=transaction.seq, next_number=library.next_number + 1)
            row = EntityRow(
                recognition_id=library.id,
                entity_id=_new_id(),
                number=library.next_number - 1,
                name=name,
                info=info,
                created_ms=now_ms(),
                sample_count=0,
                digest=0,
            )
            library, stored = insert_entity(connection, library, row)
            for sample in samples:
                _, library, stored = _insert_sample(connection, library, stored, sample)
            counted = {"samples": len(samples)} if samples else {}
            _note(connection, library, "create_entity", actor, entities=1, **counted)
            return library, stored

    def insert_sample(
        self,
        account: str,
        lib_id: str,
        entity_id: str,
        sample: NewSample,
        *,
        actor: str | None = None,
    ) -> tuple[SampleRow, bool]:
        """Add a sample; returns what is stored, and whether it is new: a content is there once.

        Raises
        ------
        NotFoundError
            No such library or entity.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            library = find_recognition(connection, account, lib_id)
            entity = require_entity(connection, library, entity_id)
            for row in list_samples(connection, library, entity):
                if row.content_sha256 == sample.content_sha256:
                    return row, False
            library = library._replace(seq=transaction.seq)
            stored, library, _ = _insert_sample(connection, library, entity, sample)
            _note(connection, library, "add_sample", actor, samples=1)
            return stored, True

    def insert_samples(
        self,
        account: str,
        lib_id: str,
        entity_id: str,
        samples: Sequence[NewSample],
        *,
        actor: str | None = None,
    ) -> tuple[RecognitionRow, EntityRow]:
        """Add samples, all or none, but those whose content is there; returns the entity.

        Raises
        ------
        NotFoundError
            No such library or entity.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            library = find_recognition(connection, account, lib_id)
            entity = require_entity(connection, library, entity_id)
            known = {row.content_sha256 for row in list_samples(connection, library, entity)}
            new = [sample for sample in samples if sample.content_sha256 not in known]
            if new:
                library = library._replace(seq=transaction.seq)
                for sample in new:
                    _, library, entity = _insert_sample(connection, library, entity, sample)
                _note(connection, library, "add_sample", actor, samples=len(new))
            return library, entity

    def delete_recognition(
        self,
        account: str,
        lib_id: str,
        *,
        actor: str | None = None,
        timeout_s: float = ERASE_TIMEOUT_S,
    ) -> None:
        """Remove a library with all it holds, from every file.

        Raises
        ------
        NotFoundError
            The account has none of that id.
        ErasePending
            It is gone, but its remains are not overwritten yet.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            library = find_recognition(connection, account, lib_id)
            want_scrub(transaction)
            delete_recognition(connection, library)
            _note(
                connection,
                library,
                "delete_recognition_library",
                actor,
                entities=library.entity_count,
            )
        self._finish(timeout_s)

    def delete_entity(
        self,
        account: str,
        lib_id: str,
        entity_id: str,
        *,
        actor: str | None = None,
        timeout_s: float = ERASE_TIMEOUT_S,
    ) -> None:
        """Remove an entity with its samples, as `delete_recognition` does."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            library = find_recognition(connection, account, lib_id)
            entity = require_entity(connection, library, entity_id)
            library = library._replace(seq=want_scrub(transaction))
            samples = list_samples(connection, library, entity)
            delete_samples(connection, library, entity, samples, with_entity=True)
            _note(connection, library, "delete_entity", actor, entities=1, samples=len(samples))
        self._finish(timeout_s)

    def delete_sample(
        self,
        account: str,
        lib_id: str,
        entity_id: str,
        sample_id: str,
        *,
        actor: str | None = None,
        timeout_s: float = ERASE_TIMEOUT_S,
    ) -> None:
        """Remove a sample, as `delete_recognition` does; its entity stays."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            library = find_recognition(connection, account, lib_id)
            entity = require_entity(connection, library, entity_id)
            samples = list_samples(connection, library, entity)
            gone = [row for row in samples if row.sample_id == sample_id]
            if not gone:
                raise NotFoundError("sample", sample_id)
            library = library._replace(seq=want_scrub(transaction))
            delete_samples(connection, library, entity, gone, with_entity=False)
            _note(connection, library, "delete_sample", actor, samples=1)
        self._finish(timeout_s)


def _insert_sample(
    connection: sqlite3.Connection, library: RecognitionRow, entity: EntityRow, sample: NewSample
) -> tuple[SampleRow, RecognitionRow, EntityRow]:
    """Add a sample; returns it, and library and entity as they are then."""
    values = sample.values
    row = SampleRow(
        recognition_id=library.id,
        entity_id=entity.entity_id,
        sample_id=_new_id(),
        number=library.next_number,
        created_ms=now_ms(),
        source=sample.source,
        content_sha256=sample.content_sha256,
        face_data=None if values is None else pack_faces(values),
        precision=sample.precision,
        code=sample.code.tobytes(),
    )
    library = library._replace(next_number=library.next_number + 1)
    return insert_sample(connection, library, entity, row)


def _new_id() -> str:
    """32 hex digits that nobody guesses, and that no other library, entity or sample has."""
    return secrets.token_hex(16)


def _note(
    connection: sqlite3.Connection,
    library: RecognitionRow,
    action: str,
    actor: str | None,
    **counts: int,
) -> None:
    """Append what is done, now, to the audit: counts, and of names the library's alone."""
    append_entry(
        connection,
        time_ms=now_ms(),
        action=action,
        actor=actor,
        account=library.account,
        library=library.name,
        details=counts,
    )
