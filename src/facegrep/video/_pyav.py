"""PyAV: imported late, missed by name."""

from __future__ import annotations

import importlib
from typing import Any

from facegrep._errors import MissingExtraError


def pyav() -> Any:  # noqa: ANN401 - facegrep is typed without PyAV installed
    """Import PyAV.

    Raises
    ------
    MissingExtraError
        It is not installed, or does not load.
    """
    try:
        importlib.import_module("av.video.reformatter")
        return importlib.import_module("av")
    except ImportError as error:
        raise MissingExtraError(
            f"reading videos needs the package av (PyAV), which does not load ({error}); "
            "run: pip install 'facegrep[video]'",
            extra="video",
        ) from error


def is_of_file(error: Exception) -> bool:
    """Whether what PyAV raised is about the file: hostile bytes bring out errors of any type.

    Only that Python itself is short of memory is not; libav says so too of a file that wants more
    than it lets any have.
    """
    return not isinstance(error, MemoryError) or isinstance(error, pyav().error.FFmpegError)
