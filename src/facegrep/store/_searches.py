"""The audit of searches: in session.db, so that a search never waits for a bulk insert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegrep._errors import OperationDeniedError
from facegrep.store._audit import append_entry, note_change
from facegrep.store._clock import now_ms
from facegrep.store._core import StoreCore
from facegrep.store._store_row import read_store, write_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegrep.store._libraries import LibraryRow


class SearchAuditOperations(StoreCore):
    """The Store's record of who searched what."""

    def set_search_audit(self, *, on: bool, account: str, actor: str | None = None) -> None:
        """Switch it on or off, for all accounts and processes; the audit of changes says so."""
        with self.catalog.write() as transaction:
            connection = transaction.connection
            if read_store(connection).search_audit == on:
                return
            _ = transaction.seq
            write_store(connection, read_store(connection)._replace(search_audit=int(on)))
            append_entry(
                connection,
                time_ms=now_ms(),
                action="set_search_audit",
                actor=actor,
                account=account,
                details={"to": on},
            )

    def require_auditable(self) -> None:
        """Refuse a search that is to be audited and cannot be.

        Raises
        ------
        OperationDeniedError
            The store is open readonly.
        """
        if self.readonly:
            raise OperationDeniedError(
                "searches of this store are audited, which a readonly engine cannot do; open it "
                "without readonly"
            )

    def note_search(
        self,
        library: LibraryRow,
        action: str,
        actor: str | None,
        *,
        media: int,
        details: Mapping[str, object],
    ) -> None:
        """Record a search durably, before its answer is given.

        Raises
        ------
        StoreError
            It was not recorded.
        """
        with self.session.write() as transaction:
            _ = transaction.seq
            note_change(
                transaction.connection, library, action, actor, media=media, details=details
            )
