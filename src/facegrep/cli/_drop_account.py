"""``facegrep drop-account``: an account with all that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facegrep.cli._catalog import day
from facegrep.cli._opening import open_existing
from facegrep.cli._options import JsonOption, StoreOption
from facegrep.cli._output import show_json, show_remark, show_table
from facegrep.cli._receipts import ReceiptOption, receipt_file

if TYPE_CHECKING:
    from facegrep.engine import AccountContents


def drop_account(
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="As `facegrep keys list` has it.")
    ],
    store: StoreOption = None,  # type: ignore[assignment]
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase it; else what would go is shown.")
    ] = False,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase an account: its keys, libraries, people and kept answers, from every file of the store.

    Its keys go first, so servers refuse its calls at once. Only the audit keeps its name, the names
    of its libraries and the ids of its keys. Without --yes nothing is erased: what would go is
    shown. One that was cut off is gone on with by the same command. Backups are not reached.

    [bold]Example[/bold]

        facegrep drop-account studio --yes --receipt studio-gone.json
    """
    with open_existing(store) as engine:
        if not yes:
            found = engine.drop_account(account, dry_run=True)
        else:
            with receipt_file(receipt) as write:
                found = engine.drop_account(account)
                write(found.to_dict())
    if as_json:
        show_json(found.to_dict())
        return
    _show(found)
    if not yes:
        show_remark("nothing was erased; look at this, then say --yes")


def _show(contents: AccountContents) -> None:
    gone = contents.dropped_ms is not None
    show_table(
        ["", "erased" if gone else "would be erased"],
        [
            ("account", contents.account),
            ("libraries", ", ".join(contents.libraries) or None),
            ("media", f"{contents.media_count:,}"),
            ("faces", f"{contents.face_count:,}"),
            ("recognition libraries", ", ".join(contents.recognition_libraries) or None),
            ("entities", f"{contents.entity_count:,}"),
            ("keys", ", ".join(contents.key_ids) or None),
            *([("when", day(contents.dropped_ms))] if contents.dropped_ms is not None else []),
            *([("entry of the audit", contents.hash)] if gone else []),
        ],
    )
