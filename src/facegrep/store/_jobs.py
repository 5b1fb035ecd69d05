"""Analyses that are asked for and not done: the queue is the catalog itself.

An asset's job is Running until its outcome is entered (`AddOperations.set_analyses`). Those of a
process that died are still Running, and whoever works next takes them up.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from facegrep.store._audit import note_change
from facegrep.store._checksum import with_checksum
from facegrep.store._clock import now_ms
from facegrep.store._core import StoreCore
from facegrep.store._libraries import count_assets, same_library
from facegrep.store._media import find_stored, require_absent
from facegrep.store._media_rows import COLUMNS, checked_media, replace_media

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from facegrep.store._assets import MediaRow
    from facegrep.store._libraries import LibraryRow


class Rerun(NamedTuple):
    """Which jobs are Running again, and which ids no asset has."""

    media_ids: list[str]
    unknown_ids: list[str]


def running_libraries(connection: sqlite3.Connection) -> list[int]:
    """List the incarnations of the libraries, of all accounts, in which a job is Running."""
    query = (
        "SELECT DISTINCT library_id FROM media INDEXED BY media_running"
        " WHERE job_status = 'Running' ORDER BY library_id"
    )
    return [library_id for (library_id,) in connection.execute(query)]


def list_running(
    connection: sqlite3.Connection,
    library: LibraryRow,
    after: int,
    limit: int,
    *,
    to_fetch: bool,
) -> list[MediaRow]:
    """List the assets of a library whose job is Running and that have not expired, by ordinal.

    Parameters
    ----------
    after
        Only those with a greater ordinal.
    to_fetch
        Whether those whose content is behind a URL, or the others.
    """
    query = (
        f"SELECT {COLUMNS} FROM media INDEXED BY media_running"
        " WHERE job_status = 'Running' AND library_id = ? AND ordinal > ? AND added_ms > ?"
        f" AND {'' if to_fetch else 'NOT '}{_IS_TO_FETCH} ORDER BY ordinal LIMIT ?"
    )
    until_ms = library.expired_until_ms(now_ms())
    rows = connection.execute(query, (library.id, after, until_ms, limit))
    return [checked_media(row, library.name) for row in rows]


def list_to_fetch(
    connection: sqlite3.Connection, library: LibraryRow, ordinals: Iterable[int]
) -> set[int]:
    """Return which of those assets have their content behind a URL, and not kept here."""
    query = (
        "SELECT ordinal FROM json_each(?) AS wanted"
        f" CROSS JOIN media ON library_id = ? AND ordinal = wanted.value AND {_IS_TO_FETCH}"
    )
    rows = connection.execute(query, (json.dumps(list(ordinals)), library.id))
    return {ordinal for (ordinal,) in rows}


_IS_TO_FETCH: Final = (
    "(source IS NOT NULL AND substr(source, 1, 1) <> '/' AND NOT EXISTS (SELECT 1"
    " FROM pending_input AS kept"
    " WHERE kept.library_id = media.library_id AND kept.ordinal = media.ordinal))"
)


class JobOperations(StoreCore):
    """The Store's way to have analyses made again."""

    def rerun_jobs(
        self,
        library: LibraryRow,
        media_ids: Sequence[str],
        contents: Mapping[int, bytes],
        *,
        actor: str | None = None,
    ) -> Rerun:
        """Set jobs to Running that failed or were never asked for.

        Parameters
        ----------
        contents
            By ordinal: what was fetched again, kept until it is analysed.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            moment_ms = now_ms()
            stored = find_stored(connection, current, media_ids)
            if absent := set(media_ids) - {row.media_id for row in stored}:
                require_absent(connection, current, absent)
            until_ms = current.expired_until_ms(moment_ms)
            there = [row for row in stored if row.added_ms > until_ms]
            known = {row.media_id for row in there}
            unknown = [media_id for media_id in dict.fromkeys(media_ids) if media_id not in known]
            again = [row for row in there if row.job_status in (None, "Fail")]
            if again:
                seq = transaction.seq
                changes = [(row, _again(row, seq, moment_ms)) for row in again]
                digest = replace_media(connection, changes)
                _keep(connection, again, contents)
                count_assets(connection, current, seq, digest=digest)
                note_change(connection, current, "rerun_jobs", actor, media=len(again))
            return Rerun([row.media_id for row in again], unknown)


def _again(row: MediaRow, seq: int, moment_ms: int) -> MediaRow:
    return row._replace(
        row_seq=seq,
        job_status="Running",
        job_submit_ms=moment_ms,
        job_finish_ms=None,
        job_error=None,
    )


def _keep(
    connection: sqlite3.Connection, rows: Sequence[MediaRow], contents: Mapping[int, bytes]
) -> None:
    values = [
        with_checksum((row.library_id, row.ordinal, 0, contents[row.ordinal]))
        for row in rows
        if row.ordinal in contents
    ]
    connection.executemany("INSERT OR REPLACE INTO pending_input VALUES (?, ?, ?, ?, ?)", values)
