"""``facegrep bench``: how fast it is on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from facegrep.cli._options import DeviceOption, JsonOption
from facegrep.cli._output import console, show_json, show_table

bench = typer.Typer(help="Measure how fast this machine is.", no_args_is_help=True)


@bench.callback()
def group() -> None:
    """Measure how fast this machine is."""  # a callback keeps `embed` a subcommand while alone


@bench.command()
def embed(
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PICTURE", help="The first with a face is used. Default: noise."),
    ] = None,
    device: DeviceOption = "auto",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="To measure for, beside the loading.")
    ] = 20.0,
    as_json: JsonOption = False,
) -> None:
    """Faces per second by stage, provider, precision and batch, beside the graph as shipped."""
    from facegrep.media import read_picture
    from facegrep.vision import bench_embed

    pixels = [read_picture(picture).pixels for picture in pictures] if pictures else None
    with console(stderr=True).status("measuring") as status:
        rows = bench_embed(pixels, device=device, seconds=seconds, progress=status.update)
    if as_json:
        show_json([asdict(row) for row in rows])
        return
    show_table(
        ["stage", "graph", "provider", "threads", "batch", "faces/s", "ms/face", "spread"],
        (
            (
                row.stage,
                row.graph or None,
                row.provider or None,
                row.threads,
                row.batch,
                f"{row.faces_per_s:,.0f}",
                f"{row.ms_per_face:.2f}",
                f"+-{row.spread * 100:.0f} %",
            )
            for row in rows
        ),
        numbers=frozenset({"threads", "batch", "faces/s", "ms/face", "spread"}),
    )
