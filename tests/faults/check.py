"""Whether a store holds what the model says: every answer that an engine gives, compared."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tests.faults.operations import MAIN, SPARE
from tests.faults.world import Asset, World, code_of, vector_of

import facegrep
from facegrep.engine import Media

SCORE_ERROR: Final = 2e-7
"""float32 of a cosine that numpy sums in another order."""

_QUERY: Final = 7
_COMPARED: Final = 12


def differences(engine: facegrep.Engine, world: World) -> list[str]:
    """List what the engine answers otherwise than the model; empty when it is all as it must be.

    Raises
    ------
    FacegrepError
        As the engine does.
    """
    wrong: list[str] = []
    libraries = {each.name: each for each in engine.libraries() if each.name in (MAIN, SPARE)}
    if libraries.keys() != world.shelves.keys():
        return [f"libraries {sorted(libraries)}, expected {sorted(world.shelves)}"]
    for name, shelf in world.shelves.items():
        faces = sum(len(asset.vectors) for asset in shelf.assets.values())
        library = libraries[name]
        counted = (library.media_count, library.face_count, library.face_index == "active")
        if counted != (len(shelf.assets), faces, shelf.active):
            expected = (len(shelf.assets), faces, shelf.active)
            return [f"{name}: {counted} assets, faces, active; expected {expected}"]
        listed = engine.media(name, limit=10**6)
        wrong += _listing_differences(name, listed, shelf.assets)
        # The scores of a search tell all vectors apart; some are compared byte by byte.
        ids = sorted(shelf.assets)
        for media_id in ids[:: len(ids) // _COMPARED + 1]:
            media = engine.get(name, media_id, vectors=True)
            wrong += _vector_differences(name, media, shelf.assets[media_id])
        if shelf.active:
            wrong += _search_differences(engine, world, name)
        for media_id in world.gone:
            if media_id not in shelf.assets and _exists(engine, name, media_id):
                wrong.append(f"{name}: {media_id} was removed, and is found")
    for token, frozen in world.tokens.items():
        answer = engine.answers.get(frozen.library, token)
        if answer is None:
            wrong.append(f"{token}: the answer is gone")
            continue
        hits, total = answer.page(0, 10**6)
        found = [(hit.media_id, hit.score) for hit in hits]
        wrong += _ranking_differences(f"token {token}", found, frozen.hits)
        if total != len(frozen.hits):
            wrong.append(f"{token}: total {total}, expected {len(frozen.hits)}")
    return wrong


def damages(engine: facegrep.Engine) -> list[str]:
    """List what fails a checksum, and what a writer that opened the store should have removed."""
    report = engine.verify()
    left = [] if engine.readonly else [f"left over: {name}" for name in report.leftovers]
    return [*map(str, report.damages), *left]


def which(path: Path, worlds: Sequence[World], *, readonly: bool) -> tuple[int | None, list[str]]:
    """Open a store and find which of the models it holds.

    Returns
    -------
    number
        ``None`` if it is none of them.
    wrong
        What is otherwise than in the last model that was compared.
    """
    wrong: list[str] = []
    with facegrep.open(path, readonly=readonly) as engine:
        for number, world in enumerate(worlds):
            if readonly:  # its frozen answers are in memory
                world = World(world.shelves, {}, world.gone)
            wrong = differences(engine, world)
            if not wrong:
                return (None if (wrong := damages(engine)) else number), wrong
    return None, wrong


def is_descending(found: Sequence[tuple[str, float]]) -> bool:
    """Whether scores fall. They are rounded: of two that are equal here, either may come first."""
    return all(one[1] >= next_[1] for one, next_ in itertools.pairwise(found))


def _exists(engine: facegrep.Engine, library: str, media_id: str) -> bool:
    try:
        engine.get(library, media_id)
    except facegrep.NotFoundError:
        return False
    return True


def _listing_differences(
    library: str, listed: list[Media], expected: dict[str, Asset]
) -> list[str]:
    if [media.media_id for media in listed] != sorted(expected):
        found = {media.media_id for media in listed}
        lost, more = sorted(expected.keys() - found), sorted(found - expected.keys())
        return [
            f"{library}: {len(listed)} listed, expected {len(expected)}; lost {lost[:5]}, "
            f"more {more[:5]}"
        ]
    wrong = []
    for media in listed:
        asset = expected[media.media_id]
        fields = {"intField1": asset.int_field1, "strField1": asset.str_field1}
        said = (media.title, {key: value for key, value in fields.items() if value is not None})
        if (media.title, dict(media.fields)) != (asset.title, said[1]):
            wrong.append(f"{library}: {media.media_id}: {media.title!r} {dict(media.fields)}")
        if len(media.faces) != len(asset.vectors):
            wrong.append(f"{library}: {media.media_id}: {len(media.faces)} faces")
    return wrong


def _vector_differences(library: str, media: Media, asset: Asset) -> list[str]:
    codes = [face.code for face in media.faces]
    same = len(codes) == len(asset.vectors) and all(
        code is not None and np.array_equal(code, code_of(number))
        for code, number in zip(codes, asset.vectors, strict=True)
    )
    return [] if same else [f"{library}: {media.media_id} has the vectors of something else"]


def _search_differences(engine: facegrep.Engine, world: World, library: str) -> list[str]:
    expected = world.ranked(library, _QUERY)
    result = engine.search(library, vector=vector_of(_QUERY), threshold=-1.0, limit=10**6)
    found = [(hit.media_id, hit.score) for hit in result]
    wrong = _ranking_differences(f"search in {library}", found, expected)
    if result.total != len(expected):
        wrong.append(f"{library}: total {result.total}, expected {len(expected)}")
    where = {"intField1": 1, "strField1": "red"}
    assets = world.shelves[library].assets
    wanted = sum((a.int_field1, a.str_field1) == (1, "red") for a in assets.values())
    total = engine.search(library, vector=vector_of(_QUERY), threshold=-1.0, where=where).total
    if total != wanted:
        wrong.append(f"{library}: filtered total {total}, expected {wanted}")
    return wrong


def _ranking_differences(
    what: str, found: Sequence[tuple[str, float]], expected: Sequence[tuple[str, float]]
) -> list[str]:
    """Compare ids and scores."""
    if {media_id for media_id, _ in found} != {media_id for media_id, _ in expected}:
        return [f"{what}: {len(found)} assets, expected {len(expected)} or others"]
    scores = dict(expected)
    if any(abs(score - scores[media_id]) > SCORE_ERROR for media_id, score in found):
        return [f"{what}: scores are wrong"]
    if not is_descending(found):
        return [f"{what}: out of order"]
    return [] if len(found) == len(expected) else [f"{what}: an asset was found twice"]
