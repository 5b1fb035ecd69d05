"""The keys of a store: each is of one account, may do what its policy allows, and has a secret."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from facegrep._arguments import check_count
from facegrep._errors import MasterKeyError, NotFoundError, StoreCorrupt
from facegrep._names import check_name
from facegrep.keys._policy import Policy
from facegrep.keys._sealing import AES_256_GCM, NOT_SEALED, MasterKey, key_bytes, seal, unseal
from facegrep.store import AccessKeyRow, now_ms

if TYPE_CHECKING:
    from facegrep.engine import Engine

_LETTERS: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 20
_SECRET_LENGTH: Final = 40  # 238 bits


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key, and what it may do.

    Attributes
    ----------
    id
        AccessKeyId.
    account
        Whose libraries it reaches.
    policy
        What it may do there.
    created_ms, expires_ms
        ms UTC; it is refused from `expires_ms` on, ``None``: never.
    disabled
        Whether it was disabled.
    secret
        AccessKeySecret; empty where keys are listed.
    security_token
        What must come with every call of temporary credentials; ``None`` for other keys.
    """

    id: str
    account: str
    policy: Policy
    created_ms: int
    expires_ms: int | None
    disabled: bool
    secret: str = ""
    security_token: str | None = None

    def __repr__(self) -> str:  # no secret in a log
        return f"AccessKey(id={self.id!r}, account={self.account!r}, disabled={self.disabled})"


class _Secret(msgspec.Struct, frozen=True):
    """What is sealed."""

    secret: str
    security_token: str | None


_SECRET: Final = msgspec.json.Decoder(_Secret)  # made once, as _policy's


