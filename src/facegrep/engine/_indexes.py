"""A library's faces in memory, following the catalog."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from facegrep import _core
from facegrep._errors import (
    FacegrepError,
    InvalidArgumentError,
    SnapshotDamaged,
    StoreBusy,
    StoreCorrupt,
    StoreError,
)
from facegrep._index import FaceIndex
from facegrep.engine._expiry import Expiry
from facegrep.engine._turns import ReadersOrWriter
from facegrep.store import (
    CacheName,
    library_by_id,
    library_ids,
    now_ms,
    read_changed_assets,
    read_tombstones,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from facegrep.store import ChangedAssets, LibraryRow, Store

_T = TypeVar("_T")

MIN_CHANGES: Final = 16_384
"""Faces: so many are read from the catalog in some 75 ms. What fewer take need not be saved."""

MIN_SHARE: Final = 1 / 8
"""Of a library's faces: what must have changed since its index was saved for another to be."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long closing waits for a writer, to save an index."""

# What a saved index says of the catalog: its CacheName, how many ordinals, the hash of each, and,
# if the library's assets expire, their times.
_NOTES: Final = struct.Struct("<QQQ")
_SIZE: Final = struct.Struct("<Q")


class LibraryIndex:
    """The faces of one library.

    Searches run side by side; `follow` runs alone, so that no search sees half of a commit or an
    asset that is being replaced.
    """

    def __init__(self, library: LibraryRow) -> None:
        self.seq = 0
        """How far it is; -1 while a failure has left it between two commits."""
        self.file: tuple[int, ...] | None = None
        """The saved index that it came from, as `_identity` names it."""
        self._turns = ReadersOrWriter()
        self._empty(library)

    def _empty(self, library: LibraryRow) -> None:
        self.faces = FaceIndex(library.dim)
        self._followed = 0  # what to read from: `seq`, or what it was before a failure
        # Of each asset by ordinal, 0 when there is none: they add up to the library's digest.
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._digest = 0
        # Of a library that keeps its assets for ever nobody needs to know when they came.
        self._expiry = None if library.ttl_ms is None else Expiry()
        self._saved_seq = 0
        self._changes = 0  # faces that came and assets that went since then
        self._is_unproven = False  # read from a file, and not compared with the catalog yet

    def load(self, library: LibraryRow, name: CacheName, descriptor: int) -> None:
        """Begin with a saved index, before anybody else sees this one.

        The catalog has the last word: `follow` drops it unless its assets, with what came and went
        since, are exactly those of the library.

        Raises
        ------
        SnapshotDamaged
            It is damaged, or another one's.
        """
        core, notes = _core.FaceIndex.load(descriptor)
        if core.dim != library.dim or len(notes) % 8 or notes[: _NOTES.size] != _NOTES.pack(*name):
            raise SnapshotDamaged(f"saved index {name}: it is another one's")
        hashes, self._expiry = _read_notes(notes)
        self.file = _identity(descriptor)
        self.faces = FaceIndex._of(core)
        self._hashes = hashes.copy()
        self._digest = int(self._hashes.sum())
        self._followed = self._saved_seq = name.seq
        self._is_unproven = True

    def save(self, name: CacheName, descriptor: int) -> None:
        """Write it to a file; nobody may change it meanwhile."""
        times = b"" if self._expiry is None else self._expiry.to_bytes()
        size = _SIZE.pack(len(self._hashes))
        notes = _NOTES.pack(*name) + size + self._hashes.tobytes() + times
        self.faces._core.save(descriptor, notes)
        self.is_saved(name.seq)

    def is_saved(self, seq: int) -> None:
        """Count changes from this commit on."""
        self._saved_seq = seq
        self._changes = 0

    def is_worth_saving(self, library: LibraryRow, added: int = 0) -> bool:
        """Whether the next process would save much by it; `added` faces are not in it yet."""
        # A file from before vectors were last overwritten or moved is gone.
        is_gone = self._saved_seq < library.erased_seq
        changes = added + (len(self.faces) if is_gone else self._changes)
        return changes >= max(MIN_CHANGES, MIN_SHARE * len(self.faces))

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
        SnapshotDamaged
            The file that it came from is; this index is empty then.
        """
        until_ms = library.expired_until_ms(now_ms())
        if self._is_as_it_should_be(library, until_ms):
            return
        with self._turns.writing():
            if self._is_as_it_should_be(library, until_ms):  # another thread was first
                return
            if not self._can_expire(library, until_ms):
                self._empty(library)
            elif self.seq == library.seq and not self._is_unproven:
                self._expire(until_ms)
                return
            self.seq = -1
            was_unproven = self._is_unproven
            try:
                # Of a catalog that was put back, perhaps.
                if was_unproven and self._followed > max(library.seq, library.erased_seq):
                    raise _Unlike("it is newer than the catalog")
                self._apply(connection, folder, library)
                if (self._digest - library.digest) % 2**64:
                    raise _Unlike("its rows are not those that were written")
            except StoreCorrupt:
                # Nothing was added in part, and applying it again changes nothing twice.
                raise
            except BaseException as error:
                self._empty(library)
                # Every writer checked what the index now refuses.
                if isinstance(error, (_Unlike, InvalidArgumentError)):
                    if not was_unproven:
                        raise _corrupt(library, str(error)) from error
                    raise SnapshotDamaged(f"library {library.name!r}: {error}") from error
                raise
            self._is_unproven = False
            self._expire(until_ms)
            self.seq = self._followed = library.seq

    def added_ms(self, ordinals: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return when assets that are there were added, if that matters."""
        return None if self._expiry is None else self._expiry.added_ms(ordinals)

    def _is_as_it_should_be(self, library: LibraryRow, until_ms: int) -> bool:
        if self._is_unproven or self.seq < library.seq:
            return False
        if self.seq > library.seq or self._expiry is None:  # ahead: the library was another then
            return True
        return not self._expiry.is_due(until_ms) and not self._expiry.is_back(until_ms)

    def _can_expire(self, library: LibraryRow, until_ms: int) -> bool:
        """Whether the times of its assets are known, and none that expired has to come back."""
        if self._expiry is None:
            return library.ttl_ms is None
        return not self._expiry.is_back(until_ms)

    def _expire(self, until_ms: int) -> None:
        if self._expiry is not None and self._expiry.is_due(until_ms):
            expired = np.array(self._expiry.expire(until_ms), dtype=np.int64)
            self._changes += self.faces._core.remove_keys(expired)

    def _apply(self, connection: sqlite3.Connection, folder: Path, library: LibraryRow) -> None:
        if library.next_ordinal > len(self._hashes):
            more = np.zeros(library.next_ordinal + library.next_ordinal // 8, dtype=np.uint64)
            more[: len(self._hashes)] = self._hashes
            self._hashes = more
        gone = read_tombstones(connection, library.id, self._followed, library.name)
        self._remove(library, np.array(gone, dtype=np.int64), np.uint64(0))
        if self._expiry is not None:
            self._expiry.forget(gone)
        for changed in read_changed_assets(connection, folder, library, self._followed):
            self._remove(library, changed.ordinals, changed.hashes)
            self._add(changed)
            if self._expiry is not None:
                self._expiry.note(changed.ordinals, changed.added_ms)

    def _remove(
        self,
        library: LibraryRow,
        ordinals: NDArray[np.int64],
        hashes: NDArray[np.uint64] | np.uint64,
    ) -> None:
        """Take assets out; `hashes` are those of what takes their place."""
        if not len(ordinals):
            return
        if ordinals.min() < 0 or ordinals.max() >= library.next_ordinal:
            raise _corrupt(library, "a row has a number that was never given")
        before = self._hashes[ordinals]
        self._changes += self.faces._core.remove_keys(ordinals[before != 0])
        self._hashes[ordinals] = hashes
        self._digest += int(self._hashes[ordinals].sum()) - int(before.sum())

    def _add(self, changed: ChangedAssets) -> None:
        if not len(changed.codes):
            return
        assets = np.repeat(np.arange(len(changed.media_ids)), changed.face_counts)

        def by_row(values: list[int | str | None]) -> list[int | str | None]:
            return [values[asset] for asset in assets]

        columns = changed.columns
        self._changes += self.faces._core.add_codes(
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


class _Unlike(Exception):
    """An index is not what the catalog describes."""


def _corrupt(library: LibraryRow, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: {what}; other libraries of the store are not affected",
        library=library.name,
    )


def _read_notes(notes: bytes) -> tuple[NDArray[np.uint64], Expiry | None]:
    """Read hashes and times.

    Raises
    ------
    SnapshotDamaged
        They do not belong together.
    """
    rest = notes[_NOTES.size + _SIZE.size :]
    if len(notes) < _NOTES.size + _SIZE.size:
        raise SnapshotDamaged("a saved index says nothing of the catalog")
    (count,) = _SIZE.unpack_from(notes, _NOTES.size)
    hashes, times = rest[: count * 8], rest[count * 8 :]
    if len(hashes) != count * 8:
        raise SnapshotDamaged("a saved index has fewer hashes than it says")
    try:
        expiry = Expiry.from_bytes(times) if times else None
    except ValueError as error:
        raise SnapshotDamaged(f"a saved index: {error}") from error
    return np.frombuffer(hashes, dtype=np.uint64), expiry


def _identity(descriptor: int) -> tuple[int, ...]:
    """Name a file, so that it is not read again once it was found to be damaged."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_mtime_ns


class Indexes:
    """The indexes of a store that were searched so far, by library incarnation. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._by_library: dict[int, LibraryIndex] = {}
        self._loading = threading.Lock()
        self._refused: set[tuple[int, ...]] = set()  # saved indexes that are damaged

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
            if index.is_worth_saving(library):
                self._save(library, index, timeout_s=0.0)
            return found

    def forget(self, library_id: int) -> None:
        """Free an index; searches under way keep theirs."""
        with self._mutex:
            self._by_library.pop(library_id, None)

    def hold(self, library: LibraryRow) -> None:
        """Have an index whole in memory before its file is overwritten, if it has a file.

        It is saved anew with the next search, or when the engine is closed.
        """
        if self._store.caches.find(library) is None:
            return
        with contextlib.suppress(FacegrepError):
            _, index = self._followed(library.account, library.name)
            if index is not None:
                with index.searching():
                    index.faces._core.bring_codes()

    def save_all(self) -> None:
        """Save what changed much since it was last saved, for the next process; called at closing.

        Also the indexes of libraries that this store added much to, and that nobody searched.
        """
        with contextlib.suppress(FacegrepError):
            self._store.catalog.require_open()
            if self._store.readonly:
                return
            with self._mutex:
                changed = {*self._by_library, *self._store.faces_added}
            for library_id in changed:
                with contextlib.suppress(FacegrepError):
                    self._save_at_closing(library_id)

    def _save_at_closing(self, library_id: int) -> None:
        with self._store.catalog.read() as connection:
            library = library_by_id(connection, library_id)
        if library is None or not self._may_be_worth_saving(library):
            return
        now, index = self._followed(library.account, library.name)
        if index is not None and index.is_worth_saving(now):
            self._save(now, index, timeout_s=CLOSE_TIMEOUT_S)

    def _may_be_worth_saving(self, library: LibraryRow) -> bool:
        added = self._store.faces_added[library.id]
        with self._mutex:
            index = self._by_library.get(library.id)
        if index is None:
            return added >= max(MIN_CHANGES, MIN_SHARE * library.face_count)
        return index.is_worth_saving(library, added)

    def _save(self, library: LibraryRow, index: LibraryIndex, *, timeout_s: float) -> None:
        """Save an index, if that is possible now; if not, a later search will."""
        if self._store.readonly:
            return
        with index.searching():
            if index.seq != library.seq or not index.is_worth_saving(
                library
            ):  # another thread was first
                return
            try:
                self._store.caches.publish(library, index.save, timeout_s=timeout_s)
            except StoreBusy:  # another time
                pass
            except (StoreError, SnapshotDamaged):
                # The disk is full, or the file that it came from lacks codes that no search has
                # wanted yet: not before much more has changed.
                index.is_saved(max(library.seq, library.erased_seq))

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
            with self._store.caches.reading(library) as file, contextlib.suppress(OSError):
                if file is not None and _identity(file[1]) not in self._refused:
                    try:
                        index.load(library, *file)
                    except SnapshotDamaged:
                        self._refused.add(_identity(file[1]))
            with self._mutex:
                self._by_library[library.id] = index

    def _refuse(self, library_id: int, index: LibraryIndex) -> None:
        """Let go of an index whose file is damaged, was overwritten, or is of another catalog."""
        with self._mutex:
            if index.file is not None:
                self._refused.add(index.file)
            if self._by_library.get(library_id) is index:
                del self._by_library[library_id]
