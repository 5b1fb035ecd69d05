"""One HTML file that shows a search, with every photo and video that it found, or unknown people.

It needs no network and no scripts, and its policy forbids both: images are ``data:`` URLs, and the
one style sheet is allowed by its hash. Names come from outside: each is escaped, stripped of what
does not print, and kept from turning its neighbours around.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final

from facegrep._errors import FacegrepError
from facegrep.cli._output import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from facegrep.cli._thumbnail import Thumbnail


@dataclass(frozen=True, slots=True)
class Timeline:
    """When one person is seen in a video; `moment_ms` is when its picture was taken."""

    duration_ms: int
    moment_ms: int
    spans_ms: tuple[tuple[int, int], ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture on the page: a photo, or a moment of a video.

    Attributes
    ----------
    name
        Its file name or MediaId, as it came.
    thumbnail
        ``None`` where the source cannot be read; then `note` says why.
    score
        Cosine; ``None`` for the picture that was searched with, and for a person's.
    chance
        How probable it is that this is the person, as text; empty where that is not known.
    timelines
        Of a video, one for each person who matches.
    label
        Of a person, whose id is `name`: how many faces; empty for others.
    """

    name: str
    thumbnail: Thumbnail | None
    score: float | None = None
    note: str = ""
    chance: str = ""
    timelines: tuple[Timeline, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A search on the page: `matches` may be lazy and is gone through once, best first."""

    library: str
    total: int
    query: list[Photo]
    matches: Iterable[Photo]
    threshold: float | None
    facts: list[tuple[str, str]] = field(default_factory=list)


_TIMELINES: Final = 3
_SPANS: Final = 4
"""What of a video is shown: enough to know it by, and no page of numbers."""


@dataclass(frozen=True, slots=True)
class Faces:
    """People on the page, by a photo of each, as `Search` has matches."""

    library: str
    total: int
    people: Iterable[Photo]
    facts: list[tuple[str, str]] = field(default_factory=list)


_ABOUT_SCORES: Final = (
    "A score is the cosine of two face embeddings: 1 is the same picture, 0 is nobody like it. "
    "The p below it is the probability that this is the person, for one face that was as likely "
    "as not to be, among strangers, not relatives; the more faces are searched, the more false "
    "matches there are. The mark on a scale is the score that a match needed."
)
_ABOUT_PEOPLE: Final = (
    "A person is faces that are alike on average, never two of one photo. Below each picture "
    "stands an id of its person, for facegrep people name, merge and split."
)


def write_page(path: Path, searches: Iterable[Search | Faces], *, made: str) -> None:
    """Write the page, or leave what was at `path` as it was.

    Parameters
    ----------
    path
        Replaced at once when the whole page is written.
    made
        When and by what the page was made, for its last line.

    Raises
    ------
    FacegrepError
        The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.writelines(_page(searches, made))
        partial.replace(path)
    except OSError as error:
        raise FacegrepError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _page(searches: Iterable[Search | Faces], made: str) -> Iterator[str]:
    style = resources.files("facegrep.cli").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        "<title>facegrep: people in photos and videos</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n<main>\n"
    )
    about = {}
    for each in searches:
        yield from _search(each) if isinstance(each, Search) else _faces(each)
        about[_ABOUT_SCORES if isinstance(each, Search) else _ABOUT_PEOPLE] = True
    yield (
        f"</main>\n<footer><p>{' '.join(about)} The pictures here were cut from their sources when "
        f"this page was made; facegrep keeps none. {_text(made)}</p></footer>\n</body>\n</html>\n"
    )


def _search(search: Search) -> Iterator[str]:
    yield '<section class="search">\n<header class="query">\n<div class="photos">'
    yield from (_picture(photo) for photo in search.query)
    yield '</div>\n<div class="text">\n<p class="over">searched with '
    yield ", ".join(_text(photo.name) for photo in search.query)
    yield f"</p>\n<h1>{_headline(search)}</h1>\n"
    yield from _facts([("library", search.library), *search.facts])
    yield "</div>\n</header>\n"
    if search.total:
        yield '<ol class="matches">\n'
        yield from (_match(photo, search.threshold) for photo in search.matches)
        yield "</ol>\n"
    else:
        yield '<p class="none">Nobody here looks enough like this person.</p>\n'
    yield "</section>\n"


def _faces(faces: Faces) -> Iterator[str]:
    headline = f"{faces.total:,} {'person' if faces.total == 1 else 'people'} without a name"
    yield '<section class="search">\n<header class="query">\n<div class="text">'
    yield f"<h1>{headline}</h1>\n"
    yield from _facts([("library", faces.library), *faces.facts])
    yield '</div>\n</header>\n<ol class="matches">\n'
    yield from (_match(photo, None) for photo in faces.people)
    yield "</ol>\n</section>\n"


