"""Assets that go without a trace: vectors, rows and ids, from every file of the store.

In this order, each step durable before the next:

1. One transaction: the assets become tombstones, as in `delete`; their slots enter the journal,
   with the checksums that their blocks will have; the file is marked to be rebuilt; the audit says
   so.
2. The slots are overwritten, and the journal is emptied; saved indexes, and what a process that
   died was making, are overwritten and removed.
3. Frozen answers lose their hits; session.db is rebuilt if it held any, then catalog.db.
4. One transaction takes the mark away, and the audit says that it is done.

From 1 on no search finds them. A crash anywhere is taken up by `finish_erasures`, which the next
opening for writing calls: it does 2 to 4 again, as often as it takes.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from facegrep._errors import ErasePending, StoreBusy, StoreCorrupt, StoreError
from facegrep.store._audit import AuditEntry, append_entry, note_change
from facegrep.store._clock import now_ms
from facegrep.store._core import StoreCore
from facegrep.store._journal import overwrite_entered
from facegrep.store._libraries import library_by_id, same_library
from facegrep.store._media import find_stored, list_expired, require_absent
from facegrep.store._receipt import ERASED, Receipt, hash_ids, hash_samples
from facegrep.store._removal import remove_for_good
from facegrep.store._samples_like import delete_samples_like, find_samples_like
from facegrep.store._scrub import (
    ERASE_TIMEOUT_S,
    scrub,
    scrub_if_wanted,
    settle_scrub,
    wanted_scrub,
)
from facegrep.store._store_row import read_store

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Sequence

    from facegrep.store._assets import MediaRow
    from facegrep.store._database import Transaction
    from facegrep.store._libraries import LibraryRow
    from facegrep.store._samples_like import EntityLike, Person, SampleMatch
    from facegrep.store._segments import Segment


class EraseOperations(StoreCore):
    """The Store's ways to erase."""

    def erase(
        self,
        library: LibraryRow,
        media_ids: Sequence[str],
        *,
        actor: str | None = None,
        action: str = "erase",
        answers: int = 0,
        with_expired: bool = False,
        person: Person | None = None,
        timeout_s: float = ERASE_TIMEOUT_S,
    ) -> Receipt:
        """Erase assets from every file.

        Parameters
        ----------
        library, media_ids
            Which, expired or not; unknown ids count for nothing.
        actor, action
            What the audit says of it.
        answers
            Frozen answers that went already.
        with_expired
            Whether all that has expired goes as well.
        person
            Whose samples in the account's recognition libraries go as well.
        timeout_s
            How long readers that hold back the log are waited for.

        Raises
        ------
        ErasePending
            They are found no more, but not everything is overwritten yet.
        StoreError
            Nothing was erased.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            current = same_library(connection, library)
            rows = find_stored(connection, current, media_ids)
            if unknown := set(media_ids) - {row.media_id for row in rows}:
                require_absent(connection, current, unknown)
            if with_expired:
                known = {row.ordinal for row in rows}
                expired = list_expired(connection, current, before_ms=now_ms())
                rows += [row for row in expired if row.ordinal not in known]
            alike = [] if person is None else find_samples_like(connection, current.account, person)
            begun = self._begin(transaction, current, rows, action, actor, alike)
        changed_answers = self._finish(timeout_s)
        return self._receipt(begun, changed_answers, sorted(unknown), answers)

    def purge(
        self,
        libraries: Sequence[LibraryRow],
        *,
        actor: str | None = None,
        timeout_s: float = ERASE_TIMEOUT_S,
    ) -> list[Receipt]:
        """Erase what has expired, frozen answers as well, and finish what was begun before.

        Returns
        -------
        receipts
            One a library of which something expired.

        Raises
        ------
        ErasePending, StoreError
            As `erase` raises them.
        """
        self.answers.forget_expired()  # first: what failed before the first commit changed nothing
        begun: list[_Begun] = []
        try:
            for library in libraries:
                with self.catalog.write() as transaction:
                    current = library_by_id(transaction.connection, library.id)
                    if current is None:  # dropped meanwhile
                        continue
                    rows = list_expired(transaction.connection, current, before_ms=now_ms())
                    if not rows:
                        continue
                    one = self._begin(transaction, current, rows, "purge", actor)
                begun.append(one)  # once it is committed
        except StoreError as error:
            if not begun:
                raise
            raise ErasePending(
                f"what expired in {len(begun)} of {len(libraries)} libraries is removed, but not "
                f"overwritten yet; the others are as they were: {_reason(error)}; purge again"
            ) from error
        changed_answers = self._finish(timeout_s)
        return [self._receipt(each, changed_answers, [], 0) for each in begun]

    def _begin(
        self,
        transaction: Transaction,
        library: LibraryRow,
        rows: Sequence[MediaRow],
        action: str,
        actor: str | None,
        alike: Sequence[EntityLike] = (),
    ) -> _Begun:
        connection = transaction.connection
        delete_samples_like(connection, alike, transaction.seq)
        samples = [match for one in alike for match in one.matches()]
        _, segments = remove_for_good(transaction, self.vectors.folder, library, rows)
        media_ids = sorted(row.media_id for row in rows)
        salt = read_store(connection).salt
        of_samples = {"samples": hash_samples(salt, samples)} if samples else {}
        entry = note_change(
            connection,
            library,
            action,
            actor,
            media=len(rows),
            faces=sum(row.face_count for row in rows),
            details={"ids": hash_ids(salt, media_ids), **of_samples},
        )
        return _Begun(entry, transaction.seq, media_ids, segments, samples)

    def _receipt(
        self,
        begun: _Begun,
        changed_answers: Counter[str] | None,
        unknown_ids: list[str],
        answers: int,
    ) -> Receipt:
        try:
            with self.catalog.read() as connection:
                done = _entry_of_the_end(connection, begun.entry, begun.seq)
        except StoreError as error:
            raise ErasePending(
                "in no answer any more, and overwritten in every file, but there is no receipt: "
                f"{_reason(error)}; erase the same again for one, which says that they are unknown"
            ) from error
        if changed_answers is not None:  # of others it is told nothing
            answers += changed_answers[begun.entry.account or ""] + changed_answers[""]
        return Receipt(
            library=begun.entry.library or "",
            media_ids=tuple(begun.media_ids),
            unknown_ids=tuple(unknown_ids),
            face_count=begun.entry.face_count,
            segments=tuple(segment.file_name for segment in begun.segments),
            generations=tuple(sorted({segment.generation for segment in begun.segments})),
            rewritten=("catalog.db", *([] if changed_answers is None else ["session.db"])),
            samples=tuple(begun.samples),
            answers=answers,
            begun_ms=begun.entry.time_ms,
            erased_ms=done.time_ms,
            begun_hash=begun.entry.hash.hex(),
            previous_hash=done.previous.hex(),
            hash=done.hash.hex(),
        )

    def finish_erasures(self, *, timeout_s: float = 0.0) -> bool:
        """Finish what a process that died, or gave up waiting, began; whether all is done now.

        Raises
        ------
        StoreError
            It cannot be written.
        """
        try:
            if wanted_scrub(self.catalog) or wanted_scrub(self.session):
                self._finish(timeout_s)
        except (ErasePending, StoreBusy):
            return False
        return True

    def _finish(self, timeout_s: float) -> Counter[str] | None:
        """Do all that is left; how many answers changed, ``None`` if no file of them did."""
        deadline = time.monotonic() + timeout_s
        done = 0
        try:
            # First: what was begun up to this commit is in the journal now.
            begun = wanted_scrub(self.catalog)
            overwrite_entered(self.catalog, self.vectors.folder)
            self.vectors.wipe_orphans()
            done = 1
            self.caches.wipe_outdated()
            done = 2
            answers = self.answers.forget_deleted(self.catalog)
            session_rebuilt = scrub_if_wanted(self.session, deadline)
            done = 3
            if begun:  # else another process was faster
                scrub(self.catalog, deadline)
                with self.catalog.write() as transaction:
                    settle_scrub(transaction, begun)
                    append_entry(
                        transaction.connection,
                        time_ms=now_ms(),
                        action=ERASED,
                        details={"up_to": begun},
                    )
        except StoreError as error:
            raise ErasePending(
                f"in no answer any more, but not all is overwritten yet: {_reason(error)}; "
                f"finished: {', '.join(_STEPS[:done]) or 'nothing'}; left: "
                f"{', '.join(_STEPS[done:])}; erase, compact or purge, or opening the store again "
                "goes on with it"
            ) from error
        return answers if session_rebuilt else None


_STEPS: Final = ("vectors", "saved indexes", "kept answers", "the catalog's free space and log")


def _reason(error: StoreError) -> str:
    """Say what failed. Our messages go on with what became of the call that failed, a step here."""
    return str(error).partition(";")[0]


class _Begun(NamedTuple):
    """An erasure whose assets are found no more: its audit entry, its commit, what goes."""

    entry: AuditEntry
    seq: int
    media_ids: list[str]
    segments: list[Segment]
    samples: list[SampleMatch]


def _entry_of_the_end(connection: sqlite3.Connection, begun: AuditEntry, seq: int) -> AuditEntry:
    """Find the entry of who finished it: this call, or another process for it."""
    query = "SELECT * FROM audit WHERE action = ? AND id > ? ORDER BY id"
    for row in connection.execute(query, (ERASED, begun.id)):
        entry = AuditEntry(*row)
        if json.loads(entry.details)["up_to"] >= seq:
            return entry
    raise StoreCorrupt("catalog.db: the audit has no entry of the end of an erasure")
