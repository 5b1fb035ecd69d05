"""ACS3-HMAC-SHA256: what a request claims, and whether who sent it had the key's secret.

In this order, so that nothing is believed before it is proved: `read_signed` parses strictly and
wants every header that matters signed; `check_signature` looks at the clock, at the body's hash,
then at the HMAC. Whether the nonce is new is asked last, by who calls these: only a request that is
signed may be remembered.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from facegrep.ice import IceError
from facegrep.server._query import canonical_query, encode, read_query

MAX_SKEW_MS: Final = 15 * 60 * 1000

_ALGORITHM: Final = b"ACS3-HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    rb"ACS3-HMAC-SHA256 Credential=([!-+\--~]{1,128}),"
    rb"SignedHeaders=([a-z0-9-]{1,64}(?:;[a-z0-9-]{1,64}){0,63}),Signature=([0-9a-f]{64})"
)
_ALWAYS_SIGNED: Final = (
    b"host",
    b"x-acs-action",
    b"x-acs-version",
    b"x-acs-date",
    b"x-acs-signature-nonce",
    b"x-acs-content-sha256",
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_PRINTABLE: Final = re.compile(r"[!-~]{1,128}")
# For keys that do not exist, so that they cost as much as those that do.
_NO_SECRET: Final = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a request claims; nothing of it is true before `check_signature`.

    Attributes
    ----------
    access_key_id
        Whose key it says was used.
    security_token
        The token of temporary credentials, if it brought one.
    action, version
        From ``x-acs-action`` and ``x-acs-version``.
    parameters
        The query, decoded.
    time_ms
        From ``x-acs-date``, ms UTC.
    nonce
        From ``x-acs-signature-nonce``, 1 to 128 printable ASCII characters.
    """

    access_key_id: str
    security_token: str | None
    action: str
    version: str
    parameters: dict[str, str]
    time_ms: int
    nonce: str
    _body_matches: bool
    _string_to_sign: bytes
    _signature: str


def read_signed(
    method: str, path: str, query: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> SignedRequest:
    """Read a request as it came.

    Parameters
    ----------
    method, path, query
        Of the request line: ``"POST"``, the decoded path, what follows ``?`` as it was spelled.
    headers
        Every header line; names in lower case.

    Raises
    ------
    IceError
        400: IncompleteSignature, InvalidTimeStamp.Format or InvalidParameter.
    """
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lines.setdefault(name, []).append(value.strip(b" \t"))
    authorization = _only(lines, b"authorization")
    found = _AUTHORIZATION.fullmatch(authorization)
    if found is None:
        if not authorization.startswith(_ALGORITHM + b" "):
            raise _incomplete(f"the Authorization header must be of {_ALGORITHM.decode()}")
        raise _incomplete(
            "expected 'ACS3-HMAC-SHA256 Credential=...,SignedHeaders=a;b,Signature=...', the "
            "signature in 64 lower-case hex digits"
        )
    key_id, listed, signature = found.groups()
    signed = listed.split(b";")
    if sorted(set(signed)) != signed:
        raise _incomplete("SignedHeaders must be sorted, each name once")
    for name in (*_ALWAYS_SIGNED, *(name for name in lines if name.startswith(b"x-acs-"))):
        if name not in signed:
            raise _incomplete(f"the header {_shown(name)} must be present and signed")
    values = {name: _only(lines, name) for name in signed}
    told_key_id = values.get(b"x-acs-accesskey-id", key_id)
    if told_key_id != key_id:
        raise _incomplete("x-acs-accesskey-id and Credential name different keys")
    token = values.get(b"x-acs-security-token")
    body_sha256 = values[b"x-acs-content-sha256"]
    parameters = read_query(query)
    canonical = b"\n".join(
        (
            method.encode(),
            "/".join(encode(part) for part in path.split("/")).encode(),
            canonical_query(parameters).encode(),
            *(name + b":" + values[name] for name in signed),
            b"",
            listed,
            body_sha256,
        )
    )
    return SignedRequest(
        access_key_id=key_id.decode(),
        security_token=None if token is None else _text(token, "x-acs-security-token"),
        action=_text(values[b"x-acs-action"], "x-acs-action"),
        version=_text(values[b"x-acs-version"], "x-acs-version"),
        parameters=parameters,
        time_ms=_time_ms(_text(values[b"x-acs-date"], "x-acs-date")),
        nonce=_nonce(_text(values[b"x-acs-signature-nonce"], "x-acs-signature-nonce")),
        _body_matches=hashlib.sha256(body).hexdigest().encode() == body_sha256,
        _string_to_sign=_ALGORITHM + b"\n" + hashlib.sha256(canonical).hexdigest().encode(),
        _signature=signature.decode(),
    )


def check_signature(
    request: SignedRequest, secret: bytes | None, security_token: str | None, now_ms: int
) -> None:
    """Make sure that whoever sent a request has the secret of its key.

    Parameters
    ----------
    secret
        The key's; ``None`` where there is no such key.
    security_token
        What the key must be presented with; ``None`` for a key that has none.
    now_ms
        The time, ms UTC.

    Raises
    ------
    IceError
        InvalidTimeStamp.Expired, SignatureDoesNotMatch, InvalidAccessKeyId.NotFound or
        InvalidSecurityToken.
    """
    if abs(now_ms - request.time_ms) > MAX_SKEW_MS:
        text = "Specified time stamp or date value is expired: more than 15 minutes off."
        raise IceError(400, "InvalidTimeStamp.Expired", text)
    if not request._body_matches:
        text = "Specified signature is not matched: x-acs-content-sha256 is not that of the body."
        raise IceError(400, "SignatureDoesNotMatch", text)
    key = _NO_SECRET if secret is None else secret
    expected = hmac.new(key, request._string_to_sign, hashlib.sha256).hexdigest()
    matches = hmac.compare_digest(expected, request._signature)
    if secret is None:
        raise IceError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    if not matches:
        text = "Specified signature is not matched with our calculation."
        raise IceError(400, "SignatureDoesNotMatch", text)
    presented = (request.security_token or "").encode()
    if not hmac.compare_digest(presented, (security_token or "").encode()):
        text = "Specified security token is not that of the access key."
        raise IceError(400, "InvalidSecurityToken", text)


def _only(lines: dict[bytes, list[bytes]], name: bytes) -> bytes:
    """Return the value of a header that must be there once."""
    values = lines.get(name, [])
    if len(values) != 1:
        raise _incomplete(f"expected one header {_shown(name)}, got {len(values)}")
    return values[0]


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise _incomplete(f"the header {name} must be ASCII") from error


def _nonce(value: str) -> str:
    if not _PRINTABLE.fullmatch(value):
        raise _incomplete("x-acs-signature-nonce must be 1 to 128 printable ASCII characters")
    return value


def _time_ms(value: str) -> int:
    try:
        if not _DATE.fullmatch(value):
            raise ValueError("another form")
        time = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        text = "Specified time stamp or date value is not well formatted: YYYY-MM-DDTHH:MM:SSZ."
        raise IceError(400, "InvalidTimeStamp.Format", text) from error
    return int(time.timestamp()) * 1000


def _shown(name: bytes) -> str:
    return name[:64].decode("ascii", "backslashreplace")


def _incomplete(reason: str) -> IceError:
    text = f"The request signature does not conform to the standard: {reason}."
    return IceError(400, "IncompleteSignature", text)
