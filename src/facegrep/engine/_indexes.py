"""A library's faces in memory, following the catalog."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from facegrep._errors import InvalidArgumentError, StoreCorrupt
from facegrep._index import FaceIndex
from facegrep.engine._expiry import Expiry
from facegrep.store import library_ids, now_ms, read_changed_assets, read_tombstones

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from facegrep.store import ChangedAssets, LibraryRow, Store


class LibraryIndex:
    """The faces of one library.

    Searches run side by side; `follow` runs alone, so that no search sees half of a commit or an
    asset that is being replaced.
    """

    def __init__(self, library: LibraryRow) -> None:
        self.seq = 0
        """How far it is; -1 while a failure has left it between two commits."""
        self._turns = _ReadersOrWriter()
        self._empty(library.dim)

    def _empty(self, dim: int) -> None:
        self.faces = FaceIndex(dim)
        self._followed = 0  # what to read from: `seq`, or what it was before a failure
        # Tombstones hold no ids, so that the deleted are not remembered; we must know them.
        self._media_ids: dict[int, str] = {}
        # Of each asset by ordinal, 0 when there is none: they add up to the library's digest.
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._digest = 0
        self._expiry = Expiry()

    def searching(self) -> contextlib.AbstractContextManager[None]:
        """Hold the index as it is."""
        return self._turns.reading()

    def follow(self, connection: sqlite3.Connection, folder: Path, library: LibraryRow) -> None:
        """Apply what the connection's snapshot has beyond this index; all of it, or be empty.

        Then take out what has expired by now; an index that is ahead of the snapshot had that done.

        A first load holds the snapshot for as long as it takes (0.6 s at 100,000 assets): parts
        read one by one could miss an asset that changes between two of them.

        Raises
        ------
        StoreCorrupt
            The library's vectors or rows are damaged.
        """
        until_ms = library.expired_until_ms(now_ms())
        is_due = self._expiry.is_due(until_ms) or self._expiry.is_back(until_ms)
        if self.seq > library.seq or (self.seq == library.seq and not is_due):
            return
        with self._turns.writing():
            if self.seq > library.seq:  # another thread was first
                return
            if self._expiry.is_back(until_ms):
                self._empty(library.dim)
            elif self.seq == library.seq:
                self._remove(self._expiry.expire(until_ms))
                return
            self.seq = -1
            try:
                self._apply(connection, folder, library)
            except StoreCorrupt:
                # Nothing was added in part, and applying it again changes nothing twice.
                raise
            except BaseException as error:
                self._empty(library.dim)
                # Every writer checked what the index now refuses.
                if isinstance(error, InvalidArgumentError):
                    raise _corrupt(library, str(error)) from error
                raise
            if (self._digest - library.digest) % 2**64:
                self._empty(library.dim)
                raise _corrupt(library, "its rows are not those that were written")
            self._remove(self._expiry.expire(until_ms))
            self.seq = self._followed = library.seq

    def added_ms(self, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when assets that are there were added; inside `searching`."""
        return self._expiry.added_ms(ordinals)

    def _apply(self, connection: sqlite3.Connection, folder: Path, library: LibraryRow) -> None:
        grown = np.zeros(max(library.next_ordinal, len(self._hashes)), dtype=np.uint64)
        grown[: len(self._hashes)] = self._hashes
        self._hashes = grown
        gone = read_tombstones(connection, library.id, self._followed, library.name)
        self._remove(gone)
        self._expiry.forget(gone)
        self._hash(library, np.array(gone, dtype=np.int64), np.uint64(0))
        for changed in read_changed_assets(connection, folder, library, self._followed):
            self._remove(changed.ordinals.tolist())
            self._add(changed)
            self._expiry.note(changed.ordinals, changed.added_ms)
            self._hash(library, changed.ordinals, changed.hashes)

    def _hash(
        self,
        library: LibraryRow,
        ordinals: NDArray[np.int64],
        hashes: NDArray[np.uint64] | np.uint64,
    ) -> None:
        if not len(ordinals):
            return
        if ordinals.min() < 0 or ordinals.max() >= len(self._hashes):
            raise _corrupt(library, "a row has a number that was never given")
        before = int(self._hashes[ordinals].sum())
        self._hashes[ordinals] = hashes
        self._digest += int(self._hashes[ordinals].sum()) - before

    def _remove(self, ordinals: list[int]) -> None:
        known = (self._media_ids.pop(ordinal, None) for ordinal in ordinals)
        gone = [media_id for media_id in known if media_id is not None]
        if gone:
            self.faces.remove(gone)

    def _add(self, changed: ChangedAssets) -> None:
        if not len(changed.codes):
            return
        assets = np.repeat(np.arange(len(changed.media_ids)), changed.face_counts)

        def by_row(values: list[int | str | None]) -> list[int | str | None]:
            return [values[asset] for asset in assets]

        columns = changed.columns
        self.faces._core.add_codes(
            [changed.media_ids[asset] for asset in assets],
            changed.codes,
            {
                "intField1": by_row(columns["int_field1"]),
                "strField1": by_row(columns["str_field1"]),
                "strField2": by_row(columns["str_field2"]),
                "utcCreate": by_row(columns["utc_create_ms"]),
                "mediaType": by_row(columns["media_type"]),
                "namespace": by_row(columns["namespace"]),
            },
            changed.ordinals[assets],
        )
        with_faces = np.flatnonzero(changed.face_counts)
        self._media_ids.update(
            (int(changed.ordinals[asset]), changed.media_ids[asset]) for asset in with_faces
        )


def _corrupt(library: LibraryRow, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: {what}; other libraries of the store are not affected",
        library=library.name,
    )


class Indexes:
    """The indexes of a store that were searched so far, by library incarnation. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._by_library: dict[int, LibraryIndex] = {}

    @contextlib.contextmanager
    def searching(
        self, account: str, name: str
    ) -> Iterator[tuple[LibraryRow, LibraryIndex | None]]:
        """Hold a library's faces as they are now, or later; ``None`` unless its index is active.

        Raises
        ------
        NotFoundError
            There is no such library.
        StoreCorrupt
            Its vectors or rows are damaged.
        """
        while True:
            library, index = self._followed(account, name)
            if index is None:
                yield library, None
                return
            with index.searching():
                # Less only if another thread failed to follow it further in between.
                if index.seq >= library.seq:
                    yield library, index
                    return

    def forget(self, library_id: int) -> None:
        """Free an index; searches under way keep theirs."""
        with self._mutex:
            self._by_library.pop(library_id, None)

    def _followed(self, account: str, name: str) -> tuple[LibraryRow, LibraryIndex | None]:
        def follow(
            connection: sqlite3.Connection, library: LibraryRow
        ) -> tuple[LibraryRow, LibraryIndex | None]:
            if library.face_index != "active":
                self.forget(library.id)
                return library, None
            index = self._of(connection, library)
            index.follow(connection, self._store.vectors.folder, library)
            return library, index

        return self._store.read_library(account, name, follow)

    def _of(self, connection: sqlite3.Connection, library: LibraryRow) -> LibraryIndex:
        with self._mutex:
            index = self._by_library.get(library.id)
            if index is None:
                # Nobody tells us which libraries another process dropped.
                for gone in self._by_library.keys() - library_ids(connection):
                    del self._by_library[gone]
                index = self._by_library[library.id] = LibraryIndex(library)
            return index


class _ReadersOrWriter:
    """Many readers or one writer; readers that come later let a waiting writer go first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            while self._writing or self._writers_waiting:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            try:
                while self._writing or self._readers:
                    self._changed.wait()
            finally:
                self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
