"""The one list of what the harness does to a store: a new operation is an entry here.

An operation plans a call from chance and from what the store holds, performs it on an engine, and
says what the store holds afterwards. Every call is one step: a crash leaves what was before it or
what is after it, nothing between.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.faults import clock, telling
from tests.faults.call import Call, Operation
from tests.faults.callers import CALLERS
from tests.faults.films import add_films, with_vectors
from tests.faults.world import DIM, Asset, Frozen, Shelf, World, media_id_of, vector_of

import facegrep

MAIN: Final = "main"
SPARE: Final = "spare"
"""A library that comes and goes."""

THRESHOLD: Final = 0.2
"""Of a library: random vectors reach it now and then."""

FIRST: Final = World(shelves={MAIN: Shelf()})
"""What a store holds after `make_store`."""

_SAME: Final = 0.9
"""The cosine of two vectors of one person; of random ones it is never that high."""

_LIVE: Final = 150
"""About how many assets a library settles at."""
_TOKENS: Final = 4
_AUDITED: Final = 64
_PEOPLE: Final = 6
_SAMPLES: Final = 3
_TICKS: Final = 3


def make_store(path: Any) -> None:
    """Make the store that `FIRST` describes."""
    clock.move_to(FIRST.now_ms)
    with facegrep.open(path) as engine:
        _create(engine, MAIN)


def copy_of(store: Path) -> Path:
    """Where the last backup of a store is, if there is one that was not cut off."""
    return store.with_name("backup")


def without_backup(store: Path, world: World) -> World:
    """Remove the last backup: whoever was killed making one may or may not have left it."""
    shutil.rmtree(copy_of(store), ignore_errors=True)
    return replace(world, copy=None)


def plan(seed: int, step: int, world: World) -> Call:
    """Plan a step: it depends on nothing else."""
    chance = random.Random(f"{seed}/{step}")
    verbs = list(OPERATIONS)
    weights = [operation.weight for operation in OPERATIONS.values()]
    while True:
        (verb,) = chance.choices(verbs, weights)
        call = OPERATIONS[verb].plan(chance, world, step)
        if call is not None:
            return call


def perform(engine: facegrep.Engine, call: Call) -> Any:
    """Perform a call."""
    return OPERATIONS[call.verb].perform(engine, call)


def after(world: World, call: Call) -> World:
    """What the store holds after a call."""
    return OPERATIONS[call.verb].after(world, call)


def _create(engine: facegrep.Engine, library: str) -> None:
    engine.create_library(library, dim=DIM, threshold=THRESHOLD)


def _any_library(chance: random.Random, world: World) -> str | None:
    active = [name for name, shelf in world.shelves.items() if shelf.active]
    return chance.choice(sorted(active)) if active else None


def _any_ids(chance: random.Random, world: World, library: str, most: int) -> tuple[str, ...]:
    live = sorted(world.live(library))
    return tuple(chance.sample(live, min(len(live), chance.randint(1, most))))


def _plan_add(chance: random.Random, world: World, step: int) -> Call | None:
    library = _any_library(chance, world)
    if library is None or len(world.shelves[library].assets) > 2 * _LIVE:
        return None
    assets = []
    live = world.live(library)
    free = (*world.gone, *world.expired(library))
    back = [media_id for media_id in dict.fromkeys(free) if media_id not in live]
    for place in range(chance.randint(1, 12)):
        number = step * 100 + place * 4
        faces = chance.choice([1, 1, 1, 2, 3])
        media_id = media_id_of(number)
        if back and chance.random() < 0.1:  # an id that was free again
            media_id = back.pop(chance.randrange(len(back)))
        assets.append(
            Asset(
                media_id,
                tuple(range(number, number + faces)),
                chance.choice([None, 1, 2]),
                chance.choice([None, "red", "blue"]),
            )
        )
    return Call("add", library, tuple(assets))


def _perform_add(engine: facegrep.Engine, call: Call) -> Any:
    rows = [(asset, number) for asset in call.assets for number in asset.vectors]
    return engine.add_vectors(
        call.library,
        [asset.media_id for asset, _ in rows],
        np.array([vector_of(number) for _, number in rows]),
        {
            "intField1": [asset.int_field1 for asset, _ in rows],
            "strField1": [asset.str_field1 for asset, _ in rows],
        },
    )


def _after_add(world: World, call: Call) -> World:
    expired = set(world.expired(call.library))  # one that comes back is another asset
    freed = [asset.media_id for asset in call.assets if asset.media_id in expired]
    added = [replace(asset, added_ms=world.now_ms) for asset in call.assets]
    return world.without(call.library, freed).with_assets(call.library, added)


def _plan_film(chance: random.Random, world: World, step: int) -> Call | None:
    call = _plan_add(chance, world, step)
    if call is None:
        return None
    films = tuple(replace(asset, is_video=True) for asset in call.assets[:4])
    return replace(call, verb="film", assets=films)


def _plan_delete(chance: random.Random, world: World, _step: int) -> Call | None:
    library = _any_library(chance, world)
    if library is None or not world.shelves[library].assets:
        return None
    most = 30 if len(world.shelves[library].assets) > _LIVE else 8
    expired = world.expired(library)  # an id that is deleted does not come back with more time
    chosen = chance.sample(expired, min(len(expired), chance.choice([0, 0, 2])))
    return Call("delete", library, media_ids=(*_any_ids(chance, world, library, most), *chosen))


def _plan_erase(chance: random.Random, world: World, step: int) -> Call | None:
    call = _plan_delete(chance, world, step)
    if call is None:
        return None
    deleted = world.gone[-1:]  # its row is gone; the rest of it must go, too
    unknown = tuple(key for key in deleted if key not in world.shelves[call.library].assets)
    return replace(call, verb="erase", media_ids=(*call.media_ids[:6], *unknown))


def _plan_erase_person(chance: random.Random, world: World, _step: int) -> Call | None:
    library = _any_library(chance, world)
    if library is None or not world.live(library):
        return None
    (media_id,) = _any_ids(chance, world, library, 1)
    asset = world.shelves[library].assets[media_id]
    return Call("erase_person", library, query=chance.choice(asset.vectors))


def _after_erase_person(world: World, call: Call) -> World:
    ranked = world.ranked(call.library, call.query)
    alike = [key for key, score in ranked if score >= _SAME]
    left = world.without(call.library, alike + world.expired(call.library))
    return left.without_samples_like(call.query)


def _plan_know(_chance: random.Random, world: World, _step: int) -> Call:
    """Make the recognition library; then have the library list it, and list it no more."""
    return Call("know", on=not world.listed) if world.known else Call("know", token="make")


def _perform_know(engine: facegrep.Engine, call: Call) -> Any:
    if call.token:
        return engine.create_recognition_library("people", dim=DIM)
    return engine.set_recognition(MAIN, [_known(engine)] if call.on else [])


def _plan_meet(_chance: random.Random, world: World, step: int) -> Call | None:
    if not world.known or len(world.people) >= _PEOPLE:
        return None
    return Call("meet", token=f"person {step}")


def _after_meet(world: World, call: Call) -> World:
    return replace(world, people={**world.people, call.token: ()})


def _plan_show(chance: random.Random, world: World, _step: int) -> Call | None:
    """Somebody who is in the library, as a rule; perhaps known by another name, too."""
    names = [name for name, samples in world.people.items() if len(samples) < _SAMPLES]
    assets = world.live(MAIN)
    if not names or not assets:
        return None
    asset = assets[chance.choice(sorted(assets))]
    return Call("show", token=chance.choice(names), query=chance.choice(asset.vectors))


def _after_show(world: World, call: Call) -> World:
    samples = world.people[call.token]
    if call.query in samples:
        return world
    return replace(world, people={**world.people, call.token: (*samples, call.query)})


def _plan_part(chance: random.Random, world: World, _step: int) -> Call | None:
    return Call("part", token=chance.choice(list(world.people))) if world.people else None


def _after_part(world: World, call: Call) -> World:
    left = {name: samples for name, samples in world.people.items() if name != call.token}
    return replace(world, people=left)


def _known(engine: facegrep.Engine) -> str:
    (known,) = engine.recognition_libraries()
    return known.recognition_id


def _entity(engine: facegrep.Engine, name: str) -> str:
    known = _known(engine)
    return next(one.entity_id for one in engine.entities(known) if one.name == name)


def _plan_purge(chance: random.Random, world: World, _step: int) -> Call | None:
    expired = [name for name in sorted(world.shelves) if world.expired(name)]
    return Call("purge", chance.choice(expired)) if expired else None


def _plan_retain(chance: random.Random, world: World, _step: int) -> Call | None:
    library = chance.choice(sorted(world.shelves))
    assets = world.shelves[library].assets
    if not assets or chance.random() < 0.5:
        return Call("retain", library, ms=chance.choice([None, 100 * clock.TICK_MS]))
    # So long that one of them has expired just now, and those that are younger have not.
    age_ms = world.now_ms - assets[chance.choice(sorted(assets))].added_ms
    return Call("retain", library, ms=max(age_ms, clock.TICK_MS))


def _after_retain(world: World, call: Call) -> World:
    shelf = replace(world.shelves[call.library], ttl_ms=call.ms)
    return replace(world, shelves=world.shelves | {call.library: shelf})


def _plan_wait(chance: random.Random, world: World, _step: int) -> Call | None:
    return Call("wait", ms=world.now_ms + chance.randint(1, _TICKS) * clock.TICK_MS)


def _perform_backup(engine: facegrep.Engine, _call: Call) -> Any:
    copy = copy_of(engine.path)
    old = copy.with_name("old backup")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):  # of the disk that the backup is for, too
        copy.rename(old)  # first: one that is half removed would be a damaged store
        shutil.rmtree(old)
    return engine.backup(copy)


def _plan_update(chance: random.Random, world: World, step: int) -> Call | None:
    library = _any_library(chance, world)
    if library is None or not world.live(library):
        return None
    (media_id,) = _any_ids(chance, world, library, 1)
    asset = world.shelves[library].assets[media_id]
    changed = replace(
        asset, title=f"title {step}", int_field1=chance.choice([None, 1, 2]), str_field1="green"
    )
    return Call("update", library, (changed,))


def _perform_update(engine: facegrep.Engine, call: Call) -> Any:
    (asset,) = call.assets
    fields = {"intField1": asset.int_field1, "strField1": asset.str_field1}
    engine.update(call.library, asset.media_id, title=asset.title, fields=fields)


def _plan_search(chance: random.Random, world: World, step: int) -> Call | None:
    library = _any_library(chance, world)
    if library is None:
        return None
    return Call("search", library, token=f"{library} {chance.randrange(_TOKENS)}", query=step * 100)


def _perform_search(engine: facegrep.Engine, call: Call) -> Any:
    engine = engine.for_account(engine.account, actor=_who(call))
    result = engine.search(call.library, vector=vector_of(call.query), threshold=-1.0)
    engine.answers.put(call.library, call.token, bytes(32), bytes(32), result.embedding, result)


def _after_search(world: World, call: Call) -> World:
    frozen = Frozen(call.library, call.query, tuple(world.ranked(call.library, call.query)))
    audited = (*world.audited, _who(call))[-_AUDITED:] if world.search_audit else world.audited
    return replace(world, tokens=world.tokens | {call.token: frozen}, audited=audited)


def _who(call: Call) -> str:
    return f"step {call.query // 100}"


def _plan_create(_chance: random.Random, world: World, _step: int) -> Call | None:
    return None if SPARE in world.shelves else Call("create", SPARE)


def _plan_drop(_chance: random.Random, world: World, _step: int) -> Call | None:
    return Call("drop", SPARE) if SPARE in world.shelves else None


def _plan_switch_off(_chance: random.Random, world: World, _step: int) -> Call | None:
    return Call("switch_off", SPARE) if SPARE in world.shelves else None


def _after_switch_off(world: World, call: Call) -> World:
    shelf = world.shelves[call.library]
    assets = {key: replace(asset, vectors=()) for key, asset in shelf.assets.items()}
    off = replace(shelf, assets=assets, active=False, told=())
    return replace(world, shelves=world.shelves | {call.library: off})


OPERATIONS: Final[dict[str, Operation]] = {
    **CALLERS,
    "add": Operation(
        weight=12,
        plan=_plan_add,
        perform=_perform_add,
        after=_after_add,
    ),
    "film": Operation(
        weight=3,
        plan=_plan_film,
        perform=lambda engine, call: add_films(engine, call.library, with_vectors(call.assets)),
        after=_after_add,
    ),
    "delete": Operation(
        weight=5,
        plan=_plan_delete,
        perform=lambda engine, call: engine.delete(call.library, call.media_ids),
        after=lambda world, call: world.without(call.library, list(call.media_ids)),
    ),
    "update": Operation(
        weight=3,
        plan=_plan_update,
        perform=_perform_update,
        after=lambda world, call: world.with_assets(call.library, list(call.assets)),
    ),
    "erase": Operation(
        weight=2,
        plan=_plan_erase,
        perform=lambda engine, call: engine.erase(call.library, call.media_ids),
        after=lambda world, call: world.without(call.library, list(call.media_ids)),
    ),
    "erase_person": Operation(
        weight=1,
        plan=_plan_erase_person,
        perform=lambda engine, call: engine.erase_person(
            call.library, vector=vector_of(call.query), threshold=_SAME, dry_run=False
        ),
        after=_after_erase_person,
    ),
    "know": Operation(
        weight=1,
        plan=_plan_know,
        perform=_perform_know,
        after=lambda world, call: replace(world, known=True, listed=call.on),
    ),
    "meet": Operation(
        weight=1,
        plan=_plan_meet,
        perform=lambda engine, call: engine.create_entity(_known(engine), call.token),
        after=_after_meet,
    ),
    "show": Operation(
        weight=2,
        plan=_plan_show,
        perform=lambda engine, call: engine.add_sample(
            _known(engine), _entity(engine, call.token), vector=vector_of(call.query)
        ),
        after=_after_show,
    ),
    "part": Operation(
        weight=1,
        plan=_plan_part,
        perform=lambda engine, call: engine.delete_entity(
            _known(engine), _entity(engine, call.token)
        ),
        after=_after_part,
    ),
    "merge": Operation(
        weight=3, plan=telling.plan_merge, perform=telling.merge, after=telling.after_merge
    ),
    "split": Operation(
        weight=2, plan=telling.plan_split, perform=telling.split, after=telling.after_split
    ),
    "retain": Operation(
        weight=2,
        plan=_plan_retain,
        perform=lambda engine, call: engine.set_retention(call.library, call.ms),
        after=_after_retain,
    ),
    "wait": Operation(
        weight=2,
        plan=_plan_wait,
        perform=lambda _, call: clock.move_to(call.ms or 0),
        after=lambda world, call: replace(world, now_ms=call.ms or 0),
    ),
    "purge": Operation(
        weight=2,
        plan=_plan_purge,
        perform=lambda engine, call: engine.purge(call.library),
        after=lambda world, call: world.without(call.library, world.expired(call.library)),
    ),
    "backup": Operation(
        weight=1,
        plan=lambda *_: Call("backup"),
        perform=_perform_backup,
        after=lambda world, _: replace(world, copy=world.backed_up(), backups=world.backups + 1),
    ),
    "audit_searches": Operation(
        weight=1,
        plan=lambda _chance, world, _step: Call("audit_searches", on=not world.search_audit),
        perform=lambda engine, call: engine.set_search_audit(call.on),
        after=lambda world, call: replace(world, search_audit=call.on),
    ),
    "compact": Operation(
        weight=2,
        plan=lambda *_: Call("compact"),
        perform=lambda engine, _: engine.compact(min_dead_share=0.0),
        after=lambda world, _: world,
    ),
    "search": Operation(weight=2, plan=_plan_search, perform=_perform_search, after=_after_search),
    "create": Operation(
        weight=2,
        plan=_plan_create,
        perform=lambda engine, call: _create(engine, call.library),
        after=lambda world, call: replace(world, shelves=world.shelves | {call.library: Shelf()}),
    ),
    "switch_off": Operation(
        weight=1,
        plan=_plan_switch_off,
        perform=lambda engine, call: engine.set_face_index(call.library, "deactive"),
        after=_after_switch_off,
    ),
    "drop": Operation(
        weight=1,
        plan=_plan_drop,
        perform=lambda engine, call: engine.drop_library(call.library),
        after=lambda world, call: world.without_library(call.library),
    ),
}
