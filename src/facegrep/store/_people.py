"""What users say about the people of a library, made durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from facegrep._errors import NotFoundError, OperationDeniedError
from facegrep.store._audit import note_change
from facegrep.store._core import StoreCore
from facegrep.store._libraries import same_library
from facegrep.store._media import find_ordinals
from facegrep.store._people_rows import next_person, read_told, write_told

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from facegrep.store._libraries import LibraryRow
    from facegrep.store._people_rows import FaceKey


class PeopleOperations(StoreCore):
    """The Store's operations on people."""

    def tell_people(
        self,
        library: LibraryRow,
        people: Sequence[Sequence[FaceKey]],
        *,
        action: Literal["merge_people", "split_person"],
        actor: str | None = None,
    ) -> None:
        """Say that faces are one person, and another one than the next ones, and so on.

        Who was said to be the same as one of the first is so still, as far as nothing else is said
        now.

        Raises
        ------
        NotFoundError
            There is no such face.
        OperationDeniedError
            Two faces of one picture would be one person.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            told = read_told(connection, current)
            changed = _renumbered(told, people, next_person(connection, current))
            _require_possible(connection, current, {**told, **changed}, changed)
            _ = transaction.seq
            write_told(connection, current, changed)
            faces = [face for person in people for face in person]
            media = len({ordinal for ordinal, _ in faces})
            note_change(connection, current, action, actor, media=media, faces=len(faces))


def _renumbered(
    told: Mapping[FaceKey, int], people: Iterable[Iterable[FaceKey]], unused: int
) -> dict[FaceKey, int]:
    """Return the person of each face of which something is said now.

    People keep their numbers; of those that become one the first one's is kept.
    """
    changed: dict[FaceKey, int] = {}
    taken: set[int] = set()
    for person in people:
        faces = list(person)
        before = sorted({told[face] for face in faces if face in told} - taken)
        number = before[0] if before else unused
        unused += not before
        taken |= {number, *before}
        # Numbers that came before are taken, so no face comes twice.
        also = [face for face, other in told.items() if other in before]
        changed |= dict.fromkeys([*also, *faces], number)
    return changed


def _require_possible(
    connection: sqlite3.Connection,
    library: LibraryRow,
    told: Mapping[FaceKey, int],
    changed: Mapping[FaceKey, int],
) -> None:
    """Make sure that faces exist, and that no picture has two of one person."""
    ordinals = {ordinal for ordinal, _ in changed}
    rows = {row.ordinal: row for row in find_ordinals(connection, library, sorted(ordinals))}
    people = set(changed.values())
    seen: set[tuple[int, int]] = set()
    for (ordinal, face_no), person in told.items():
        if person not in people or ordinal not in ordinals:
            continue
        row = rows.get(ordinal)
        if row is None or not 0 <= face_no < row.face_count:
            what = ordinal if row is None else row.media_id
            raise NotFoundError("face", f"{what}#{face_no}", "it is gone since; ask for the people")
        if row.media_type == "image" and (ordinal, person) in seen:
            raise OperationDeniedError(
                f"media {row.media_id!r} has two of these faces, and faces of one picture are "
                "different people; split one of them off first"
            )
        seen.add((ordinal, person))
