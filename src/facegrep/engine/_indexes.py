"""A library's faces in memory, following the catalog."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from facegrep._errors import InvalidArgumentError, StoreCorrupt
from facegrep._index import FaceIndex
from facegrep.store import library_ids, read_changed_assets, read_tombstones

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from facegrep.store import ChangedAssets, LibraryRow, Store


class LibraryIndex:
    """The faces of one library.

    Searches run side by side; `follow` runs alone, so that no search sees half of a commit or an
    asset that is being replaced.
    """

    def __init__(self, library: LibraryRow) -> None:
        self.seq = 0
        self.faces = FaceIndex(library.dim)
        # Tombstones hold no ids, so that the deleted are not remembered; we must know them.
        self._media_ids: dict[int, str] = {}
        self._turns = _ReadersOrWriter()

    def searching(self) -> contextlib.AbstractContextManager[None]:
        """Hold the index as it is."""
        return self._turns.reading()

    def follow(self, connection: sqlite3.Connection, folder: Path, library: LibraryRow) -> None:
        """Apply what the connection's snapshot has beyond this index; all of it, or be empty.

        A first load holds the snapshot for as long as it takes (0.6 s at 100,000 assets): parts
        read one by one could miss an asset that changes between two of them.

        Raises
        ------
        StoreCorrupt
            The library's vectors or rows are damaged.
        """
        if self.seq >= library.seq:
            return
        with self._turns.writing():
            if self.seq >= library.seq:  # another thread was first
                return
            try:
                self._remove(read_tombstones(connection, library.id, self.seq))
                for changed in read_changed_assets(connection, folder, library, self.seq):
                    self._remove(changed.ordinals.tolist())
                    self._add(changed)
            except BaseException as error:
                self.seq = 0
                self.faces = FaceIndex(library.dim)
                self._media_ids.clear()
                # Every writer checked what the index now refuses.
                if isinstance(error, InvalidArgumentError):
                    raise StoreCorrupt(f"library {library.name!r}: {error}") from error
                raise
            self.seq = library.seq

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


class Indexes:
    """The indexes of a store that were searched so far, by library incarnation. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._by_library: dict[int, LibraryIndex] = {}

    @contextlib.contextmanager
    def searching(self, account: str, name: str) -> Iterator[tuple[LibraryRow, FaceIndex | None]]:
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
                    yield library, index.faces
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
