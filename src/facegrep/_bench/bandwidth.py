"""How fast cores read memory: the yardstick of a scan."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BYTES: Final = 512 << 20  # far beyond any cache that a core has for itself


class Reader:
    """numpy reductions over 512 MiB, each of which reads every byte once, in vector registers.

    None of them is made to read memory as fast as it can be read, and which is the fastest depends
    on the machine and on numpy; so the fastest counts. A share of what it reaches can be above 1.

    Parameters
    ----------
    threads
        How many read at once, each a part of its own.
    """

    def __init__(self, threads: int = 1, size_bytes: int = BYTES) -> None:
        self._memory = np.ones(size_bytes // 8, np.int64)  # ones: zeros may be one page
        self._pool = ThreadPoolExecutor(threads)
        self._parts = np.array_split(self._memory, threads)
        self.bytes = self._memory.nbytes

    def kernels(self) -> dict[str, Callable[[], object]]:
        """Each reads all of the memory once."""
        return {name: partial(self._each, kernel) for name, kernel in _KERNELS.items()}

    def _each(self, kernel: Callable[[NDArray[np.int64]], object]) -> object:
        if len(self._parts) == 1:
            return kernel(self._parts[0])
        return list(self._pool.map(kernel, self._parts))

    def fastest(self, seconds: float = 1.0) -> Callable[[], object]:
        """The kernel that wins, best call of each."""
        kernels = list(self.kernels().values())
        best = {kernel: _best_of(kernel, seconds / len(kernels)) for kernel in kernels}
        return min(best, key=lambda kernel: best[kernel])


_KERNELS: Final[dict[str, Callable[[NDArray[np.int64]], object]]] = {
    "max of float32": lambda part: part.view(np.float32).max(),
    "max of uint8": lambda part: part.view(np.uint8).max(),
    "or of int64": np.bitwise_or.reduce,
    "dot of float32": lambda part: np.dot(part.view(np.float32), part.view(np.float32)),
}


def _best_of(call: Callable[[], object], seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    call()
    while True:
        started = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - started)
        if now >= end:
            return best


def read_bandwidth(threads: int = 1, seconds: float = 1.0) -> float:
    """Bytes per second, of the fastest call of the fastest kernel."""
    reader = Reader(threads)
    share = seconds / len(_KERNELS)
    return reader.bytes / min(_best_of(kernel, share) for kernel in reader.kernels().values())
