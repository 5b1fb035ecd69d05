"""Numbers that callers pass to either door, checked."""

from __future__ import annotations

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
        raise InvalidArgumentError(f"{name}: expected an int, got {value!r:.80}")
    if not lowest <= value <= highest:
        raise InvalidArgumentError(f"{name}: expected {lowest} to {highest}, got {value!r:.80}")
    return int(value)


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
        raise InvalidArgumentError(f"{name}: expected {what}, got {value!r:.80}")
    if not lowest <= value <= 1:
        raise InvalidArgumentError(f"{name}: expected {what}, got {value!r:.80}")
    return float(value)
