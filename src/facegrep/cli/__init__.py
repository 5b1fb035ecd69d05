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
        from facegrep.cli._app import app

        app(prog_name="facegrep")
    except KeyboardInterrupt:  # while modules are still loaded; later on typer ends the same way
        raise SystemExit(130) from None
