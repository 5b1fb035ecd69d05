"""``facegrep add``: photos and videos into a library."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from facegrep._errors import (
    FacegrepError,
    NotFoundError,
    OperationDeniedError,
    PictureError,
    VideoError,
)
from facegrep.cli._durations import read_ttl, show_duration
from facegrep.cli._opening import actor
from facegrep.cli._options import (
    DEFAULT_LIBRARY,
    DeviceOption,
    FieldOption,
    JsonOption,
    LibraryOption,
    NamespaceOption,
    PrecisionOption,
    StoreOption,
    read_fields,
)
from facegrep.cli._output import console, counted, printable, show_json, show_note, show_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep import Engine
    from facegrep.engine import AddManyResult, VideoProgress

SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"}
)


def add(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATHS", help="Photos, videos and folders.")
    ],
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    field: FieldOption = None,
    namespace: NamespaceOption = None,
    ttl: Annotated[
        str | None,
        typer.Option(
            "--ttl",
            metavar="TTL",
            help="How long the media of a new library are kept: 36h, 30d, 3y, ... or none.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Add photos, videos and folders of them to a library.

    A file's MediaId is its path as given, so `facegrep add holiday/` from another folder, or
    with an absolute path, adds other media. The same file under the same id again changes
    nothing. Of folders, files that are named like pictures or videos are taken, hidden ones are
    not. Videos need the extra `video` (PyAV).

    A library that does not exist is created. A file that cannot be read is left out and listed
    at the end, and the exit code is 1; the others are added. Of a video that is damaged from some
    point on, what comes before is added; it is listed, too.

    [bold]Examples[/bold]

        facegrep add holiday/ grandma.jpg --library family

        facegrep add scans/ --field strField1=attic --field intField1=1962
    """
    import facegrep
    from facegrep.engine import AddManyResult

    if "" in paths:  # "$UNSET": Path("") is the current folder
        raise typer.BadParameter("expected photos or folders, got ''", param_hint="PATHS")
    fields = read_fields(field)
    ttl_ms = None if ttl is None else read_ttl(ttl)
    found, failed = _find(paths)
    created, result = False, AddManyResult(0, 0, 0)
    if found:
        with facegrep.open(store, device=device, precision=precision, actor=actor()) as engine:
            created = _ensure_library(engine, library, ttl, ttl_ms)
            if created:
                show_note(f"created the library {library!r}")
            try:
                result = add_files(engine, library, found, fields=fields, namespace=namespace)
            except KeyboardInterrupt:
                show_note("interrupted; what was added is kept, and the same command adds the rest")
                raise
    failed += ((media_id, _reason(error)) for media_id, error in result.errors)
    if as_json:
        show_json(
            {
                "library": library,
                "created_library": created,
                "added": result.added,
                "unchanged": result.unchanged,
                "faces": result.faces,
                "provider": result.provider,
                "failed": [{"path": path, "error": error} for path, error in failed],
                "truncated": [{"path": path, "why": why} for path, why in result.truncated],
            }
        )
    else:
        already = f", {result.unchanged:,} already there" if result.unchanged else ""
        faces = counted(result.faces, "face", "faces")
        console().print(f"{result.added:,} added{already}; {faces}", style="bold")
        if result.truncated:
            show_table(["added as far as it goes", "why"], result.truncated)
        if failed:
            show_table(["left out", "why"], failed)
    if failed:
        raise typer.Exit(1)


def _reason(error: FacegrepError) -> str:
    """Say what is wrong, without the name that stands beside it."""
    return error.reason if isinstance(error, (PictureError, VideoError)) else str(error)


def _find(paths: list[str]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files to add, in the order of the arguments and then of names; and what is not there."""
    found: dict[Path, None] = {}
    failed: list[tuple[str, str]] = []

    def refuse(error: OSError) -> None:
        failed.append((str(error.filename), (error.strerror or str(error)).lower()))

    for text in paths:
        path = Path(text)
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            refuse(error)
            continue
        if not is_folder:
            found[path] = None
            continue
        refused_before = len(failed)
        files = list(_walk(path, refuse))
        found.update(dict.fromkeys(files))
        if not files and len(failed) == refused_before:
            failed.append((text, "a folder without pictures and videos"))
    return list(found), failed


def _walk(folder: Path, refuse: Callable[[OSError], None]) -> Iterator[Path]:
    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and suffix in SUFFIXES | VIDEO_SUFFIXES:
                yield Path(here) / name


def _ensure_library(engine: Engine, name: str, ttl: str | None, ttl_ms: int | None) -> bool:
    """Create the library unless it is there; say whether it was."""
    try:
        kept_ms = engine.library(name).ttl_ms
    except NotFoundError:
        engine.create_library(name, ttl_ms=ttl_ms)
        return True
    if ttl is not None and kept_ms != ttl_ms:  # what is there must not expire by the way
        raise OperationDeniedError(
            f"the media of {name!r} are kept {show_duration(kept_ms)}; nothing was added, "
            f"`facegrep retention {ttl} --library {name}` changes that"
        )
    return False


def add_files(
    engine: Engine,
    library: str,
    paths: list[Path],
    *,
    fields: dict[str, int | str],
    namespace: str | None,
) -> AddManyResult:
    """Add files under their paths as given, with a bar on a terminal; go on after a bad one."""
    items = [
        {
            "media_id": path.as_posix(),
            "source": path,
            # By the first bytes; but of a broken video it is not said that it is no picture.
            "media_type": "video" if path.suffix.lower() in VIDEO_SUFFIXES else None,
            "fields": fields,
            "namespace": namespace,
        }
        for path in paths
    ]
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    terminal = console(stderr=True)
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_terminal
    ) as bar:
        task = bar.add_task("adding", total=len(items))
        finished = 0

        def on_file(done: int, _: int | None) -> None:
            nonlocal finished
            finished = done
            bar.update(task, completed=done, description="adding")

        def on_video(media_id: str, step: VideoProgress) -> None:
            share = step.time_ms / step.duration_ms if step.duration_ms else 0.0
            name = printable(media_id.rpartition("/")[2])
            bar.update(task, completed=finished + min(share, 1.0), description=f"looking at {name}")

        return engine.add_many(
            library, items, progress=on_file, video_progress=on_video, on_error="collect"
        )
