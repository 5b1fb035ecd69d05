"""A video's bytes: a regular file or what is in memory, never a name that a library resolves."""

from __future__ import annotations

import io
import os
import stat
from typing import BinaryIO, TypeAlias

from facegrep._errors import VideoError

VideoSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview"


def open_source(source: VideoSource | object) -> tuple[BinaryIO, str]:
    """Open a video for reading; returns a seekable file and a name for messages.

    Raises
    ------
    VideoError
        Not there, not readable, not a regular file (folder, pipe, device), empty, or not one of
        the types of `VideoSource`.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = "in these bytes"
        content = bytes(source)
        if not content:
            raise refused(name, "empty")
        return io.BytesIO(content), name
    if not isinstance(source, (str, os.PathLike)):
        got = type(source).__name__
        raise VideoError(f"expected a path or bytes, got {got}", reason=f"not a video but {got}")
    path = os.fsdecode(source)
    name = repr(path)
    try:
        # O_NONBLOCK: opening a pipe without a writer returns at once, to be refused by fstat.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL character
        raise refused(name, "not a possible file name") from error
    except OSError as error:
        raise refused(name, (error.strerror or str(error)).lower()) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise refused(name, "not a regular file")
        if status.st_size == 0:
            raise refused(name, "empty")
        return os.fdopen(descriptor, "rb", buffering=0), name
    except BaseException:
        os.close(descriptor)
        raise


def refused(name: str, reason: str) -> VideoError:
    return VideoError(f"cannot read the video {name}: {reason}", reason=reason)
