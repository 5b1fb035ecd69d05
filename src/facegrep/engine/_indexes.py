"""The indexes of a store's libraries: begun with a file, shared by all searches, saved."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from facegrep._errors import FacegrepError, SnapshotDamaged, StoreBusy, StoreError
from facegrep.engine._library_index import LibraryIndex, is_worth_saving
from facegrep.store import count_changes, library_by_id, library_ids

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from facegrep.store import FileIdentity, LibraryRow, Store

_T = TypeVar("_T")

CLOSE_TIMEOUT_S: Final = 1.0
"""How long closing waits for another process to have saved an index, before it saves its own."""

_ATTEMPTS: Final = 3


class Indexes:
    """The indexes of a store that were searched so far, by library incarnation. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._by_library: dict[int, LibraryIndex] = {}
        self._loading = threading.Lock()
        self._refused: set[FileIdentity] = set()  # saved indexes that are damaged

    def search(
        self, account: str, name: str, search: Callable[[LibraryRow, LibraryIndex | None], _T]
    ) -> _T:
        """Search a library's faces as they are now, or later.

        Parameters
        ----------
        account, name
            Whose library, and which.
        search
            Is given the index, ``None`` unless the library's is active; called again when a saved
            index turns out to be damaged.

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
                return search(library, None)
            with index.searching():
                # Less only if another thread failed to follow it further in between.
                if index.seq < library.seq:
                    continue
                try:
                    found = search(library, index)
                except SnapshotDamaged:
                    self._refuse(library.id, index)
                    continue
            if index.may_be_worth_saving(library):
                self._save(library, index, timeout_s=0.0)
            return found

    def forget(self, library_id: int | None = None) -> None:
        """Free an index, or all, with their files; searches under way keep theirs."""
        with self._mutex:
            if library_id is None:
                self._by_library.clear()
            else:
                self._by_library.pop(library_id, None)

    @contextlib.contextmanager
    def renewing(self, libraries: Iterable[LibraryRow]) -> Iterator[None]:
        """Overwrite or move vectors in the block: a saved index that goes with them is made anew.

        By whoever lets it go, and before the call returns: the next process may be one that only
        reads, and would have to read all rows and vectors, as would those after it. So an index is
        brought whole into memory first, if it has a file; later its codes could not be had.
        """
        held = [library for library in libraries if self._hold(library)]
        try:
            yield
        finally:
            for library in held:
                with _nothing_depends_on_it():
                    self._save_now(library)

    def save_all(self) -> None:
        """Save what changed much since it was last saved, for the next process; called at closing.

        Also the indexes of libraries that this store added much to, and that nobody searched.
        """
        with _nothing_depends_on_it():
            self._store.catalog.require_open()
            if self._store.readonly:
                return
            with self._mutex:
                changed = {*self._by_library, *self._store.faces_added}
            for library_id in changed:
                with _nothing_depends_on_it():
                    self._save_at_closing(library_id)

    def _hold(self, library: LibraryRow) -> bool:
        """Have an index whole in memory, if it has a file; whether it is."""
        with _nothing_depends_on_it():
            if self._store.caches.find(library) is not None:
                _, index = self._followed(library.account, library.name)
                if index is not None:
                    with index.searching():
                        index.faces._core.bring_codes()
                    return True
        return False

    def _save_at_closing(self, library_id: int) -> None:
        with self._store.catalog.read() as connection:
            library = library_by_id(connection, library_id)
        if library is not None and self._may_be_worth_saving(library):
            self._save_now(library)

    def _may_be_worth_saving(self, library: LibraryRow) -> bool:
        added = self._store.faces_added[library.id]
        with self._mutex:
            index = self._by_library.get(library.id)
        if index is None:
            return is_worth_saving(added, library.face_count)
        return index.may_be_worth_saving(library, added)

    def _save_now(self, library: LibraryRow) -> None:
        now, index = self._followed(library.account, library.name)
        if index is not None and index.may_be_worth_saving(now):
            self._save(now, index, timeout_s=CLOSE_TIMEOUT_S)

    def _save(self, library: LibraryRow, index: LibraryIndex, *, timeout_s: float) -> None:
        """Save an index if that is worth it, and possible now; if not, a later search will."""
        if self._store.readonly:
            return
        with index.searching():
            if index.seq != library.seq:  # another thread followed it further, and will
                return
            try:
                if is_worth_saving(self._changes(library, index), len(index.faces)):
                    self._store.caches.publish(library, index.save, timeout_s=timeout_s)
            except StoreBusy:  # another time
                pass
            except (StoreError, SnapshotDamaged):
                # The disk is full, or the file that it came from lacks codes that no search has
                # wanted yet: not before much more has changed.
                index.is_saved(max(library.seq, library.erased_seq))

    def _changes(self, library: LibraryRow, index: LibraryIndex) -> int:
        """Count what changed since the newest file, which may be another process's."""
        file = self._store.caches.find(library)
        if file is None or file.identity in self._refused:
            return len(index.faces)
        if file.name.seq != index.saved_seq:
            if file.name.seq <= index.outlived_seq:
                return len(index.faces)
            with self._store.catalog.read() as connection:
                index.is_saved(file.name.seq, count_changes(connection, library, file.name.seq))
        return index.changes

    def _followed(self, account: str, name: str) -> tuple[LibraryRow, LibraryIndex | None]:
        def follow(
            connection: sqlite3.Connection, library: LibraryRow
        ) -> tuple[LibraryRow, LibraryIndex | None]:
            if library.face_index != "active":
                self.forget(library.id)
                return library, None
            with self._mutex:
                index = self._by_library.get(library.id)
                if index is None:
                    # Nobody tells us which libraries another process dropped.
                    for gone in self._by_library.keys() - library_ids(connection):
                        del self._by_library[gone]
            if index is not None:
                try:
                    index.follow(connection, self._store.vectors.folder, library)
                except SnapshotDamaged:
                    self._refuse(library.id, index)
                    index = None
            return library, index

        while True:
            library, index = self._store.read_library(account, name, follow)
            if index is not None or library.face_index != "active":
                return library, index
            # Outside a snapshot, which holds back the log; the one that follows is then newer than
            # the file.
            self._begin(library)

    def _begin(self, library: LibraryRow) -> None:
        """Enter an index of a library: a saved one, or one of nothing."""
        with self._loading:
            with self._mutex:
                if library.id in self._by_library:  # another thread was first
                    return
            index = LibraryIndex(library)
            for _ in range(_ATTEMPTS):  # one that is replaced meanwhile looks damaged
                if not self._load(library, index):
                    break
            with self._mutex:
                self._by_library[library.id] = index

    def _load(self, library: LibraryRow, index: LibraryIndex) -> bool:
        """Read the newest saved index, if there is a good one; whether to look once more."""
        with self._store.caches.reading(library) as found, contextlib.suppress(OSError):
            if found is None:
                return False
            file, descriptor = found
            if file.identity in self._refused:
                return False
            try:
                index.load(library, file.name, descriptor)
                index.file = file.identity
            except SnapshotDamaged:
                self._refused.add(file.identity)
                return True
        return False

    def _refuse(self, library_id: int, index: LibraryIndex) -> None:
        """Let go of an index whose file is damaged, was overwritten, or is of another catalog."""
        with self._mutex:
            if index.file is not None:
                self._refused.add(index.file)
            if self._by_library.get(library_id) is index:
                del self._by_library[library_id]


@contextlib.contextmanager
def _nothing_depends_on_it() -> Iterator[None]:
    """Do without a saved index that cannot be had, for whatever reason."""
    with contextlib.suppress(FacegrepError, MemoryError):
        yield
