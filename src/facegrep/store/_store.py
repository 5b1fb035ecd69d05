"""A store on disk: the catalog, the segments, and the order in which they become durable."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from facegrep._errors import (
    AlreadyExistsError,
    NotFoundError,
    OperationDeniedError,
    StoreCorrupt,
    StoreNotFound,
)
from facegrep.store import _libraries, _media
from facegrep.store._answers import AnswerStore
from facegrep.store._database import Database
from facegrep.store._filesystem import (
    make_directory,
    raise_store_error,
    refuse_network_filesystem,
)
from facegrep.store._lock import FileLock
from facegrep.store._memory import MemoryDatabase
from facegrep.store._schema import CATALOG, SESSION
from facegrep.store._vectors import Vectors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from facegrep.store._assets import Columns, Faces, Job, MediaRow, NewAsset
    from facegrep.store._libraries import LibraryRow

_T = TypeVar("_T")

Added: TypeAlias = bool | AlreadyExistsError | OperationDeniedError
"""Stored, the same already there, or why it was left out."""

_CATALOG: Final = "catalog.db"
_SESSION: Final = "session.db"
_OWN_NAMES: Final = {_CATALOG, _SESSION, "writer.lock", "session.lock", "v", "tmp"}


class Store:
    """The directory of a store.

    Libraries, assets and vectors of every account. Thread-safe: reads run side by side, each on a
    connection of its own; writes take turns, among threads and among processes. Every method that
    writes has made durable what it did when it returns, and changed nothing when it raises.

    Attributes
    ----------
    path
        The directory, absolute.
    catalog
        The database of what is stored.
    vectors
        The files of the vectors.
    answers
        The frozen answers of searches.
    """

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.catalog = Database(
            path / _CATALOG, CATALOG, FileLock(path / "writer.lock"), readonly=readonly
        )
        self.vectors = Vectors(path / "v", self.catalog)
        session = Database(
            path / _SESSION, SESSION, FileLock(path / "session.lock"), readonly=readonly
        )
        self.answers = AnswerStore(MemoryDatabase(SESSION) if readonly else session)
        self._session = session

    @staticmethod
    def open(
        path: Path, *, readonly: bool, on_create: Callable[[sqlite3.Connection], None]
    ) -> Store:
        """Open a store; create it if there is none, with what `on_create` enters into it.

        Raises
        ------
        StoreNotFound
            There is none, and `readonly`.
        StoreCorrupt
            The directory holds something else, or a damaged store.
        StoreVersionError
            A newer facegrep made it.
        StoreError
            The directory cannot be made, or is on a network.
        """
        try:
            _require_store_or_room(path, readonly=readonly)
            refuse_network_filesystem(path)
            store = Store(path, readonly=readonly)
            try:
                if not readonly:
                    store._create(on_create)
                if not store.catalog.is_made():  # a crash came first, and nobody made it since
                    raise _no_store(path)
                store.catalog.check()
                if not readonly:
                    store._session.check()
                    store.vectors.recover()
            except BaseException:
                store.close()
                raise
        except OSError as error:
            raise_store_error(error, f"opening the store {path}", "it is as it was")
        return store

    def _create(self, on_create: Callable[[sqlite3.Connection], None]) -> None:
        for folder in (self.vectors.folder, self.path / "tmp"):
            make_directory(folder)
        # In this order: another process may be making the store, its catalog first.
        if self.vectors.has_files() and not self.catalog.is_made():
            raise StoreCorrupt(
                f"{self.path} holds vectors, but its catalog.db is missing or empty; nothing was "
                "changed: put catalog.db back, or name another directory"
            )
        self.catalog.create(on_create)
        self._session.create(lambda _: None)

    def close(self) -> None:
        """Close; calls under way in other threads end first or raise `StoreClosed`."""
        self.catalog.close()
        self.answers.close()

    def read_library(
        self, account: str, name: str, read: Callable[[sqlite3.Connection, LibraryRow], _T]
    ) -> _T:
        """Read a library and its vectors in one snapshot.

        Files do not wait for snapshots: when vectors are erased, `read` may find them overwritten.
        That is no damage, and it is called again with what is there now.

        Raises
        ------
        NotFoundError
            The account has none of that name.
        StoreCorrupt
            From `read`, of vectors that nobody erased.
        """
        while True:
            with self.catalog.read() as connection:
                library = _libraries.find_library(connection, account, name)
                try:
                    return read(connection, library)
                except StoreCorrupt as error:
                    damage = error
            with self.catalog.read() as connection:
                now = _libraries.find_library(connection, account, name)
            if (now.id, now.generation) == (library.id, library.generation):
                raise damage

    def insert_library(
        self,
        account: str,
        name: str,
        *,
        model: str | None,
        dim: int,
        threshold: float | None,
        face_index: str | None,
        config: str,
    ) -> LibraryRow:
        """Add a library.

        Raises
        ------
        AlreadyExistsError
            The account has one of that name.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            with contextlib.suppress(NotFoundError):
                _libraries.find_library(connection, account, name)
                raise AlreadyExistsError(
                    f"library {name!r} exists already; drop_library removes it with all it holds"
                )
            _ = transaction.seq
            _libraries.insert_library(
                connection,
                account,
                name,
                model=model,
                dim=dim,
                threshold=threshold,
                face_index=face_index,
                config=config,
                now_ms=now_ms(),
            )
            return _libraries.find_library(connection, account, name)

    def change_library(
        self,
        library: LibraryRow,
        column: Literal["threshold", "config", "face_index"],
        value: object,
    ) -> None:
        """Set one property of a library."""
        with self.catalog.write() as transaction:
            _libraries.same_library(transaction.connection, library)
            _ = transaction.seq
            transaction.connection.execute(
                f"UPDATE library SET {column} = ? WHERE id = ?", (value, library.id)
            )

    def drop_library(self, library: LibraryRow) -> None:
        """Remove a library with its assets, vectors and answers; vectors are overwritten."""
        with self.catalog.write() as transaction:
            current = _libraries.same_library(transaction.connection, library)
            _ = transaction.seq
            self.vectors.forget(transaction, current)
            _libraries.delete_library(transaction.connection, current)
        self.answers.drop_library(library.id)

    def erase_faces(self, library: LibraryRow, face_index: str | None) -> int:
        """Set the state of a face index that is not active, and overwrite the library's vectors.

        Returns
        -------
        faces
            How many were erased.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            seq = transaction.seq
            self.vectors.forget(transaction, current)
            _media.forget_faces(connection, current, seq)
            # A generation's segments are gone with it: whoever holds its index starts anew.
            connection.execute(
                "UPDATE library SET face_index = ?, generation = generation + 1, seq = ?,"
                " face_count = 0 WHERE id = ?",
                (face_index, seq, current.id),
            )
            return current.face_count

    def add(
        self, library: LibraryRow, assets: Sequence[NewAsset], *, stop_at_conflict: bool
    ) -> list[Added]:
        """Add assets and their vectors in one commit.

        Parameters
        ----------
        library
            As it was when the assets were analysed, or not, for its face index.
        stop_at_conflict
            Store nothing from the first asset on that is left out.

        Returns
        -------
        added
            What became of each: ``True``, ``False`` when the same asset was there already, or the
            error of one left out: its id is taken by another asset, or it was not analysed because
            it was there, and is gone. It ends with the error that it stopped at.

        Raises
        ------
        NotFoundError, OperationDeniedError
            The library was dropped, or its face index switched, meanwhile.
        StoreError
            See `Database.write`.
        """
        with self.vectors.appending() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            _require_same_state(current, library)
            taken = _media.find_identities(connection, current, [a.media_id for a in assets])
            outcome: list[Added] = []
            fresh: list[tuple[int, NewAsset]] = []
            for asset in assets:
                stored = taken.get(asset.media_id)
                if stored is not None:
                    outcome.append(
                        False
                        if asset.is_same(stored)
                        else AlreadyExistsError(asset.describe_conflict(stored))
                    )
                elif asset.faces is None and current.face_index == "active":
                    outcome.append(
                        OperationDeniedError(
                            f"media {asset.media_id!r} was there, so it was not analysed, and was "
                            "deleted meanwhile; it was not stored, repeat the call"
                        )
                    )
                else:
                    ordinal = current.next_ordinal + len(fresh)
                    taken[asset.media_id] = asset.identity(ordinal)
                    fresh.append((ordinal, asset))
                    outcome.append(True)
                if stop_at_conflict and not isinstance(outcome[-1], bool):
                    break
            if fresh:
                seq = transaction.seq
                slots = self.vectors.append(
                    connection, current, [asset.faces for _, asset in fresh]
                )
                rows = [(*pair, place) for pair, place in zip(fresh, slots, strict=True)]
                _media.insert_media(connection, current, seq, rows)
                faces = sum(len(a.faces.codes) for _, a in fresh if a.faces is not None)
                _libraries.count_assets(connection, current, seq, media=len(fresh), faces=faces)
            return outcome

    def set_analyses(
        self, library: LibraryRow, analyses: Sequence[tuple[int, Faces | None, Job]]
    ) -> None:
        """Enter the outcome of analyses of assets by ordinal; those deleted since are left out.

        Raises
        ------
        NotFoundError, OperationDeniedError
            The library was dropped, or its face index switched, meanwhile.
        """
        with self.vectors.appending() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            _require_same_state(current, library)
            waiting = _media.still_unanalysed(connection, current, [row[0] for row in analyses])
            live = [row for row in analyses if row[0] in waiting]
            if live:
                seq = transaction.seq
                slots = self.vectors.append(connection, current, [faces for _, faces, _ in live])
                rows = [(*row[:2], place, row[2]) for row, place in zip(live, slots, strict=True)]
                _media.set_faces(connection, current, seq, rows)
                faces = sum(len(found.codes) for _, found, _ in live if found is not None)
                _libraries.count_assets(connection, current, seq, media=0, faces=faces)

    def update(
        self,
        library: LibraryRow,
        media_id: str,
        change: Callable[[MediaRow], tuple[Columns, str | None]],
    ) -> None:
        """Change an asset's columns and title to what `change` makes of it.

        Raises
        ------
        NotFoundError
            There is no such asset.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            row = _media.find_media(connection, current, media_id)
            if row is None:
                raise NotFoundError("media", media_id)
            columns, title = change(row)
            seq = transaction.seq
            _media.update_media(connection, current, seq, row.ordinal, columns, title)
            _libraries.count_assets(connection, current, seq, media=0, faces=0)

    def delete(self, library: LibraryRow, media_ids: Sequence[str]) -> int:
        """Delete assets. A search that starts after this returned does not find them.

        Returns
        -------
        deleted
            How many there were; unknown ids count for nothing.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            found = _media.find_live(connection, current, media_ids)
            if found:
                seq = transaction.seq
                _media.delete_media(connection, current, seq, [ordinal for ordinal, _ in found])
                faces = sum(count for _, count in found)
                _libraries.count_assets(connection, current, seq, media=-len(found), faces=-faces)
            return len(found)


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def _require_store_or_room(path: Path, *, readonly: bool) -> None:
    """Refuse a directory that is neither a store nor empty; make one that is absent."""
    if (path / _CATALOG).exists():
        return
    if readonly:
        raise _no_store(path)
    if path.exists() and (foreign := {entry.name for entry in path.iterdir()} - _OWN_NAMES):
        raise StoreCorrupt(
            f"{path} is not a facegrep store: it holds {min(foreign)!r}; name an empty directory "
            "or one that does not exist"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    make_directory(path)


def _no_store(path: Path) -> StoreNotFound:
    return StoreNotFound(f"there is no store at {path}; open it without readonly to create it")


def _require_same_state(current: LibraryRow, expected: LibraryRow) -> None:
    if current.face_index != expected.face_index:
        raise OperationDeniedError(
            f"the face index of library {current.name!r} was switched meanwhile; nothing was "
            "stored, repeat the call"
        )
