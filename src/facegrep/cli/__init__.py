"""The command ``facegrep``."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command; ``python -m facegrep`` is the same."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when it was closed
            stream.reconfigure(errors="backslashreplace")  # names in a terminal of Latin 1
    try:
        _require_core()
        from facegrep.cli._app import app

        app(prog_name="facegrep")
    except KeyboardInterrupt:  # while modules are still loaded; later on typer ends the same way
        raise SystemExit(130) from None


def _require_core() -> None:
    """Load the native core; under an impossible FACEGREP_ISA it refuses, and says what it takes."""
    try:
        import facegrep._core  # noqa: F401
    except ImportError as error:
        if not str(error).startswith("FACEGREP_ISA="):
            raise
        from facegrep.cli._output import show_error

        show_error(str(error))
        raise SystemExit(2) from error
