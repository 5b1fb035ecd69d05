"""A store on disk: opened, created, closed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from facegrep._errors import StoreBusy, StoreCorrupt, StoreNotFound
from facegrep.store._accounts import AccountOperations
from facegrep.store._add import AddOperations
from facegrep.store._backup import BackupOperations
from facegrep.store._change import ChangeOperations
from facegrep.store._compact import CompactOperations
from facegrep.store._core import CATALOG_FILE
from facegrep.store._delete import DeleteOperations
from facegrep.store._filesystem import (
    make_directory,
    raise_store_error,
    refuse_network_filesystem,
)
from facegrep.store._holdings import kind_of
from facegrep.store._jobs import JobOperations
from facegrep.store._making import check_database, create_database, is_made, upgrade_database
from facegrep.store._people import PeopleOperations
from facegrep.store._recognition import RecognitionOperations
from facegrep.store._searches import SearchAuditOperations

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path


class Store(
    AccountOperations,
    AddOperations,
    ChangeOperations,
    CompactOperations,
    DeleteOperations,
    JobOperations,
    PeopleOperations,
    RecognitionOperations,
    SearchAuditOperations,
    BackupOperations,
):
    """The directory of a store.

    Libraries, assets and vectors of every account. Thread-safe: reads run side by side, each on a
    connection of its own; writes take turns, among threads and among processes. Every method that
    writes has made durable what it did when it returns, and changed nothing when it raises.
    """

    @staticmethod
    def open(
        path: Path, *, readonly: bool, on_create: Callable[[sqlite3.Connection], None]
    ) -> Store:
        """Open a store; create it if there is none, with what `on_create` enters into it.

        Raises
        ------
        StoreNotFound
            There is none, and `readonly`.
        StoreCorrupt
            The directory holds something else, or a damaged store.
        StoreVersionError
            A newer facegrep made it, or an older one and `readonly`.
        StoreError
            The directory cannot be made, or is on a network.
        """
        try:
            _require_store_or_room(path, readonly=readonly)
            refuse_network_filesystem(path)
            store = Store(path, readonly=readonly)
            try:
                if not readonly:
                    store._create(on_create)
                if not is_made(store.catalog):  # a crash came first, and nobody made it since
                    store._require_no_vectors()
                    raise _no_store(path)
                if not readonly:
                    upgrade_database(store.catalog)
                    upgrade_database(store.session)
                check_database(store.catalog)
                if not readonly:
                    check_database(store.session)
                    store._recover()
            except BaseException:
                store.close()
                raise
        except OSError as error:
            raise_store_error(error, f"opening the store {path}", "it is as it was")
        return store

    def _create(self, on_create: Callable[[sqlite3.Connection], None]) -> None:
        for folder in (self.vectors.folder, self.vectors.unfinished, self.caches.folder):
            make_directory(folder)
        self._require_no_vectors()
        create_database(self.catalog, on_create)
        create_database(self.session, lambda _: None)

    def _require_no_vectors(self) -> None:
        """Refuse to take a store that lost its catalog for none."""
        # In this order: another process may be making the store, its catalog first.
        if self.vectors.has_files() and not is_made(self.catalog):
            raise StoreCorrupt(
                f"{self.path} holds vectors, but its catalog.db is missing or empty; nothing was "
                "changed: put catalog.db back, or name another directory"
            )

    def _recover(self) -> None:
        """Finish what a writer that died began. What cannot be done now is done another time."""
        self.vectors.recover()
        self.caches.recover()
        with contextlib.suppress(StoreBusy, StoreCorrupt):  # the next one; said when it is used
            if self.answers.has_expired():
                self.answers.forget_expired()
        with contextlib.suppress(StoreCorrupt):
            self.finish_erasures()

    def close(self) -> None:
        """Close; calls under way in other threads end first or raise `StoreClosed`."""
        self.catalog.close()
        self.answers.close()
        self.session.close()


def _require_store_or_room(path: Path, *, readonly: bool) -> None:
    """Refuse a directory that is neither a store nor empty; make one that is absent."""
    if (path / CATALOG_FILE).exists():
        return
    if readonly:
        raise _no_store(path)
    if path.exists() and (foreign := _foreign_names(path)):
        # Another process may be making one: its rollback journal lies there for a moment.
        if (path / CATALOG_FILE).exists():
            return
        raise StoreCorrupt(
            f"{path} is not a facegrep store: it holds {min(foreign)!r}; name an empty directory "
            "or one that does not exist"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    make_directory(path)


def _no_store(path: Path) -> StoreNotFound:
    return StoreNotFound(f"there is no store at {path}; open it without readonly to create it")


def _foreign_names(path: Path) -> set[str]:
    """Return the names in a directory that no store has."""
    names = {entry.name for entry in path.iterdir()} - {"v", "tmp", "cache"}
    return {name for name in names if kind_of(name) is None}
