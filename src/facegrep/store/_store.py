"""A store on disk: the catalog, the segments, and the order in which they become durable."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from facegrep._errors import (
    AlreadyExistsError,
    NotFoundError,
    OperationDeniedError,
    StoreBusy,
    StoreCorrupt,
    StoreError,
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
from facegrep.store._media import Slots
from facegrep.store._memory import MemoryDatabase
from facegrep.store._schema import CATALOG, SESSION
from facegrep.store._segments import (
    CAPACITY_BYTES,
    append_codes,
    create_segment,
    wipe_segment,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from facegrep.store._database import Transaction
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._media import Columns, Faces, Job, MediaRow, NewAsset
    from facegrep.store._segments import Segment

Added: TypeAlias = bool | AlreadyExistsError
"""Stored, the same already there, or left out because the id is taken."""

_CATALOG: Final = "catalog.db"
_SESSION: Final = "session.db"
_OWN_NAMES: Final = {_CATALOG, _SESSION, "writer.lock", "session.lock", "v", "tmp"}
_SEGMENT_NAME: Final = re.compile(r"[0-9]+-[0-9]+-[0-9]+\.vec")


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
    answers
        The frozen answers of searches.
    """

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.segments = path / "v"
        self.catalog = Database(
            path / _CATALOG, CATALOG, FileLock(path / "writer.lock"), readonly=readonly
        )
        session = Database(
            path / _SESSION, SESSION, FileLock(path / "session.lock"), readonly=readonly
        )
        self.answers = AnswerStore(MemoryDatabase(SESSION) if readonly else session)
        self._session = session
        self._poisoned: set[int] = set()

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
            if not readonly:
                for folder in (store.segments, path / "tmp"):
                    make_directory(folder)
                store.catalog.create(on_create)
                store._session.create(lambda _: None)
            try:
                if not store.catalog.is_made():  # a crash came first, and nobody made it since
                    raise _no_store(path)
                store.catalog.check()
                if not readonly:
                    store._session.check()
                    store._recover()
            except BaseException:
                store.close()
                raise
        except OSError as error:
            raise_store_error(error, f"opening the store {path}", "it is as it was")
        return store

    def close(self) -> None:
        """Close; calls under way in other threads end first or raise `StoreClosed`."""
        self.catalog.close()
        self.answers.close()

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
            self._wipe_after(transaction, current)
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
            self._wipe_after(transaction, current)
            _libraries.delete_segments(connection, current)
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
            Store nothing from the first asset on whose id is taken by another one, instead of
            leaving that one out.

        Returns
        -------
        added
            What became of each: ``True``, ``False`` when the same asset was there already, or the
            `AlreadyExistsError` of one left out. It ends with the conflict that it stopped at.

        Raises
        ------
        NotFoundError, OperationDeniedError
            The library was dropped, or its face index switched, meanwhile.
        StoreError
            See `Database.write`.
        """
        with self._appending() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            _require_same_state(current, library)
            taken = _media.find_identities(connection, current, [a.media_id for a in assets])
            outcome: list[Added] = []
            fresh: list[tuple[int, NewAsset]] = []
            for asset in assets:
                stored = taken.get(asset.media_id)
                if stored is None:
                    if asset.faces is None and current.face_index == "active":
                        raise OperationDeniedError(
                            f"media {asset.media_id!r} was deleted meanwhile, and not analysed "
                            "because it was there; nothing was stored, repeat the call"
                        )
                    ordinal = current.next_ordinal + len(fresh)
                    taken[asset.media_id] = asset.identity(ordinal)
                    fresh.append((ordinal, asset))
                    outcome.append(True)
                elif asset.is_same(stored):
                    outcome.append(False)
                else:
                    outcome.append(AlreadyExistsError(asset.describe_conflict(stored)))
                    if stop_at_conflict:
                        break
            if fresh:
                seq = transaction.seq
                slots = self._append(connection, current, [asset.faces for _, asset in fresh])
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
        with self._appending() as transaction:
            connection = transaction.connection
            current = _libraries.same_library(connection, library)
            _require_same_state(current, library)
            waiting = _media.still_unanalysed(connection, current, [row[0] for row in analyses])
            live = [row for row in analyses if row[0] in waiting]
            if live:
                seq = transaction.seq
                slots = self._append(connection, current, [faces for _, faces, _ in live])
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

    @contextlib.contextmanager
    def _appending(self) -> Iterator[Transaction]:
        """Write, and poison the segment whose append failed: what its pages hold is unknown."""
        try:
            with self.catalog.write() as transaction:
                yield transaction
        except _AppendFailed as failure:
            if failure.segment.committed_bytes:
                self._poisoned.add(failure.segment.id)
                # So that other processes do not append there either. In this one the set is
                # enough; the disk may well be too full for this.
                with contextlib.suppress(StoreError), self.catalog.write() as transaction:
                    _ = transaction.seq
                    _libraries.seal_segment(transaction.connection, failure.segment)
            raise_store_error(
                failure.cause,
                f"writing vectors of library {failure.segment.library_name!r}",
                "nothing of this batch was stored, all that was acknowledged before is unchanged",
            )

    def _append(
        self, connection: sqlite3.Connection, library: LibraryRow, faces: Sequence[Faces | None]
    ) -> list[Slots | None]:
        """Make codes durable, and enter their length and checksums; returns where each began."""
        parts = [some.codes for some in faces if some is not None and len(some.codes)]
        if not parts:
            return [None] * len(faces)
        codes = np.ascontiguousarray(np.concatenate(parts))
        segment = _libraries.open_segment(connection, library)
        if segment is not None and (
            segment.id in self._poisoned or segment.committed_bytes + codes.nbytes > CAPACITY_BYTES
        ):
            _libraries.seal_segment(connection, segment)
            segment = None
        is_new = segment is None
        if segment is None:
            segment = _libraries.new_segment(connection, library)
        try:
            if is_new:
                create_segment(self.segments, segment)
            append_codes(self.segments, segment, codes)
        except OSError as error:
            raise _AppendFailed(segment, error) from error
        _libraries.extend_segment(connection, segment, codes)
        slot = segment.committed_bytes // segment.dim
        slots: list[Slots | None] = []
        for some in faces:
            count = 0 if some is None else len(some.codes)
            slots.append(Slots(segment.id, slot) if count else None)
            slot += count
        return slots

    def _wipe_after(self, transaction: Transaction, library: LibraryRow) -> None:
        """Once the transaction is durable, overwrite and remove the library's segments."""
        files = [s.file_name for s in _libraries.list_segments(transaction.connection, library)]

        def wipe() -> None:
            try:
                for name in files:
                    wipe_segment(self.segments / name)
            except OSError as error:
                raise_store_error(
                    error,
                    f"overwriting vectors of library {library.name!r}",
                    "they are no longer found; opening the store again retries to overwrite them",
                )

        transaction.after_commit.append(wipe)

    def _recover(self) -> None:
        """Remove what a writer that died left: files that the catalog does not name."""
        if not self._orphans():
            return
        # Busy: a writer is at work, and an orphan may be its newest segment. Later is soon enough.
        with contextlib.suppress(StoreBusy), self.catalog.locked():
            for path in self._orphans():
                wipe_segment(path)

    def _orphans(self) -> list[Path]:
        with self.catalog.read() as connection:
            named = _libraries.named_segment_files(connection)
        return [
            path
            for path in self.segments.iterdir()
            if _SEGMENT_NAME.fullmatch(path.name) and path.name not in named
        ]


class _AppendFailed(Exception):
    """An append did not become durable."""

    def __init__(self, segment: Segment, cause: OSError) -> None:
        super().__init__(str(cause))
        self.segment = segment
        self.cause = cause


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
