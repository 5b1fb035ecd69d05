"""A copy of a store in another directory, itself a store, while writers work.

The catalog's copy is one snapshot. Vectors are copied after it, each segment as far as that says:
whatever is appended later lies beyond. An erasure or compaction may change or remove a file before
it was copied; its block then fails the checksum in the copied catalog, and all begins anew, the
fourth time with writers kept off. The catalog gets its name last: a copy that was cut off is no
store.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from facegrep._errors import StoreCorrupt, StoreError
from facegrep.store._acknowledged import AcknowledgedFile, Acknowledgement
from facegrep.store._audit import append_entry, read_head
from facegrep.store._clock import now_ms
from facegrep.store._connections import connect, store_error
from facegrep.store._core import CATALOG_FILE, SESSION_FILE
from facegrep.store._filesystem import (
    FILE_MODE,
    make_directory,
    raise_store_error,
    refuse_network_filesystem,
    sync_directory,
)
from facegrep.store._holdings import tables_of
from facegrep.store._libraries import library_by_id, library_ids
from facegrep.store._segment_rows import list_segments, read_blocks
from facegrep.store._segments import open_segment_file, read_block
from facegrep.store._store_row import read_store
from facegrep.store._verify import Findings, VerifyOperations

if TYPE_CHECKING:
    from pathlib import Path

    from facegrep.store._database import Database
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds.

    Attributes
    ----------
    seq, time_ms
        The last commit in it, and when its snapshot was taken.
    libraries, media_count, face_count
        Of all accounts.
    vector_bytes, file_bytes
        Committed bytes of vectors, and the size of all files.
    audit_head
        The hash of the newest entry of its audit.
    """

    seq: int
    time_ms: int
    libraries: int
    media_count: int
    face_count: int
    vector_bytes: int
    file_bytes: int
    audit_head: str


class BackupOperations(VerifyOperations):
    """The Store's copy of itself."""

    def backup(self, target: Path, *, account: str, actor: str | None = None) -> Copied:
        """Copy everything but frozen answers to an empty directory, and verify the copy.

        Raises
        ------
        StoreCorrupt
            This store is damaged, or the copy is; a damaged store is not copied.
        StoreFull, StoreError
            The copy cannot be written; what was written of it is removed.
        """
        try:
            refuse_network_filesystem(target if target.exists() else target.parent)
            made = not target.exists()
            make_directory(target)
            try:
                copied = self._copy(target)
                if not self.readonly:
                    self._note_backup(copied, account, actor)
            except BaseException:
                _remove(target, directory=made)
                raise
        except OSError as error:
            raise_store_error(error, f"writing the backup {target}", "the store is as it was")
        except sqlite3.Error as error:
            raise store_error(error, target, "the store is as it was") from error
        return copied

    def _note_backup(self, copied: Copied, account: str, actor: str | None) -> None:
        with self.catalog.write() as transaction:
            _ = transaction.seq
            append_entry(
                transaction.connection,
                time_ms=now_ms(),
                action="backup",
                actor=actor,
                account=account,
                media_count=copied.media_count,
                face_count=copied.face_count,
                details={"seq": copied.seq},
            )

    def _copy(self, target: Path) -> Copied:
        for attempt in range(_ATTEMPTS + 1):
            try:
                with self._held_off() if attempt == _ATTEMPTS else nullcontext():
                    return self._copy_once(target)
            except _Moved:
                _remove(target, directory=False)
        raise StoreError(
            f"the backup {target} could not be finished: erasures and compactions went on all the "
            "time and could not be kept off; try again"
        )

    def _copy_once(self, target: Path) -> Copied:
        unfinished, vectors = target / "tmp", target / "v"
        for folder in (unfinished, vectors):
            make_directory(folder)
        time_ms = now_ms()
        session = _copy_database(self.session, unfinished / SESSION_FILE)
        catalog = _copy_database(self.catalog, unfinished / CATALOG_FILE)
        counts = _Counts()
        # As a writer: one that only reads leaves a log behind.
        with contextlib.closing(connect(unfinished / CATALOG_FILE, writing=True)) as connection:
            for id_ in sorted(library_ids(connection)):
                library = library_by_id(connection, id_)
                if library is not None:
                    counts.add(library)
                    for segment in list_segments(connection, library):
                        counts.vector_bytes += segment.committed_bytes
                        self._copy_segment(connection, library, segment, vectors)
        sync_directory(vectors)
        for name, acknowledged in ((SESSION_FILE, session), (CATALOG_FILE, catalog)):
            side = AcknowledgedFile(target / name)
            side.create()
            side.write(acknowledged)
            side.close()
            (unfinished / name).rename(target / name)
            sync_directory(target)
        _require_whole(_verify_copy(type(self), target), target)
        files = [path for path in target.rglob("*") if path.is_file()]
        return Copied(
            seq=catalog.seq,
            time_ms=time_ms,
            libraries=counts.libraries,
            media_count=counts.media,
            face_count=counts.faces,
            vector_bytes=counts.vector_bytes,
            file_bytes=sum(path.stat().st_size for path in files),
            audit_head=catalog.audit_head.hex(),
        )

    def _copy_segment(
        self, connection: sqlite3.Connection, library: LibraryRow, segment: Segment, folder: Path
    ) -> None:
        count = -(-segment.committed_bytes // segment.block_bytes)
        blocks = read_blocks(connection, segment, 0, count)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        copy = os.open(folder / segment.file_name, flags, FILE_MODE)
        try:
            with os.fdopen(copy, "wb", closefd=False) as file:
                file.write(segment.header())
                with open_segment_file(self.vectors.folder, segment) as descriptor:
                    for number in range(count):
                        block = read_block(descriptor, segment, number, blocks.get(number))
                        file.write(block.data)
            os.fsync(copy)
        except StoreCorrupt as error:
            with self.catalog.read() as now:
                current = library_by_id(now, library.id)
            if current is None or current.erased_seq != library.erased_seq:
                raise _Moved from error
            raise
        finally:
            os.close(copy)


class _Moved(Exception):
    """Vectors were overwritten or moved before they were copied."""


@dataclass(slots=True)
class _Counts:
    libraries: int = 0
    media: int = 0
    faces: int = 0
    vector_bytes: int = 0

    def add(self, library: LibraryRow) -> None:
        self.libraries += 1
        self.media += library.media_count
        self.faces += library.face_count


def _copy_database(database: Database, path: Path) -> Acknowledgement:
    """Copy one, without the rows of tables that are left out."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
    database.copy_to(path)
    # As a writer: that makes it a database with a log, which readers of a store expect.
    with contextlib.closing(connect(path, writing=True)) as copy:
        copy.execute("PRAGMA temp_store = MEMORY")
        for table in tables_of(path.name):
            if table.backup == "left out":
                copy.execute(f"DELETE FROM {table.name}")
                copy.execute("VACUUM")
        acknowledged = Acknowledgement(read_store(copy).seq, read_head(copy))
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return acknowledged


def _verify_copy(kind: type[BackupOperations], target: Path) -> Findings:
    copy = kind(target, readonly=True)
    try:
        return copy.verify()
    finally:
        copy.catalog.close()
        copy.session.close()


def _require_whole(found: Findings, target: Path) -> None:
    for damage in found.damages:
        raise StoreCorrupt(
            f"the backup {target} is damaged: {damage.file}: {damage.what}; it was removed",
            library=damage.library,
        )


def _remove(target: Path, *, directory: bool) -> None:
    # First what makes it a store: a removal may be cut off, too.
    (target / CATALOG_FILE).unlink(missing_ok=True)
    for path in target.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if directory:
        target.rmdir()
