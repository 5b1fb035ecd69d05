"""Content that is fetched to be analysed: in a file, for as long as that takes.

Not in the catalog, as what callers hand over is: a video would be in memory whole, and what is
behind a URL can be had again. So nothing is synced, and a crash loses it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from facegrep.store._filesystem import FILE_MODE, raise_store_error
from facegrep.store._segments import wipe_descriptor, wipe_segment

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_NAME: Final = re.compile(r"([0-9]+)-([0-9]+)\.fetched")


class FetchedFile:
    """A file that is written from its beginning on. Used by one thread at a time.

    Attributes
    ----------
    path
        Where it is.
    removed
        Whether somebody else removed it, since its asset is no more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path, flags, FILE_MODE)
        except OSError as error:
            raise_store_error(error, "making a file for what is fetched", _AFTER)
        self._longest = 0

    @property
    def removed(self) -> bool:
        return os.fstat(self._descriptor).st_nlink == 0

    def write(self, data: bytes) -> None:
        """Append; whole, or `StoreError`."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            raise_store_error(error, "keeping what is fetched", _AFTER)

    def restart(self) -> None:
        """Begin anew: what was written so far is overwritten by what comes."""
        try:
            wipe_descriptor(self._descriptor)
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise_store_error(error, "keeping what is fetched", _AFTER)

    def discard(self) -> None:
        """Overwrite, remove and close it.

        Raises
        ------
        StoreError
            It could not be overwritten, and is left for the next `wipe_all`.
        """
        try:
            # By the descriptor: somebody may have removed it, or removes it now.
            wipe_descriptor(self._descriptor)
            if not self.removed:  # else another of that name may be there
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise_store_error(error, "overwriting what was fetched", _AFTER)
        finally:
            os.close(self._descriptor)


class FetchedFiles:
    """Those of a store. Who holds the lock of jobs makes them; others only remove them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, library_id: int, ordinal: int) -> FetchedFile:
        """Make the empty file of an asset.

        Raises
        ------
        StoreError
            The disk does not take it.
        """
        return FetchedFile(self._folder / f"{library_id}-{ordinal}.fetched")

    def wipe_all(self) -> None:
        """Overwrite and remove every one: what a process that died was fetching.

        Raises
        ------
        StoreError
            One cannot be overwritten.
        """
        try:
            for path in self._folder.iterdir():
                if is_fetched(path.name):
                    wipe_segment(path)
        except OSError as error:
            raise_store_error(error, "overwriting what was fetched", _AFTER)


def is_fetched(name: str) -> bool:
    """Whether a file of this name is one."""
    return _NAME.fullmatch(name) is not None


def is_wanted(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the asset of one is still there, and its job Running."""
    found = _NAME.fullmatch(name)
    query = (
        "SELECT EXISTS (SELECT 1 FROM media INDEXED BY media_running"
        " WHERE job_status = 'Running' AND library_id = ? AND ordinal = ?)"
    )
    return found is not None and bool(connection.execute(query, found.groups()).fetchone()[0])


_AFTER: Final = "the job waits, and what it fetched is overwritten before it is fetched again"
