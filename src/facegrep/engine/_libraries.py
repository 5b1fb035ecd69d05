"""Libraries: made, listed, set up and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from facegrep._arguments import check_count, check_threshold, shown
from facegrep._errors import InvalidArgumentError, ModelMismatchError
from facegrep._names import check_library_name, check_names, check_text
from facegrep.engine._results import UNSET, Library, Unset
from facegrep.engine._view import DEFAULT_MODEL, EngineCore, embedder_manifest
from facegrep.store import MAX_DIM, count_expired, find_library, list_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegrep.engine._results import FaceIndexStatus
    from facegrep.store import LibraryRow

MAX_RECOGNITION: Final = 3
"""Recognition libraries that a library can list."""


class LibraryOperations(EngineCore):
    """The Engine's operations on libraries."""

    def create_library(
        self,
        name: str,
        *,
        model: str | None = None,
        dim: int | None = None,
        threshold: float | None = None,
        face_index: FaceIndexStatus = "active",
        config: str = "",
        ttl_ms: int | None = None,
        recognition: Sequence[str] = (),
    ) -> Library:
        r"""Make a library.

        Parameters
        ----------
        name
            Unique in the account: 1 to 512 bytes of UTF-8 without control or direction-changing
            characters, ``/`` and ``\``.
        model
            Name or id of the model that embeds its faces; ``"sface"`` unless `dim` is given.
        dim
            Alone: a library of vectors of this length (1 to 4096), without a model.
        threshold
            The cosine (-1 to 1) that its matches must reach; by default its model's.
        face_index
            ``None`` or ``"deactive"``: assets are stored, and analysed once the index is active.
        config
            Text kept for the caller, uninterpreted.
        ttl_ms
            How long an asset is kept after it was added; see `set_retention`.
        recognition
            Ids of recognition libraries; see `set_recognition`.

        Raises
        ------
        AlreadyExistsError
            The account has a library of that name.
        InvalidArgumentError
            Names the argument.
        NotFoundError
            A recognition library is not there.
        ModelMismatchError
            `dim` is not the model's; a recognition library is of another model.
        """
        check_library_name(name, "name")
        own_threshold = check_threshold(threshold)
        model_id, length = model_and_dim(model, dim)
        row = self._writable.insert_library(
            self._account,
            name,
            model=model_id,
            dim=length,
            threshold=own_threshold,
            face_index=check_face_index(face_index),
            config=_check_config(config),
            recognition=_check_recognition(recognition),
            ttl_ms=check_ttl(ttl_ms),
            actor=self._actor,
        )
        return library_of(row, (0, 0))

    def library(self, name: str, *, exact_counts: bool = True) -> Library:
        """Return one library.

        Parameters
        ----------
        name
            Its name.
        exact_counts
            Whether its counts leave out what has expired. With a retention that is found by looking
            at every asset, 0.15 s at a million; ``False`` counts those as well.

        Raises
        ------
        NotFoundError
            The account has none of that name.
        """
        check_library_name(name, "name")
        with self._store.catalog.read() as connection:
            row = find_library(connection, self._account, name)
            return library_of(row, count_expired(connection, row) if exact_counts else (0, 0))

    def libraries(self) -> list[Library]:
        """List the account's libraries by name, bytewise."""
        with self._store.catalog.read() as connection:
            rows = list_libraries(connection, self._account)
            return [library_of(row, count_expired(connection, row)) for row in rows]

    def drop_library(self, name: str) -> None:
        """Remove a library with all it holds: assets, vectors (overwritten), frozen answers.

        Raises
        ------
        NotFoundError
            The account has none of that name.
        """
        store = self._writable
        row = self._find(check_library_name(name, "name"))
        store.drop_library(row, actor=self._actor)
        self._shared.indexes.forget(row.id)
        self._shared.rosters.forget(row.id)

    def set_threshold(self, name: str, value: float | None) -> None:
        """Set the cosine (-1 to 1) that matches must reach; ``None``: follow the model again.

        Raises
        ------
        NotFoundError, InvalidArgumentError
            No such library; not a cosine.
        """
        row = self._find(check_library_name(name, "name"))
        threshold = check_threshold(value)
        self._writable.change_library(row, "threshold", threshold, actor=self._actor)

    def set_retention(self, name: str, ttl_ms: int | None) -> None:
        """Set how long assets are kept after they were added; ``None``: until they are deleted.

        It counts from when an asset was stored, not from its ``utc_create_ms``, and for those that
        are there as well. An asset whose time is up is gone at once from every search, page, list
        and count, and its id is free; `purge` erases it. One that was not purged yet comes back
        when a longer time is set.

        Parameters
        ----------
        name
            The library's.
        ttl_ms
            Milliseconds, at least 1.

        Raises
        ------
        NotFoundError, InvalidArgumentError
            No such library; not a time.
        """
        row = self._find(check_library_name(name, "name"))
        self._writable.change_library(row, "ttl_ms", check_ttl(ttl_ms), actor=self._actor)

    def set_config(
        self, name: str, config: str, *, recognition: Sequence[str] | Unset = UNSET
    ) -> None:
        """Set the text that is kept for the caller, and with it what `set_recognition` sets."""
        row = self._find(check_library_name(name, "name"))
        text, store = _check_config(config), self._writable
        if isinstance(recognition, Unset):
            store.change_library(row, "config", text, actor=self._actor)
        else:
            lib_ids = _check_recognition(recognition)
            store.set_recognition(row, lib_ids, config=text, actor=self._actor)

    def set_recognition(self, name: str, recognition: Sequence[str]) -> None:
        """Set which recognition libraries' people are recognised in a library.

        Parameters
        ----------
        name
            The library's.
        recognition
            Their ids, three at most; they must hold faces of its model. One that is deleted later
            recognises nobody.

        Raises
        ------
        NotFoundError
            No such library, or no such recognition library; ``kind`` says which.
        ModelMismatchError
            One is of another model.
        InvalidArgumentError
            More than three, or one twice.
        """
        row = self._find(check_library_name(name, "name"))
        lib_ids = _check_recognition(recognition)
        self._writable.set_recognition(row, lib_ids, actor=self._actor)


