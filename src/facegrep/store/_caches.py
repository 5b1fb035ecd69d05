"""Saved face indexes: files that spare the next process the reading of all rows and vectors.

Nothing depends on one: it is checked where it is read, and made anew from the catalog and the
segments. What it holds must go when they do, so its name says whose it is and up to which commit::

    cache/<library>-<generation>-<seq>.idx

Only the holder of the writer's lock makes one, and only of the newest commit: so none can appear
that holds what was erased. Before a file is let go it is overwritten; a process that is still
reading it finds zeros, which fail their checksums, and makes its index from what is there now.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from facegrep._errors import NotFoundError, StoreCorrupt, StoreError
from facegrep.store._filesystem import FILE_MODE, raise_store_error, sync_directory
from facegrep.store._libraries import library_by_id, same_library
from facegrep.store._segments import wipe_segment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facegrep.store._database import Database
    from facegrep.store._libraries import LibraryRow

_NAME: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})-([0-9]{1,19})\.idx")


class CacheName(NamedTuple):
    """What a file's name says: whose it is, and up to which commit."""

    library_id: int
    generation: int
    seq: int

    def __str__(self) -> str:
        return f"{self.library_id}-{self.generation}-{self.seq}.idx"


class Caches:
    """The saved indexes of a store. Thread-safe."""

    def __init__(self, folder: Path, unfinished: Path, catalog: Database) -> None:
        self.folder = folder
        self._unfinished = unfinished
        self._catalog = catalog

    def find(self, library: LibraryRow) -> CacheName | None:
        """Find the newest of a library's generation; ``None`` also if none can be looked for."""
        with contextlib.suppress(StoreError):
            own = [name for name in self._names() if name[:2] == (library.id, library.generation)]
            return max(own, default=None)
        return None

    @contextlib.contextmanager
    def reading(self, library: LibraryRow) -> Iterator[tuple[CacheName, int] | None]:
        """Open the newest of a library's, for as long as the block runs: name and descriptor."""
        while True:
            name = None
            with contextlib.suppress(StoreError):
                name = self.find(library)
            if name is None:
                yield None
                return
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                descriptor = os.open(self.folder / str(name), flags)
            except FileNotFoundError:  # a newer one took its place
                continue
            except OSError:  # not ours to read
                yield None
                return
            break
        try:
            yield name, descriptor
        finally:
            os.close(descriptor)

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
            How long the writer's lock is waited for.

        Returns
        -------
        published
            Not if the library has changed since.

        Raises
        ------
        StoreBusy
            Somebody else is writing.
        StoreError
            The disk failed, or is full.
        """
        with self._catalog.locked(timeout_s):
            try:
                with self._catalog.read() as connection:
                    now = same_library(connection, library)
            except NotFoundError:
                return False
            if (now.generation, now.seq) != (library.generation, library.seq):
                return False
            # Compaction moves vectors, but changes no asset: so the index is as new as that, too.
            name = CacheName(now.id, now.generation, max(now.seq, now.erased_seq))
            try:
                self._write(name, lambda descriptor: write(name, descriptor))
                for old in self._names():
                    if old.library_id == name.library_id and old != name:
                        wipe_segment(self.folder / str(old))
            except OSError as error:
                raise_store_error(error, f"saving {name}", "the store is as it was")
        return True

    def wipe_outdated(self) -> None:
        """Overwrite and remove every file that may hold what must not be found any more.

        Those from before their library's vectors were last overwritten or moved, of another
        generation, of libraries that are gone. Whoever overwrites vectors calls this afterwards,
        after the commit and before anybody is told; so does recovery.

        Raises
        ------
        StoreError
            The lock cannot be had, or a file not be overwritten.
        """
        if not self._names():
            return
        with self._catalog.locked():
            try:
                for name in self._outdated():
                    wipe_segment(self.folder / str(name))
            except OSError as error:
                raise_store_error(
                    error,
                    "overwriting a saved index",
                    "what it holds is in no answer any more; opening the store again retries",
                )

    def recover(self) -> None:
        """Do what a process that died left to `wipe_outdated`, unless that must wait."""
        with contextlib.suppress(StoreError):
            if self._outdated():
                self.wipe_outdated()

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

    def _write(self, name: CacheName, write: Callable[[int], None]) -> None:
        unfinished = self._unfinished / str(name)
        wipe_segment(unfinished)  # of a writer that died
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
    return name.generation != library.generation or name.seq < library.erased_seq
