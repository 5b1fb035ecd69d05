"""A database made, brought up to date, and recognised, before anybody uses it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from facegrep._errors import StoreCorrupt, StoreError
from facegrep.store import _schema
from facegrep.store._clock import now_ms
from facegrep.store._filesystem import FILE_MODE, sync_directory
from facegrep.store._upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep.store._database import Database


def create_database(database: Database, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make the tables and what `fill` enters into them, unless they are there.

    Raises
    ------
    StoreCorrupt
        They were there: commits of them were acknowledged.
    """
    if is_made(database):
        return
    # An empty file is an empty database; made here, since SQLite would make it readable to all.
    # O_EXCL: an existing one is not opened, for closing it drops SQLite's locks.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(database.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
    with database.exclusive() as writer:
        if is_made(database):  # meanwhile, by somebody else
            return
        side = database.acknowledged
        if side.has_acknowledged():
            raise StoreCorrupt(
                f"{database.path.name} is missing or empty, but commits of it were acknowledged; "
                f"put it back, or remove {side.path.name} too to begin anew without what it held"
            )
        side.create()
        with _transaction(writer):
            _schema.create(writer, database.schema, now_ms())
            fill(writer)
        sync_directory(database.path.parent)


def is_made(database: Database) -> bool:
    """Whether it has tables; a crash can leave a file without."""
    if not database.path.exists():
        return False
    try:
        with database.snapshot() as connection:
            return not _schema.is_empty(connection)
    except StoreError as error:
        # A rollback journal, which a reader may not play back: there is one only while the file is
        # made, before its log.
        if getattr(error.__cause__, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
            return False
        raise


def upgrade_database(database: Database) -> None:
    """Bring a file of an older version to this one: in one transaction, in place.

    Other processes must not have it open with an older facegrep.

    Raises
    ------
    StoreCorrupt
        It says that it is of an older version, but defines something else.
    """
    with database.snapshot() as connection:
        if _schema.older_version(connection, database.schema) is None:
            return
    with database.exclusive() as writer:
        # While tables change their names.
        writer.execute("PRAGMA foreign_keys = OFF")
        writer.execute("PRAGMA legacy_alter_table = ON")
        try:
            version = _schema.older_version(writer, database.schema)
            if version == 1:  # it counted no acknowledged commits
                with _transaction(writer):
                    database.acknowledged.create()
                    upgrade(writer, database.schema, version, now_ms())
            elif version is not None:
                with database.transaction(writer) as transaction:
                    _ = transaction.seq
                    upgrade(writer, database.schema, version, now_ms())
        finally:
            database.discard_writer()


def check_database(database: Database) -> None:
    """Refuse a file of another schema or version, see `_schema.check`, and one that is behind."""
    with database.snapshot() as connection:
        _schema.check(connection, database.schema, database.path.name)
    with database.read():
        pass


@contextlib.contextmanager
def _transaction(writer: sqlite3.Connection) -> Iterator[None]:
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
        writer.execute("COMMIT")
    finally:
        if writer.in_transaction:
            writer.rollback()
