"""One reader for each kind of parameter: the string as it came -> a value, or `BadValue`."""

from __future__ import annotations

import re

from facegrep.ice._json import BadValue

MAX_NAME_LENGTH = 128
MAX_MEDIA_ID_LENGTH = 1024
MAX_URL_LENGTH = 8192
MAX_PAGE_SIZE = 50

_NEW_LIBRARY = re.compile(r"(IPCamera_)?[A-Za-z0-9]+")
_DIGITS = re.compile(r"[0-9]{1,18}")

# Names are shown in tables, logs and pages, where a control character (C0, C1), a line break
# (U+2028, U+2029) or a bidi mark makes one name look like another; and no store takes a lone
# surrogate.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _showable(raw: str, limit: int) -> str:
    if len(raw) > limit:
        raise BadValue(f"expected at most {limit} characters, got {len(raw)}")
    if found := _UNSHOWABLE.search(raw):
        code = f"U+{ord(found[0]):04X}"
        raise BadValue(f"{code} at {found.start()}: no control characters, no bidi marks")
    return raw


def read_name(raw: str) -> str:
    """Read the name of a library, namespace, token or entity: data, never part of a path."""
    if ".." in re.split(r"[/\\]", raw):
        raise BadValue(f"no '..' between slashes in a name, got {raw!r}")
    return _showable(raw, MAX_NAME_LENGTH)


def read_new_library_name(raw: str) -> str:
    """Read the name of a library to be made: letters and digits, after ``IPCamera_`` perhaps."""
    if len(raw) > MAX_NAME_LENGTH or not _NEW_LIBRARY.fullmatch(raw):
        limit = f"1 to {MAX_NAME_LENGTH} letters and digits (after IPCamera_ perhaps)"
        raise BadValue(f"expected {limit}, got {raw!r}")
    return raw


def read_media_id(raw: str) -> str:
    """Read a MediaId: any text that can be shown; the command makes them of paths, ``../`` too."""
    return _showable(raw, MAX_MEDIA_ID_LENGTH)


def read_url(raw: str) -> str:
    """Read a URL of a scheme yet unknown; ``data:`` has its own, larger limit where it is read."""
    if raw[:5].lower() == "data:":
        return raw
    if len(raw) > MAX_URL_LENGTH:
        raise BadValue(f"expected a URL of at most {MAX_URL_LENGTH} characters, got {len(raw)}")
    if _UNSHOWABLE.search(raw) or " " in raw:
        raise BadValue("a URL has no blanks, control characters or bidi marks; percent-encode them")
    return raw


def read_page_number(raw: str) -> int:
    """Read PageNo: 1 and up, in ASCII digits."""
    number = _whole(raw)
    if number < 1:
        raise BadValue(f"pages count from 1, got {raw!r}")
    return number


def read_page_size(raw: str) -> int:
    """Read PageSize: 1 to 50, in ASCII digits."""
    number = _whole(raw)
    if not 1 <= number <= MAX_PAGE_SIZE:
        raise BadValue(f"expected 1 to {MAX_PAGE_SIZE}, got {raw!r}")
    return number


def _whole(raw: str) -> int:
    # int() alone takes "+1", " 1", "1_0" and the digits of every script.
    if not _DIGITS.fullmatch(raw):
        raise BadValue(f"expected a whole number in at most 18 digits 0-9, got {raw!r}")
    return int(raw)
