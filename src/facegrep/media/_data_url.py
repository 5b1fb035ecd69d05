"""``data:`` URLs (RFC 2397) to the bytes they carry."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from facegrep._errors import PictureError

MAX_DATA_URL_BYTES: Final = 10 * 1024 * 1024
"""The most bytes that a ``data:`` URL may carry, decoded."""

# Three characters a byte when all are percent-encoded, and room for the media type.
_MAX_LENGTH: Final = 3 * MAX_DATA_URL_BYTES + 1024


def read_data_url(url: str) -> bytes:
    """Return the bytes that a ``data:`` URL carries; its media type is ignored.

    Base64 is read strictly: the standard alphabet, padding optional, no blanks. A blank is most
    often a ``+`` that went through a query string without being sent as ``%2B``.

    Raises
    ------
    PictureError
        Not a ``data:`` URL, malformed, or more than `MAX_DATA_URL_BYTES`.
    """
    if url[:5].lower() != "data:":
        raise _refused("not a data: URL")
    if len(url) > _MAX_LENGTH:
        raise _refused(_too_large())
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise _refused("a data: URL without a comma")
    is_base64 = re.search(r";\s*base64\s*\Z", header, re.IGNORECASE) is not None
    data = payload.encode(errors="replace")
    if b"%" in data:
        data = unquote_to_bytes(data)
    if is_base64:
        if b" " in data:
            raise _refused("base64 with blanks; a '+' in a query string must be sent as %2B")
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refused("not valid base64") from error
    if len(data) > MAX_DATA_URL_BYTES:
        raise _refused(_too_large())
    return data


def _too_large() -> str:
    return f"a data: URL of more than {MAX_DATA_URL_BYTES // 2**20} MiB"


def _refused(reason: str) -> PictureError:
    return PictureError(f"cannot read the picture of the URL: {reason}", reason=reason)
