"""A search's answer, or people, to what the page shows: thumbnails, cut as it is written."""

from __future__ import annotations

import dataclasses
import datetime
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from facegrep._errors import FacegrepError, NotFoundError, PictureError
from facegrep.cli._moment import video_photo
from facegrep.cli._output import counted
from facegrep.cli._page import Faces, Photo, Search
from facegrep.cli._search import doubts, expected_false_matches, largest_taken, rounded
from facegrep.cli._thumbnail import thumbnail
from facegrep.media import read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from facegrep import Engine
    from facegrep.engine import Clip, Hit, Media, People, PersonFace, SearchResult, UnknownPerson
    from facegrep.vision import Box

_T = TypeVar("_T")
_P = TypeVar("_P")

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
    if (taken := largest_taken(result)) is not None:
        facts.append(("in the query", taken))
    facts.append(("model", f"{result.model} on {result.provider}"))
    return Search(
        library=library,
        total=result.total if result.threshold is not None else len(everything),
        query=_query_photos(pictures, result.query_boxes),
        matches=_photos(engine, library, everything),
        threshold=result.threshold,
        facts=facts,
    )


def people_on_page(engine: Engine, people: People) -> Faces:
    """Show the best face of each unknown person, in its photo."""

    def photo(person: UnknownPerson) -> Photo:
        label = counted(person.face_count, "face", "faces")
        try:
            source = engine.get(people.library, person.best.media_id)
        except NotFoundError:  # deleted since it was found
            return Photo(person.person_id, None, note="This photo is gone.", label=label)
        if source.media_type == "video":
            clips = _clips_of(engine, people.library, person.best)
            shown = Photo(person.person_id, None, label=label)
            return video_photo(shown, source, clips[:1], source.video)
        found = _photo(source, person.best.box)
        return dataclasses.replace(found, name=person.person_id, label=label)

    return Faces(
        library=people.library,
        total=len(people),
        people=_read(photo, people),
        facts=[
            ("faces of nobody", f"{len(people.unclustered):,}"),
            ("faces recognised", f"{people.recognised:,}"),
            ("likeness needed", f"{people.threshold:.3f} ({people.threshold_reason})"),
        ],
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
    def photo(hit: Hit) -> Photo | None:
        try:
            source = engine.get(library, hit.media_id)
        except NotFoundError:  # deleted since it was found
            return None
        chance = "" if hit.probability is None else f"p {rounded(hit.probability)}"
        if source.media_type == "video":
            try:
                clips = engine.clips(library, hit.media_id, result)
            except NotFoundError:
                return None
            shown = Photo(hit.media_id, None, float(hit.score), chance=chance)
            return video_photo(shown, source, clips.clips, clips.video)
        return dataclasses.replace(_photo(source, hit.box, float(hit.score)), chance=chance)

    return (found for found in _read(photo, result) if found is not None)


def _clips_of(engine: Engine, library: str, face: PersonFace) -> Sequence[Clip]:
    """Find whose a face of a video is, by itself: theirs is the first clip, by that very face."""
    try:
        code = engine.get(library, face.media_id, vectors=True).faces[face.face_no].code
        if code is None:
            return ()
        vector = code.astype(np.float32)
        return engine.clips(library, face.media_id, vector=vector, threshold=None).clips
    except (NotFoundError, IndexError):  # deleted, or looked at anew, since it was found
        return ()


def _read(read: Callable[[_T], _P], them: Iterable[_T]) -> Iterator[_P]:
    with ThreadPoolExecutor(_READERS, "facegrep-page") as pool:
        yield from pool.map(read, them)


def _photo(source: Media, box: Box | None, score: float | None = None) -> Photo:
    name = source.media_id
    if source.source is None or not Path(source.source).is_absolute():
        return Photo(name, None, score, "This photo is not known as a file of this machine.")
    try:
        picture = read_picture(source.source)
    except PictureError as error:
        return Photo(name, None, score, f"This photo cannot be shown: {error.reason}.")
    if picture.sha256.hex() != source.content_sha256:
        return Photo(name, None, score, "This file has changed since it was added.")
    return Photo(name, thumbnail(picture.pixels, box), score)
