"""Assets that go without a trace: vectors, rows and ids, from every file of the store.

In this order, each step durable before the next:

1. One transaction: the assets become tombstones, as in `delete`; their slots enter the journal,
   with the checksums that their blocks will have; the file is marked to be rebuilt; the audit says
   so.
2. The slots are overwritten, and the journal is emptied; saved indexes are overwritten and removed.
3. Frozen answers lose their hits; session.db is rebuilt if it held any, then catalog.db.
4. One transaction takes the mark away, and the audit says that it is done.

From 1 on no search finds them. A crash anywhere is taken up by `finish_erasures`, which the next
opening for writing calls: it does 2 to 4 again, as often as it takes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Final

from facegrep._errors import ErasePending, StoreBusy, StoreError
from facegrep.store._audit import AuditEntry, append_entry
from facegrep.store._core import StoreCore, now_ms
from facegrep.store._journal import enter_slots, overwrite_entered
from facegrep.store._libraries import count_assets, same_library
from facegrep.store._media import find_live, require_absent
from facegrep.store._media_rows import delete_media
from facegrep.store._receipt import Receipt
from facegrep.store._scrub import scrub, settle_scrub, want_scrub, wanted_scrub
from facegrep.store._store_row import read_store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from facegrep.store._libraries import LibraryRow

ERASE_TIMEOUT_S: Final = 10.0
"""How long an erasure waits for readers that hold back the log before `ErasePending`."""


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
        timeout_s: float = ERASE_TIMEOUT_S,
    ) -> Receipt:
        """Erase assets from every file.

        Parameters
        ----------
        library, media_ids
            Which; unknown ids count for nothing.
        actor, action
            What the audit says of it.
        answers
            Frozen answers that went already.
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
            rows = find_live(connection, current, media_ids)
            if unknown := set(media_ids) - {row.media_id for row in rows}:
                require_absent(connection, current, unknown)
            seq = want_scrub(transaction)
            segments = enter_slots(connection, self.vectors.folder, current, rows)
            digest = delete_media(connection, current, seq, rows)
            faces = sum(row.face_count for row in rows)
            changed = dataclasses.replace(current, erased_seq=seq)
            count_assets(connection, changed, seq, media=-len(rows), faces=-faces, digest=digest)
            erased = sorted(row.media_id for row in rows)
            begun = append_entry(
                connection,
                time_ms=now_ms(),
                action=action,
                actor=actor,
                account=library.account,
                library_id=library.id,
                library=library.name,
                media_count=len(rows),
                face_count=faces,
                details={"ids": hash_ids(read_store(connection).salt, erased)},
            )
        changed_answers = self._finish(timeout_s)
        try:
            with self.catalog.read() as connection:
                done = _entry_of_the_end(connection, begun, seq)
        except StoreError as error:
            raise ErasePending(
                "in no answer any more, but what the audit says of the end cannot be read; erase "
                "them again for a receipt"
            ) from error
        return Receipt(
            library=library.name,
            media_ids=tuple(erased),
            unknown_ids=tuple(sorted(set(media_ids) - set(erased))),
            face_count=faces,
            segments=tuple(segment.file_name for segment in segments),
            generations=tuple(sorted({segment.generation for segment in segments})),
            rewritten=("catalog.db", *([] if changed_answers is None else ["session.db"])),
            answers=answers + (changed_answers or 0),
            begun_ms=begun.time_ms,
            erased_ms=done.time_ms,
            begun_hash=begun.hash.hex(),
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

    def _finish(self, timeout_s: float) -> int | None:
        """Do all that is left to do; how many answers changed, ``None`` if no file of them did."""
        deadline = time.monotonic() + timeout_s
        try:
            # First: what was begun up to this commit is in the journal now.
            begun = wanted_scrub(self.catalog)
            overwrite_entered(self.catalog, self.vectors.folder)
            self.caches.wipe_outdated()
            answers = self.answers.forget_deleted(self.catalog)
            of_session = wanted_scrub(self.session)
            if of_session:
                scrub(self.session, deadline)
                with self.session.write() as transaction:
                    settle_scrub(transaction, of_session)
            if begun:  # else another process was faster
                scrub(self.catalog, deadline)
                with self.catalog.write() as transaction:
                    settle_scrub(transaction, begun)
                    append_entry(
                        transaction.connection,
                        time_ms=now_ms(),
                        action=_ERASED,
                        details={"up_to": begun},
                    )
        except StoreError as error:
            raise ErasePending(
                f"in no answer any more, but not all is overwritten yet: {error}; erase, compact "
                "or purge, or opening the store again goes on with it"
            ) from error
        return answers if of_session else None


_ERASED: Final = "erased"


def hash_ids(salt: bytes, media_ids: Iterable[str]) -> str:
    """Return what stands for ids that must not be found: HMAC-SHA256 of them, sorted.

    Who has the ids and the store can show that these were erased; the store alone names nobody.
    """
    message = b"".join(hashlib.sha256(name.encode()).digest() for name in sorted(media_ids))
    return hmac.digest(salt, message, "sha256").hex()


def _entry_of_the_end(connection: sqlite3.Connection, begun: AuditEntry, seq: int) -> AuditEntry:
    """Find the entry of who finished it: this call, or another process for it."""
    query = "SELECT * FROM audit WHERE action = ? AND id > ? ORDER BY id"
    for row in connection.execute(query, (_ERASED, begun.id)):
        entry = AuditEntry(*row)
        if json.loads(entry.details)["up_to"] >= seq:
            return entry
    raise ErasePending("not all is overwritten yet")
