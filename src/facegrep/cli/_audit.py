"""``facegrep audit``: what was done to the store, and by whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facegrep.cli._catalog import day
from facegrep.cli._opening import open_existing
from facegrep.cli._options import JsonOption, StoreOption
from facegrep.cli._output import console, counted, show_error, show_json, show_note, show_table

if TYPE_CHECKING:
    from facegrep.engine import AccountContents, Receipt

audit = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="rich",
    help=(
        "List what was done to the store, newest last: who, what, to which library, how many.\n\n"
        "No ids and no vectors are in it. Each entry has a hash that covers the one before.\n\n"
        "[bold]Examples[/bold]\n\n"
        "    facegrep audit --last 50\n\n"
        "    facegrep audit verify --receipt erased.json"
    ),
)


@audit.callback()
def show(
    context: typer.Context,
    store: StoreOption = None,  # type: ignore[assignment]
    searches: Annotated[
        bool, typer.Option("--searches", help="Of searches, where these are audited, and of keys.")
    ] = False,
    last: Annotated[int, typer.Option("--last", min=1, help="How many to list.")] = 20,
    all_accounts: Annotated[
        bool, typer.Option("--all-accounts", help="Those of every account of the store.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    import facegrep

    if context.invoked_subcommand:
        context.find_root().obj = store  # facegrep audit --store S verify
        return
    with facegrep.open(store, readonly=True) as engine:
        found = engine.audit(searches=searches, all_accounts=all_accounts)
    if as_json:
        show_json([entry.to_dict() for entry in found[-last:]])
        return
    show_table(
        ["no.", "when", "account", "who", "what", "library", "media", "faces", "details"],
        (
            (
                entry.number,
                day(entry.time_ms),
                entry.account,
                entry.actor,
                entry.action,
                entry.library,
                entry.media_count,
                entry.face_count,
                ", ".join(f"{name}={value}" for name, value in entry.details.items()) or None,
            )
            for entry in found[-last:]
        ),
        numbers=frozenset({"no.", "media", "faces"}),
    )
    if len(found) > last:
        show_note(f"the last {last} of {len(found):,}; for more: --last {len(found)}")


@audit.command()
def verify(
    store: StoreOption = None,  # type: ignore[assignment]
    receipt: Annotated[
        list[Path] | None,
        typer.Option("--receipt", metavar="FILE", help="Must be borne out by it; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no entry was changed, removed, moved or added, and that none is missing.

    Of a receipt also that it lists the media that were erased then: the audit has a salted hash of
    their ids. The exit code is 1 otherwise. Note the head that it prints somewhere else: who
    changes the store and its side file together can be found by that, or by a receipt, alone.
    """
    import facegrep

    receipts = [one for path in receipt or () for one in _receipts(path)]
    with facegrep.open(store, readonly=True) as engine:
        report = engine.verify_audit(*receipts)
    if as_json:
        show_json(report.to_dict())
    elif report.ok:
        entries = counted(report.entries, "entry", "entries")
        console().print(
            f"the audit is whole: {entries}, {report.searches:,} of searches and keys", style="bold"
        )
        console().print(f"head {report.head}")
    for damage in report.damages:
        show_error(damage)
    for value in report.missing:
        show_error(
            f"no entry has the hash {value}: a receipt of another store, or made since this backup "
            "was taken, or a forged audit"
        )
    for contradiction in report.contradictions:
        show_error(contradiction)
    if not report.ok:
        raise typer.Exit(1)


@audit.command()
def searches(
    switch: Annotated[Literal["on", "off"], typer.Argument(metavar="on|off")],
    store: StoreOption = None,  # type: ignore[assignment]
) -> None:
    """Switch the audit of searches on or off, for everybody who uses the store.

    A search is then written down before it is answered, and fails where it cannot be.
    """
    with open_existing(store) as engine:
        engine.set_search_audit(switch == "on")
    console().print(f"searches are {'audited' if switch == 'on' else 'not audited'}")


def _receipts(path: Path) -> list[Receipt | AccountContents]:
    """Read a receipt, or several."""
    try:
        value: Any = json.loads(path.read_text("utf-8"))
        return [_receipt(one) for one in (value if isinstance(value, list) else [value])]
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path} is no receipt", param_hint="--receipt") from error


def _receipt(value: object) -> Receipt | AccountContents:
    from facegrep.engine import AccountContents, Receipt

    if isinstance(value, dict) and "account" in value:
        return AccountContents.from_dict(value)
    return Receipt.from_dict(value)
