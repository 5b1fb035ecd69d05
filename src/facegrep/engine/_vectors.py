"""Adding vectors that were made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegrep._errors import (
    AlreadyExistsError,
    FacegrepError,
    ModelMismatchError,
    OperationDeniedError,
)
from facegrep._names import check_library_name
from facegrep.engine._results import AddManyResult
from facegrep.engine._vector_rows import VectorRows
from facegrep.engine._view import EngineCore, embedder_manifest
from facegrep.store import find_identities, same_library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from facegrep.store import LibraryRow


class VectorOperations(EngineCore):
    """The Engine's way to add vectors."""

    def add_vectors(
        self,
        library: str,
        media_ids: Sequence[str],
        vectors: ArrayLike,
        fields: Mapping[str, Sequence[int | str | None]] | None = None,
        *,
        model: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> AddManyResult:
        """Add faces that were embedded elsewhere, by the library's model.

        Parameters
        ----------
        library
            Its name; its face index must be active.
        media_ids
            n ids, one a row. The rows of one asset may come in any order; they are its faces, in
            the order given.
        vectors
            Real ``(n, dim)``; a memory map is read in pieces.
        fields
            For any of ``intField1 strField1 strField2 utcCreate mediaType namespace`` n values, one
            a row, ``None`` where an asset has none; the rows of one asset agree. Without utcCreate
            it is now, without mediaType ``"image"``.
        model
            Name or id of the model that made them, to be refused if it is not the library's.
        progress
            Called after each commit with the rows done, and n.

        Returns
        -------
        AddManyResult
            Repeating what is stored (vectors and fields; a time only if given) changes nothing.

        Raises
        ------
        InvalidArgumentError, AlreadyExistsError, ModelMismatchError
            Names the argument and the row; nothing was stored.
        OperationDeniedError
            The face index is not active.
        StoreError
            Commits so far are durable, of up to 65,536 rows each, and ``error.acknowledged`` says
            how many assets that are; repeating the call goes on.
        """
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        if row.face_index != "active":
            raise OperationDeniedError(
                f"the face index of library {library!r} is not active, so it holds no vectors; "
                "set_face_index activates it"
            )
        if model is not None and embedder_manifest(model).id != row.model:
            raise ModelMismatchError(
                f"library {library!r} holds vectors of {row.model or 'no model'}, not of {model!r}"
            )
        rows = VectorRows(row, media_ids, vectors, fields)
        taken, seq = self._look(row, rows)
        added = unchanged = faces = done = 0
        try:
            for numbers, there in zip(rows.chunks(), taken, strict=True):
                if there == len(numbers):  # all of them, the same
                    unchanged += there
                else:
                    outcome = store.add_vectors(
                        row,
                        rows.assets(numbers),
                        untaken_at=None if there else seq,
                        actor=self._actor,
                    )
                    added += outcome.added
                    unchanged += outcome.unchanged
                    faces += outcome.faces
                    if outcome.conflict is not None:  # another writer was faster
                        raise outcome.conflict
                    # Had somebody else written since, what we saw would be worth nothing.
                    seq = outcome.seq if outcome.seq_before == seq else None
                done += rows.count(numbers)
                if progress is not None:
                    progress(done, rows.row_count)
        except FacegrepError as error:
            error.acknowledged = added + unchanged
            error.add_note(f"{added + unchanged} assets of this call are durable")
            raise
        return AddManyResult(added, unchanged, faces)

    def _look(self, library: LibraryRow, rows: VectorRows) -> tuple[list[int], int | None]:
        """Check vectors and ids, before anything is stored.

        Returns
        -------
        taken, seq
            For each chunk how many are there already, as of this commit; ``None``: as of several.
        """
        taken, seqs = [], set()
        for numbers in rows.chunks():
            rows.check_vectors(numbers)
            with self._store.catalog.read() as connection:
                current = same_library(connection, library)
                seqs.add(current.seq)
                names = rows.media_ids[numbers[0] : numbers[-1] + 1]
                stored = find_identities(connection, current, names) if current.media_count else {}
            taken.append(len(stored))
            if stored:
                assets = rows.assets(numbers)
                for number, media_id in enumerate(assets.media_ids):
                    if media_id in stored:
                        asset = assets.asset(number)
                        if not asset.is_same(stored[media_id]):
                            raise AlreadyExistsError(asset.describe_conflict(stored[media_id]))
        return taken, seqs.pop() if len(seqs) == 1 else None
