"""Fuzz target: any bytes as a signed request and its query. Needs atheris, which tests do not.

    python tests/fuzz/signature_fuzz.py -max_total_time=60

tests/test_server_signature.py runs the same function over what hypothesis thinks of.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys

from facegrep.ice import IceError
from facegrep.server import _query, _signature

_NAMES = (
    b"authorization",
    b"host",
    b"x-acs-action",
    b"x-acs-content-sha256",
    b"x-acs-date",
    b"x-acs-signature-nonce",
    b"x-acs-version",
    b"x-acs-security-token",
)


def fuzz_one(data: bytes) -> None:
    """Read lines: the query, then headers in a known order; only IceError may leave.

    What is read at all must survive being spelled anew.
    """
    query, *values = data.split(b"\n")
    headers = list(zip(_NAMES, values, strict=False))
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
