"""How often a key may call: a bucket of tokens each, refilled as time goes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from facegrep._errors import InvalidArgumentError

_BURST_S: Final = 1.0
"""What was not called for that long may be called at once."""

_ROUNDING: Final = 1e-6


class RateLimit:
    """Counts the calls of this process, key by key. Thread-safe.

    Parameters
    ----------
    per_s
        Calls a second of one key, in the long run; a second's worth at once.
    now_s
        The clock, which never goes back.

    Raises
    ------
    InvalidArgumentError
        Not a positive number.
    """

    def __init__(self, per_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        if not 0 < per_s < math.inf:
            raise InvalidArgumentError(f"rate_limit_per_s: expected a positive number, got {per_s}")
        self._per_s = per_s
        self._most = max(per_s * _BURST_S, 1.0)
        self._now_s = now_s
        self._mutex = threading.Lock()
        self._tokens: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str) -> int:
        """Take a token; returns 0, or how many ms from now on there will be one.

        Only for keys that exist, or strangers would fill the memory.
        """
        with self._mutex:
            now_s = self._now_s()
            tokens, then_s = self._tokens.get(key_id, (self._most, now_s))
            tokens = min(tokens + (now_s - then_s) * self._per_s, self._most)
            if tokens >= 1 - _ROUNDING:
                self._tokens[key_id] = (tokens - 1, now_s)
                return 0
            self._tokens[key_id] = (tokens, now_s)
            return math.ceil((1 - tokens) / self._per_s * 1000)
