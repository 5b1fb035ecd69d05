"""Fuzz target: any text as the URL of a picture. Needs atheris, which tests do not.

    python tests/fuzz/fetch_url_fuzz.py -max_total_time=60

tests/test_fetch.py runs the same function over what hypothesis thinks of.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import sys

from facegrep._errors import PictureError
from facegrep.fetch import _addresses, _url

_HOST = re.compile(r"[a-z0-9.:-]+")
_TARGET = re.compile(r"/[!-~]*")


def fuzz_one(data: bytes) -> None:
    """Read a URL, then follow a redirect from it; only PictureError may leave.

    What is read is plain: a host that no resolver reads otherwise, a target of one line.
    """
    text, _, location = data.decode("utf-8", "surrogateescape").partition("\n")
    for begin in ("", "http://", "https://pictures.example:443"):
        with contextlib.suppress(PictureError):
            url = _url.read_url(begin + text)
            _require_plain(url)
            _require_plain(url.follow(location))
    _addresses.is_public(location)
    _addresses.is_possible(location)


def _require_plain(url: _url.Url) -> None:
    assert _HOST.fullmatch(url.host), url
    assert _TARGET.fullmatch(url.target), url
    assert 0 < url.port < 2**16, url


if __name__ == "__main__":
    atheris = importlib.import_module("atheris")
    for module in (_url, _addresses):
        for _, function in inspect.getmembers(module, inspect.isfunction):
            atheris.instrument_func(function)
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
