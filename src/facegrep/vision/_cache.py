"""Derived graphs in the user's cache folder: written whole or not at all, checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Larger than any graph we derive; a file that claims more is not read.
_MAX_BYTES = 1 << 31
_HEADER_BYTES = 65


def cache_folder() -> Path:
    """Return the folder, which may not exist yet.

    ``FACEGREP_CACHE``, else ``$XDG_CACHE_HOME/facegrep``, else ``~/.cache/facegrep``.
    """
    own = os.environ.get("FACEGREP_CACHE")
    if own:
        return Path(own)
    # Relative values are invalid by the XDG specification.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else Path("~/.cache").expanduser()) / "facegrep"


def cached(key: str, build: Callable[[], bytes]) -> bytes:
    """Return the bytes kept under a key, or build and keep them.

    Parameters
    ----------
    key
        A file name that changes whenever the bytes would.
    build
        Called when there is no whole copy. What it raises is passed on.

    Notes
    -----
    A file is the sha256 of the content in hex, a newline, the content: one rename publishes both,
    and half a file does not match itself. A folder that cannot be written costs time, not the call.
    Processes that build at once both write; either result is whole.
    """
    try:
        path = cache_folder() / key
        content = _read(path)
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return build()
    if content is None:
        content = build()
        with contextlib.suppress(OSError):
            _write(path, content)
    return content


def _read(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        kept = file.read(_MAX_BYTES)
    header, content = kept[:_HEADER_BYTES], kept[_HEADER_BYTES:]
    return content if header == _header(content) else None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_header(content))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _header(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"
