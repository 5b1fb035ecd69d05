"""Every checksum of a store, and what they cannot see: read-only, beside a writer."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facegrep._errors import FacegrepError, NotFoundError, StoreCorrupt, StoreError
from facegrep.store import _holdings
from facegrep.store._acknowledged import NO_HEAD, slots
from facegrep.store._assets import MediaRow
from facegrep.store._audit import AuditEntry, read_entries
from facegrep.store._checksum import checksum
from facegrep.store._core import StoreCore
from facegrep.store._libraries import library_by_id, library_ids, same_library
from facegrep.store._media_rows import COLUMNS, hash_of
from facegrep.store._people_rows import count_told_of_nothing, read_told
from facegrep.store._recognition_rows import list_all_samples, list_recognition
from facegrep.store._segment_rows import list_segments, named_segment_files, read_blocks
from facegrep.store._segments import open_segment_file, read_block
from facegrep.store._store_row import read_store
from facegrep.store._video_rows import is_analysed_video, wrong_videos

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from facegrep.store._database import Database
    from facegrep.store._holdings import Table
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._segments import Segment

_BATCH: Final = 4096
_LEFT: Final = (_holdings.SEGMENT, _holdings.FETCHED, _holdings.UNFINISHED)


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not what was written.

    Attributes
    ----------
    file
        Its name below the store's directory.
    what
        What is wrong, in words.
    library
        Whose it is, if it is one library's.
    block
        The number of the block of vectors, if it is one.
    """

    file: str
    what: str
    library: str | None = None
    block: int | None = None


@dataclass(slots=True)
class Findings:
    """What a verification has found so far.

    Attributes
    ----------
    damages
        What is damaged.
    leftovers
        Files that belong to nothing: a crash left them, or a writer is making them just now.
    rows, blocks, vector_bytes
        How much was checked.
    """

    damages: list[Damage] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    rows: int = 0
    blocks: int = 0
    vector_bytes: int = 0


@dataclass(slots=True)
class Chain:
    """An audit: its entries' hashes, those entries that were asked for, what is wrong in words."""

    hashes: list[bytes] = field(default_factory=list)
    found: dict[str, AuditEntry] = field(default_factory=dict)
    damages: list[str] = field(default_factory=list)


