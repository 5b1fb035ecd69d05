"""Who may call a server: rows of keys, and the nonces that they used, in ``session.db``.

There because every call writes a nonce, and must not wait for a bulk insert. Keys lie beside them,
so that a call reads one file; what is in them is sealed, or not, by who makes them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from facegrep._errors import AlreadyExistsError, ErasePending, StoreCorrupt, StoreError
from facegrep.store._audit import append_entry
from facegrep.store._checksum import checked, with_checksum
from facegrep.store._clock import now_ms
from facegrep.store._scrub import ERASE_TIMEOUT_S, scrub_if_wanted, want_scrub

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from facegrep.store._database import Database

_KEPT_MS: Final = 60_000
"""How long a nonce stays after it is over: a clock may be set back a little."""


class AccessKeyRow(NamedTuple):
    """A key: its columns in table ``access_key``, but the checksum.

    Attributes
    ----------
    account
        Whose libraries it reaches.
    policy
        JSON: what it may do.
    expires_ms
        When it is over; ``None``: never.
    disabled
        1 once it was disabled, for ever.
    seal, sealed
        How its secret is kept, and the secret so.
    """

    id: str
    account: str
    policy: str
    created_ms: int
    expires_ms: int | None
    disabled: int
    seal: str
    sealed: bytes


class AccessStore:
    """Keys and nonces of all accounts. Thread-safe, and shared by all processes of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutex = threading.Lock()
        self._committing = threading.Lock()
        self._waiting: list[_Use] = []

    def insert_key(self, row: AccessKeyRow, actor: str | None = None) -> None:
        """Add a key.

        Raises
        ------
        AlreadyExistsError
            The id is taken.
        """
        with self._database.write() as transaction:
            connection = transaction.connection
            _ = transaction.seq
            if _find(connection, row.id) is not None:
                raise AlreadyExistsError(f"the access key {row.id!r} exists")
            marks = ", ".join("?" * (len(row) + 1))
            connection.execute(f"INSERT INTO access_key VALUES ({marks})", with_checksum(row))
            _note(connection, "create_key", row, actor)

    def find_key(self, key_id: str) -> AccessKeyRow | None:
        """Find a key, disabled and expired ones too; as it is now, whoever changed it."""
        with self._database.read() as connection:
            return _find(connection, key_id)

    def list_keys(self) -> list[AccessKeyRow]:
        """List all keys, oldest first."""
        with self._database.read() as connection:
            return _list(connection)

    def disable_key(self, key_id: str, actor: str | None = None) -> bool:
        """Disable a key for ever; no call that begins later is accepted.

        Returns
        -------
        bool
            Whether there is such a key.
        """
        with self._database.write() as transaction:
            connection = transaction.connection
            row = _find(connection, key_id)
            if row is None or row.disabled:
                return row is not None
            _ = transaction.seq
            new = row._replace(disabled=1)
            connection.execute(
                "UPDATE access_key SET disabled = 1, checksum = ? WHERE id = ?",
                (with_checksum(new)[-1], key_id),
            )
            _note(connection, "disable_key", row, actor)
        return True

    def reseal_keys(
        self, reseal: Callable[[AccessKeyRow], AccessKeyRow], actor: str | None = None
    ) -> int:
        """Keep the secrets of keys in another way: all or none; and the old way in no file.

        Parameters
        ----------
        reseal
            Returns a key with its secret kept anew, or as it is. What it raises changes nothing.

        Returns
        -------
        int
            How many keys changed.

        Raises
        ------
        ErasePending
            They are kept anew, but remains of the old secrets are not overwritten yet.
        """
        with self._database.write() as transaction:
            connection = transaction.connection
            changed = [new for row in _list(connection) if (new := reseal(row)) != row]
            for row in changed:
                connection.execute(
                    "UPDATE access_key SET seal = ?, sealed = ?, checksum = ? WHERE id = ?",
                    (row.seal, row.sealed, with_checksum(row)[-1], row.id),
                )
                _note(connection, "reseal_key", row, actor)
            if changed:
                want_scrub(transaction)
        try:
            scrub_if_wanted(self._database, time.monotonic() + ERASE_TIMEOUT_S)
        except StoreError as error:
            raise ErasePending(
                "the keys are sealed anew, but what they were before is not overwritten yet: "
                f"{str(error).partition(';')[0]}; purge, or opening the store again, goes on with "
                "it"
            ) from error
        return len(changed)

    def forget_account(self, account: str, actor: str | None = None) -> None:
        """Remove the keys of an account with their nonces, and want the file rebuilt."""
        with self._database.write() as transaction:
            connection = transaction.connection
            query = "SELECT * FROM access_key WHERE account = ?"
            keys = [_checked(row) for row in connection.execute(query, (account,)).fetchall()]
            for key in keys:
                connection.execute("DELETE FROM nonce WHERE access_key_id = ?", (key.id,))
                connection.execute("DELETE FROM access_key WHERE id = ?", (key.id,))
                _note(connection, "drop_key", key, actor)
            # Also for frozen answers of its libraries, which go next.
            want_scrub(transaction)

    def use_nonce(self, key_id: str, nonce: str, expires_ms: int) -> bool:
        """Remember a nonce, durably; of many who try at once, in any process, one succeeds.

        Parameters
        ----------
        expires_ms
            When a request that has it would be refused for its age.

        Returns
        -------
        bool
            Whether it is new.

        Raises
        ------
        StoreError
            It was not recorded, or that is not known: refuse the call.
        """
        mine = _Use((key_id, nonce, expires_ms))
        with self._mutex:
            self._waiting.append(mine)
        # Who comes while another commits waits here; the next one commits for all of them, so that
        # calls at once share one flush of the disk.
        with self._committing:
            if mine.is_new is None:
                with self._mutex:
                    uses, self._waiting = self._waiting, []
                self._commit(uses, mine)
        if mine.error is not None:
            raise mine.error
        return bool(mine.is_new)

    def _commit(self, uses: list[_Use], mine: _Use) -> None:
        try:
            with self._database.write() as transaction:
                connection = transaction.connection
                insert = "INSERT INTO nonce VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
                found = [
                    connection.execute(insert, with_checksum(use.row)).rowcount == 1 for use in uses
                ]
                if any(found):
                    _ = transaction.seq
                    over_ms = now_ms() - _KEPT_MS
                    connection.execute("DELETE FROM nonce WHERE expires_ms < ?", (over_ms,))
        except BaseException as error:
            # Nothing was written of any of them, or it is not known what was.
            for use in uses:
                use.is_new = False
                if use is not mine:
                    use.error = StoreError(f"the nonce was not recorded: {error}")
            raise
        for use, is_new in zip(uses, found, strict=True):
            use.is_new = is_new


@dataclass(slots=True, eq=False)
class _Use:
    """A nonce that a caller waits for; ``is_new`` is ``None`` until it was tried."""

    row: tuple[str, str, int]
    is_new: bool | None = None
    error: StoreError | None = None


def _list(connection: sqlite3.Connection) -> list[AccessKeyRow]:
    rows = connection.execute("SELECT * FROM access_key ORDER BY created_ms, id").fetchall()
    return [_checked(row) for row in rows]


def _find(connection: sqlite3.Connection, key_id: str) -> AccessKeyRow | None:
    row = connection.execute("SELECT * FROM access_key WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else _checked(row)


def _checked(row: tuple[object, ...]) -> AccessKeyRow:
    try:
        return AccessKeyRow(*checked(row, "access_key (session.db)")[:-1])  # type: ignore[arg-type]
    except TypeError as error:
        raise StoreCorrupt("session.db: a row of table access_key is no key") from error


def _note(
    connection: sqlite3.Connection, action: str, row: AccessKeyRow, actor: str | None
) -> None:
    append_entry(
        connection,
        time_ms=now_ms(),
        action=action,
        actor=actor,
        account=row.account,
        details={"key": row.id},
    )
