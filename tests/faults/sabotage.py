"""What a careless store would do: the harness must catch each (its negative controls)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

from facegrep.store import _connections, _database, _filesystem, _segments

_SLOW_DISK_S: Final = 0.03
"""What a busy disk takes to begin; without it the window is too short to be hit often."""


def _without_fdatasync() -> None:
    """Vectors are written, and never made durable."""
    os.fdatasync = lambda fd: None  # noqa: ARG005 - its name is part of its type


def _fdatasync_after_commit() -> None:
    """Vectors are made durable, but after the catalog spoke of them."""
    late: list[int] = []
    commit = _database.Database._commit

    def delayed(fd: Any) -> None:
        late.append(os.dup(fd))

    def commit_first(self: Any, transaction: Any) -> None:
        commit(self, transaction)
        time.sleep(_SLOW_DISK_S)
        while late:
            descriptor = late.pop()
            fdatasync(descriptor)
            os.close(descriptor)

    fdatasync, os.fdatasync = os.fdatasync, delayed
    _database.Database._commit = commit_first  # type: ignore[method-assign]


def _synchronous_off() -> None:
    """SQLite does not wait for the disk."""
    pragmas = (
        "synchronous = OFF" if pragma.startswith("synchronous") else pragma
        for pragma in _connections._WRITER_PRAGMAS
    )
    _connections._WRITER_PRAGMAS = tuple(pragmas)  # type: ignore[misc, assignment]


def _without_directory_fsync() -> None:
    """Files are made durable, their names are not."""
    for module in (_database, _filesystem, _segments):
        module.sync_directory = lambda _path: None  # type: ignore[attr-defined]


SABOTAGES: Final[dict[str, Callable[[], None]]] = {
    "no-fdatasync": _without_fdatasync,
    "late-fdatasync": _fdatasync_after_commit,
    "synchronous-off": _synchronous_off,
    "no-directory-fsync": _without_directory_fsync,
}


def apply(name: str | None) -> None:
    """Sabotage this process."""
    if name is not None:
        SABOTAGES[name]()
