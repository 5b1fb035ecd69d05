"""What is fetched: where it comes from when it is a file, and where it goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from facegrep.fetch._exchange import Wanted
from facegrep.fetch._url import refused
from facegrep.media import open_below


class VideoFile(Protocol):
    """Where a video goes."""

    def write(self, data: bytes, /) -> object:
        """Append all of it."""

    def restart(self) -> None:
        """Begin anew: what was written is void."""


@dataclass(frozen=True, slots=True)
class File:
    """A file below the folder that is behind ``oss:``."""

    root: str
    parts: tuple[str, ...]

    def open(self, wanted: Wanted) -> BinaryIO:
        """Open it, unless it is too large."""
        file = open_below(self.root, self.parts)
        if os.fstat(file.fileno()).st_size > wanted.max_bytes:
            file.close()
            raise refused(f"more than {wanted.max_bytes >> 20} MiB")
        return file


def read(file: BinaryIO, count: int) -> bytes:
    """Read up to so many bytes."""
    try:
        return file.read(count)
    except OSError as error:
        raise refused("it cannot be read") from error


class Memory:
    """What came, in memory; of more than `count` bytes about the first so many."""

    def __init__(self, count: int | None = None) -> None:
        self.data = bytearray()
        self._count = count

    def restart(self) -> None:
        self.data.clear()

    def take(self, data: bytes) -> bool:
        self.data += data
        return self._count is None or len(self.data) < self._count


@dataclass(frozen=True, slots=True)
class Written:
    """What came, in a file."""

    file: VideoFile

    def restart(self) -> None:
        self.file.restart()

    def take(self, data: bytes) -> bool:
        self.file.write(data)
        return True
