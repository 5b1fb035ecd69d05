"""``facegrep bench``: how fast it is on this machine."""

from __future__ import annotations

import typer

bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)


@bench.callback()
def group() -> None:
    """Measure on this machine."""


@bench.command()
def embed() -> None:
    """Faces per second by stage, provider, precision and batch size."""
