"""``facegrep verify``, ``backup``, ``compact`` and ``retention``: looking after a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegrep.cli._catalog import day
from facegrep.cli._durations import read_ttl, show_duration
from facegrep.cli._opening import open_existing
from facegrep.cli._options import (
    DEFAULT_LIBRARY,
    AnyLibraryOption,
    JsonOption,
    LibraryOption,
    StoreOption,
)
from facegrep.cli._output import console, counted, show_error, show_json, show_note, show_table


def verify(
    store: StoreOption = None,  # type: ignore[assignment]
    library: AnyLibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every checksum of the store: rows, vectors, the audit, SQLite's own.

    Nothing is changed, and others may write meanwhile. The exit code is 1 when something is
    damaged; then restore a backup, or drop the library that is named.
    """
    import facegrep

    with (
        facegrep.open(store, readonly=True) as engine,
        console(stderr=True).status("reading everything"),
    ):
        report = engine.verify(library)
    if as_json:
        show_json(report.to_dict())
    else:
        if report.damages:
            show_table(
                ["file", "library", "block", "what is wrong"],
                ((one.file, one.library, one.block, one.what) for one in report.damages),
            )
        for name in report.leftovers:
            show_note(f"{name} belongs to nothing; the next command that writes removes its own")
        rows = counted(report.row_count, "row", "rows")
        blocks = counted(report.block_count, "block of vectors", "blocks of vectors")
        if report.ok:
            console().print(f"all is as it was written: {rows}, {blocks}", style="bold")
    if not report.ok:
        show_error(f"{counted(len(report.damages), 'thing is', 'things are')} damaged")
        raise typer.Exit(1)


def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Absent or empty.")],
    store: StoreOption = None,  # type: ignore[assignment]
    as_json: JsonOption = False,
) -> None:
    """Copy the store to an empty folder, while others write to it.

    The copy is a store of its own, verified: `facegrep search --store DIR` works. To restore,
    stop what uses the store, move its folder away and put the copy in its place. No erasure
    reaches a backup: erase again, from the receipts, what was erased since.

    [bold]Example[/bold]

        facegrep backup /mnt/backup/faces-monday
    """
    with open_existing(store) as engine, console(stderr=True).status("copying"):
        report = engine.backup(directory)
    if as_json:
        show_json(report.to_dict())
        return
    show_table(
        ["", "copied and verified"],
        [
            ("to", report.directory),
            ("libraries", f"{report.library_count:,}"),
            ("media", f"{report.media_count:,}"),
            ("faces", f"{report.face_count:,}"),
            ("size", f"{report.file_bytes / 1e6:,.1f} MB"),
            ("as of", day(report.time_ms)),
            ("audit up to", report.audit_head or None),
        ],
    )


def compact(
    store: StoreOption = None,  # type: ignore[assignment]
    library: AnyLibraryOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also files that hold few deleted ones.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rewrite files of vectors that hold many deleted ones, and overwrite the old files.

    Many is a quarter of a file. With --all no deleted vector is left in any; `facegrep erase` of
    the ids takes their remains out of the databases. Also finishes erasures that were cut off.
    Searches go on meanwhile.
    """
    with open_existing(store) as engine, console(stderr=True).status("compacting"):
        shares = {"min_dead_share": 0.0} if everything else {}
        report = engine.compact(library, **shares)
    if as_json:
        show_json(report.to_dict())
    else:
        if report.rewritten:
            show_table(
                ["file", "bytes before", "bytes after"],
                (
                    (one.file, f"{one.bytes_before:,}", f"{one.bytes_after:,}")
                    for one in report.rewritten
                ),
                numbers=frozenset({"bytes before", "bytes after"}),
            )
        console().print(f"{report.freed_bytes:,} bytes freed", style="bold")
    if not report.erasures_finished:
        show_error("an erasure is not finished yet; run this again when no reader holds it back")
        raise typer.Exit(1)


def retention(
    ttl: Annotated[
        str | None,
        typer.Argument(metavar="TTL", help="36h, 30d, 3y, ... or none. Without it, show it."),
    ] = None,
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
) -> None:
    """Show or set how long the media of a library are kept, from when they were added.

    What is older is gone at once from every search, list and count. `facegrep purge` erases it;
    until then a longer retention brings it back.

    [bold]Example[/bold]

        facegrep retention 30d --library family
    """
    import facegrep

    if ttl is None:
        with facegrep.open(store, readonly=True) as engine:
            console().print(f"kept {show_duration(engine.library(library).ttl_ms)}")
        return
    ttl_ms = read_ttl(ttl)
    with open_existing(store) as engine:
        before = engine.library(library).media_count
        engine.set_retention(library, ttl_ms)
        left = engine.library(library).media_count
    console().print(f"media of {library!r} are kept {show_duration(ttl_ms)}")
    if left < before:
        show_note(f"{before - left:,} have expired with that; `facegrep purge` erases them")
