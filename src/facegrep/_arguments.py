"""Numbers that callers pass, checked."""

from __future__ import annotations

import numpy as np

from facegrep._errors import InvalidArgumentError

MAX_POSITION = 2**62  # two of them added still fit an int64


def check_count(value: int, name: str, lowest: int = 0, highest: int = MAX_POSITION) -> int:
    """Return an int, or a numpy integer as one.

    Raises
    ------
    InvalidArgumentError
        Names the argument, what was expected and what came.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidArgumentError(f"{name}: expected an int, got {value!r:.80}")
    if not lowest <= value <= highest:
        raise InvalidArgumentError(f"{name}: expected {lowest} to {highest}, got {value!r:.80}")
    return int(value)
