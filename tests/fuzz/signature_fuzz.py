"""Fuzz target: any bytes as a signed request and its query. Needs atheris, which tests do not.

    python tests/fuzz/signature_fuzz.py -max_total_time=60

tests/test_server_signature.py runs the same function over what hypothesis thinks of.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys

from facegrep.ice import IceError
from facegrep.server import _query, _signature

_SIGNED = b"host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
_HEADERS = (
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
    """Read lines: the query, then headers in a known order; empty ones are as they should be.

    Only IceError may leave; what is read at all must survive being spelled anew.
    """
    query, *values = data.split(b"\n")
    values += [b""] * (len(_HEADERS) - len(values))
    headers = [
        (name, value or usual) for (name, usual), value in zip(_HEADERS, values, strict=False)
    ]
    with contextlib.suppress(IceError):
        parameters = _query.read_query(query)
        assert _query.read_query(_query.canonical_query(parameters).encode()) == parameters
    with contextlib.suppress(IceError):
        request = _signature.read_signed("POST", "/", query, headers, b"")
        _signature.check_signature(request, b"secret", None, request.time_ms)


if __name__ == "__main__":
    atheris = importlib.import_module("atheris")
    # Not instrument_imports: an editable install's finder is in its way.
    for module in (_query, _signature):
        for _, function in inspect.getmembers(module, inspect.isfunction):
            atheris.instrument_func(function)
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
