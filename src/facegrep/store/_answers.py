"""Frozen answers by token, in ``session.db``: what searches write, apart from the catalog.

A file and a lock of its own, so that a search never waits for a bulk insert.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.store._answer import Answer
from facegrep.store._changes import read_tombstones
from facegrep.store._checksum import checked, with_checksum
from facegrep.store._clock import now_ms
from facegrep.store._libraries import library_ids
from facegrep.store._scrub import want_scrub
from facegrep.store._store_row import read_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facegrep.store._database import Database
    from facegrep.store._memory import MemoryDatabase

LIFETIME_S: Final = 24 * 3600
MAX_BYTES: Final = 256 << 20
_ROW_OVERHEAD_BYTES: Final = 512
"""About what a row takes besides its blobs; so tiny answers are bounded in number, too."""
# To add up what all answers take is a walk over them, 20 ms for 256 MiB of small ones, under the
# lock that every call of a server needs. So room is made for more than the one that needs it, and
# nobody looks again before a share of that is used up that as many processes may use at once. Room
# made fairly among accounts was tried: whose answers are is in no index by age, and to make it took
# 1.7 s of that lock with 258,000 small answers of seven accounts.
_ROOM: Final = 1 / 16
_PROCESSES: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class KeptAnswer:
    """An answer, and what it was the answer to.

    Attributes
    ----------
    condition
        32 bytes that stand for the whole condition of the search.
    embedding
        float32 ``(dim,)``: what was searched for.
    """

    condition: bytes
    embedding: NDArray[np.float32]
    threshold: float | None
    answer: Answer


class AnswerRow(NamedTuple):
    """An answer in the database: its columns there, in their order, but the checksum."""

    account: str
    library_id: int
    token: str
    created_ms: int
    expires_ms: int
    size_bytes: int
    condition: bytes
    url_sha256: bytes
    threshold: float | None
    seq: int
    total: int
    embedding: bytes
    ordinals: bytes
    scores: bytes
    faces: bytes
    added_ms: bytes


_INSERT: Final = f"INSERT INTO answer VALUES ({', '.join('?' * (len(AnswerRow._fields) + 1))})"


_BLOBS: Final = AnswerRow._fields.index("ordinals")
_UPDATE: Final = (
    f"UPDATE answer SET {', '.join(f'{n} = ?' for n in AnswerRow._fields[_BLOBS:])}, checksum = ?"
    " WHERE rowid = ?"
)
_EMPTY: Final = (
    "UPDATE answer SET embedding = x'', ordinals = x'', scores = x'', faces = x'', added_ms = x''"
    " WHERE rowid = ? AND (embedding, ordinals, scores, faces, added_ms)"
    " IS NOT (x'', x'', x'', x'', x'')"
)
GONE: Final = -1
"""In place of the ordinal of a hit that was erased."""


class AnswerStore:
    """Answers of all accounts, keyed by account, library incarnation and token.

    Thread-safe, and shared by all processes of a store.

    Parameters
    ----------
    database
        On disk, or in memory for a readonly engine.
    lifetime_s, max_bytes
        How long an answer lives, and how much all of them may take: the oldest go first.
    """

    def __init__(
        self,
        database: Database | MemoryDatabase,
        *,
        lifetime_s: float = LIFETIME_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._database = database
        self.lifetime_s = lifetime_s
        self.max_bytes = max_bytes
        self._unseen_bytes: float = math.inf  # kept by this process since it last added all up

    def put(self, account: str, token: str, url_sha256: bytes, kept: KeptAnswer) -> None:
        """Keep an answer in place of any earlier one of that token.

        One that alone takes more than `max_bytes` is not kept, as if it were the oldest.
        """
        created_ms = now_ms()
        answer = kept.answer
        blobs = (
            np.ascontiguousarray(kept.embedding, dtype="<f4").tobytes(),
            np.ascontiguousarray(answer.ordinals, dtype="<i8").tobytes(),
            np.ascontiguousarray(answer.scores, dtype="<f4").tobytes(),
            np.ascontiguousarray(answer.faces, dtype="<i4").tobytes(),
            b"" if answer.added_ms is None else answer.added_ms.astype("<i8").tobytes(),
        )
        row = AnswerRow(
            account,
            answer.library_id,
            token,
            created_ms,
            created_ms + round(self.lifetime_s * 1000),
            sum(map(len, blobs)) + _ROW_OVERHEAD_BYTES,
            kept.condition,
            url_sha256,
            kept.threshold,
            answer.seq,
            answer.total,
            *blobs,
        )
        try:
            with self._database.write() as transaction:
                _ = transaction.seq
                self._replace(transaction.connection, row)
        except BaseException:  # nothing was forgotten, or that is not known
            self._unseen_bytes = math.inf
            raise

    def _replace(self, connection: sqlite3.Connection, row: AnswerRow) -> None:
        # By the index of age: all live alike, so no younger one is over.
        oldest_ms = row.created_ms - round(self.lifetime_s * 1000)
        self._forget_expired(connection, row.created_ms, " AND created_ms <= ?", oldest_ms)
        connection.execute(
            "DELETE FROM answer WHERE account = ? AND library_id = ? AND token = ?",
            (row.account, row.library_id, row.token),
        )
        if row.size_bytes > self.max_bytes:
            return
        self._unseen_bytes += row.size_bytes
        if self._unseen_bytes > self.max_bytes * _ROOM / _PROCESSES:
            # Oldest first, until what is left and this one leave room.
            connection.execute(
                "DELETE FROM answer WHERE rowid IN (SELECT rowid FROM (SELECT rowid,"
                " sum(bytes) OVER (ORDER BY created_ms DESC, rowid DESC) AS so_far FROM answer)"
                " WHERE so_far > ?)",
                (self.max_bytes * (1 - _ROOM) - row.size_bytes,),
            )
            self._unseen_bytes = 0
        connection.execute(_INSERT, with_checksum(row))

    def get(self, account: str, library_id: int, token: str) -> KeptAnswer | None:
        """Find a token's answer, while it lives."""
        key = (account, library_id, token)
        query = "SELECT * FROM answer WHERE account = ? AND library_id = ? AND token = ?"
        with self._database.read() as connection:
            found = connection.execute(query, key).fetchone()
            if found is None:
                _require_absent(connection, key)
                return None
        row = _checked(found)
        return _kept(row) if row.expires_ms > now_ms() else None

    def embedding_of(
        self, account: str, library_id: int, token: str, url_sha256: bytes
    ) -> NDArray[np.float32] | None:
        """Find what a token, while it lives, last searched for, if that came from this URL."""
        query = (
            "SELECT * FROM answer WHERE account = ? AND library_id = ? AND token = ?"
            " AND url_sha256 = ? AND expires_ms > ?"
        )
        with self._database.read() as connection:
            key = (account, library_id, token, url_sha256, now_ms())
            found = connection.execute(query, key).fetchone()
        return None if found is None else _kept(_checked(found)).embedding

    def drop_library(self, library_id: int) -> None:
        """Forget the answers of a library."""
        with self._database.write() as transaction:
            _ = transaction.seq
            transaction.connection.execute("DELETE FROM answer WHERE library_id = ?", (library_id,))

    def has_expired(self) -> bool:
        """Whether the oldest answer is over; all live alike."""
        query = "SELECT expires_ms FROM answer ORDER BY created_ms LIMIT 1"
        with self._database.read() as connection:
            oldest = connection.execute(query).fetchone()
        return oldest is not None and oldest[0] <= now_ms()

    def forget_expired(self) -> None:
        """Forget what lives no longer, and want the file rebuilt if it was ever written.

        What went before, when another answer was kept, may still lie in the log.
        """
        with self._database.write() as transaction:
            if read_store(transaction.connection).seq:
                _ = transaction.seq
                self._forget_expired(transaction.connection, now_ms())
                want_scrub(transaction)

    def _forget_expired(
        self, connection: sqlite3.Connection, now: int, among: str = "", *bounds: int
    ) -> None:
        query = f"SELECT rowid, * FROM answer WHERE expires_ms <= ?{among}"
        expired = []
        for rowid, *values in connection.execute(query, (now, *bounds)):
            try:
                _checked(tuple(values))
            except StoreCorrupt:  # perhaps in this very time: `get` says so while it could live
                created_ms = values[AnswerRow._fields.index("created_ms")]
                if created_ms > now - self.lifetime_s * 1000:
                    continue
            expired.append((rowid,))
        connection.executemany("DELETE FROM answer WHERE rowid = ?", expired)

    def forget_deleted(self, catalog: Database) -> Counter[str]:
        """Take out of every answer the hits that were deleted since; how many changed, by account.

        Their places stay, so that pages cut before and after neither overlap nor skip. A damaged
        answer loses everything, but its token stays, so that it is not taken for unknown; whose it
        was is not known then, and it is counted as of "".
        """
        changed: Counter[str] = Counter()
        with self._database.write() as transaction, catalog.read() as reader:
            connection = transaction.connection
            live = library_ids(reader)
            for rowid, row in _rows(connection):
                if row is None:
                    changed[""] += _empty(connection, rowid)
                    continue
                if row.library_id not in live:
                    connection.execute("DELETE FROM answer WHERE rowid = ?", (rowid,))
                    changed[row.account] += 1
                    continue
                gone = read_tombstones(reader, row.library_id, row.seq, str(row.library_id))
                without = _without(row, gone) if gone else None
                if without is not None:
                    values = with_checksum(without)[_BLOBS:]
                    connection.execute(_UPDATE, (*values, rowid))
                    changed[row.account] += 1
            if changed.total():
                want_scrub(transaction)
        return changed

    def forget_person(
        self, library_id: int, embedding: NDArray[np.float32], threshold: float
    ) -> int:
        """Drop the answers of searches for somebody who looks like this, and empty damaged ones."""
        norm = float(np.linalg.norm(embedding)) or 1.0
        changed = 0
        with self._database.write() as transaction:
            connection = transaction.connection
            for rowid, row in _rows(connection):
                if row is None:
                    changed += _empty(connection, rowid)
                elif row.library_id == library_id:
                    other = np.frombuffer(row.embedding, "<f4").astype(np.float64)
                    length = norm * (float(np.linalg.norm(other)) or 1.0)
                    same_dim = other.shape == embedding.shape
                    if same_dim and float(other @ embedding) >= threshold * length:
                        connection.execute("DELETE FROM answer WHERE rowid = ?", (rowid,))
                        changed += 1
            # Also of answers that went before: their remains may hold an embedding.
            want_scrub(transaction)
        return changed

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[int, AnswerRow | None]]:
    """Yield every row by its rowid; ``None`` for one that is damaged."""
    for (rowid,) in connection.execute("SELECT rowid FROM answer NOT INDEXED").fetchall():
        found = connection.execute("SELECT * FROM answer WHERE rowid = ?", (rowid,)).fetchone()
        try:
            yield rowid, _checked(found)
        except StoreCorrupt:
            yield rowid, None