class VerifyOperations(StoreCore):
    """The Store's check of everything."""

    def verify_chain(self, database: Database, wanted: Container[str] = ()) -> Chain:
        """Check the audit of one database from its beginning to what was acknowledged.

        Parameters
        ----------
        database
            Whose.
        wanted
            The hashes, in hex, of entries that are asked for.
        """
        found = Chain()
        name = database.path.name
        try:
            side = database.acknowledged
            acknowledged = side.newest(side.read())  # first: the snapshot must have as much
            with database.snapshot() as connection:
                seq = read_store(connection).seq
                for entry in read_entries(connection):
                    found.hashes.append(entry.hash)
                    if entry.hash.hex() in wanted:
                        found.found[entry.hash.hex()] = entry
            if acknowledged.audit_head not in (NO_HEAD, *found.hashes):
                found.damages.append(f"{name}: the newest entries of the audit are missing")
            elif seq < acknowledged.seq:
                found.damages.append(f"{name} lacks commits that were acknowledged")
        except StoreError as error:
            found.damages.append(f"{name}: {error}")
        return found

    def verify(self, library: LibraryRow | None = None) -> Findings:
        """Check one library, or everything.

        Snapshots are short but for SQLite's own check and the rows of one library, so that a writer
        beside it goes on; what it erases or moves meanwhile is read again, not reported.
        """
        found = Findings()
        if library is not None:
            self._verify_library(found, library)
            return found
        for database in (self.catalog, self.session):
            _verify_database(found, database)
        for row in _readable_libraries(self.catalog):
            self._verify_library(found, row)
        found.damages += _wrong_recognition(self.catalog, {one.what for one in found.damages})
        self._list_leftovers(found)
        return found

    def _verify_library(self, found: Findings, library: LibraryRow) -> None:
        file = self.catalog.path.name
        try:
            with self.catalog.snapshot() as connection:
                current = same_library(connection, library)
                for what in _wrong_rows(found, connection, current):
                    found.damages.append(Damage(file, what, library.name))
                for what in _wrong_told(connection, current):
                    found.damages.append(Damage(file, what, library.name))
                segments = list_segments(connection, current)
        except NotFoundError:  # dropped meanwhile
            return
        except (StoreError, sqlite3.Error) as error:
            found.damages.append(Damage(file, str(error), library.name))
            return
        for segment in segments:
            self._verify_segment(found, current, segment)

    def _verify_segment(self, found: Findings, library: LibraryRow, segment: Segment) -> None:
        count = -(-segment.committed_bytes // segment.block_bytes)
        for number in range(max(count, 1)):  # one at least: it reads the header
            damage = self._damage_of(library, segment, number)
            found.blocks += number < count
            if damage is not None:
                where = f"v/{segment.file_name}"
                block = None if damage.block is None else damage.block[1]
                found.damages.append(Damage(where, str(damage), library.name, block))
                if block is None:  # of the file as a whole
                    return
        found.vector_bytes += segment.committed_bytes

    def _damage_of(self, library: LibraryRow, segment: Segment, number: int) -> StoreCorrupt | None:
        while True:
            try:
                with self.catalog.snapshot() as connection:
                    before = same_library(connection, library)
                    found = [s for s in list_segments(connection, before) if s.id == segment.id]
                    if not found:  # moved meanwhile: what is in its place was written anew
                        return None
                    blocks = read_blocks(connection, found[0], number, number)
                with open_segment_file(self.vectors.folder, found[0]) as descriptor:
                    if found[0].committed_bytes:
                        read_block(descriptor, found[0], number, blocks.get(number))
                return None
            except NotFoundError:
                return None
            except StoreCorrupt as error:
                damage = error
            with self.catalog.snapshot() as connection:
                try:
                    now = same_library(connection, library)
                except FacegrepError:
                    return None
            if now.erased_seq == before.erased_seq:
                return damage

    def _list_leftovers(self, found: Findings) -> None:
        there = {
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if not path.is_dir()
        }
        try:
            with self.catalog.snapshot() as connection:
                named = {f"v/{name}" for name in named_segment_files(connection)}
        except StoreError:  # said where the rows were read
            return
        for name in sorted(there - named):
            holding = _holdings.kind_of(name)
            if holding is None or holding.name in _LEFT:
                found.leftovers.append(name)


def _verify_database(found: Findings, database: Database) -> None:
    name = database.path.name
    try:
        data = database.acknowledged.read()
        if None in slots(data):
            found.damages.append(
                Damage(database.acknowledged.path.name, "one of its halves fails its checksum")
            )
        database.check_acknowledged()
    except StoreError as error:
        found.damages.append(Damage(name, str(error)))
    for check in ("integrity_check", "foreign_key_check"):
        try:
            with database.snapshot() as connection:
                for row in connection.execute(f"PRAGMA {check}"):
                    if row[0] != "ok":
                        found.damages.append(Damage(name, f"SQLite says {row}"))
        except StoreError as error:
            found.damages.append(Damage(name, str(error)))
    for table in _holdings.tables_of(name):
        found.damages += _unreadable_indexes(database, table)
        if table.library_key:
            found.damages += _orphans(database, table)
        if table.check == "media":  # by library, with its digest
            continue
        try:
            with database.snapshot() as connection:
                if table.check == "chain":
                    found.rows += sum(1 for _ in read_entries(connection))
                else:
                    for row in connection.execute(f"SELECT * FROM {table.name}"):
                        found.rows += 1
                        if checksum(row[:-1]) != row[-1]:
                            what = f"a row of table {table.name} fails its checksum"
                            found.damages.append(Damage(name, what, _library_of(table.name, row)))
        except StoreError as error:
            found.damages.append(Damage(name, f"table {table.name}: {error}"))


def _unreadable_indexes(database: Database, table: Table) -> Iterator[Damage]:
    """Yield whether an index cannot be read whole: every entry, and all that it holds.

    integrity_check looks every row up and counts entries, but of one it may not read the end.
    """
    # Of a table without rowids the primary key is the table.
    query = (
        "SELECT list.name FROM pragma_index_list(?1) AS list, pragma_table_list(?1) AS whole"
        " WHERE NOT list.partial AND NOT (list.origin = 'pk' AND whole.wr)"
    )
    columns = "SELECT coalesce(name, 'rowid') FROM pragma_index_xinfo(?)"
    try:
        with database.snapshot() as connection:
            for (name,) in connection.execute(query, (table.name,)).fetchall():
                held = ", ".join(column for (column,) in connection.execute(columns, (name,)))
                for _ in connection.execute(
                    f"SELECT {held} FROM {table.name} INDEXED BY {name} ORDER BY {held}"
                ):
                    pass
    except StoreError as error:
        yield Damage(database.path.name, f"an index of table {table.name}: {error}")


def _orphans(database: Database, table: Table) -> Iterator[Damage]:
    """Yield whether a table has rows of libraries that do not exist."""
    query = f"SELECT count(*) FROM {table.name} WHERE library_id NOT IN (SELECT id FROM library)"
    with contextlib.suppress(StoreError), database.snapshot() as connection:
        (count,) = connection.execute(query).fetchone()
        if count:
            what = f"{count} rows of table {table.name} belong to no library"
            yield Damage(database.path.name, what)


def _wrong_recognition(database: Database, said: set[str]) -> list[Damage]:
    """Find recognition libraries whose entities or samples are not those that were written."""
    wrong: list[Damage] = []
    with contextlib.suppress(StoreError), database.snapshot() as connection:
        accounts = connection.execute("SELECT DISTINCT +account FROM recognition").fetchall()
        for (account,) in accounts:
            try:
                for library in list_recognition(connection, account):
                    list_all_samples(connection, library)
            except StoreError as error:
                if str(error) not in said:  # by the look at every row
                    wrong.append(Damage(database.path.name, str(error)))
    return wrong


def _library_of(table: str, row: tuple[Any, ...]) -> str | None:
    return str(row[2]) if table == "library" else None


def _readable_libraries(database: Database) -> list[LibraryRow]:
    """List the libraries whose own rows are whole; of the others their rows were said."""
    rows = []
    try:
        with database.snapshot() as connection:
            for id_ in sorted(library_ids(connection)):
                with contextlib.suppress(StoreCorrupt):
                    row = library_by_id(connection, id_)
                    rows += [] if row is None else [row]
    except StoreError:  # SQLite's check said why
        pass
    return rows


def _wrong_rows(
    found: Findings, connection: sqlite3.Connection, library: LibraryRow
) -> Iterator[str]:
    """Yield what is wrong with the assets of a library, in words."""
    media = faces = digest = damaged = 0
    places: dict[int, list[tuple[int, int]]] = {}
    videos: dict[int, int] = {}
    query = f"SELECT {COLUMNS} FROM media WHERE library_id = ? ORDER BY ordinal"
    cursor = connection.execute(query, (library.id,))
    while rows := cursor.fetchmany(_BATCH):
        for row in rows:
            try:
                digest += hash_of(row, library.name)
            except StoreCorrupt:
                damaged += 1
                continue
            finally:
                media += 1
            *_, segment_id, first_slot, _ = row
            count = row[14]
            faces += count
            if count:
                places.setdefault(segment_id, []).append((first_slot, count))
            if is_analysed_video(stored := MediaRow._make(row)):
                videos[stored.ordinal] = count
    found.rows += media
    if damaged:
        yield f"{damaged} rows of table media fail their checksum"
    elif (digest - library.digest) % 2**64:
        yield "the rows of table media are not those that were written: their digest differs"
    if media != library.media_count or (not damaged and faces != library.face_count):
        yield (
            f"it has {media} assets with {faces} faces, its row says {library.media_count} with "
            f"{library.face_count}"
        )
    query = "SELECT count(*) FROM tombstone WHERE library_id = ?"
    gone = connection.execute(query, (library.id,)).fetchone()[0]
    if gone != library.next_ordinal - library.media_count:
        yield f"it has {gone} tombstones, of {library.next_ordinal - library.media_count} deleted"
    if not damaged:  # else it is not known which are videos
        yield from wrong_videos(connection, library, videos)
    segments = {segment.id: segment for segment in list_segments(connection, library)}
    for segment_id, taken in places.items():
        yield from _wrong_places(segments.get(segment_id), segment_id, taken)


def _wrong_told(connection: sqlite3.Connection, library: LibraryRow) -> Iterator[str]:
    """Yield what is wrong with what was said about people, in words."""
    if count := count_told_of_nothing(connection, library):
        yield f"{count} rows of table people_face are of no face"
    try:
        read_told(connection, library)
    except StoreCorrupt as error:
        yield str(error)


def _wrong_places(
    segment: Segment | None, segment_id: int, taken: list[tuple[int, int]]
) -> Iterator[str]:
    if segment is None:
        yield f"assets name segment {segment_id}, which does not exist"
        return
    committed = segment.committed_bytes // segment.dim
    try:
        places = np.array(taken, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        yield f"assets name slots of segment {segment.file_name} that are no numbers"
        return
    # Each alone before their sums, which a number that somebody made up would carry over.
    if places.min() < 0 or places.max() > committed or places.sum(axis=1).max() > committed:
        yield f"assets name slots of segment {segment.file_name} beyond the committed ones"
        return
    places = places[np.argsort(places[:, 0], kind="stable")]
    if (places[1:, 0] < places[:-1].sum(axis=1)).any():
        yield f"two assets share slots of segment {segment.file_name}"
