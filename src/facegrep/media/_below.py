"""Encoded bytes of a file below a folder, whatever somebody does to the path meanwhile."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from facegrep._errors import PictureError
from facegrep.media._source import MAX_BYTES, too_large


def read_below(root: str, parts: tuple[str, ...]) -> bytes:
    """Read a regular file of at most `MAX_BYTES`, opening `parts` one below the other.

    Parameters
    ----------
    root
        The real path of the folder.
    parts
        Names of folders and of the file. A link is refused, as are ``..`` and an empty name.

    Raises
    ------
    PictureError
        Its reason names no path.
    """
    with open_below(root, parts) as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise _refused((error.strerror or "not readable").lower()) from error
    if len(data) > MAX_BYTES:
        raise _refused(too_large())
    return data


def open_below(root: str, parts: tuple[str, ...]) -> BinaryIO:
    """Open a regular file of any size, as `read_below` does."""
    if not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise _refused("not the path of a file")
    try:
        return _open_nofollow(root, parts)
    except UnicodeEncodeError as error:
        raise _refused("not a possible file name") from error
    except OSError as error:
        raise _refused((error.strerror or "not readable").lower()) from error


def _open_nofollow(root: str, parts: tuple[str, ...]) -> BinaryIO:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(root, flags | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        # O_NONBLOCK: opening a pipe without a writer returns at once, to be refused by fstat.
        below = os.open(parts[-1], flags | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(os.fstat(below).st_mode):
        os.close(below)
        raise _refused("not a regular file")
    return os.fdopen(below, "rb")


def _refused(reason: str) -> PictureError:
    return PictureError(f"cannot read what the URL names: {reason}", reason=reason)
