"""Receipts of erasures: on the screen, and in a file that is there before anything goes."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegrep.cli._catalog import day
from facegrep.cli._output import counted, show_error, show_json, show_note, show_remark, show_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegrep.engine import Receipt

ReceiptOption = Annotated[
    Path | None,
    typer.Option(
        "--receipt",
        metavar="FILE",
        help="Also write the receipt, with the ids, to a new file. Keep it out of the store.",
    ),
]


@contextlib.contextmanager
def receipt_file(path: Path | None) -> Iterator[Callable[[Any], None]]:
    """Make the file first: an erasure whose receipt cannot be written would have none."""
    if path is None:
        yield lambda _: None
        return
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise typer.BadParameter(f"{path} exists already", param_hint="--receipt") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:

            def write(value: Any) -> None:  # noqa: ANN401 - whatever json takes
                try:
                    file.write(json.dumps(value, ensure_ascii=True, indent=2) + "\n")
                    file.flush()
                    os.fsync(descriptor)
                except OSError as error:  # what went is gone: it must not be lost as well
                    show_json(value)
                    show_error(f"{path}: {error.strerror}; it is erased, the receipt is above")
                    raise typer.Exit(1) from error

            yield write
    except BaseException:
        path.unlink()
        raise
    show_note(f"wrote {path}")


def show_receipt(receipt: Receipt) -> None:
    """Print a receipt as a table."""
    show_table(
        ["", "erased"],
        [
            ("library", receipt.library),
            ("media", f"{len(receipt.media_ids):,}"),
            *([("samples", f"{len(receipt.samples):,}")] if receipt.samples else []),
            ("faces overwritten", f"{receipt.face_count:,}"),
            ("files of vectors", ", ".join(receipt.segments) or None),
            ("databases rebuilt", ", ".join(receipt.rewritten)),
            ("kept answers changed", f"{receipt.answers:,}"),
            ("when", day(receipt.erased_ms)),
            ("receipt", receipt.hash),
        ],
        title=f"{counted(len(receipt.media_ids), 'medium', 'media')} erased",
    )
    show_remark(receipt.note)
