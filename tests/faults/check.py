"""Whether a store holds what the model says: every answer that an engine gives, compared."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from tests.faults import clock
from tests.faults.callers import caller_differences
from tests.faults.films import film_differences
from tests.faults.operations import MAIN, SPARE, THRESHOLD, copy_of
from tests.faults.world import Asset, Face, World, code_of, vector_of

import facegrep
from facegrep.engine import Media
from facegrep.store import find_library, find_ordinals, read_told
from facegrep.store._scrub import wanted_scrub

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
    with clock.at(world.now_ms):
        return _differences(engine, world)


def _differences(engine: facegrep.Engine, world: World) -> list[str]:
    wrong: list[str] = []
    if engine.search_audit != world.search_audit:
        return [f"searches are {'not ' * world.search_audit}audited"]
    libraries = {each.name: each for each in engine.libraries() if each.name in (MAIN, SPARE)}
    if libraries.keys() != world.shelves.keys():
        return [f"libraries {sorted(libraries)}, expected {sorted(world.shelves)}"]
    for name, shelf in world.shelves.items():
        live, library = world.live(name), libraries[name]
        faces = sum(len(asset.vectors) for asset in live.values())
        active = library.face_index == "active"
        counted = (library.media_count, library.face_count, active, library.ttl_ms)
        if counted != (expected := (len(live), faces, shelf.active, shelf.ttl_ms)):
            return [f"{name}: {counted} assets, faces, active, kept; expected {expected}"]
        wrong += _listing_differences(name, engine.media(name, limit=10**6), live)
        with clock.at(clock.START_MS):  # what has expired is stored until it is purged
            if shelf.ttl_ms is not None:
                stored = engine.media(name, limit=10**6)
                wrong += _listing_differences(f"{name}, stored", stored, shelf.assets)
        if wrong:  # other assets than these, which cannot be asked for one by one
            return wrong
        # The scores of a search tell all vectors apart; some are compared byte by byte.
        ids = sorted(live)
        for media_id in ids[:: len(ids) // _COMPARED + 1]:
            media = engine.get(name, media_id, vectors=True)
            wrong += _vector_differences(name, media, shelf.assets[media_id])
        if shelf.active and not (world.search_audit and engine.readonly):
            films = [live[media_id] for media_id in ids if live[media_id].is_video]
            for film in films[:: len(films) // _COMPARED + 1]:
                wrong += film_differences(engine, name, film, _QUERY)
        if shelf.active:
            wrong += _search_differences(engine, world, name)
        wrong += _told_differences(engine, world, name)
        if name == MAIN:
            wrong += _people_differences(engine, world)
        for media_id in (*world.gone, *world.expired(name)[:_COMPARED]):
            if media_id not in live and _exists(engine, name, media_id):
                wrong.append(f"{name}: {media_id} was removed or has expired, and is found")
    if world.audited:
        known = {each.actor for each in engine.audit(searches=True)}
        wrong += [f"the search of {who} is not in the audit" for who in {*world.audited} - known]
    wrong += caller_differences(engine, world)
    for token, frozen in world.tokens.items():
        answer = engine.answers.get(frozen.library, token)
        if answer is None:
            wrong.append(f"{token}: the answer is gone")
            continue
        hits, total = answer.page(0, 10**6)
        found = [(hit.media_id, hit.score) for hit in hits]
        live = world.live(frozen.library)
        left = [hit for hit in frozen.hits if hit[0] in live]
        wrong += _ranking_differences(f"token {token}", found, left)
        if total != len(left):
            wrong.append(f"{token}: total {total}, expected {len(left)}")
    return wrong


def damages(engine: facegrep.Engine) -> list[str]:
    """List what fails a checksum, and what a writer that opened the store should have ended."""
    report = engine.verify()
    found = [*map(str, report.damages)]
    if not engine.readonly:
        found += [f"left over: {name}" for name in report.leftovers]
        store = engine._shared.store
        databases = {"catalog.db": store.catalog, "session.db": store.session}
        for name, database in databases.items():
            if wanted_scrub(database):
                found.append(f"an erasure is unfinished in {name}")
    return found


def which(path: Path, worlds: Sequence[World], *, readonly: bool) -> tuple[int | None, list[str]]:
    """Open a store and find which of the models it holds, and look at its last backup.

    Returns
    -------
    number
        ``None`` if it is none of them.
    wrong
        What is otherwise than in the last model that was compared.
    """
    number, wrong = which_alone(path, worlds, readonly=readonly)
    copy = copy_of(path)
    if number is None or not os.path.lexists(copy / "catalog.db"):  # cut off: no store
        # Who makes another removes the last one first, even if both hold the same.
        none_under_way = len({world.backups for world in worlds}) == 1
        if number is not None and worlds[0].copy is not None and none_under_way:
            return None, ["an acknowledged backup is gone"]
        return number, wrong
    held = [held for world in worlds for held in (world.copy, world.backed_up()) if held]
    found, wrong = which_alone(copy, held, readonly=readonly)
    return (None, [f"the backup: {each}" for each in wrong]) if found is None else (number, wrong)


def which_alone(
    path: Path, worlds: Sequence[World], *, readonly: bool
) -> tuple[int | None, list[str]]:
    """As `which`, of a store whose backup is another matter."""
    wrong: list[str] = []
    with clock.at(worlds[0].now_ms), facegrep.open(path, readonly=readonly) as engine:
        for number, world in enumerate(worlds):
            if readonly:  # its frozen answers are in memory
                world = replace(world, tokens={})
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
    if world.search_audit and engine.readonly:
        try:
            engine.search(library, vector=vector_of(_QUERY))
        except facegrep.OperationDeniedError:
            return []
        return [f"{library}: a search was answered that cannot be audited"]
    expected = world.ranked(library, _QUERY)
    result = engine.search(library, vector=vector_of(_QUERY), threshold=-1.0, limit=10**6)
    found = [(hit.media_id, hit.score) for hit in result]
    wrong = _ranking_differences(f"search in {library}", found, expected)
    if result.total != len(expected):
        wrong.append(f"{library}: total {result.total}, expected {len(expected)}")
    where = {"intField1": 1, "strField1": "red"}
    assets = world.live(library)
    wanted = sum((a.int_field1, a.str_field1) == (1, "red") for a in assets.values())
    total = engine.search(library, vector=vector_of(_QUERY), threshold=-1.0, where=where).total
    if total != wanted:
        wrong.append(f"{library}: filtered total {total}, expected {wanted}")
    return wrong


def _told_differences(engine: facegrep.Engine, world: World, library: str) -> list[str]:
    """Compare who is told to be one person, expired or not."""
    people: defaultdict[int, set[Face]] = defaultdict(set)
    with engine._shared.store.catalog.read() as connection:
        row = find_library(connection, engine.account, library)
        told = read_told(connection, row)
        media = find_ordinals(connection, row, {ordinal for ordinal, _ in told})
    ids = {each.ordinal: each.media_id for each in media}
    for (ordinal, face_no), person in told.items():
        people[person].add((ids.get(ordinal, "an asset that is gone"), face_no))
    expected = set(world.shelves[library].told)
    found = {frozenset(faces) for faces in people.values()}
    if found == expected:
        return []
    return [f"{library}: {len(found)} people were told of, expected {len(expected)} or others"]


def _people_differences(engine: facegrep.Engine, world: World) -> list[str]:
    """Compare whom the recognition library knows, and where they are recognised."""
    libraries = engine.recognition_libraries()
    listed = engine.library(MAIN).recognition
    if (len(libraries), len(listed)) != (world.known, world.listed):
        return [f"{len(libraries)} recognition libraries, {len(listed)} listed, expected otherwise"]
    if not libraries:
        return []
    (known,) = libraries
    entities = engine.entities(known.recognition_id)
    if [one.name for one in entities] != list(world.people):
        return [f"{len(entities)} people, expected {len(world.people)} or others"]
    wrong = []
    for entity, numbers in zip(entities, world.people.values(), strict=True):
        samples = engine.samples(known.recognition_id, entity.entity_id)
        codes = [sample.code for sample in samples]
        if len(codes) != len(numbers) or not all(
            np.array_equal(code, code_of(number))
            for code, number in zip(codes, numbers, strict=True)
        ):
            wrong.append(f"{entity.name}: has the samples of something else")
    if world.search_audit and engine.readonly:
        return wrong
    expected = world.recognised(MAIN, THRESHOLD)
    if not listed:
        expected = {key: [] for key in expected}
    query = vector_of(_QUERY)
    for entity in entities:
        found = engine.search(
            MAIN, vector=query, threshold=-1.0, limit=10**6, recognised=entity.entity_id
        )
        if (sorted(found.media_ids), found.total) != (
            expected[entity.name],
            len(expected[entity.name]),
        ):
            wrong.append(
                f"{entity.name}: in {found.total} assets, expected {expected[entity.name]}"
            )
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
