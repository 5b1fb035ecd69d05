"""What names and values the Engine takes from outside; all of them are data, never paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeGuard

import numpy as np

from facegrep._arguments import check_iterable, shown
from facegrep._errors import InvalidArgumentError
from facegrep._where import INT64_MAX, INT64_MIN

MAX_NAME_BYTES: Final = 512
MAX_TEXT_BYTES: Final = 4096
_PLAIN_AT_ONCE: Final = 16_384

# Control characters, line and paragraph separators; marks that make a name look like another one
# by turning its direction; lone surrogates, which are not text.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

TEXT_FIELDS: Final = ("strField1", "strField2")
CUSTOM_FIELDS: Final = ("intField1", *TEXT_FIELDS)


def check_name(value: object, argument: str) -> str:
    """Check a name: of a library, asset, namespace, account or token.

    Names are compared bytewise as they are given, never normalised.

    Raises
    ------
    InvalidArgumentError
        Not a str, empty, more than `MAX_NAME_BYTES` of UTF-8, or with a control character, a mark
        that changes the direction of text, or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{argument}: expected a str, got {type(value).__name__}")
    if value.isascii() and value.isprintable() and 0 < len(value) <= MAX_NAME_BYTES:
        return str(value)  # str: not a subclass with a meaning of its own
    found = _FORBIDDEN.search(value)
    if found is not None:
        raise InvalidArgumentError(
            f"{argument}: expected no control or direction-changing characters, got "
            f"{found.group()!a} at position {found.start()}"
        )
    length = len(value.encode())
    if not 0 < length <= MAX_NAME_BYTES:
        raise InvalidArgumentError(
            f"{argument}: expected 1 to {MAX_NAME_BYTES} bytes of UTF-8, got {length}"
        )
    return str(value)


def check_library_name(value: object, argument: str = "library") -> str:
    """Check the name of a library: as `check_name`, and nothing that looks like a path."""
    name = check_name(value, argument)
    if "/" in name or "\\" in name or name in (".", ".."):
        raise InvalidArgumentError(
            f"{argument}: expected a name without '/' and '\\' that is not '.' or '..', got "
            f"{name!r:.80}"
        )
    return name


def check_names(values: object, argument: str) -> list[str]:
    """Check names; the message says which one is none."""
    if isinstance(values, (str, bytes)):
        raise InvalidArgumentError(
            f"{argument}: expected a sequence of str, got one {type(values).__name__}"
        )
    names = list(check_iterable(values, argument))
    if _are_plain(names):
        return names
    return [check_name(value, f"{argument}[{number}]") for number, value in enumerate(names)]


def _are_plain(values: list[object]) -> TypeGuard[list[str]]:
    """Whether all are names that need no second look: printable ASCII. 0.1 us each, not 0.4."""
    if not values or set(map(type, values)) != {str}:
        return False
    for start in range(0, len(values), _PLAIN_AT_ONCE):
        part = dict.fromkeys(values[start : start + _PLAIN_AT_ONCE])
        text = "".join(part)  # type: ignore[arg-type]  # all are str
        lengths = set(map(len, part))  # type: ignore[arg-type]
        if not (text.isascii() and text.isprintable()):
            return False
        if not 0 < min(lengths) <= max(lengths) <= MAX_NAME_BYTES:
            return False
    return True


def check_optional_name(value: object, argument: str) -> str | None:
    """Check a name that may be absent."""
    return None if value is None else check_name(value, argument)


def check_text(value: object, argument: str) -> str | None:
    """Check a text that may be absent or empty; any characters but lone surrogates and NUL."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{argument}: expected a str, got {type(value).__name__}")
    # Four bytes a character at most.
    if len(value) * 4 > MAX_TEXT_BYTES or not value.isascii() or "\0" in value:
        if _SURROGATE.search(value) or "\0" in value:
            raise InvalidArgumentError(f"{argument}: expected text without NUL and lone surrogates")
        length = len(value.encode())
        if length > MAX_TEXT_BYTES:
            raise InvalidArgumentError(
                f"{argument}: expected at most {MAX_TEXT_BYTES} bytes of UTF-8, got {length}"
            )
    return str(value)


def check_int64(value: object, argument: str) -> int | None:
    """Check an integer that may be absent."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidArgumentError(
            f"{argument}: expected an int or None, got {type(value).__name__}"
        )
    if not INT64_MIN <= int(value) <= INT64_MAX:
        raise InvalidArgumentError(f"{argument}: expected an integer of 64 bits, got a larger one")
    return int(value)


def check_fields(fields: Mapping[str, object] | None) -> dict[str, int | str | None]:
    """Check the custom fields of one asset; those that are ``None`` or missing it does not have."""
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(f"fields: expected a mapping, got {type(fields).__name__}")
    unknown = next((name for name in fields if name not in CUSTOM_FIELDS), None)
    if unknown is not None:
        raise InvalidArgumentError(
            f"fields: expected some of {', '.join(CUSTOM_FIELDS)}, got {shown(unknown)}"
        )
    return {name: check_field(name, value) for name, value in fields.items()}


def check_field(name: str, value: object) -> int | str | None:
    """Check the value of one custom field."""
    argument = f"fields[{name!r}]"
    return check_text(value, argument) if name in TEXT_FIELDS else check_int64(value, argument)
