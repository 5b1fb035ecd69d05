"""The one list of all that a store may hold, and what becomes of it.

Whatever stores something new adds its table or its kind of file here, and does what it says there.
tests/test_store_holdings.py fails when a store holds something that is not on the list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one of the two databases.

    Attributes
    ----------
    file, name
        The database, and the table in it.
    check
        How `verify` checks a row: by its last column (``"checksum"``), by the hash of the entry
        before (``"chain"``), or as media, whose hashes add up to their library's digest.
    erase, backup
        What erasing an asset, and a backup, do to it.
    library_key
        Whether each row belongs to a library, by its column ``library_id``.
    """

    file: str
    name: str
    check: Literal["checksum", "chain", "media"]
    erase: str
    backup: Literal["copied", "left out"] = "copied"
    library_key: bool = False


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes
    ----------
    name
        What it is called here.
    pattern
        What its path below the store's directory looks like.
    erase, verify, backup
        What each does with it.
    """

    name: str
    pattern: str
    erase: str
    verify: str
    backup: str


CATALOG: Final = "catalog.db"
SESSION: Final = "session.db"

TABLES: Final = (
    Table(CATALOG, "store", "checksum", "notes that the file must be rewritten, and that it was"),
    Table(CATALOG, "account", "checksum", "nothing: it holds no asset"),
    Table(CATALOG, "library", "checksum", "counts change; its name and settings stay"),
    Table(CATALOG, "segment", "checksum", "nothing: it holds lengths", library_key=True),
    Table(CATALOG, "block", "checksum", "checksums of the overwritten blocks"),
    Table(CATALOG, "media", "media", "the row goes", library_key=True),
    Table(
        CATALOG, "tombstone", "checksum", "gets the asset's number, never its id", library_key=True
    ),
    Table(CATALOG, "pending_input", "checksum", "the row goes", library_key=True),
    Table(CATALOG, "video", "checksum", "the row goes", library_key=True),
    Table(CATALOG, "track", "checksum", "the rows go", library_key=True),
    Table(CATALOG, "erase_journal", "checksum", "names the slots until they are overwritten"),
    Table(CATALOG, "recognition", "checksum", "counts change; its name stays"),
    Table(
        CATALOG,
        "recognition_entity",
        "checksum",
        "of a person: the row goes, with the name, if no sample is left; of assets: nothing",
    ),
    Table(
        CATALOG,
        "recognition_sample",
        "checksum",
        "of a person: the rows of samples like them go; of assets: nothing",
    ),
    Table(CATALOG, "people", "checksum", "counts change", library_key=True),
    Table(CATALOG, "people_face", "checksum", "the rows of its faces go", library_key=True),
    Table(CATALOG, "audit", "chain", "gets counts and one salted hash"),
    Table(SESSION, "store", "checksum", "as in catalog.db"),
    Table(
        SESSION,
        "answer",
        "checksum",
        "loses the asset's hits; a person's own answers go whole",
        "left out",  # it has what was searched for, which must not outlive its day
    ),
    Table(SESSION, "access_key", "checksum", "nothing: it holds no asset; goes with its account"),
    Table(SESSION, "nonce", "checksum", "nothing: each goes by itself within the hour"),
    Table(SESSION, "audit", "chain", "nothing: it holds counts"),
)

SEGMENT: Final = "segment"
FETCHED: Final = "fetched"
UNFINISHED: Final = "unfinished"

FILES: Final = (
    FileKind(
        "database",
        r"(catalog|session)\.db",
        erase="rewritten without free space (VACUUM)",
        verify="SQLite's integrity_check, and every row",
        backup="copied by SQLite, without free space (VACUUM INTO)",
    ),
    FileKind(
        "log",
        r"(catalog|session)\.db-wal",
        erase="copied into the database and cut to nothing",
        verify="by the side file: SQLite drops what is damaged",
        backup="part of the database's copy",
    ),
    FileKind(
        "index of the log",
        r"(catalog|session)\.db-shm",
        erase="nothing: it holds page numbers",
        verify="nothing: SQLite makes it anew",
        backup="left out",
    ),
    FileKind(
        "side file",
        r"(catalog|session)\.acknowledged",
        erase="nothing: it holds a number and a hash",
        verify="both halves",
        backup="made anew for the copy",
    ),
    FileKind(
        "lock",
        r"(writer|session|cache|jobs)\.lock",
        erase="nothing: it is empty",
        verify="nothing",
        backup="left out",
    ),
    FileKind(
        SEGMENT,
        r"v/[0-9]+-[0-9]+-[0-9]+\.vec",
        erase="the asset's slots are overwritten",
        verify="header, length, every block",
        backup="copied up to the committed length",
    ),
    FileKind(
        "saved index",
        r"cache/[0-9]+-[0-9]+-[0-9]+\.idx",
        erase="overwritten and removed",
        verify="nothing: every page is checked when it is read, and what fails is made anew",
        backup="left out",
    ),
    FileKind(
        FETCHED,
        r"tmp/[0-9]+-[0-9]+\.fetched",
        erase="overwritten and removed once its asset is gone; all of them when a worker begins",
        verify="listed as a leftover",
        backup="left out: the copy fetches it again",
    ),
    FileKind(
        UNFINISHED,
        r"tmp/.+",
        erase="overwritten and removed, as when the store is opened",
        verify="listed as a leftover",
        backup="left out",
    ),
)


def tables_of(file: str) -> list[Table]:
    """List the tables of a database."""
    return [table for table in TABLES if table.file == file]


def kind_of(path: str) -> FileKind | None:
    """Return what a file of a store is, by its path below the directory; ``None``: not ours."""
    return next((kind for kind in FILES if re.fullmatch(kind.pattern, path)), None)
