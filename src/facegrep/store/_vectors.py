"""The vectors of all libraries: appended inside a transaction, overwritten after one."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep._errors import StoreBusy, StoreCorrupt, StoreError
from facegrep.store import _segment_rows
from facegrep.store._assets import Slots
from facegrep.store._caches import is_saved_index
from facegrep.store._fetched import is_fetched, is_wanted
from facegrep.store._filesystem import raise_store_error
from facegrep.store._segments import (
    CAPACITY_BYTES,
    append_codes,
    create_segment,
    wipe_segment,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from facegrep.store._assets import Faces
    from facegrep.store._database import Database, Transaction
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment

_SEGMENT_NAME: Final = re.compile(r"[0-9]+-[0-9]+-[0-9]+\.vec")


class Vectors:
    """The segment files of a store, and the catalog that says how far each counts."""

    def __init__(self, folder: Path, catalog: Database) -> None:
        self.folder = folder
        self.unfinished = folder.with_name("tmp")
        self._catalog = catalog
        self._poisoned: set[int] = set()

    @contextlib.contextmanager
    def appending(self) -> Iterator[Transaction]:
        """Write, and poison the segment whose append failed: what its pages hold is unknown.

        A failed fsync marks the pages clean, so a second one would lie.
        """
        try:
            with self._catalog.write() as transaction:
                yield transaction
        except _AppendFailed as failure:
            segment = failure.segment
            if segment.committed_bytes:
                self._poisoned.add(segment.id)
                # So that other processes do not append there either. In this one the set is
                # enough; the disk may well be too full for this.
                with contextlib.suppress(StoreError), self._catalog.write() as transaction:
                    _ = transaction.seq
                    _segment_rows.seal_segment(transaction.connection, segment)
            raise_store_error(
                failure.cause,
                f"writing vectors of library {segment.library_name!r}",
                "nothing of this batch was stored, all that was acknowledged before is unchanged",
            )

    def append(
        self, connection: sqlite3.Connection, library: LibraryRow, faces: Sequence[Faces | None]
    ) -> list[Slots | None]:
        """Make codes durable, and enter their length and checksums; inside `appending`.

        Returns
        -------
        slots
            Where the codes of each begin; ``None`` for those without any.
        """
        parts = [some.codes for some in faces if some is not None and len(some.codes)]
        if not parts:
            return [None] * len(faces)
        segment_id, slot = self.append_codes(connection, library, np.concatenate(parts))
        slots: list[Slots | None] = []
        for some in faces:
            count = 0 if some is None else len(some.codes)
            slots.append(Slots(segment_id, slot) if count else None)
            slot += count
        return slots

    def append_codes(
        self, connection: sqlite3.Connection, library: LibraryRow, codes: NDArray[np.int8]
    ) -> Slots:
        """Make codes durable, as `append` does; returns where they begin."""
        codes = np.ascontiguousarray(codes)
        segment = _segment_rows.open_segment(connection, library)
        if segment is not None and (
            segment.id in self._poisoned or segment.committed_bytes + codes.nbytes > CAPACITY_BYTES
        ):
            _segment_rows.seal_segment(connection, segment)
            segment = None
        is_new = segment is None
        if segment is None:
            segment = _segment_rows.new_segment(connection, library)
        try:
            if is_new:
                create_segment(self.folder, segment)
            append_codes(self.folder, segment, codes)
        except OSError as error:
            raise _AppendFailed(segment, error) from error
        _segment_rows.extend_segment(connection, segment, codes)
        return Slots(segment.id, segment.committed_bytes // segment.dim)

    def forget(self, transaction: Transaction, library: LibraryRow) -> None:
        """Take a library's segments out of the catalog; once that is durable, overwrite them."""
        files = [s.file_name for s in _segment_rows.list_segments(transaction.connection, library)]

        def wipe() -> None:
            try:
                for name in files:
                    wipe_segment(self.folder / name)
            except OSError as error:
                raise_store_error(
                    error,
                    f"overwriting vectors of library {library.name!r}",
                    "they are no longer found; opening the store again retries to overwrite them",
                )

        _segment_rows.delete_segments(transaction.connection, library)
        transaction.after_commit.append(wipe)

    def has_files(self) -> bool:
        """Whether there are segment files, named by the catalog or not."""
        names = (path.name for path in self.folder.iterdir()) if self.folder.exists() else ()
        return any(_SEGMENT_NAME.fullmatch(name) for name in names)

    def recover(self) -> None:
        """Overwrite and remove what a writer that died left: files the catalog does not name."""
        # Busy: a writer is at work, and an orphan may be its newest segment. Later is soon enough.
        with contextlib.suppress(StoreBusy, StoreCorrupt):
            if self._orphans():
                self.wipe_orphans()

    def wipe_orphans(self) -> None:
        """Overwrite and remove files that the catalog does not name.

        Whoever erases calls this: a process that died may have been copying what is erased now.

        Raises
        ------
        StoreError
            The lock cannot be had, or a file not be overwritten.
        """
        with self._catalog.locked():
            try:
                for path in self._orphans():
                    wipe_segment(path)
            except OSError as error:
                raise_store_error(
                    error,
                    "overwriting what a writer that died left",
                    "it is in no answer; opening the store again retries",
                )

    def _orphans(self) -> list[Path]:
        unfinished, fetched = [], []
        for path in self.unfinished.iterdir():
            if is_fetched(path.name):
                fetched.append(path)
            elif not is_saved_index(path.name):  # which are not made under the writer's lock
                unfinished.append(path)
        try:
            with self._catalog.read() as connection:
                named = _segment_rows.named_segment_files(connection)
                unfinished += [path for path in fetched if not is_wanted(connection, path.name)]
        except StoreCorrupt:  # then nobody knows which segments are nobody's
            return unfinished
        segments = [
            path
            for path in self.folder.iterdir()
            if _SEGMENT_NAME.fullmatch(path.name) and path.name not in named
        ]
        return [*segments, *unfinished]


class _AppendFailed(Exception):
    """An append did not become durable."""

    def __init__(self, segment: Segment, cause: OSError) -> None:
        super().__init__(str(cause))
        self.segment = segment
        self.cause = cause