class Keys:
    """The keys of a store, of all accounts.

    Parameters
    ----------
    engine
        Any view of the store; its actor is who acts, for the audit.
    master_key
        What seals secrets: 32 bytes, or what returns them. Without it only keys that were made
        with ``sealed=False`` can be used, and made.

    Notes
    -----
    Thread-safe. What one process changes, all see at once: nothing is kept in memory.
    """

    def __init__(self, engine: Engine, master_key: MasterKey | None = None) -> None:
        self._access = engine.access
        self._actor = engine.actor
        self._master_key = master_key

    def create(
        self,
        account: str,
        policy: Policy | None = None,
        *,
        lifetime_ms: int | None = None,
        sealed: bool = True,
    ) -> AccessKey:
        """Make a key. The only time that its secret is shown.

        Parameters
        ----------
        account
            Whose libraries it reaches. It need not exist yet.
        policy
            What it may do; by default everything in its account.
        lifetime_ms
            Makes temporary credentials, with a token: how long they live.
        sealed
            Whether the secret is encrypted with the master key. Without, whoever reads the store
            or a backup of it can use the key.

        Raises
        ------
        InvalidArgumentError
            Not the name of an account, or not a lifetime.
        MasterKeyError
            `sealed`, and there is no master key, or not that of the keys which can be used.
        """
        check_name(account, "account")
        if sealed:  # one of another master key would keep a server from starting
            self.check_master_key()
        created_ms = now_ms()
        expires_ms = token = None
        prefix = "FG"
        if lifetime_ms is not None:
            expires_ms = created_ms + check_count(lifetime_ms, "lifetime_ms", 1)
            token = secrets.token_urlsafe(48)
            prefix = "STS."
        secret = _Secret(_random(_SECRET_LENGTH), token)
        content = msgspec.json.encode(secret)
        row = AccessKeyRow(
            id=prefix + _random(_ID_LENGTH),
            account=account,
            policy=(policy or Policy()).text,
            created_ms=created_ms,
            expires_ms=expires_ms,
            disabled=0,
            seal=AES_256_GCM if sealed else NOT_SEALED,
            sealed=content,
        )
        if sealed:
            row = row._replace(sealed=seal(content, _bound_to(row), self._require_master_key()))
        self._access.insert_key(row, self._actor)
        return _key(row, secret)

    def list(self) -> list[AccessKey]:
        """List all keys, oldest first, without their secrets."""
        return [_key(row) for row in self._access.list_keys()]

    def disable(self, key_id: str) -> None:
        """Refuse a key from now on, in every process.

        Raises
        ------
        NotFoundError
            There is none of that id.
        """
        if not self._access.disable_key(check_name(key_id, "key_id"), self._actor):
            raise NotFoundError("access key", key_id)

    def find(self, key_id: str) -> AccessKey | None:
        """Find a key with its secret, disabled and expired ones too.

        Raises
        ------
        MasterKeyError
            Its secret does not open.
        """
        row = self._access.find_key(key_id)
        return None if row is None else _key(row, self._open(row))

    def check_master_key(self) -> None:
        """Make sure that the secret of every key that can be used opens.

        Raises
        ------
        MasterKeyError
            One does not.
        """
        for row in self._access.list_keys():
            if not row.disabled:
                self._open(row)

    def reseal(self, new_master_key: MasterKey, *, unsealed_too: bool = False) -> int:
        """Seal the secrets of all keys, disabled and expired ones too, with another master key.

        All or none, in one transaction; then the store holds nothing any more that the old one
        opens. Backups do. Whoever has the old one, this object too, opens no sealed secret from
        then on: make `Keys` anew, and restart servers.

        Parameters
        ----------
        new_master_key
            32 bytes, or what returns them.
        unsealed_too
            Whether secrets that were made with ``sealed=False`` are sealed as well.

        Returns
        -------
        int
            How many secrets are sealed anew.

        Raises
        ------
        MasterKeyError
            Nothing was changed: a secret does not open with the old one, or the new one is the
            same, or none.
        ErasePending
            They are sealed anew, but remains of the old are not overwritten yet.
        """
        new_key = key_bytes(new_master_key)
        if self._master_key is not None and key_bytes(self._master_key) == new_key:
            raise MasterKeyError("the new master key is the old one; nothing was changed")

        def reseal(row: AccessKeyRow) -> AccessKeyRow:
            if row.seal == NOT_SEALED and not unsealed_too:
                return row
            content = msgspec.json.encode(self._open(row))
            resealed = row._replace(seal=AES_256_GCM)
            return resealed._replace(sealed=seal(content, _bound_to(resealed), new_key))

        return self._access.reseal_keys(reseal, self._actor)

    def use_nonce(self, key_id: str, nonce: str, expires_ms: int) -> bool:
        """Remember a nonce of a key; returns whether it is new. In one process only, ever."""
        return self._access.use_nonce(key_id, nonce, expires_ms)

    def _open(self, row: AccessKeyRow) -> _Secret:
        if row.seal == AES_256_GCM:
            content = unseal(row.sealed, _bound_to(row), self._require_master_key())
        elif row.seal == NOT_SEALED:
            content = row.sealed
        else:
            raise StoreCorrupt(f"session.db: the access key {row.id!r} is sealed by {row.seal!r}")
        try:
            return _SECRET.decode(content)
        except msgspec.DecodeError as error:
            raise StoreCorrupt(f"session.db: the secret of key {row.id!r} is none") from error

    def _require_master_key(self) -> MasterKey:
        if self._master_key is None:
            raise MasterKeyError(
                "secrets are sealed with a master key, and there is none: set FACEGREP_MASTER_KEY "
                "to 32 bytes in base64 (`openssl rand -base64 32`) or FACEGREP_MASTER_KEY_FILE to "
                "a file that holds them"
            )
        return self._master_key


def _bound_to(row: AccessKeyRow) -> bytes:
    """All of a row that must not be exchanged: whose key it is, what it may do, until when."""
    return msgspec.msgpack.encode(
        (row.id, row.account, row.policy, row.created_ms, row.expires_ms, row.seal)
    )


def _key(row: AccessKeyRow, secret: _Secret | None = None) -> AccessKey:
    return AccessKey(
        id=row.id,
        account=row.account,
        policy=Policy(row.policy),
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        disabled=bool(row.disabled),
        secret="" if secret is None else secret.secret,
        security_token=None if secret is None else secret.security_token,
    )


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
