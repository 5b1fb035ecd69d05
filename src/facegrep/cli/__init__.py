"""The command ``facegrep``."""

from __future__ import annotations


def main() -> None:
    """Run the command; ``python -m facegrep`` is the same."""
    from facegrep.cli._app import app

    app(prog_name="facegrep")
