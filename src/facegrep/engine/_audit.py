"""The audit: what was done to the store, by whom, and whether somebody changed that record."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from facegrep._arguments import check_count, shown
from facegrep._errors import InvalidArgumentError
from facegrep._names import check_name
from facegrep.engine._account_contents import AccountContents
from facegrep.engine._view import EngineCore
from facegrep.store import Receipt, contradictions, read_entries, read_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from facegrep.store import StoredEntry


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done.

    Attributes
    ----------
    number
        1, 2, 3..., of all accounts together.
    time_ms
        When, milliseconds since 1970 UTC.
    account, actor
        As whom, and who if the engine was told; no account: facegrep itself finished an erasure.
    action
        What: the name of the Engine's operation, as a rule.
    library
        Its name then; ``None`` for what concerns the whole store.
    media_count, face_count
        How many; of a search the assets that matched.
    details
        More numbers, and one salted hash of erased ids. Never an id, a vector or a text of yours.
    previous_hash, hash
        SHA-256 in hex: of the entry before, and of that and this entry.
    """

    number: int
    time_ms: int
    account: str | None
    actor: str | None
    action: str
    library: str | None
    media_count: int
    face_count: int
    details: Mapping[str, object]
    previous_hash: str
    hash: str

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Whether the audit is as it was written.

    Attributes
    ----------
    entries, searches
        How many there are, of changes, and of searches and keys.
    head
        The hash of the newest entry of changes: kept elsewhere, it proves all of them later.
    damages
        What is wrong, in words.
    missing
        The hashes asked for that no entry has.
    contradictions
        What the receipts asked for say, and the audit does not, in words.
    """

    entries: int
    searches: int
    head: str
    damages: tuple[str, ...]
    missing: tuple[str, ...]
    contradictions: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was changed, and the audit bears out all that was asked for."""
        return not (self.damages or self.missing or self.contradictions)

    def to_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return {"ok": self.ok, **asdict(self)}


class AuditOperations(EngineCore):
    """The Engine's operations on the audit."""

    @property
    def search_audit(self) -> bool:
        """Whether searches of this store are audited."""
        with self._store.catalog.read() as connection:
            return bool(read_store(connection).search_audit)

    def set_search_audit(self, on: bool) -> None:
        """Switch the audit of searches on or off, for all accounts and processes of the store.

        A search is then recorded durably before its answer is given, which costs it a commit; one
        that cannot be recorded fails, as in a readonly engine. So is the use of a kept answer.
        """
        if not isinstance(on, bool):
            raise InvalidArgumentError(f"on: expected a bool, got {shown(on)}")
        self._writable.set_search_audit(on=on, account=self._account, actor=self._actor)

    def audit(
        self,
        *,
        searches: bool = False,
        after: int = 0,
        limit: int | None = None,
        all_accounts: bool = False,
    ) -> list[AuditEntry]:
        """Read the audit, oldest first.

        Parameters
        ----------
        searches
            Of searches, and of keys, instead of changes.
        after
            Only entries with a greater number.
        limit
            How many at most.
        all_accounts
            By default only this account's, and those of facegrep itself.

        Raises
        ------
        StoreCorrupt
            An entry read was changed, taken out or put in.
        """
        count = None if limit is None else check_count(limit, "limit")
        start = check_count(after, "after")
        store = self._store
        database = store.session if searches else store.catalog
        with database.read() as connection:
            chosen = (
                _entry_of(entry)
                for entry in read_entries(connection, start)
                if all_accounts or entry.account in (None, self._account)
            )
            return list(itertools.islice(chosen, count))

    def verify_audit(self, *proofs: str | Receipt | AccountContents) -> AuditReport:
        """Check that no entry was changed, removed, added or moved, and that none is missing.

        The end is compared with what was acknowledged, in a file beside the database. Who changes
        both leaves no trace here; a receipt, or a head that was noted elsewhere, shows that too.

        Parameters
        ----------
        proofs
            Receipts that the audit must bear out, ids, counts and times, also those of accounts
            that were dropped; and hashes of entries that must be there, in hex.

        Returns
        -------
        AuditReport
            Damage is reported, never raised.
        """
        hashes: list[str] = []
        for number, proof in enumerate(proofs):
            if isinstance(proof, Receipt):
                hashes += [proof.begun_hash, proof.hash]
            elif isinstance(proof, AccountContents):
                hashes.append(proof.hash or "")
            else:
                hashes.append(check_name(proof, f"proofs[{number}]").lower())
        store = self._store
        changes, searches = (
            store.verify_chain(database, set(hashes)) for database in (store.catalog, store.session)
        )
        there = changes.found.keys() | searches.found.keys()
        receipts = [proof for proof in proofs if not isinstance(proof, str)]
        return AuditReport(
            entries=len(changes.hashes),
            searches=len(searches.hashes),
            head=changes.hashes[-1].hex() if changes.hashes else "",
            damages=(*changes.damages, *searches.damages),
            missing=tuple(text for text in hashes if text not in there),
            contradictions=tuple(self._contradictions(receipts, changes.found)),
        )

    def _contradictions(
        self,
        receipts: list[Receipt | AccountContents],
        entries: Mapping[str, StoredEntry],
    ) -> Iterator[str]:
        for receipt in receipts:
            done = entries.get(receipt.hash or "")
            wrong: list[str] = []
            if done is None:  # that is said as missing
                continue
            if isinstance(receipt, AccountContents):
                wrong = receipt.contradictions(done)
            elif (begun := entries.get(receipt.begun_hash)) is not None:
                with self._store.catalog.read() as connection:
                    salt = read_store(connection).salt
                wrong = contradictions(receipt, salt, begun, done)
            if wrong:
                yield f"receipt {receipt.hash}: the audit says otherwise of {', '.join(wrong)}"


def _entry_of(entry: StoredEntry) -> AuditEntry:
    return AuditEntry(
        number=entry.id,
        time_ms=entry.time_ms,
        account=entry.account,
        actor=entry.actor,
        action=entry.action,
        library=entry.library,
        media_count=entry.media_count,
        face_count=entry.face_count,
        details=json.loads(entry.details),
        previous_hash=entry.previous.hex(),
        hash=entry.hash.hex(),
    )
