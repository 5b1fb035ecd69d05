"""Which assets of an index in memory have expired: by when each was added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEVER: Final = np.iinfo(np.int64).max


class Expiry:
    """The times of a library's assets, by their ordinals. Not for threads at the same time."""

    def __init__(self) -> None:
        self._added_ms = np.zeros(0, dtype=np.int64)  # _NEVER: not there, or expired already
        self._oldest_ms = _NEVER
        self._expired_ms = np.iinfo(np.int64).min

    @staticmethod
    def from_bytes(data: bytes) -> Expiry:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError
            It is something else.
        """
        values = np.frombuffer(data, dtype="<i8")
        found = Expiry()
        found._expired_ms = int(values[0])
        found._added_ms = values[1:].astype(np.int64)
        found._oldest_ms = int(found._added_ms.min(initial=_NEVER))
        return found

    def to_bytes(self) -> bytes:
        """Write it, for a file."""
        return np.concatenate([[self._expired_ms], self._added_ms]).astype("<i8").tobytes()

    def has_times_of(self, ordinals: NDArray[np.int64]) -> bool:
        """Whether all of them are numbers that it has a time, or none, for."""
        return not len(ordinals) or int(ordinals.max()) < len(self._added_ms)

    def added_ms(self, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when assets were added, of those that are there."""
        return self._added_ms[ordinals]

    def note(self, ordinals: NDArray[np.int64], added_ms: NDArray[np.int64]) -> None:
        """Note assets that came or changed."""
        if not len(ordinals):
            return
        if ordinals.max() >= len(self._added_ms):
            grown = np.full(int(ordinals.max()) * 5 // 4 + 1, _NEVER)
            grown[: len(self._added_ms)] = self._added_ms
            self._added_ms = grown
        self._added_ms[ordinals] = added_ms
        self._oldest_ms = min(self._oldest_ms, int(added_ms.min()))

    def forget(self, ordinals: list[int]) -> None:
        """Note assets that went; some may be unknown."""
        gone = np.array([number for number in ordinals if number < len(self._added_ms)], np.int64)
        self._added_ms[gone] = _NEVER

    def is_due(self, until_ms: int) -> bool:
        """Whether `expire` may have something to do: an asset was added at `until_ms` or before."""
        return self._oldest_ms <= until_ms

    def expire(self, until_ms: int) -> list[int]:
        """Return the assets added at `until_ms` or before that did not expire yet."""
        expired = np.flatnonzero(self._added_ms <= until_ms)
        if len(expired):
            self._expired_ms = max(self._expired_ms, int(self._added_ms[expired].max()))
            self._added_ms[expired] = _NEVER
        self._oldest_ms = int(self._added_ms.min(initial=_NEVER))
        return expired.tolist()

    def is_back(self, until_ms: int) -> bool:
        """Whether an asset that expired has not any more: the retention was prolonged."""
        return self._expired_ms > until_ms
