"""Rows inserted by the hundred thousand: what a bulk insert of vectors spends its time on.

Of the 6.3 us that ``executemany`` takes for a row of media most is spent on binding 24 values.
Values that all rows share are written into the statement, and a statement inserts 32 rows: 2.2 us.
OR ROLLBACK since we undo the whole transaction anyway: to undo one statement of many rows, SQLite
would copy every page that it changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from facegrep.store._assets import Columns, Job, NewAsset
from facegrep.store._checksum import hash_rows
from facegrep.store._media_rows import hash_places

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from facegrep.store._assets import Slots
    from facegrep.store._libraries import LibraryRow

Column: TypeAlias = list[Any] | int | str | None
"""A value a row, or one that all rows share."""

_ROWS_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class NewVectors:
    """Assets that are vectors, column by column; see `NewAsset`.

    Attributes
    ----------
    media_ids
        All different.
    columns
        What filters see of them.
    utc_create_ms, utc_was_given
        As in `NewAsset`.
    content_sha256
        32 bytes each.
    face_counts
        int64, at least 1 each.
    codes
        int8 ``(sum of face_counts, dim)``, asset by asset.
    job
        The same for all.
    """

    media_ids: list[str]
    columns: dict[str, Column]
    utc_create_ms: Column
    utc_was_given: list[bool] | bool
    content_sha256: list[bytes]
    face_counts: NDArray[np.int64]
    codes: NDArray[np.int8]
    job: Job

    def __len__(self) -> int:
        return len(self.media_ids)

    def asset(self, number: int) -> NewAsset:
        """Return one of them without its codes, to be compared."""

        def of(column: Column | list[bool] | bool) -> object:
            return column[number] if isinstance(column, list) else column

        return NewAsset(
            media_id=self.media_ids[number],
            columns=Columns(*(of(self.columns[name]) for name in Columns._fields)),  # type: ignore[arg-type]
            utc_create_ms=of(self.utc_create_ms),  # type: ignore[arg-type]
            utc_was_given=bool(of(self.utc_was_given)),
            content_sha256=self.content_sha256[number],
        )

    def select(self, numbers: list[int]) -> NewVectors:
        """Return some of them, in the order given."""

        def of(column: Column) -> Column:
            return [column[n] for n in numbers] if isinstance(column, list) else column

        counts = self.face_counts[numbers]
        starts = (np.cumsum(self.face_counts) - self.face_counts)[numbers]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        given = self.utc_was_given
        return NewVectors(
            media_ids=[self.media_ids[n] for n in numbers],
            columns={name: of(column) for name, column in self.columns.items()},
            utc_create_ms=of(self.utc_create_ms),
            utc_was_given=[given[n] for n in numbers] if isinstance(given, list) else given,
            content_sha256=[self.content_sha256[n] for n in numbers],
            face_counts=counts,
            codes=self.codes[np.repeat(starts, counts) + within],
            job=self.job,
        )


def insert_vectors(
    connection: sqlite3.Connection,
    library: LibraryRow,
    seq: int,
    now_ms: int,
    assets: NewVectors,
    place: Slots,
) -> int:
    """Add assets under new ordinals, their codes from `place` on; the sum of their hashes."""
    first = library.next_ordinal
    of = assets.columns
    content: list[Column] = [
        library.id,
        list(range(first, first + len(assets))),
        assets.media_ids,
        *(of[name] for name in Columns._fields),
        assets.utc_create_ms,
        now_ms,
        None,
        None,
        assets.content_sha256,
        seq,
        assets.face_counts.tolist(),
        None,
        None,
        assets.job.status,
        assets.job.submit_ms,
        assets.job.finish_ms,
        assets.job.error,
    ]
    hashes = np.frombuffer(hash_rows(_rows(content)), dtype="<u8")
    slots = place.first_slot + np.cumsum(assets.face_counts) - assets.face_counts
    checksums = (hashes + hash_places(place.segment_id, slots)).view(np.int64)
    columns = [*content, place.segment_id, slots.tolist(), checksums.tolist()]
    _insert(connection, "media", columns)
    return int(hashes.sum(dtype=np.uint64))


def _rows(columns: Sequence[Column]) -> Iterator[tuple[object, ...]]:
    return zip(
        *(column if isinstance(column, list) else itertools.repeat(column) for column in columns),
        strict=False,
    )


def _insert(connection: sqlite3.Connection, table: str, columns: Sequence[Column]) -> None:
    lists = [column for column in columns if isinstance(column, list)]
    one = f"({', '.join('?' if isinstance(c, list) else _literal(c) for c in columns)})"
    count = len(lists[0])
    many = count // _ROWS_AT_ONCE
    rows = zip(*lists, strict=True)
    connection.executemany(
        f"INSERT OR ROLLBACK INTO {table} VALUES {', '.join([one] * _ROWS_AT_ONCE)}",
        (
            list(itertools.chain.from_iterable(itertools.islice(rows, _ROWS_AT_ONCE)))
            for _ in range(many)
        ),
    )
    connection.executemany(f"INSERT OR ROLLBACK INTO {table} VALUES {one}", rows)


def _literal(value: int | str | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
