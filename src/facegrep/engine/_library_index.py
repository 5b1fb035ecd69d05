"""A library's faces in memory, following the catalog."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep import _core
from facegrep._errors import InvalidArgumentError, SnapshotDamaged, StoreCorrupt
from facegrep._index import FaceIndex
from facegrep.engine._expiry import Expiry
from facegrep.engine._recognised import RecognisedAssets
from facegrep.engine._turns import ReadersOrWriter
from facegrep.store import now_ms, read_changed_assets, read_tombstones, require_numbers

if TYPE_CHECKING:
    import contextlib
    import sqlite3
    from pathlib import Path

    from numpy.typing import NDArray

    from facegrep.store import CacheName, ChangedAssets, FileIdentity, LibraryRow

MIN_CHANGES: Final = 16_384
"""Faces: so many are read from the catalog in some 75 ms. What fewer take need not be saved."""

MIN_SHARE: Final = 1 / 8
"""Of a library's faces: what must have changed since its index was saved for another to be."""

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
        self.saved_seq = 0
        """Up to where the newest file goes that it came from, became, or was compared with."""
        self.changes = 0
        """Faces that came and assets that went since then."""
        self.outlived_seq = 0
        """Files up to this commit are of no use: they lack assets that are back, or their times."""
        self.file: FileIdentity | None = None
        """The file that it came from."""
        self.recognised = RecognisedAssets()
        """Where people are recognised, as of `seq`."""
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
        self.is_saved(0)
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
        _require_known(core.keys([]), hashes, self._expiry)
        self.faces = FaceIndex._of(core)
        self._hashes = hashes.copy()
        self._digest = int(self._hashes.sum())
        self._followed = self.saved_seq = name.seq
        self._is_unproven = True

    def save(self, name: CacheName, descriptor: int) -> None:
        """Write it to a file; nobody may change it meanwhile."""
        times = b"" if self._expiry is None else self._expiry.to_bytes()
        size = _SIZE.pack(len(self._hashes))
        notes = _NOTES.pack(*name) + size + self._hashes.tobytes() + times
        self.faces._core.save(descriptor, notes)
        self.is_saved(name.seq)

    def is_saved(self, seq: int, changes: int = 0) -> None:
        """Note that a file has it as of this commit, and how much changed since."""
        self.saved_seq = seq
        self.changes = changes

    def may_be_worth_saving(self, library: LibraryRow, added: int = 0) -> bool:
        """Whether to look at the files; `added` faces are not in it yet."""
        # A file from before vectors were last overwritten or moved may be gone.
        may_be_gone = self.saved_seq < library.erased_seq
        faces = len(self.faces)
        return is_worth_saving(added + (faces if may_be_gone else self.changes), faces)

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
                self.outlived_seq = max(library.seq, library.erased_seq)
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
            self.changes += self.faces._core.remove_keys(expired)

    def _apply(self, connection: sqlite3.Connection, folder: Path, library: LibraryRow) -> None:
        if library.next_ordinal > len(self._hashes):
            require_numbers(connection, library)
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
        self.changes += self.faces._core.remove_keys(ordinals[before != 0])
        self._hashes[ordinals] = hashes
        self._digest += int(self._hashes[ordinals].sum()) - int(before.sum())

    def _add(self, changed: ChangedAssets) -> None:
        if not len(changed.codes):
            return
        assets = np.repeat(np.arange(len(changed.media_ids)), changed.face_counts)

        def by_row(values: list[int | str | None]) -> list[int | str | None]:
            return [values[asset] for asset in assets]

        columns = changed.columns
        self.changes += self.faces._core.add_codes(
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


def is_worth_saving(changes: int, faces: int) -> bool:
    """Whether the next process would save much by an index of so many faces."""
    return changes >= max(MIN_CHANGES, MIN_SHARE * faces)


class _Unlike(Exception):
    """An index is not what the catalog describes."""


def _corrupt(library: LibraryRow, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: {what}; other libraries of the store are not affected",
        library=library.name,
    )


def _require_known(
    ordinals: NDArray[np.int64], hashes: NDArray[np.uint64], expiry: Expiry | None
) -> None:
    """Refuse a file whose assets are not, each once, of those that its notes speak of.

    Raises
    ------
    SnapshotDamaged
        Somebody made it up.
    """
    seen = np.zeros(len(hashes), dtype=bool)
    known = not len(ordinals) or (ordinals.min() >= 0 and ordinals.max() < len(hashes))
    if known:
        seen[ordinals] = True
        known = bool(hashes[ordinals].all()) and np.count_nonzero(seen) == len(ordinals)
    if not known or (expiry is not None and not expiry.has_times_of(ordinals)):
        raise SnapshotDamaged("a saved index has other assets than its notes say")


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