def _empty(connection: sqlite3.Connection, rowid: int) -> int:
    """Take everything out of a damaged row: nobody can say any more whose it was.

    Its token stays, which is known to be damaged then, rather than unknown. Returns how many rows
    changed.
    """
    try:
        return connection.execute(_EMPTY, (rowid,)).rowcount
    except sqlite3.IntegrityError:  # a column is of a type that cannot be written back
        return connection.execute("DELETE FROM answer WHERE rowid = ?", (rowid,)).rowcount


def _require_absent(connection: sqlite3.Connection, key: tuple[str, int, str]) -> None:
    """Make sure that a key which the index, which has no checksums, does not have is on no row."""
    query = "SELECT 1 FROM answer NOT INDEXED WHERE account = ? AND library_id = ? AND token = ?"
    if connection.execute(query, key).fetchone():
        raise StoreCorrupt("session.db: the index of its tokens is damaged")


def _without(row: AnswerRow, gone: list[int]) -> AnswerRow | None:
    """Return an answer without some assets; ``None`` when it has none of them."""
    kept = _kept(row).answer
    erased = np.isin(kept.ordinals, gone)
    if not erased.any():
        return None
    return row._replace(
        ordinals=np.where(erased, GONE, kept.ordinals).astype("<i8").tobytes(),
        scores=np.where(erased, 0, kept.scores).astype("<f4").tobytes(),
        faces=np.where(erased, GONE, kept.faces).astype("<i4").tobytes(),
    )


def _checked(row: tuple[Any, ...]) -> AnswerRow:
    return AnswerRow(*checked(row, "answer (session.db)")[:-1])


def _kept(row: AnswerRow) -> KeptAnswer:
    try:
        ordinals = np.frombuffer(row.ordinals, "<i8")
        scores = np.frombuffer(row.scores, "<f4")
        faces = np.frombuffer(row.faces, "<i4")
        added_ms = np.frombuffer(row.added_ms, "<i8") if row.added_ms else None
        columns = (ordinals, scores, faces, ordinals if added_ms is None else added_ms)
        if len(set(map(len, columns))) > 1 or len(ordinals) > row.total:
            raise ValueError("columns of different lengths")
        return KeptAnswer(
            condition=row.condition,
            embedding=np.frombuffer(row.embedding, "<f4").astype(np.float32),
            threshold=row.threshold,
            answer=Answer(
                library_id=row.library_id,
                seq=row.seq,
                ordinals=ordinals,
                scores=scores,
                faces=faces,
                total=row.total,
                added_ms=added_ms,
            ),
        )
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"session.db: the answer of token {row.token!r}: {error}") from error