def _facts(facts: list[tuple[str, str]]) -> Iterator[str]:
    yield '<ul class="facts">'
    yield from (f"<li>{_text(label)} <b>{_text(value)}</b></li>" for label, value in facts)
    yield "</ul>\n"


def _headline(search: Search) -> str:
    if search.threshold is None:
        return f"The {search.total:,} most similar files"
    if search.total == 0:
        return "No file matches this face"
    return f"{search.total:,} file{' matches' if search.total == 1 else 's match'} this face"


def _match(photo: Photo, threshold: float | None) -> str:
    face = photo.thumbnail.face if photo.thumbnail else None
    close_up = f'<img class="face" alt="" src="{_data_url(face)}">' if face else ""
    when = "".join(map(_when, photo.timelines[:_TIMELINES]))
    return (
        f'<li class="match"><div class="frame">{_picture(photo)}</div>'
        f'<div class="caption">{close_up}<div class="what">'
        f"{_name_of_person(photo) if photo.label else _name_of_file(photo)}"
        f"{_scale(photo.score, threshold)}{when}</div></div></li>\n"
    )


def _name_of_file(photo: Photo) -> str:
    folder, _, name = photo.name.rpartition("/")
    above = _text(f"{folder}/") if folder else ""
    score = "" if photo.score is None else f'<span class="score">{photo.score:.3f}</span>'
    chance = f'<span class="chance">{_plain(photo.chance)}</span>' if photo.chance else ""
    under = ""
    if above or chance:  # in the line of the name it would leave room for three letters of that
        under = f'<p class="line"><span class="folder">{above}</span>{chance}</p>'
    return (
        f'<p class="line"><span class="name" title="{_plain(photo.name)}">{_text(name)}</span>'
        f"{score}</p>{under}"
    )


def _name_of_person(photo: Photo) -> str:
    """Give the id whole: it is there to be copied."""
    return f'<p class="id">{_text(photo.name)}</p><p class="score">{_text(photo.label)}</p>'


def _picture(photo: Photo) -> str:
    small = photo.thumbnail
    if small is None:
        return f'<p class="absent">{_text(photo.note)}</p>'
    mark = ""
    if small.box is not None:
        x, y, width, height = small.box
        mark = (
            f'<svg class="mark" viewBox="0 0 {small.width} {small.height}" aria-hidden="true">'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4"/>'
            "</svg>"
        )
    return (
        f'<div class="photo"><img alt="{_plain(photo.name)}" width="{small.width}" '
        f'height="{small.height}" src="{_data_url(small.photo)}">{mark}</div>'
    )


def _scale(score: float | None, threshold: float | None) -> str:
    if score is None:
        return ""
    tick = ""
    if threshold is not None and threshold > 0:
        tick = f'<rect class="asked" x="{threshold * 200 - 1:.1f}" width="2" height="5"/>'
    return (
        '<svg class="scale" viewBox="0 0 200 5" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="all" width="200" height="5"/>'
        f'<rect class="got" width="{max(score, 0.0) * 200:.1f}" height="5"/>{tick}</svg>'
    )


def _when(line: Timeline) -> str:
    """Draw a video's length and the appearances in it, and name the first of these."""
    whole = max(line.duration_ms, 1)
    seen = "".join(
        f'<rect class="seen" x="{start / whole * 1000:.1f}" height="8" '
        f'width="{max((end - start) / whole * 1000, 4.0):.1f}"/>'
        for start, end in line.spans_ms
    )
    named = [f"{clock(start)}\u2013{clock(end)}" for start, end in line.spans_ms[:_SPANS]]
    more = len(line.spans_ms) - len(named)
    text = " · ".join(named) + (f" and {more} more" if more else "")
    who = f"{_text(line.name)} " if line.name else ""
    return (
        '<svg class="when" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="all" width="1000" height="8"/>{seen}'
        f'<rect class="moment" x="{line.moment_ms / whole * 1000 - 1:.1f}" width="3" height="8"/>'
        f'</svg><p class="times">{who}{text} of {clock(line.duration_ms)}</p>'
    )


def clock(milliseconds: int) -> str:
    """``0:07.5``, ``12:00.0``, ``1:02:03.4``."""
    tenths = round(milliseconds / 100)
    minutes, seconds = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{seconds // 10:02}.{seconds % 10}"
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _text(hostile: str) -> str:
    return f"<bdi>{_plain(hostile)}</bdi>"


def _plain(hostile: str) -> str:
    return escape(printable(hostile), quote=True)
