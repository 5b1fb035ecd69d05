"""``facegrep erase`` and ``purge``: out of every file of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facegrep.cli._opening import open_existing
from facegrep.cli._options import (
    DEFAULT_LIBRARY,
    AnyLibraryOption,
    DeviceOption,
    JsonOption,
    LibraryOption,
    StoreOption,
    read_threshold,
)
from facegrep.cli._output import counted, show_error, show_json, show_note, show_remark, show_table
from facegrep.cli._receipts import ReceiptOption, receipt_file, show_receipt

if TYPE_CHECKING:
    from facegrep.engine import ErasePlan


def erase(
    media_ids: Annotated[
        list[str] | None, typer.Argument(metavar="MEDIA_ID", help="As listed.")
    ] = None,
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    person: Annotated[
        list[str] | None,
        typer.Option(
            "--person",
            metavar="PICTURE",
            help="Erase the media with this person instead; may be repeated.",
        ),
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold", metavar="T", help="With --person: a cosine from -1 to 1, or 'library'."
        ),
    ] = "library",
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase without asking; needed with --person and --json.")
    ] = False,
    receipt: ReceiptOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Erase media from every file of the store, and print a receipt.

    Vectors are overwritten, rows and ids removed, kept answers emptied of them, databases rebuilt.
    The photos themselves stay where they are, and backups and other copies are not reached.

    With --person nothing is erased without --yes: what would go is listed. Whole media go, with
    everybody else in them, and whatever has expired.

    The exit code is 1 when an id was not there.

    [bold]Examples[/bold]

        facegrep erase scan-17.jpg --library family --receipt erased.json

        facegrep erase --person grandma.jpg --library family
    """
    required = read_threshold(threshold)
    if bool(media_ids) == bool(person):
        raise typer.BadParameter("expected MEDIA_IDs or --person PICTURE, one of the two")
    if required is None:
        raise typer.BadParameter(
            "expected a cosine from -1 to 1 or 'library'; with 'none' every medium would go",
            param_hint="--threshold",
        )
    if as_json and media_ids and not yes:
        raise typer.BadParameter("needed with --json, which cannot ask", param_hint="--yes")
    with open_existing(store, device=device) as engine:
        if person and not yes:
            show_plan(engine.erase_person(library, list(person), threshold=required), as_json)
            return
        if media_ids and not yes:
            known = counted(len(set(media_ids)), "medium", "media")
            typer.confirm(f"Erase {known} from {library!r}, for good?", abort=True, err=True)
        with receipt_file(receipt) as write:
            if person:
                done = engine.erase_person(library, list(person), threshold=required, dry_run=False)
            else:
                done = engine.erase(library, media_ids or [])
            write(done.to_dict())
    if as_json:
        show_json(done.to_dict())
    else:
        show_receipt(done)
    if done.unknown_ids:
        count = len(done.unknown_ids)
        show_error(f"{count} of these ids {'were' if count > 1 else 'was'} not in {library!r}")
        raise typer.Exit(1)


def show_plan(plan: ErasePlan, as_json: bool) -> None:
    """Print what would go."""
    if as_json:
        show_json(plan.to_dict())
        return
    count = counted(len(plan.hits), "medium", "media")
    show_table(
        ["score", "media", "faces"],
        ((f"{hit.score:.4f}", hit.media_id, hit.face_count) for hit in plan.hits),
        title=f"{count} would be erased: a score of {plan.threshold:.3f} or more",
        numbers=frozenset({"score", "faces"}),
    )
    if plan.samples:
        show_table(
            ["score", "entity", "sample", "the entity goes too"],
            (
                (
                    f"{one.score:.4f}",
                    one.entity_name,
                    one.sample_id,
                    "yes" if one.with_entity else "",
                )
                for one in plan.samples
            ),
            title=f"{counted(len(plan.samples), 'sample', 'samples')} of recognition libraries too",
            numbers=frozenset({"score"}),
        )
    show_remark("nothing was erased; look at these, then say --yes")


def purge(
    store: StoreOption = None,  # type: ignore[assignment]
    library: AnyLibraryOption = None,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what is kept no longer, and finish erasures that were cut off.

    Media whose time is up are in no answer any more; this takes them out of every file as well,
    and the faces that were searched for under a FaceSearchToken of more than a day ago. Run it as
    often as your retention says, for example once a day. See `facegrep retention`.
    """
    with open_existing(store) as engine, receipt_file(receipt) as write:
        done = engine.purge(library)
        write([one.to_dict() for one in done])
    if as_json:
        show_json([one.to_dict() for one in done])
        return
    for one in done:
        show_receipt(one)
    if not done:
        show_note("nothing has expired")
