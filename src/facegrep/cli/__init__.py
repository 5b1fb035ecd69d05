"""The command ``facegrep``."""

from __future__ import annotations


def main() -> None:
    """Run the command; ``python -m facegrep`` is the same."""
    try:
        from facegrep.cli._app import app

        app(prog_name="facegrep")
    except KeyboardInterrupt:  # while modules are still loaded; later on typer ends the same way
        raise SystemExit(130) from None
