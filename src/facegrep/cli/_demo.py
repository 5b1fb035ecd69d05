"""``facegrep demo``: the main job from end to end, on portraits that come with the source."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegrep._errors import FacegrepError
from facegrep.cli._options import DeviceOption, PrecisionOption
from facegrep.cli._output import console, counted, show_json, show_remark, show_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facegrep import Engine
    from facegrep.vision import Device, Precision

ADDED = (
    "Emmanuel_Macron/person_a_1.jpg",
    "Jacinda_Ardern/person_b_1.jpg",
    "Barack_Obama/impostor_1.jpg",
    "Rishi_Sunak/impostor_2.jpg",
)
SEARCHED = ("Emmanuel_Macron/person_a_2.jpg", "Jacinda_Ardern/person_b_2.jpg")
LIBRARY = "demo"


class _Stopwatch:
    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        _heading(name)
        start = time.perf_counter()
        yield
        self.stages.append((name, f"{(time.perf_counter() - start) * 1000:,.0f} ms"))


def _heading(text: str) -> None:
    console().print(f"\n[dim]--[/] [bold]{text}[/]", soft_wrap=True)


def demo(
    portraits: Annotated[
        Path | None,
        typer.Argument(
            metavar="PORTRAITS",
            help="Folder of the portraits. Default: tests/data/portraits of the source checkout.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of its page, found.html.")
    ] = Path("build/demo"),
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
) -> None:
    """Add photos, search with photos that were not added, print and show what was found.

    Four portraits go into a new store, which is gone at the end. Then two of the people are
    searched for with a photo taken years later, at the Python door and at the ICE door. Last comes
    a page to look at.
    """
    folder = (portraits or _checkout_portraits()).absolute()
    absent = [name for name in (*ADDED, *SEARCHED) if not (folder / name).is_file()]
    if absent:
        raise FacegrepError(f"{folder} lacks {', '.join(absent)}: name the folder of the portraits")
    out.mkdir(parents=True, exist_ok=True)
    page = (out / "found.html").absolute()
    watch = _Stopwatch()
    # Beside the page and not in /tmp, which may be memory: a commit there costs nothing.
    with tempfile.TemporaryDirectory(prefix="store-", dir=out) as store:
        _run(folder, Path(store), page, watch, device, precision)
    _heading("how long it took")
    show_table(["stage", "time"], watch.stages, numbers=frozenset({"time"}))
    _heading("to look at")
    show_remark(page.as_uri())


def _checkout_portraits() -> Path:
    """`tests/data/portraits` here, or of the checkout that this module is run from."""
    for root in (Path.cwd(), Path(__file__).parents[3]):
        if (root / "tests/data/portraits").is_dir():
            return root / "tests/data/portraits"
    raise FacegrepError(
        "the portraits come with the source, not with the package: run it in a checkout, or name "
        "their folder"
    )


def _run(
    folder: Path, store: Path, page: Path, watch: _Stopwatch, device: Device, precision: Precision
) -> None:
    import facegrep
    from facegrep.cli._gallery import made_now, search_on_page
    from facegrep.cli._page import write_page
    from facegrep.cli._search import show_result
    from facegrep.ice import Service

    with watch.stage("open a new store"):
        engine = facegrep.open(store, device=device, precision=precision)
    with engine:
        engine.create_library(LIBRARY)
        with watch.stage("load the models, add a photo"):
            _add(engine, folder, ADDED[:1])
        with watch.stage(f"add {len(ADDED) - 1} more: decode, find faces, embed, commit"):
            _add(engine, folder, ADDED[1:])
        results = []
        for name in SEARCHED:
            with watch.stage(f"search with {name}, which was not added"):
                results.append(engine.search(LIBRARY, folder / name))
                show_result(results[-1])
        with watch.stage("the same at the ICE door: SearchMediaByFace"):
            service = Service(engine, files=[folder])
            request = {
                "SearchLibName": LIBRARY,
                "PersonImageUrl": (folder / SEARCHED[0]).as_uri(),
                "FaceSearchToken": "demo",
            }
            show_json(service.call("SearchMediaByFace", request))
        with watch.stage("write the page"):
            searches = [
                search_on_page(engine, LIBRARY, [str(folder / name)], result)
                for name, result in zip(SEARCHED, results, strict=True)
            ]
            write_page(page, searches, made=made_now())


def _add(engine: Engine, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        added = engine.add(LIBRARY, media_id=name, source=folder / name)
        faces = counted(len(added.faces), "face", "faces")
        console().print(f"  {name}: {faces}", markup=False)
