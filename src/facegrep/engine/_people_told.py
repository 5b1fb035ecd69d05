"""What users say about the unknown people of a library: their names, who is one, who is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from facegrep._arguments import check_count, check_iterable, shown
from facegrep._errors import (
    InvalidArgumentError,
    ModelMismatchError,
    NotFoundError,
    OperationDeniedError,
)
from facegrep._names import check_name, check_text
from facegrep.engine._people import PeopleOperations
from facegrep.engine._people_results import face_id, read_face_id
from facegrep.engine._recognition_results import entity_of
from facegrep.engine._samples import choose_samples
from facegrep.store import find_media, find_recognition, read_asset_codes, require_entity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from facegrep.engine._people import Person
    from facegrep.engine._people_results import Face
    from facegrep.engine._recognition_results import Entity
    from facegrep.store import LibraryRow, MediaRow, NewSample, RecognitionRow


_Action: TypeAlias = Literal["merge_people", "split_person"]


class TellingOperations(PeopleOperations):
    """The Engine's operations on people whom somebody knows."""

    def name_person(
        self,
        library: str,
        person: Person,
        name: str | None = None,
        *,
        entity_id: str | None = None,
        recognition_id: str | None = None,
        info: str = "",
        samples: int = 8,
    ) -> Entity:
        """Make an entity of a person, or add them to one: from then on they are recognised.

        Some of the faces become samples: good pictures, typical of the person, and unlike each
        other. They are copies, which stay when the asset is erased; `erase_person`, `delete_sample`
        and `delete_entity` take them out.

        Parameters
        ----------
        library
            Its name.
        person
            From `people`, or the id of any of their faces.
        name
            As of `create_entity`.
        entity_id
            Instead of a name: an entity to add the samples to.
        recognition_id
            The recognition library; by default the first that the library lists.
        info
            As of `create_entity`.
        samples
            How many to choose at most.

        Returns
        -------
        Entity
            As it is then. A face that is not like its samples enough is unknown still.

        Raises
        ------
        NotFoundError
            No such library, person, face, recognition library or entity; ``kind`` says which.
        OperationDeniedError
            The library lists no recognition library.
        ModelMismatchError
            The recognition library holds other embeddings.
        InvalidArgumentError
            Names the argument.
        """
        if (name is None) == (entity_id is None):
            raise InvalidArgumentError("name_person: expected a name or an entity_id, one of both")
        most = check_count(samples, "samples", 1, 1000)
        text = check_text(info, "info") or ""
        store = self._writable
        (faces,) = self._faces_of(library, [person])
        row = self._find(library)
        if recognition_id is None:
            if not row.recognition_ids:
                raise OperationDeniedError(
                    f"library {library!r} lists no recognition library; "
                    "create_recognition_library makes one, set_recognition has the library list it"
                )
            recognition_id = row.recognition_ids[0]
        with store.catalog.read() as connection:
            known = find_recognition(connection, self._account, check_name(recognition_id, "id"))
            if entity_id is not None:
                require_entity(connection, known, check_name(entity_id, "entity_id"))
        chosen = self._samples_of(library, known, faces, most)
        if entity_id is None:
            made = store.insert_entity(
                self._account,
                known.lib_id,
                check_name(name, "name"),
                text,
                samples=chosen,
                actor=self._actor,
            )
        else:
            made = store.insert_samples(
                self._account, known.lib_id, entity_id, chosen, actor=self._actor
            )
        return entity_of(*made)

    def merge_people(self, library: str, people: Sequence[Person]) -> str:
        """Say that some are one person. Their faces of now stay together from then on.

        Of people who were split from each other the later word holds.

        Parameters
        ----------
        library
            Its name.
        people
            From `people`, or the ids of any of their faces; two at least.

        Returns
        -------
        str
            The person's id.

        Raises
        ------
        NotFoundError
            No such library, person or face; ``kind`` says which.
        OperationDeniedError
            Two of the faces are of one picture; nothing changed.
        """
        wanted = list(check_iterable(people, "people"))
        if isinstance(people, str) or len(wanted) < 2:
            raise InvalidArgumentError(f"people: expected two or more, got {shown(people)}")
        found = self._faces_of(library, cast("list[Person]", wanted))
        faces = sorted({face for one in found for face in one})
        self._tell(library, [faces], "merge_people")
        return face_id(faces[0])

    def split_person(self, library: str, person: Person, faces: Sequence[str]) -> str:
        """Say that some of a person's faces are another person's.

        Those given stay together, and so do the others, never again as one person unless they are
        merged. To take out faces of several people, split once for each.

        Parameters
        ----------
        library
            Its name.
        person
            From `people`, or the id of any of their faces.
        faces
            Ids of faces (`PersonFace.face_id`), not all that the person has.

        Returns
        -------
        str
            The other person's id.

        Raises
        ------
        NotFoundError
            No such library, person or face; ``kind`` says which.
        InvalidArgumentError
            `faces` names none, all, or one that is not the person's.
        """
        named = [
            read_face_id(one, f"faces[{number}]")
            for number, one in enumerate(check_iterable(faces, "faces"))
        ]
        (whole,) = self._faces_of(library, [person])
        if strangers := set(named) - set(whole):
            raise InvalidArgumentError(
                f"faces: {face_id(min(strangers))!r} is not one of this person's faces"
            )
        rest = sorted(set(whole) - set(named))
        if not named or not rest:
            raise InvalidArgumentError(
                "faces: expected some of the person's faces, not none or all"
            )
        self._tell(library, [rest, sorted(set(named))], "split_person")
        return face_id(min(named))

    def _tell(self, library: str, people: list[list[Face]], action: _Action) -> None:
        store, row = self._writable, self._find(library)
        with store.catalog.read() as connection:
            told = [
                [(_media(connection, row, face).ordinal, face[1]) for face in person]
                for person in people
            ]
        store.tell_people(row, told, action=action, actor=self._actor)

    def _samples_of(
        self, library: str, known: RecognitionRow, faces: list[Face], most: int
    ) -> list[NewSample]:
        store = self._store

        def read(connection: sqlite3.Connection, row: LibraryRow) -> list[NewSample]:
            # Here, since the library may be another one than when its people were found.
            if (known.model, known.dim) != (row.model, row.dim):
                raise ModelMismatchError(
                    f"recognition_id: it holds faces of {known.model or 'no model'} and length "
                    f"{known.dim}, library {library!r} of {row.model or 'no model'} and {row.dim}"
                )
            rows = [_media(connection, row, face) for face in faces]
            codes = read_asset_codes(connection, store.vectors.folder, row, rows)
            return choose_samples(row, rows, [face_no for _, face_no in faces], codes, most)

        return store.read_library(self._account, library, read)


def _media(connection: sqlite3.Connection, library: LibraryRow, face: Face) -> MediaRow:
    row = find_media(connection, library, face[0])
    if row is None or face[1] >= row.face_count:
        raise NotFoundError("face", face_id(face), "it is gone since; ask for the people again")
    return row
