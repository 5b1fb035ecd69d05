"""The unknown people of a library, found."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from facegrep._arguments import check_count
from facegrep._errors import InvalidArgumentError, NotFoundError, OperationDeniedError
from facegrep._names import check_library_name
from facegrep.engine._clusters import cluster
from facegrep.engine._people_results import UnknownPerson, face_id, read_face_id
from facegrep.engine._persons import people_of
from facegrep.engine._search import SearchOperations, require_active
from facegrep.engine._threshold import live_faces, threshold_rule
from facegrep.engine._unknown import read_unknown_faces
from facegrep.store import MAX_DIM, read_store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from facegrep.engine._people_results import Face, People
    from facegrep.engine._threshold import Threshold
    from facegrep.engine._unknown import UnknownFaces
    from facegrep.store import LibraryRow

Person: TypeAlias = UnknownPerson | str
"""Somebody, as `PeopleOperations.people` found them, or the id of any of their faces."""


class PeopleOperations(SearchOperations):
    """The Engine's operations on people whom no recognition library knows."""

    def people(
        self, library: str, *, threshold: Threshold = "library", min_faces: int = 2
    ) -> People:
        """Put the unknown faces of a library together into people.

        Two groups of faces become one person while the mean cosine of all pairs across reaches the
        threshold, the most alike first; never with two faces of one picture, nor of one frame of a
        video. Faces that are recognised as an entity's are left out, and those that a video shows
        too badly to tell whose they are belong to nobody. What `merge_people` and `split_person`
        said holds.

        Parameters
        ----------
        library
            Its name.
        threshold
            The mean cosine (-1 to 1). ``"library"``: the library's own, else its model's.
        min_faces
            How many faces make a person; those of fewer belong to nobody. In a library of many
            people with a photo each, pairs that look alike come about: 3 leaves them out.

        Returns
        -------
        People
            The same faces give the same people, whatever the order in which they were added.

        Raises
        ------
        NotFoundError
            No such library.
        OperationDeniedError
            Its face index is not active, or its vectors have 4096 dimensions, one too many.
        InvalidArgumentError
            Names the argument; also where a threshold is needed and the library has none.
        StoreCorrupt
            The library's vectors, or what was said about its people, are damaged.

        Notes
        -----
        Reads the whole library, and takes one to three minutes for 100,000 faces on two busy cores
        (``python -m benches.people``); nothing is kept. Audited where searches are.
        """
        check_library_name(library)
        least = check_count(min_faces, "min_faces", 1)
        if threshold is None:
            raise InvalidArgumentError("threshold: a cosine is needed, or all would be one person")
        store = self._store
        with store.catalog.read() as connection:
            audited = bool(read_store(connection).search_audit)
        if audited:
            store.require_auditable()

        def read(
            connection: sqlite3.Connection, row: LibraryRow
        ) -> tuple[LibraryRow, float, str, UnknownFaces]:
            require_active(row)
            if row.dim >= MAX_DIM:
                raise OperationDeniedError(
                    f"people are found by vectors of less than {MAX_DIM}, and those of library "
                    f"{library!r} have {row.dim}"
                )
            # Whatever the library's size: that is about pairs, and a mean of many strays less.
            rule = threshold_rule(row, threshold, self._shared.manifest)
            required = same = cast("float", rule.value)  # it is one, since one was asked for
            roster = self._shared.rosters.read(connection, row)
            if roster.people:
                searched = threshold_rule(row, "library", self._shared.manifest)
                same = cast("float", searched.among(live_faces(connection, row))[0])
            faces = read_unknown_faces(connection, store.vectors.folder, row, roster, same)
            return row, required, rule.reason, faces

        row, required, reason, faces = store.read_library(self._account, library, read)
        firsts, clear = np.arange(len(faces.codes)), np.flatnonzero(faces.are_clear())
        codes, pictures, told = faces.codes[clear], faces.pictures[clear], faces.told[clear]
        firsts[clear] = clear[cluster(codes, pictures, told, required, faces.at_once)]
        found = people_of(library, faces, firsts, least, required, reason)
        if audited:
            details = {"threshold": required, "people": len(found)}
            media = len(set(faces.media_ids))
            store.note_search(row, "people", self._actor, media=media, details=details)
        return found

    def _faces_of(self, library: str, people: Sequence[Person]) -> list[list[Face]]:
        """Return the faces of each person; of ids, as of now."""
        check_library_name(library)
        whose: dict[Face, UnknownPerson] = {}
        ids = [person for person in people if not isinstance(person, UnknownPerson)]
        if wanted := {read_face_id(one, "person") for one in ids}:
            for somebody in self.people(library, min_faces=1):
                found = wanted & {(face.media_id, face.face_no) for face in somebody.faces}
                whose |= dict.fromkeys(found, somebody)
            if absent := wanted - whose.keys():
                raise NotFoundError("person", face_id(min(absent)), "people lists them")
        known = [
            one if isinstance(one, UnknownPerson) else whose[read_face_id(one, "person")]
            for one in people
        ]
        return [[(face.media_id, face.face_no) for face in one.faces] for one in known]
