"""Fuzz target: any bytes as the query string of any action. Needs atheris, which tests do not.

    python tests/fuzz/ice_requests_fuzz.py -max_total_time=60

tests/test_ice_requests.py runs the same function over what hypothesis thinks of.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from urllib.parse import parse_qsl

from facegrep.ice import IceError
from facegrep.ice._requests import read_request
from facegrep.ice._service import _ACTIONS

ACTIONS = [kind for kind, _ in _ACTIONS.values()]


def fuzz_one(data: bytes) -> None:
    """Read one request: a byte for the action, then its parameters; only IceError may leave."""
    query = data[1:].decode("utf-8", "surrogateescape")
    with contextlib.suppress(IceError):
        read_request(ACTIONS[sum(data[:1]) % len(ACTIONS)], dict(parse_qsl(query, True)))


if __name__ == "__main__":
    atheris = importlib.import_module("atheris")
    # Not instrument_imports: an editable install's finder is in its way.
    for name, module in list(sys.modules.items()):
        if name.startswith("facegrep.ice"):
            for _, function in inspect.getmembers(module, inspect.isfunction):
                atheris.instrument_func(function)
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
