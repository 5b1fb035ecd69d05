"""Encoded bytes from a path or a file object, never more than `MAX_BYTES` of them."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from facegrep._errors import PictureError

MAX_BYTES = 32 * 1024 * 1024
"""The largest encoded picture. A camera's JPEG of 25 megapixels has 8 to 15 MiB."""


def too_large() -> str:
    return f"more than {MAX_BYTES // 2**20} MiB"


def read_path(name: str) -> bytes:
    """Read a regular file, following links; anything else is refused and never waited for.

    Raises
    ------
    PictureError
        Not there, not readable, not a regular file (folder, pipe, device), or too large.
    """
    try:
        # O_NONBLOCK: opening a pipe without a writer returns at once, to be refused by fstat.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL character
        raise _cannot_read(name, "not a possible file name") from error
    except OSError as error:
        raise _cannot_read(name, (error.strerror or str(error)).lower()) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _cannot_read(name, "not a regular file")
        if status.st_size > MAX_BYTES:
            raise _cannot_read(name, too_large())
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return read_file(file, name)
    except OSError as error:
        raise _cannot_read(name, (error.strerror or str(error)).lower()) from error
    finally:
        os.close(descriptor)


def read_file(file: BinaryIO, name: str) -> bytes:
    """Read a file object to its end; it may return fewer bytes than asked for, as sockets do."""
    parts: list[bytes] = []
    missing = MAX_BYTES + 1
    while missing > 0:
        part = file.read(missing)
        if part is None:
            raise _cannot_read(name, "no data available")
        if not isinstance(part, bytes):
            raise _cannot_read(name, "a text file object; open it in binary mode")
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    if missing <= 0:
        raise _cannot_read(name, too_large())
    return b"".join(parts)


def _cannot_read(name: str, reason: str) -> PictureError:
    return PictureError(f"cannot read the picture {name!r}: {reason}", reason=reason)
