"""Secrets at rest: AES-256-GCM under a master key that the store does not hold."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from facegrep._errors import MasterKeyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MasterKey: TypeAlias = "bytes | Callable[[], bytes]"
"""32 bytes, or what returns them when they are wanted."""

MASTER_KEY_BYTES: Final = 32
AES_256_GCM: Final = "aes-256-gcm"
NOT_SEALED: Final = "none"

MASTER_KEY_VARIABLE: Final = "FACEGREP_MASTER_KEY"
NEW_MASTER_KEY_VARIABLE: Final = "FACEGREP_NEW_MASTER_KEY"
"""What secrets are to be sealed with instead."""

_NONCE_BYTES: Final = 12
_MAKE_ONE: Final = "make one with `openssl rand -base64 32`"


def master_key_from_environment(variable: str = MASTER_KEY_VARIABLE) -> bytes | None:
    """Read the master key that the environment names, if it names one.

    ``FACEGREP_MASTER_KEY`` is the key in base64; ``FACEGREP_MASTER_KEY_FILE`` a file that holds
    that text, or the 32 bytes themselves, and that only its owner can read. Or another `variable`,
    and it with ``_FILE``.

    Raises
    ------
    MasterKeyError
        Both are set, the file cannot be read or others can, or it is no such key.
    """
    file_variable = f"{variable}_FILE"
    text, file = os.environ.get(variable), os.environ.get(file_variable)
    if text and file:
        raise MasterKeyError(f"{variable} and {file_variable} are both set; set one")
    if text:
        return _read(text.encode(), variable)
    if not file:
        return None
    try:
        with Path(file).open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read(1024)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MasterKeyError(f"{file_variable}: {reason}") from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise MasterKeyError(f"{file_variable}: others can read {file}; chmod 600 it")
    return content if len(content) == MASTER_KEY_BYTES else _read(content, file_variable)


def _read(text: bytes, name: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise MasterKeyError(f"{name}: expected {MASTER_KEY_BYTES} bytes in base64; {_MAKE_ONE}")
    return key


def seal(secret: bytes, bound_to: bytes, master_key: MasterKey) -> bytes:
    """Encrypt a secret, so that it opens only together with `bound_to`, which stays readable.

    Raises
    ------
    MasterKeyError
        It is not 32 bytes, or the package ``cryptography`` is not installed.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(master_key).encrypt(nonce, secret, bound_to)


def unseal(sealed: bytes, bound_to: bytes, master_key: MasterKey) -> bytes:
    """Decrypt what `seal` made.

    Raises
    ------
    MasterKeyError
        Another key sealed it, or it or `bound_to` were changed since.
    """
    cipher = _cipher(master_key)
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError) as error:
        raise MasterKeyError(
            "a secret does not open: it was sealed with another master key, or its row was "
            "changed; if that master key is lost, disable the keys that it sealed"
        ) from error


def _cipher(master_key: MasterKey) -> AESGCM:
    key = key_bytes(master_key)
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError as error:
        raise MasterKeyError(
            "sealing secrets needs the package cryptography: pip install 'facegrep[server]'"
        ) from error
    return aead.AESGCM(key)


def key_bytes(master_key: MasterKey) -> bytes:
    """Return the key itself.

    Raises
    ------
    MasterKeyError
        It is not 32 bytes.
    """
    key: object = master_key() if callable(master_key) else master_key
    if not isinstance(key, bytes) or len(key) != MASTER_KEY_BYTES:
        raise MasterKeyError(f"the master key must be {MASTER_KEY_BYTES} bytes; {_MAKE_ONE}")
    return key
