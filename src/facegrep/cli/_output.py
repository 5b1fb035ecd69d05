"""What the command writes: tables for people, JSON for programs, one red line for an error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import JustifyMethod

# Wider than any row: a folded one would be two to grep and awk.
_PIPE_COLUMNS = 20_000


def printable(text: str) -> str:
    r"""Escape what a terminal or a page would obey instead of show.

    Names come from files and callers: ``ESC [ 2 J`` clears a screen, and a bidi mark turns the
    text around it.

    >>> printable("a\x1b[2J\u202e")
    'a\\x1b[2J\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def console(*, stderr: bool = False) -> Console:
    """Colours and the window's width on a terminal; elsewhere neither, and nothing is folded."""
    made = Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = _PIPE_COLUMNS
    return made


def show_error(message: str) -> None:
    """One line on stderr, red on a terminal."""
    line = Text("facegrep: ", style="bold red")
    line.append(printable(" ".join(message.split())), style="red")
    console(stderr=True).print(line, soft_wrap=True)


def show_note(message: str) -> None:
    """One line on stderr, out of the way of what a program reads."""
    console(stderr=True).print(Text(printable(message), style="dim"), soft_wrap=True)


def show_remark(message: str) -> None:
    """One line on stdout beside a table."""
    console().print(Text(printable(message), style="dim"), soft_wrap=True)


def counted(number: int, one: str, many: str) -> str:
    """``1 face``, ``2 faces``, ``1,000 faces``."""
    return f"{number:,} {one if number == 1 else many}"


def show_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    title: str = "",
    numbers: frozenset[str] = frozenset(),
) -> None:
    """Print a table; long cells are folded, but for columns of `numbers`, aligned to the right."""
    if title:
        console().print(Text(printable(title), style="bold"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        number = column in numbers
        justify: JustifyMethod = "right" if number else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=number)
    for row in rows:
        table.add_row(*(Text(printable("-" if cell is None else str(cell))) for cell in row))
    console().print(table)


def show_json(value: Any) -> None:  # noqa: ANN401 - whatever json takes
    """Print pure JSON on stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal of few characters, or a file name that is not text
        text = json.dumps(value, indent=2, allow_nan=False)
    typer.echo(text)
