"""An account that goes, with all that is left of it once its libraries are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegrep._errors import OperationDeniedError
from facegrep.store._audit import append_entry
from facegrep.store._clock import now_ms
from facegrep.store._erase import EraseOperations
from facegrep.store._scrub import ERASE_TIMEOUT_S, want_scrub

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from facegrep.store._audit import AuditEntry

_TABLES = ("library", "recognition")


class AccountOperations(EraseOperations):
    """The Store's operations on accounts."""

    def has_account(self, account: str) -> bool:
        """Whether there is one of that name: with a row, or with a key alone."""
        with self.catalog.read() as connection:
            if _count(connection, "account", "name", account):
                return True
        return any(key.account == account for key in self.access.list_keys())

    def drop_account(
        self,
        account: str,
        *,
        actor: str | None = None,
        media: int = 0,
        faces: int = 0,
        details: Mapping[str, object] | None = None,
    ) -> AuditEntry:
        """Remove an account that has no library any more, and rebuild both files without it.

        Parameters
        ----------
        media, faces, details
            What the audit says that it had.

        Returns
        -------
        AuditEntry
            What the audit says of it.

        Raises
        ------
        OperationDeniedError
            Somebody made a library meanwhile.
        ErasePending
            It is gone, but its remains are not overwritten yet.
        """
        with self.catalog.write() as transaction:
            connection = transaction.connection
            if any(_count(connection, table, "account", account) for table in _TABLES):
                raise OperationDeniedError(
                    f"the account {account!r} has a library again, which somebody made meanwhile; "
                    "drop it once more"
                )
            connection.execute("DELETE FROM account WHERE name = ?", (account,))
            entry = append_entry(
                connection,
                time_ms=now_ms(),
                action="drop_account",
                actor=actor,
                account=account,
                media_count=media,
                face_count=faces,
                details=details,
            )
            want_scrub(transaction)
        self._finish(ERASE_TIMEOUT_S)
        return entry


def _count(connection: sqlite3.Connection, table: str, column: str, account: str) -> int:
    query = f"SELECT count(*) FROM {table} WHERE {column} = ?"
    return int(connection.execute(query, (account,)).fetchone()[0])
