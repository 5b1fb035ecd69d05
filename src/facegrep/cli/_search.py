"""``facegrep search``: the media that contain a person."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegrep.cli._opening import open_to_search
from facegrep.cli._options import (
    DEFAULT_LIBRARY,
    DeviceOption,
    JsonOption,
    LibraryOption,
    PrecisionOption,
    StoreOption,
    read_threshold,
    read_where,
)
from facegrep.cli._output import console, counted, show_json, show_note, show_remark, show_table

if TYPE_CHECKING:
    from facegrep import Engine
    from facegrep.engine import SearchResult


def search(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE", help="Photos of one person; more are surer."),
    ],
    store: StoreOption = None,  # type: ignore[assignment]
    library: LibraryOption = DEFAULT_LIBRARY,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="JSON",
            help="Only media whose fields match: a value, a list (any of), or "
            '{"gte": a, "lte": b}.',
        ),
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold",
            metavar="T",
            help="A cosine from -1 to 1; 'library' for the library's own; 'none' for the best "
            "ones whatever their score.",
        ),
    ] = "library",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to list.")] = 10,
    clips: Annotated[
        bool, typer.Option("--clips", help="Also say when the person is seen in each video.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page with every match on it."),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Find the media that contain the person in a photo.

    The largest face in each picture is looked for. Of several pictures the faces are averaged. The
    score is a cosine: 1 is the same picture, 0 is nobody like it. The probability is that of "same
    person" for one face that was as likely as not to be; how many false matches to expect among all
    faces of the library stands below the table.

    [bold]Examples[/bold]

        facegrep search grandma.jpg --library family

        facegrep search a.jpg b.jpg --where '{"intField1": {"gte": 1950}}'

        facegrep search grandma.jpg --html found.html

        facegrep search grandma.jpg --clips
    """
    required = read_threshold(threshold)
    fields = read_where(where)
    with open_to_search(store, device=device, precision=precision) as engine:
        result = engine.search(
            library, list(pictures), threshold=required, limit=limit, where=fields
        )
        if as_json:
            shown = result_json(result)
            show_json(_with_clips(engine, library, result, shown) if clips else shown)
        else:
            show_result(result)
            if clips:
                from facegrep.cli._moment import find_clips, show_clips

                show_clips(find_clips(engine, library, result))
        if html is not None:
            from facegrep.cli._gallery import made_now, search_on_page
            from facegrep.cli._page import write_page

            with console(stderr=True).status(f"cutting {result.total} thumbnails"):
                page = search_on_page(engine, library, pictures, result, where=where)
                write_page(html, [page], made=made_now())
            show_note(f"wrote {html}")


def _with_clips(
    engine: Engine, library: str, result: SearchResult, shown: dict[str, Any]
) -> dict[str, Any]:
    from facegrep.cli._moment import clips_json, find_clips

    seen = find_clips(engine, library, result)
    for hit in shown["hits"]:
        found = seen.get(hit["media_id"])
        hit["clips"] = [] if found is None else clips_json(found)
    return shown


def show_result(result: SearchResult) -> None:
    """Print a result's page as a table."""
    if result.threshold is None:
        title = f"the best {len(result)} of {result.total} with a face"
    else:
        matches = counted(result.total, "match", "matches")
        title = f"{matches} with a score of {result.threshold:.3f} or more"
    if result.total:
        show_table(
            ["", "score", "probability", "media", "face at", "size", "faces"],
            (
                (
                    rank,
                    f"{hit.score:.4f}",
                    None if hit.probability is None else rounded(hit.probability),
                    hit.media_id,
                    hit.box and f"{hit.box.x:.0f}, {hit.box.y:.0f}",
                    hit.box and f"{hit.box.width:.0f} x {hit.box.height:.0f}",
                    hit.face_count,
                )
                for rank, hit in enumerate(result, 1)
            ),
            title=title,
            numbers=frozenset({"", "score", "probability", "face at", "size", "faces"}),
        )
    else:
        show_remark(title)
    show_remark(_facts(result))
    for line in doubts(result):
        show_remark(line)


def _facts(result: SearchResult) -> str:
    """Say what the table leaves out: where the threshold came from, who computed, the rest."""
    facts = [f"threshold: {result.threshold_reason}"]
    if (expected := expected_false_matches(result)) is not None:
        facts.append(expected)
    if (taken := largest_taken(result)) is not None:
        facts.append(f"{taken} in the query")
    if result.model:
        facts.append(f"{result.model} on {result.provider}")
    if len(result) < result.total and result.threshold is not None:
        facts.append(f"{len(result)} of {result.total} shown (--limit)")
    return "; ".join(facts)


def rounded(probability: float) -> str:
    """A probability in three digits, never as certain as 0 or 1.

    >>> rounded(0.97314), rounded(0.99999), rounded(0.0001)
    ('0.973', '> 0.999', '< 0.001')
    """
    if probability > 0.999:
        return "> 0.999"
    return "< 0.001" if probability < 0.001 else f"{probability:.3f}"


def expected_false_matches(result: SearchResult) -> str | None:
    """``0.01 false matches expected in the library``, where that is known."""
    if result.expected_false_matches is None:
        return None
    return f"{result.expected_false_matches:.2g} false matches expected in the library"


def largest_taken(result: SearchResult) -> str | None:
    """``5 faces, the largest taken``, where a picture that was searched with shows several."""
    if result.query_faces <= len(result.query_photos):
        return None
    several = " of each picture" if len(result.query_photos) > 1 else ""
    return f"{result.query_faces} faces, the largest{several} taken"


def doubts(result: SearchResult) -> list[str]:
    """A line of each query picture that an answer is not to be trusted for."""
    several = len(result.query_photos) > 1
    return [
        f"{f'picture {number}' if several else 'the picture'}: {photo.quality.reason}"
        for number, photo in enumerate(result.query_photos, 1)
        if photo.quality is not None and photo.quality.reason
    ]


def result_json(result: SearchResult) -> dict[str, Any]:
    """Give a result as plain values; boxes are px of the upright original."""
    return {
        "total": result.total,
        "threshold": result.threshold,
        "threshold_reason": result.threshold_reason,
        "expected_false_matches": result.expected_false_matches,
        "plan": asdict(result.plan),
        "model": result.model,
        "provider": result.provider,
        "query_faces": result.query_faces,
        "query_photos": [
            {
                "weight": photo.weight,
                "agreement": photo.agreement,
                "box": photo.box and photo.box._asdict(),
                "quality": photo.quality and asdict(photo.quality),
            }
            for photo in result.query_photos
        ],
        "hits": [
            {
                "media_id": hit.media_id,
                "score": float(hit.score),
                "probability": hit.probability,
                "box": hit.box and hit.box._asdict(),
                "face_count": hit.face_count,
            }
            for hit in result
        ],
    }
