"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

DEFAULT_LIBRARY = "ims-default-search-lib"


def default_store() -> Path:
    """Where the store is unless told: ``FACEGREP_STORE``, else a folder of the user's data."""
    told = os.environ.get("FACEGREP_STORE")
    if told:
        return Path(told)
    data = os.environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):  # a relative one is invalid by the XDG specification
        return Path(data) / "facegrep"
    try:
        return Path.home() / ".local" / "share" / "facegrep"
    except RuntimeError as error:
        raise typer.BadParameter(
            "there is no home folder; name one", param_hint="--store"
        ) from error


def _store(context: typer.Context, value: Path | None) -> Path:
    before: Path | None = context.find_root().obj  # facegrep --store S add ...
    return value or before or default_store()


STORE_HELP = "Folder of the store. Default: $FACEGREP_STORE, else ~/.local/share/facegrep."
StoreOption = Annotated[
    # The callback never returns None, and typer leaves a default of None unconverted.
    Path,
    typer.Option("--store", metavar="DIR", callback=_store, help=STORE_HELP, show_default=False),
]
LibraryOption = Annotated[
    str, typer.Option("--library", "-l", metavar="NAME", help="Library to work on.")
]
AnyLibraryOption = Annotated[
    str | None,
    typer.Option(
        "--library", "-l", metavar="NAME", help="Only this one. Default: all.", show_default=False
    ),
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="Namespace of the media.")
]
FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=VALUE",
        help="intField1 (an integer), strField1 or strField2 of the media; may be repeated.",
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="What runs the models; cuda is never replaced silently."),
]
PrecisionOption = Annotated[
    Literal["fp32", "int8"],
    typer.Option("--precision", help="int8 is 2x faster on CPUs with VNNI, equally accurate."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]


def read_fields(pairs: list[str] | None) -> dict[str, int | str]:
    """``intField1=3`` and the like to the engine's ``fields``."""
    fields: dict[str, int | str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or name not in ("intField1", "strField1", "strField2"):
            raise typer.BadParameter(
                f"expected intField1=, strField1= or strField2= and a value, got {pair!r}",
                param_hint="--field",
            )
        if name in fields:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--field")
        fields[name] = _integer(value) if name == "intField1" else value
    return fields


def _integer(text: str) -> int:
    # int() alone takes "1_0" and the digits of every script.
    number = int(text) if re.fullmatch(r"-?[0-9]{1,19}", text) else 2**63
    if not -(2**63) <= number < 2**63:
        raise typer.BadParameter(
            f"intField1 takes an integer of 64 bits, got {text[:40]!r}", param_hint="--field"
        )
    return number


def read_threshold(text: str) -> float | Literal["library"] | None:
    """``library``, ``none``, or a cosine."""
    if text == "library":
        return "library"
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise typer.BadParameter(
            f"expected a cosine from -1 to 1, 'library' or 'none', got {text!r}",
            param_hint="--threshold",
        )
    return value


def read_where(text: str | None) -> dict[str, Any] | None:
    """Parse the JSON of a filter; what it means is the engine's to judge."""
    if text is None:
        return None
    try:
        where = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--where") from error
    if not isinstance(where, dict):
        raise typer.BadParameter(
            """expected an object such as {"intField1": 3}""", param_hint="--where"
        )
    return where


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    where = dict(pairs)
    if len(where) != len(pairs):
        raise ValueError("a field is given twice")
    return where


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
