"""Assets, faces and libraries that go."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facegrep._errors import StoreError
from facegrep.store._audit import note_change
from facegrep.store._clock import now_ms
from facegrep.store._core import StoreCore
from facegrep.store._libraries import count_assets, delete_library, same_library
from facegrep.store._media import find_stored, require_absent
from facegrep.store._media_rows import delete_media, forget_faces
from facegrep.store._removal import note_expired, remove_for_good

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegrep.store._libraries import LibraryRow


class DeleteOperations(StoreCore):
    """The Store's ways to delete."""

    def delete(
        self, library: LibraryRow, media_ids: Sequence[str], *, actor: str | None = None
    ) -> int:
        """Delete assets. A search that starts after this returned does not find them.

        Returns
        -------
        deleted
            How many there were; unknown ids, and those of expired assets, count for nothing.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            until_ms = current.expired_until_ms(now_ms())
            stored = find_stored(connection, current, media_ids)
            if unknown := set(media_ids) - {row.media_id for row in stored}:
                require_absent(connection, current, unknown)
            found = [row for row in stored if row.added_ms > until_ms]
            if len(found) < len(stored):  # a longer retention must not bring them back
                expired = [row for row in stored if row.added_ms <= until_ms]
                current, _ = remove_for_good(transaction, self.vectors.folder, current, expired)
                note_expired(connection, current, expired, actor)
            if found:
                seq = transaction.seq
                digest = delete_media(connection, current, seq, found)
                faces = sum(row.face_count for row in found)
                count_assets(
                    connection, current, seq, media=-len(found), faces=-faces, digest=digest
                )
                note_change(connection, current, "delete", actor, media=len(found), faces=faces)
            return len(found)

    def drop_library(self, library: LibraryRow, *, actor: str | None = None) -> None:
        """Remove a library with its assets, vectors and answers; vectors are overwritten."""
        with self.catalog.write() as transaction:
            current = same_library(transaction.connection, library)
            _ = transaction.seq
            self.vectors.forget(transaction, current)
            delete_library(transaction.connection, current)
            media, faces = current.media_count, current.face_count
            note_change(
                transaction.connection, current, "drop_library", actor, media=media, faces=faces
            )
        self.caches.wipe_outdated()
        try:
            self.answers.drop_library(library.id)
        except StoreError as error:
            raise StoreError(
                f"library {library.name!r} was dropped, but its frozen answers, which nobody can "
                "ask for any more, could not be removed: they go when their time is over"
            ) from error

    def erase_faces(
        self, library: LibraryRow, face_index: str | None, *, actor: str | None = None
    ) -> int:
        """Set the state of a face index that is not active, and overwrite the library's vectors.

        Returns
        -------
        faces
            How many were erased.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            seq = transaction.seq
            self.vectors.forget(transaction, current)
            digest = forget_faces(connection, current, seq)
            # A generation's segments are gone with it: whoever holds its index starts anew.
            changed = dataclasses.replace(
                current, face_index=face_index, generation=current.generation + 1, erased_seq=seq
            )
            count_assets(connection, changed, seq, faces=-current.face_count, digest=digest)
            details = {"from": current.face_index, "to": face_index}
            faces = current.face_count
            note_change(connection, current, "set_face_index", actor, faces=faces, details=details)
        self.caches.wipe_outdated()
        return current.face_count
