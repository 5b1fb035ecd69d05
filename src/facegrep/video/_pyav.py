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
