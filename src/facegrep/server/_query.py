"""A query string to parameters, and parameters to the one spelling that is signed.

Clients spell the same parameters in two ways: as forms do (``+`` for a blank, ``%2A``), and with
``: / , ? * ~`` bare. So nothing is ever compared in the spelling that came.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from facegrep.ice import IceError

MAX_PARAMETERS: Final = 64

_SPELLED: Final = re.compile(rb"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")  # printable ASCII, but a lone %


def read_query(raw: bytes) -> dict[str, str]:
    """Read what follows the first ``?`` of a target, in the order that it came.

    Raises
    ------
    IceError
        400 InvalidParameter: not ASCII, a ``%`` without two hex digits, not UTF-8 when decoded, a
        name that is empty or comes twice, more than `MAX_PARAMETERS`.
    """
    if not raw:
        return {}
    if not _SPELLED.fullmatch(raw):
        raise _refused("it has bytes that must be percent-encoded, or a '%' without two hex digits")
    parts = raw.split(b"&", MAX_PARAMETERS)
    if len(parts) > MAX_PARAMETERS:
        raise _refused(f"it has more than {MAX_PARAMETERS} parameters")
    parameters: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        decoded = _decode(name)
        if not decoded:
            raise _refused("a parameter has no name")
        if decoded in parameters:
            raise _refused(f"the parameter {decoded!r} comes twice")
        parameters[decoded] = _decode(value)
    return parameters


def canonical_query(parameters: dict[str, str]) -> str:
    """Spell parameters as they are signed: sorted by name, RFC 3986."""
    # By the names before they are encoded, as the vendor's clients sort.
    return "&".join(f"{encode(name)}={encode(parameters[name])}" for name in sorted(parameters))


def encode(text: str) -> str:
    """Percent-encode UTF-8; only ``A-Z a-z 0-9 - _ . ~`` stay."""
    return quote(text, safe="-_.~")


def _decode(spelled: bytes) -> str:
    try:
        return unquote_to_bytes(spelled.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise _refused("it is not UTF-8 once it is decoded") from error


def _refused(reason: str) -> IceError:
    return IceError(400, "InvalidParameter", f"The query string is not valid: {reason}.")
