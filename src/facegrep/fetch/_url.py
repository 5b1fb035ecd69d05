"""A URL to its parts, read in the one way in which it cannot mean two hosts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

import idna

from facegrep._errors import PictureError

_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^\s/?#@:\\\[\]%]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#\\]*)?"
    r"(?P<query>\?[^#\\]*)?",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL.

    Attributes
    ----------
    host
        A name in ASCII and lower case, or an address without brackets.
    target
        Path and query, as a request has them.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def is_default_port(self) -> bool:
        """Whether the port is the one of the scheme."""
        return self.port == _PORTS[self.scheme]

    @property
    def host_header(self) -> str:
        """What the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.is_default_port else f"{host}:{self.port}"

    def follow(self, location: str) -> Url:
        """Read where a redirect leads.

        Raises
        ------
        PictureError
            Nowhere that is read here, or from https to http.
        """
        try:
            joined = urljoin(f"{self.scheme}://{self.host_header}{self.target}", location)
        except ValueError as error:
            raise refused("it is redirected to no URL that is read here") from error
        there = read_url(joined)
        if (self.scheme, there.scheme) == ("https", "http"):
            raise refused("it is redirected from https to http")
        return there


def read_url(text: str) -> Url:
    """Read a URL.

    Names with other letters become ASCII (IDNA). What other readers take for an address in another
    spelling (``0x7f.1``, ``2130706433``, ``127.1``) is refused, as are user names, backslashes,
    fragments, percent signs in the host and zones of IPv6.

    Raises
    ------
    PictureError
        It is refused.
    """
    found = _URL.fullmatch(text)
    if found is None or any(ord(char) < 0x21 or ord(char) == 0x7F for char in text):
        raise refused("it is no http or https URL that is read here")
    scheme = found["scheme"].lower()
    port = _PORTS[scheme] if found["port"] is None else int(found["port"])
    if not 0 < port < 2**16:
        raise refused("it has a port that does not exist")
    try:
        # What is percent-encoded stays so; the rest of UTF-8 becomes so.
        target = quote((found["path"] or "/") + (found["query"] or ""), safe="%/:?=&+,;@!$'()*~")
    except UnicodeEncodeError as error:
        raise refused("it is not text") from error
    return Url(scheme, _host(found["host"]), port, target)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError as error:
            raise refused("its host is no address") from error
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise refused("its host is no name") from error
    labels = name.split(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):  # then it is an address, or nothing
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as error:
            raise refused("its host is an address in another spelling than 192.0.2.1") from error
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused("its host is no name")
    return name


class Broken(PictureError):
    """Not fetched, but it may go better another time."""


def refused(reason: str, kind: type[PictureError] | None = None) -> PictureError:
    """Say why something was not fetched, in words for a stranger."""
    said = f"cannot be fetched: {reason}"
    return (kind or PictureError)(f"what the URL names {said}", reason=said)
