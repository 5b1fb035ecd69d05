"""Fuzz target: any bytes as a signed request and its query."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tests.fuzz import target

from facegrep.ice import IceError
from facegrep.server import _query, _signature

AIMS: Final = ("facegrep.server._query", "facegrep.server._signature")
OPTIONS: Final = ("-max_len=2048",)
WORDS: Final = (
    *(b"ACS3-HMAC-SHA256 ", b"Credential=", b"SignedHeaders=", b"Signature=", b"\n", b"&", b"%2B"),
    *(b"host", b"x-acs-action", b"x-acs-content-sha256", b"x-acs-date", b"x-acs-security-token"),
    *(b"x-acs-signature-nonce", b"x-acs-version", b"content-type", b"2026-11-25T00:00:00Z"),
    *(b"2020-11-09", b"SearchMediaByFace", b"+", b"%20", b"%C3%A9", b"%FF"),
)
_SIGNED: Final = (
    b"host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
)
_HEADERS: Final = (
    (
        b"authorization",
        b"ACS3-HMAC-SHA256 Credential=a,SignedHeaders=%b,Signature=" % _SIGNED + b"0" * 64,
    ),
    (b"host", b"ice.example"),
    (b"x-acs-action", b"SearchMediaByFace"),
    (b"x-acs-content-sha256", hashlib.sha256(b"").hexdigest().encode()),
    (b"x-acs-date", b"2026-11-25T00:00:00Z"),
    (b"x-acs-signature-nonce", b"0123456789abcdef"),
    (b"x-acs-version", b"2020-11-09"),
)


def fuzz_one(data: bytes) -> None:
    """Read lines: the query, headers in a known order, more headers with their names.

    Empty ones are as they should be. Only IceError may leave; what is read at all must survive
    being spelled anew, is not accepted as it was signed, and is once it is signed right.
    """
    query, *values = data.split(b"\n")
    more = [line.partition(b":")[::2] for line in values[len(_HEADERS) :]]
    values += [b""] * (len(_HEADERS) - len(values))
    headers = [
        (name, value or usual) for (name, usual), value in zip(_HEADERS, values, strict=False)
    ]
    with contextlib.suppress(IceError):
        parameters = _query.read_query(query)
        assert _query.read_query(_query.canonical_query(parameters).encode()) == parameters
    with contextlib.suppress(IceError):
        _require_refused(_signature.read_signed("POST", "/", query, [*headers, *more], b""))


def _require_refused(request: _signature.SignedRequest) -> None:
    token = request.security_token
    assert not _is_accepted(request, _SECRET, token)
    made = hmac.new(_SECRET, request._string_to_sign, hashlib.sha256).hexdigest()
    signed = replace(request, _signature=made)
    assert _is_accepted(signed, _SECRET, token) == request._body_matches
    assert not _is_accepted(signed, None, token)
    assert not _is_accepted(signed, b"another", token)
    assert not _is_accepted(signed, _SECRET, "another")


def _is_accepted(
    request: _signature.SignedRequest, secret: bytes | None, token: str | None
) -> bool:
    try:
        _signature.check_signature(request, secret, token, request.time_ms)
    except IceError:
        return False
    return True


_SECRET: Final = b"secret"


def seeds() -> Iterator[bytes]:
    """A good request, and the good value of every line."""
    good = [value for _, value in _HEADERS]
    yield b"\n".join((b"PageNo=1&Name=a%20b", *good))
    for number, value in enumerate(good):
        yield b"a=%C3%A9&b" + b"\n" * (number + 1) + value
    token = b"host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;"
    signed = _SIGNED.replace(b"host;x-acs-action;x-acs-content-sha256;x-acs-date;", token)
    line = good[0].replace(_SIGNED, signed)
    yield b"\n".join((b"PageNo=1", line, *good[1:], b"x-acs-security-token:token"))


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
