"""A search's answer to what the page shows: thumbnails, cut from the sources as it is written."""

from __future__ import annotations

import datetime
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from facegrep._errors import FacegrepError, NotFoundError, PictureError
from facegrep.cli._moment import video_photo
from facegrep.cli._page import Photo, Search
from facegrep.cli._search import doubts, expected_false_matches, rounded
from facegrep.cli._thumbnail import thumbnail
from facegrep.media import read_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facegrep import Engine
    from facegrep.engine import Hit, SearchResult
    from facegrep.vision import Box

# Decoding a photo of 12 megapixels takes 0.1 s and 80 MB, most of it without the GIL.
_READERS: Final = min(4, os.cpu_count() or 1)


def search_on_page(
    engine: Engine,
    library: str,
    pictures: Sequence[str],
    result: SearchResult,
    *,
    where: str | None = None,
) -> Search:
    """Show a search with *every* match, or without a threshold those that were asked for."""
    if result.model is None:
        raise FacegrepError("a page shows searches with a picture, and this library has no model")
    everything = result if result.threshold is None else result.page(0, max(result.total, 1))
    facts = []
    if where is not None:
        facts.append(("only where", where))
    if result.threshold is not None:
        facts.append(("score needed", f"{result.threshold:.3f} ({result.threshold_reason})"))
    if (expected := expected_false_matches(result)) is not None:
        facts.append(("among strangers", expected))
    facts += [("take care", line) for line in doubts(result)]
    if result.query_faces > len(pictures):
        facts.append(("faces in the query", f"{result.query_faces}, the largest taken"))
    facts.append(("model", f"{result.model} on {result.provider}"))
    return Search(
        library=library,
        total=result.total if result.threshold is not None else len(everything),
        query=_query_photos(pictures, result.query_boxes),
        matches=_photos(engine, library, everything),
        threshold=result.threshold,
        facts=facts,
    )


def made_now() -> str:
    """When the page is made, and by what."""
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"Made by facegrep {metadata.version('facegrep')}, {now}."


def _query_photos(pictures: Sequence[str], boxes: Sequence[Box]) -> list[Photo]:
    """Mark the faces that were searched for, one in each picture."""
    return [
        Photo(Path(path).name, thumbnail(read_picture(path).pixels, box))
        for path, box in zip(pictures, boxes, strict=True)
    ]


def _photos(engine: Engine, library: str, result: SearchResult) -> Iterator[Photo]:
    with ThreadPoolExecutor(_READERS, "facegrep-page") as pool:
        for photo in pool.map(functools.partial(_photo, engine, library, result), result):
            if photo is not None:
                yield photo


def _photo(engine: Engine, library: str, result: SearchResult, hit: Hit) -> Photo | None:
    try:
        source = engine.get(library, hit.media_id)
    except NotFoundError:  # deleted since it was found
        return None
    chance = "" if hit.probability is None else f"p {rounded(hit.probability)}"
    if source.media_type == "video":
        return video_photo(engine, library, source, hit, result, chance=chance)
    score = float(hit.score)
    if source.source is None or not Path(source.source).is_absolute():
        note = "This photo is not known as a file of this machine."
        return Photo(hit.media_id, None, score, note, chance)
    try:
        picture = read_picture(source.source)
    except PictureError as error:
        note = f"This photo cannot be shown: {error.reason}."
        return Photo(hit.media_id, None, score, note, chance)
    if picture.sha256.hex() != source.content_sha256:
        note = "This file has changed since it was added."
        return Photo(hit.media_id, None, score, note, chance)
    return Photo(hit.media_id, thumbnail(picture.pixels, hit.box), score, chance=chance)
