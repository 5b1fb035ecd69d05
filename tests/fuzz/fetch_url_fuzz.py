"""Fuzz target: any text as the URL of a picture, and as where it redirects to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

from tests.fuzz import target

from facegrep._errors import PictureError
from facegrep.fetch import _addresses, _url

AIMS: Final = ("facegrep.fetch._addresses", "facegrep.fetch._url")
OPTIONS: Final = ("-max_len=1024",)
WORDS: Final = (
    *(b"http://", b"https://", b"//", b"/../", b"?", b"#", b"@", b":80", b":443", b":65536", b"\n"),
    *(b"127.0.0.1", b"0x7f.1", b"017700000001", b"[::1]", b"[::ffff:7f00:1]", b"[fe80::1%25eth0]"),
    *(
        b"localhost",
        b"xn--",
        "\uff45\u3002xn--\u00e9".encode(),
        b"%2e",
        b"%00",
        b"%0d%0a",
        b"169.254.169.254",
    ),
)

_HOST: Final = re.compile(r"[a-z0-9.:-]+")
_TARGET: Final = re.compile(r"/[!-~]*")


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


def seeds() -> Iterator[bytes]:
    """URLs as people have them, and as attackers do; behind a line, a redirect."""
    for url in (
        "https://pictures.example/a/b.jpg?size=1#top",
        "http://user:secret@pictures.example:8080/",
        "https://[2001:db8::1]:443/a%20b",
        "http://0x7f000001/\n//other.example/x",
        "https://bücher.example/ü\n../../y?z",
        "https://a.example/\nhttps://b.example:444/?q",
        "oss://bucket/key",
    ):
        yield url.encode()


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