def library_of(row: LibraryRow, expired: tuple[int, int]) -> Library:
    """Give a row of the catalog to the caller, less the assets and faces that have expired."""
    return Library(
        name=row.name,
        model=row.model,
        dim=row.dim,
        threshold=row.threshold,
        face_index=check_face_index(row.face_index),
        media_count=row.media_count - expired[0],
        face_count=row.face_count - expired[1],
        config=row.config,
        created_ms=row.created_ms,
        ttl_ms=row.ttl_ms,
        recognition=tuple(row.recognition_ids),
    )


def check_ttl(ttl_ms: object) -> int | None:
    """Check how long assets are kept."""
    return None if ttl_ms is None else check_count(ttl_ms, "ttl_ms", 1)


def check_face_index(status: object) -> FaceIndexStatus:
    """Check the state of a face index."""
    if status is None:
        return None
    if isinstance(status, str) and status == "active":
        return "active"
    if isinstance(status, str) and status == "deactive":
        return "deactive"
    raise InvalidArgumentError(
        f"face index: expected 'active', 'deactive' or None, got {shown(status)}"
    )


def model_and_dim(model: str | None, dim: int | None) -> tuple[str | None, int]:
    """Check which model's embeddings a library holds, or vectors of which length."""
    length = None if dim is None else check_count(dim, "dim")
    if length is not None and not 1 <= length <= MAX_DIM:
        raise InvalidArgumentError(f"dim: expected 1 to {MAX_DIM}, got {length}")
    if model is None and length is not None:
        return None, length
    manifest = embedder_manifest(DEFAULT_MODEL if model is None else model)
    if length not in (None, manifest.dim):
        raise ModelMismatchError(f"dim: model {manifest.id!r} has {manifest.dim}, got {length}")
    return manifest.id, manifest.dim


def _check_recognition(recognition: object) -> list[str]:
    lib_ids = check_names(recognition, "recognition")
    if len(lib_ids) > MAX_RECOGNITION or len(set(lib_ids)) < len(lib_ids):
        raise InvalidArgumentError(
            f"recognition: expected up to {MAX_RECOGNITION} different ids, got {shown(lib_ids)}"
        )
    return lib_ids


def _check_config(config: object) -> str:
    return check_text(config, "config") or ""
