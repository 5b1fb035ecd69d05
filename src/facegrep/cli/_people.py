"""``facegrep people``: who is in a library that nobody has named, and what you say of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegrep._errors import NotFoundError
from facegrep.cli._opening import open_existing, open_to_search
from facegrep.cli._options import DEFAULT_LIBRARY, JsonOption, LibraryOption, StoreOption
from facegrep.cli._output import console, counted, show_json, show_note, show_remark, show_table

if TYPE_CHECKING:
    from facegrep import Engine
    from facegrep.engine import People, UnknownPerson

people = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="rich",
    help=(
        "List the people in a library that nobody has named yet, those with most faces first.\n\n"
        "The id of any face stands for its person. Two faces of one photo are two people.\n\n"
        "[bold]Examples[/bold]\n\n"
        "    facegrep people --library family --html people.html\n\n"
        "    facegrep people name 'garden.jpg#0' Anna --library family\n\n"
        "    facegrep people merge 'garden.jpg#0' 'beach.jpg#1' --library family\n\n"
        "    facegrep people split 'garden.jpg#0' 'party.jpg#2' --library family"
    ),
)

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="The id of any face.")]


@people.callback()
def show(
    context: typer.Context,
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    min_faces: Annotated[
        int, typer.Option("--min-faces", min=1, help="How many faces make a person.")
    ] = 2,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to list.")] = 50,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page with a face of each."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    if context.invoked_subcommand is not None:
        return
    with open_to_search(store) as engine:
        found = engine.people(library, min_faces=min_faces)
        if as_json:
            show_json(found.to_dict())
        else:
            _show(found, limit)
        if html is not None:
            from facegrep.cli._gallery import made_now, people_on_page
            from facegrep.cli._page import write_page

            with console(stderr=True).status(f"cutting {len(found)} thumbnails"):
                write_page(html, [people_on_page(engine, found)], made=made_now())
            show_note(f"wrote {html}")


@people.command()
def name(
    person: PersonArgument,
    text: Annotated[str, typer.Argument(metavar="NAME", help="Who it is.")],
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=1000, help="How many faces to remember.")
    ] = 8,
    as_json: JsonOption = False,
) -> None:
    """Name a person: from then on their face is recognised in this library.

    The name goes into the first recognition library that the library lists; if it lists none, one
    is made. A name that is there already gets more samples.
    """
    with open_existing(store) as engine:
        (somebody,) = _find(engine, library, person)  # before anything is made
        known = engine.library(library)
        if known.recognition:
            recognition_id = known.recognition[0]
        else:
            made = engine.create_recognition_library(library, model=known.model, dim=known.dim)
            recognition_id = made.recognition_id
            engine.set_recognition(library, [recognition_id])
        there = [one for one in engine.entities(recognition_id) if one.name == text]
        if there:
            entity_id = there[0].entity_id
            entity = engine.name_person(library, somebody, entity_id=entity_id, samples=samples)
        else:
            entity = engine.name_person(library, somebody, text, samples=samples)
    if as_json:
        show_json(
            {
                "recognition_id": entity.recognition_id,
                "entity_id": entity.entity_id,
                "name": entity.name,
                "sample_count": entity.sample_count,
            }
        )
    else:
        show_note(f"{text}: {counted(entity.sample_count, 'sample', 'samples')}")


@people.command()
def merge(
    persons: Annotated[
        list[str], typer.Argument(metavar="PERSON", help="The id of any face of each.")
    ],
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    as_json: JsonOption = False,
) -> None:
    """Say that some are one person, for good."""
    with open_existing(store) as engine:
        merged = engine.merge_people(library, persons)
    _say(merged, as_json)


@people.command()
def split(
    person: PersonArgument,
    faces: Annotated[
        list[str], typer.Argument(metavar="FACE", help="The ids of those that are another's.")
    ],
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    as_json: JsonOption = False,
) -> None:
    """Say that some of a person's faces are another person's, for good."""
    with open_existing(store) as engine:
        other = engine.split_person(library, person, faces)
    _say(other, as_json)


def _find(engine: Engine, library: str, person: str) -> list[UnknownPerson]:
    everybody = engine.people(library, min_faces=1)
    found = [one for one in everybody if any(face.face_id == person for face in one.faces)]
    if not found:
        raise NotFoundError("person", person)
    return found


def _say(person_id: str, as_json: bool) -> None:
    if as_json:
        show_json({"person_id": person_id})
    else:
        show_note(f"now {person_id}")


def _show(found: People, limit: int) -> None:
    shown = found.people[:limit]
    title = counted(len(found), "person", "people") + " that nobody has named"
    if shown:
        show_table(
            ["", "person", "faces", "media", "best face"],
            (
                (rank, one.person_id, one.face_count, one.media_count, one.best.face_id)
                for rank, one in enumerate(shown, 1)
            ),
            title=title,
            numbers=frozenset({"", "faces", "media"}),
        )
    else:
        show_remark(title)
    facts = [
        f"{counted(len(found.unclustered), 'face is', 'faces are')} of nobody",
        f"{counted(found.recognised, 'face', 'faces')} recognised",
        f"threshold {found.threshold:.3f}: {found.threshold_reason}",
    ]
    if len(shown) < len(found):
        facts.append(f"{len(shown)} of {len(found)} shown (--limit)")
    show_remark("; ".join(facts))
