"""One reader a kind of parameter: the string as it came -> a value, or InvalidArgumentError."""

from __future__ import annotations

import re
from collections.abc import Callable

from facegrep._errors import InvalidArgumentError
from facegrep._names import MAX_TEXT_BYTES, check_library_name, check_name, check_text
from facegrep.engine import DEFAULT_LIBRARY

MAX_NEW_LIBRARY_NAME_LENGTH = 128
MAX_PAGE_SIZE = 50
MAX_RECOGNITION_NAME_BYTES = 64
MAX_DESCRIPTION_BYTES = 128
MAX_IDS = 100

_NEW_LIBRARY = re.compile(r"(IPCamera_)?[A-Za-z0-9]+")
_DIGITS = re.compile(r"[0-9]{1,18}")
_NOT_IN_A_URL = re.compile("[\x00-\x20\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def read_name(raw: str) -> str:
    """Read a namespace, a token or an id: data, so nothing that looks like a path up."""
    if ".." in re.split(r"[/\\]", raw):
        raise InvalidArgumentError(f"expected a name without '../', got {raw!r}")
    return check_name(raw, "name")


def read_library_name(raw: str) -> str:
    """Read the name of a library that somebody made, through this door or another."""
    return check_library_name(raw, "name")


def read_new_library_name(raw: str) -> str:
    """Read the name of a library to be made: letters and digits, after ``IPCamera_`` perhaps.

    The default library's own name has hyphens; having been dropped, it can be made again.
    """
    if raw == DEFAULT_LIBRARY:
        return raw
    if len(raw) > MAX_NEW_LIBRARY_NAME_LENGTH or not _NEW_LIBRARY.fullmatch(raw):
        limit = f"1 to {MAX_NEW_LIBRARY_NAME_LENGTH} letters and digits (after IPCamera_ perhaps)"
        raise InvalidArgumentError(f"expected {limit}, got {raw!r}")
    return raw


def read_media_id(raw: str) -> str:
    """Read a MediaId: any name; the command makes them of paths, ``../`` too."""
    return check_name(raw, "id")


def read_url(raw: str) -> str:
    """Read a URL of a scheme yet unknown; ``data:`` has its own, larger limit where it is read."""
    if raw[:5].lower() == "data:":
        return raw
    size_bytes = len(raw.encode())
    if size_bytes > MAX_TEXT_BYTES:
        raise InvalidArgumentError(f"expected at most {MAX_TEXT_BYTES} bytes, got {size_bytes}")
    if _NOT_IN_A_URL.search(raw):
        raise InvalidArgumentError(
            "expected a URL without blanks, control characters and bidi marks"
        )
    return raw


def read_page_number(raw: str) -> int:
    """Read PageNo: 1 and up, in ASCII digits."""
    number = _whole(raw)
    if number < 1:
        raise InvalidArgumentError(f"pages count from 1, got {raw!r}")
    return number


def read_page_size(raw: str) -> int:
    """Read PageSize: 1 to 50, in ASCII digits."""
    number = _whole(raw)
    if not 1 <= number <= MAX_PAGE_SIZE:
        raise InvalidArgumentError(f"expected 1 to {MAX_PAGE_SIZE}, got {raw!r}")
    return number


def read_ids(raw: str) -> tuple[str, ...]:
    """Read a list of ids with commas between."""
    return _list(raw, read_name)


def read_media_ids(raw: str) -> tuple[str, ...]:
    """Read MediaIds: a list with commas between; so an id with a comma in it cannot be named."""
    return _list(raw, read_media_id)


def read_task(raw: str) -> tuple[str, ...]:
    """Read Task: a list of indexes with commas between, the face index among them."""
    tasks = tuple(one.strip(" ") for one in raw.split(","))
    if not set(tasks) <= {"aiLabel", "face", "mm"}:
        raise InvalidArgumentError(f"expected aiLabel, face or mm, got {raw!r}")
    if "face" not in tasks:
        raise InvalidArgumentError("facegrep has the face index only")
    return tasks


def read_recognition_name(raw: str) -> str:
    """Read the name of a recognition library or of a person: up to 64 bytes."""
    return _within(check_name(raw, "name"), MAX_RECOGNITION_NAME_BYTES)


def read_description(raw: str) -> str:
    """Read the description of a recognition library: up to 128 bytes."""
    return _within(check_text(raw, "description") or "", MAX_DESCRIPTION_BYTES)


def _list(raw: str, read: Callable[[str], str]) -> tuple[str, ...]:
    ids = raw.split(",")
    if len(ids) > MAX_IDS:
        raise InvalidArgumentError(f"expected at most {MAX_IDS} ids, got {len(ids)}")
    return tuple(read(one.strip(" ")) for one in ids)


def _within(text: str, most_bytes: int) -> str:
    size_bytes = len(text.encode())
    if size_bytes > most_bytes:
        raise InvalidArgumentError(f"expected at most {most_bytes} bytes, got {size_bytes}")
    return text


def _whole(raw: str) -> int:
    # int() alone takes "+1", " 1", "1_0" and the digits of every script.
    if not _DIGITS.fullmatch(raw):
        raise InvalidArgumentError(f"expected a whole number in at most 18 digits 0-9, got {raw!r}")
    return int(raw)
