"""One writer at a time, among threads and among processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from facegrep._errors import StoreBusy
from facegrep.store._filesystem import FILE_MODE, raise_store_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL_S = 0.002


class FileLock:
    """A mutex for the threads of a process, and flock(2) on a file for its processes.

    The kernel frees it when the process dies. It is never taken on a file of SQLite's: closing
    any descriptor of such a file would drop the process's own locks on it.

    Parameters
    ----------
    refused
        What an error says of the store where the lock cannot be had.
    """

    def __init__(self, path: Path, *, refused: str = "nothing was written") -> None:
        self._path = path
        self._refused = refused
        self.mutex = threading.Lock()
        self._descriptor: int | None = None
        _LOCKS.add(self)

    @contextlib.contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock.

        Raises
        ------
        StoreBusy
            Somebody else held it until the timeout.
        """
        started = time.monotonic()
        if not self.mutex.acquire(timeout=timeout_s):
            raise self._busy(timeout_s)
        try:
            with self.held_among_processes(timeout_s - (time.monotonic() - started)):
                yield
        finally:
            self.mutex.release()

    @contextlib.contextmanager
    def held_among_processes(self, timeout_s: float) -> Iterator[None]:
        """Hold the file's lock; the caller holds `mutex`."""
        self._descriptor = self._lock_file(timeout_s)
        try:
            yield
        finally:
            # Explicitly: a child forked meanwhile shares the lock, and close alone would leave it
            # held until the child ends.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def forget_in_child(self) -> None:
        """After a fork, in the child: drop its share of the lock that the parent may hold."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock_file(self, timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                descriptor = os.open(
                    self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE
                )
            except OSError as error:
                raise_store_error(error, f"opening {self._path.name}", self._refused)
            try:
                while not _try_lock(descriptor):
                    if time.monotonic() >= deadline:
                        raise self._busy(timeout_s)
                    time.sleep(_POLL_S)
                if self._is_the_file(descriptor):
                    return descriptor
            except OSError as error:
                os.close(descriptor)
                raise_store_error(error, f"locking {self._path.name}", self._refused)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_the_file(self, descriptor: int) -> bool:
        """Whether the locked file is still the one of that name, not one removed meanwhile."""
        try:
            named = os.stat(self._path, follow_symlinks=False)  # noqa: PTH116 - as os.fstat below
        except FileNotFoundError:
            return False
        held = os.fstat(descriptor)
        return (named.st_ino, named.st_dev) == (held.st_ino, held.st_dev)

    def _busy(self, timeout_s: float) -> StoreBusy:
        return StoreBusy(
            f"another writer held {self._path.name} for {timeout_s:g} s; {self._refused}, try again"
        )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_LOCKS: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_all_in_child() -> None:
    for lock in _LOCKS:
        lock.forget_in_child()


os.register_at_fork(after_in_child=_forget_all_in_child)
