"""``facegrep bench``: how fast it is on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from facegrep.cli._options import DeviceOption, JsonOption, StoreOption
from facegrep.cli._output import console, show_json, show_remark, show_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep._bench.library import Library

bench = typer.Typer(help="Measure how fast this machine is.", no_args_is_help=True)


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


@bench.command()
def search(
    library: Annotated[
        str | None,
        typer.Option(
            "--library",
            "-l",
            metavar="NAME",
            help="Use the vectors of this library. Default: generated ones.",
            show_default=False,
        ),
    ] = None,
    faces: Annotated[
        int, typer.Option("--faces", min=1000, help="How many to search (at most).")
    ] = 100_000,
    dim: Annotated[
        Literal["128", "512"], typer.Option("--dim", help="Length of the generated vectors.")
    ] = "128",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="To measure for, beside the loading.")
    ] = 20.0,
    store: StoreOption = None,  # type: ignore[assignment]
    as_json: JsonOption = False,
) -> None:
    """Search speed beside numpy, faiss and usearch (if installed); every answer is checked."""
    from facegrep._bench.quick import bench_search, face_like_library

    with console(stderr=True).status("loading") as status:
        searched = (
            face_like_library(int(dim), faces)
            if library is None
            else _library_of(store, library, faces)
        )
        rows, bandwidth = bench_search(searched, seconds=seconds, progress=status.update)
    if as_json:
        show_json(
            {
                "faces": len(searched),
                "assets": searched.assets,
                "dim": searched.dim,
                "read_bytes_per_s": bandwidth,
                "rows": [asdict(row) | {"quality": row.quality._asdict()} for row in rows],
            }
        )
        return
    show_table(
        [
            "work",
            "engine",
            "stores",
            "ms/query",
            "spread",
            "cores",
            "",
            "recall@10",
            "Total is off by",
        ],
        (
            (
                row.work,
                row.engine,
                row.stores,
                f"{row.ms_per_query:.3f}",
                f"+-{row.spread * 100:.0f} %",
                f"{row.cores:.1f}",
                f"{row.times_facegrep:.1f} x",
                f"{row.quality.recall:.3f}",
                "no Total" if row.quality.total_error is None else f"{row.quality.total_error:.2f}",
            )
            for row in rows
        ),
        title=f"{len(searched):,} faces of {searched.assets:,} media, {searched.dim} dimensions, "
        "one thread each",
        numbers=frozenset({"ms/query", "spread", "cores", "", "recall@10", "Total is off by"}),
    )
    touched = next((row for row in rows if row.bytes_touched), None)
    if touched is not None and touched.bytes_touched is not None:
        rate = touched.bytes_touched / (touched.ms_per_query / 1000)
        show_remark(
            f"One core reads {bandwidth / 1e9:.1f} GB/s here; one query reads "
            f"{touched.bytes_touched / 1e6:.1f} MB at {rate / 1e9:.1f} GB/s."
        )
    show_remark(
        "facegrep's answers equal a brute force over its codes to the last asset. Recall and Total "
        "are against float32 vectors, which nobody who stores less can reproduce to the last face."
    )


def _library_of(store: Path, name: str, faces: int) -> Library:
    """Up to so many faces of a library on disk, with some of them as queries."""
    import facegrep
    from facegrep._bench.library import Library

    codes: list[NDArray[np.int8]] = []
    assets: list[str] = []
    after = None
    with facegrep.open(store, readonly=True) as engine:
        while len(codes) < faces:
            page = engine.media(name, after=after, limit=1000, vectors=True)
            if not page:
                break
            for media in page:
                found = [face.code for face in media.faces if face.code is not None]
                codes += found
                assets += [media.media_id] * len(found)
            after = page[-1].media_id
    if not codes:
        raise facegrep.InvalidArgumentError(f"library {name!r}: it has no faces to search")
    vectors = _unit(np.stack(codes))
    random = np.random.default_rng(1)
    some = vectors[random.integers(len(vectors), size=32)]
    other_pictures = some + random.normal(0, 0.5 / np.sqrt(vectors.shape[1]), some.shape)
    asset_of_face = np.unique(assets, return_inverse=True)[1]
    return Library(vectors, asset_of_face, _unit(other_pictures))


def _unit(vectors: NDArray[np.generic]) -> NDArray[np.float32]:
    floats = vectors.astype(np.float32)
    return np.asarray(floats / np.linalg.norm(floats, axis=1, keepdims=True), np.float32)
