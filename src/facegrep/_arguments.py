"""What callers pass to either door: numbers checked, anything shown in a message."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from facegrep._errors import InvalidArgumentError

MAX_POSITION = 2**62  # two of them added still fit an int64


def check_count(value: object, name: str, lowest: int = 0, highest: int = MAX_POSITION) -> int:
    """Return an int, or a numpy integer as one.

    Raises
    ------
    InvalidArgumentError
        Names the argument, what was expected and what came.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidArgumentError(f"{name}: expected an int, got {shown(value)}")
    if not lowest <= value <= highest:
        raise InvalidArgumentError(f"{name}: expected {lowest} to {highest}, got {shown(value)}")
    return int(value)


def check_choice(value: object, name: str, choices: Iterable[str]) -> None:
    """Refuse what is not one of some words.

    Raises
    ------
    InvalidArgumentError
        Names the argument, what was expected and what came.
    """
    if not isinstance(value, str) or value not in choices:
        expected = " or ".join(map(repr, choices))
        raise InvalidArgumentError(f"{name}: expected {expected}, got {shown(value)}")


def check_iterable(values: object, name: str) -> Iterable[object]:
    """Return what can be iterated over; an array without dimensions only looks as if it could.

    Raises
    ------
    InvalidArgumentError
        Names the argument and the type that came.
    """
    if not isinstance(values, Iterable) or (isinstance(values, np.ndarray) and not values.ndim):
        raise InvalidArgumentError(f"{name}: expected a sequence, got one {type(values).__name__}")
    return values


def shown(value: object) -> str:
    """Return what a message says of a value that may be anything, in 80 characters at most.

    An int of more than 4300 digits has no repr, and the repr of a caller's class may raise too.
    """
    try:
        return f"{value!r:.80}"
    except Exception:
        return f"a value of type {type(value).__name__}"


def check_threshold(value: object) -> float | None:
    """Return a cosine as a float; it may be absent.

    Raises
    ------
    InvalidArgumentError
        Not a number, or not from -1 to 1.
    """
    if value is None:
        return None
    return _check_real(value, "threshold", "a cosine from -1 to 1", -1)


def check_share(value: object, name: str) -> float:
    """Return a share as a float.

    Raises
    ------
    InvalidArgumentError
        Names the argument: not a number, or not from 0 to 1.
    """
    return _check_real(value, name, "a share from 0 to 1", 0)


def _check_real(value: object, name: str, what: str, lowest: int) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise InvalidArgumentError(f"{name}: expected {what}, got {shown(value)}")
    if not lowest <= value <= 1:
        raise InvalidArgumentError(f"{name}: expected {what}, got {shown(value)}")
    return float(value)
