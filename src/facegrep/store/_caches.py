"""Saved face indexes: files that spare the next process the reading of all rows and vectors.

Nothing depends on one: it is checked where it is read, and made anew from the catalog and the
segments. What it holds must go when they do, so its name says whose it is and up to which commit::

    cache/<library>-<generation>-<seq>.idx

One lock is held while a file is made, from the look at the catalog that says that nothing in it was
erased, and while outdated ones are overwritten, which begins when what was erased is committed. So
none is left, finished or not, that holds what was erased. It is a lock of its own: ten million
faces take seconds to write, and no writer waits for that. Before a file is let go it is
overwritten; a process that is still reading it finds zeros, which fail their checksums, and makes
its index from what is there now.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from facegrep._errors import NotFoundError, StoreBusy, StoreCorrupt, StoreError
from facegrep.store._filesystem import FILE_MODE, raise_store_error, sync_directory
from facegrep.store._libraries import library_by_id, same_library
from facegrep.store._segments import wipe_segment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facegrep.store._database import Database
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._lock import FileLock

# As they are written: one number, one name; and all of them fit SQLite's integers.
_NUMBER: Final = r"(0|[1-9][0-9]{0,17})"
_NAME: Final = re.compile(rf"{_NUMBER}-{_NUMBER}-{_NUMBER}\.idx")

FileIdentity: TypeAlias = tuple[int, int, int]
"""Device, inode and time of change: names a file, so that one known to be damaged is left alone."""


class CacheName(NamedTuple):
    """What a file's name says: whose it is, and up to which commit."""

    library_id: int
    generation: int
    seq: int

    def __str__(self) -> str:
        return f"{self.library_id}-{self.generation}-{self.seq}.idx"


class SavedIndex(NamedTuple):
    """A file that is there."""

    name: CacheName
    identity: FileIdentity


