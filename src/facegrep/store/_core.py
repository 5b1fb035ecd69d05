"""What the store's operations share: its databases, its vectors, its clock."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from facegrep._errors import StoreCorrupt, StoreError
from facegrep.store._access import AccessStore
from facegrep.store._answers import AnswerStore
from facegrep.store._caches import Caches
from facegrep.store._database import Database
from facegrep.store._fetched import FetchedFiles
from facegrep.store._libraries import find_library
from facegrep.store._lock import FileLock
from facegrep.store._memory import MemoryDatabase
from facegrep.store._tables import CATALOG, SESSION
from facegrep.store._vectors import Vectors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facegrep.store._libraries import LibraryRow

_T = TypeVar("_T")

_ATTEMPTS: Final = 3

CATALOG_FILE: Final = "catalog.db"
SESSION_FILE: Final = "session.db"


class StoreCore:
    """An open store.

    Attributes
    ----------
    path
        The directory, absolute.
    catalog
        The database of what is stored.
    session
        The database of what searches write.
    vectors
        The files of the vectors.
    caches
        The saved face indexes.
    faces_added
        How many faces this handle added, by library; what failed counts as well.
    answers
        The frozen answers of searches.
    jobs_lock
        Held by the process that works on analyses that were submitted.
    fetched
        The files of what these fetch.
    access
        Keys of those who may call a server, and the nonces that they used.
    """

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.catalog = Database(
            path / CATALOG_FILE, CATALOG, FileLock(path / "writer.lock"), readonly=readonly
        )
        self.vectors = Vectors(path / "v", self.catalog)
        self.faces_added: Counter[int] = Counter()
        self.caches = Caches(
            path / "cache",
            self.vectors.unfinished,
            self.catalog,
            FileLock(
                path / "cache.lock",  # which is taken after commits
                refused="what was committed is durable, saved indexes are as they were",
            ),
        )
        self.session = Database(
            path / SESSION_FILE, SESSION, FileLock(path / "session.lock"), readonly=readonly
        )
        self.jobs_lock = FileLock(path / "jobs.lock", refused="jobs wait for the next process")
        self.fetched = FetchedFiles(self.vectors.unfinished)
        self.access = AccessStore(self.session)
        self.answers = AnswerStore(MemoryDatabase(SESSION) if readonly else self.session)

    def read_library(
        self, account: str, name: str, read: Callable[[sqlite3.Connection, LibraryRow], _T]
    ) -> _T:
        """Read a library and its vectors in one snapshot.

        Files do not wait for snapshots: when vectors are erased, `read` may find them overwritten.
        That is no damage, and it is called again with what is there now.

        Raises
        ------
        NotFoundError
            The account has none of that name.
        StoreCorrupt
            From `read`, of vectors that nobody erased.
        """
        for attempt in itertools.count():
            # Who erases and compacts all the time would otherwise keep us from ever ending.
            alone = attempt >= _ATTEMPTS
            with self._held_off() if alone else nullcontext(), self.catalog.read() as connection:
                library = find_library(connection, account, name)
                try:
                    return read(connection, library)
                except StoreCorrupt as error:
                    damage = error
            with self.catalog.read() as connection:
                now = find_library(connection, account, name)
            if (now.id, now.erased_seq) == (library.id, library.erased_seq):
                raise damage
        raise AssertionError("unreachable")

    @contextmanager
    def _held_off(self) -> Iterator[None]:
        """Keep writers from writing, where that can be done."""
        with ExitStack() as stack:
            with suppress(StoreError):
                stack.enter_context(self.catalog.locked())
            yield