class Caches:
    """The saved indexes of a store. Thread-safe."""

    def __init__(self, folder: Path, unfinished: Path, catalog: Database, lock: FileLock) -> None:
        self.folder = folder
        self._unfinished = unfinished
        self._catalog = catalog
        self._lock = lock

    def find(self, library: LibraryRow) -> SavedIndex | None:
        """Find the newest of a library's generation; ``None`` also if none can be looked for."""
        with contextlib.suppress(StoreError, OSError):
            if (name := self._newest(library)) is not None:
                path = self.folder / str(name)
                return SavedIndex(name, _identity(path.stat(follow_symlinks=False)))
        return None

    @contextlib.contextmanager
    def reading(self, library: LibraryRow) -> Iterator[tuple[SavedIndex, int] | None]:
        """Open the newest of a library's, for as long as the block runs: which, and descriptor."""
        # Not to wait for the other end of a pipe of that name.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            try:
                name = self._newest(library)
                if name is None:
                    break
                descriptor = os.open(self.folder / str(name), flags)
            except FileNotFoundError:  # a newer one took its place
                continue
            except (StoreError, OSError):  # not ours to read
                break
            try:
                yield SavedIndex(name, _identity(os.fstat(descriptor))), descriptor
            finally:
                os.close(descriptor)
            return
        yield None

    def publish(
        self, library: LibraryRow, write: Callable[[CacheName, int], None], *, timeout_s: float
    ) -> bool:
        """Save the index of a library as it is at ``library.seq``, in place of older ones.

        Parameters
        ----------
        library
            The row that the index followed.
        write
            Writes the index, under this name, to a descriptor.
        timeout_s
            How long others who save or overwrite one are waited for.

        Returns
        -------
        published
            Not if the library is another now, or something was erased from it since.

        Raises
        ------
        StoreBusy
            Somebody else is saving one.
        StoreError
            The disk failed, or is full.
        """
        with self._lock.held(timeout_s):
            name = self._name_of(library)
            if name is None:
                return False
            try:
                for left in self._left_unfinished():
                    wipe_segment(left)
                self._write(name, lambda descriptor: write(name, descriptor))
                for old in self._names():
                    if old.library_id == name.library_id and old != name:
                        wipe_segment(self.folder / str(old))
            except OSError as error:
                raise_store_error(error, f"saving {name}", "the store is as it was")
        return True

    def wipe_outdated(self, *, timeout_s: float | None = None) -> None:
        """Overwrite and remove every file that may hold what must not be found any more.

        Those from before their library's vectors were last overwritten or moved, of another
        generation, of libraries that are gone, from after the catalog's end (it was put back), and
        what a process that died was making. Whoever overwrites vectors calls this afterwards, after
        the commit and before anybody is told; so does recovery.

        Raises
        ------
        StoreError
            The lock cannot be had, or a file not be overwritten.
        """
        after = "what it holds is in no answer any more; opening the store again retries"
        try:
            # Even where there is none: one may be in the making.
            with self._lock.held(self._catalog.lock_timeout_s if timeout_s is None else timeout_s):
                try:
                    for left in self._left_unfinished():
                        wipe_segment(left)
                    for name in self._outdated():
                        wipe_segment(self.folder / str(name))
                except OSError as error:
                    raise_store_error(error, "overwriting a saved index", after)
        except StoreBusy as error:
            raise StoreBusy(
                f"a face index is being saved, and may not be overwritten: {after}"
            ) from error

    def recover(self) -> None:
        """Do what a process that died left to `wipe_outdated`, unless that must wait."""
        with contextlib.suppress(StoreError, OSError):
            if self._left_unfinished() or self._outdated():
                self.wipe_outdated(timeout_s=0.0)

    def _name_of(self, library: LibraryRow) -> CacheName | None:
        """Name the index of a library that was like this, unless it may hold what was erased."""
        try:
            with self._catalog.read() as connection:
                now = same_library(connection, library)
        except NotFoundError:
            return None
        if now.generation != library.generation:
            return None
        # Compaction moves vectors, but changes no asset: an index is as new as that, too.
        if now.seq == library.seq:
            return CacheName(now.id, now.generation, max(now.seq, now.erased_seq))
        up_to = max(library.seq, library.erased_seq)
        return CacheName(now.id, now.generation, up_to) if now.erased_seq <= up_to else None

    def _newest(self, library: LibraryRow) -> CacheName | None:
        own = [name for name in self._names() if name[:2] == (library.id, library.generation)]
        return max(own, default=None)

    def _outdated(self) -> list[CacheName]:
        names = self._names()
        if not names:
            return []
        with self._catalog.read() as connection:
            return [name for name in names if _is_outdated(connection, name)]

    def _names(self) -> list[CacheName]:
        try:
            files = os.listdir(self.folder)  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return []
        except OSError as error:
            raise_store_error(
                error,
                "looking for saved indexes",
                "what was committed is durable; opening the store again retries to remove them",
            )
        found = map(_NAME.fullmatch, files)
        return [CacheName(*map(int, match.groups())) for match in found if match is not None]

    def _left_unfinished(self) -> list[Path]:
        """List what is being made; while the lock is held, by nobody any more."""
        return [path for path in self._unfinished.iterdir() if is_saved_index(path.name)]

    def _write(self, name: CacheName, write: Callable[[int], None]) -> None:
        unfinished = self._unfinished / str(name)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(unfinished, flags, FILE_MODE)
        try:
            try:
                write(descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            wipe_segment(self.folder / str(name))  # damaged, or it would not be made again
            unfinished.rename(self.folder / str(name))
        except BaseException:
            wipe_segment(unfinished)
            raise
        sync_directory(self.folder)


def _is_outdated(connection: sqlite3.Connection, name: CacheName) -> bool:
    try:
        library = library_by_id(connection, name.library_id)
    except StoreCorrupt:  # nobody knows, and nothing is lost with the file
        return True
    if library is None:
        return True
    newest = max(library.seq, library.erased_seq)
    return name.generation != library.generation or not library.erased_seq <= name.seq <= newest


def is_saved_index(name: str) -> bool:
    """Whether a file of this name is one."""
    return _NAME.fullmatch(name) is not None


def _identity(status: os.stat_result) -> FileIdentity:
    return status.st_dev, status.st_ino, status.st_mtime_ns
