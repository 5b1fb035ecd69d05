"""Bits that flip and tails that are torn, in every file of a store: an answer changes only loudly.

``python -m tests.faults.damage --flips 50000 --seed 1``

Silent is an answer that differs from that of the undamaged store while no typed error was raised.
Two stores are damaged in turn: one that was closed, and one whose writer was killed, which has
logs. A file is hit as often as the square root of its size says: small ones are hit, too.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.faults import clock, worker
from tests.faults.films import add_films, with_vectors
from tests.faults.operations import FIRST, SPARE, after, make_store, perform, plan
from tests.faults.report import Outcome, main
from tests.faults.world import DIM, Asset, World, code_of, media_id_of, vector_of

import facegrep
from facegrep.engine import Entity
from facegrep.store import (
    FACE_VALUES,
    Columns,
    Faces,
    Job,
    NewAsset,
    find_library,
    read_told,
)

_STEPS: Final = 12
_BATCH: Final = 250
"""Flips a process: one that dies of a flip takes no more than these along."""

_FILMS: Final = 3

_SOMEBODY: Final = "somebody"

_VERIFIED: Final = "verified"

Answers = dict[str, Any]


def answers(path: Path, *, readonly: bool) -> Answers:
    """Everything that a store answers, by question; a typed error is an answer as well."""
    found: Answers = {}

    def ask(question: str, reply: Any) -> None:
        try:
            found[question] = reply()
        except facegrep.StoreError as error:
            found[question] = error
        except facegrep.FacegrepError as error:  # "no such library" is an answer like any other
            found[question] = repr(error)

    try:
        engine = facegrep.open(path, readonly=readonly)
    except facegrep.StoreError as error:
        return {"open": error}
    with engine:
        ask("libraries", engine.libraries)
        for name in ("main", "spare", "boxes"):
            ask(f"{name} search", lambda name=name: _hits(engine, name, None))
            ask(f"{name} filtered", lambda name=name: _hits(engine, name, {"intField1": 1}))
            ask(f"{name} list", lambda name=name: _listing(engine, name))
            for token in range(4):
                key = f"{name} {token}"
                ask(f"token {key}", lambda name=name, key=key: _page(engine, name, key))
            ask(f"{name} told", lambda name=name: _told(engine, name))
        ask("get", lambda: _one(engine))
        ask("recognition", lambda: _recognition(engine))
        ask("recognised", lambda: _recognised(engine))
        for number in range(_FILMS):
            ask(f"film {number}", lambda number=number: _clips(engine, _film(number).media_id))
        found[_VERIFIED] = engine.verify().ok
    return found


def silent(before: Answers, now: Answers) -> list[str]:
    """List the questions that are answered otherwise, and without an error."""
    if "open" in now:
        return []
    loud = _loud(now)
    return [
        key
        for key in before
        if key not in loud and key != _VERIFIED and not _same(before[key], now[key])
    ]


def run(*, flips: int, seed: int) -> Outcome:
    """Flip single bits, and tear tails."""
    outcome = Outcome("flipped bits, torn tails", seed)
    with worker.scratch("damage") as folder:
        stores = make_stores(folder, seed)
        done = 0
        while done < flips:
            store = stores[(done // _BATCH) % len(stores)]
            count = min(_BATCH, flips - done)
            plans = list(_flips(store, random.Random(f"{seed}/{done}"), count))
            _in_a_process(store, folder / "damaged", plans, outcome)
            done += count
            outcome.progress(done, flips, "flips")
    return outcome


def make_stores(folder: Path, seed: int) -> list[Path]:
    """Make one store that was closed, and one whose writer died, with logs beside its databases."""
    work, closed, killed = folder / "work", folder / "closed", folder / "killed"
    make_store(work)
    with facegrep.open(work) as engine:
        engine.create_library("boxes", dim=DIM, threshold=0.2)
        _add_boxes(engine)
        world, step = _do_some(engine, seed, FIRST, 1)
        _add_somebody(engine)
    _copy(work, closed)  # closing folded the logs into the databases
    with facegrep.open(work) as engine:
        _do_some(engine, seed, world, step)
        _copy(work, killed)  # nobody writes now: that is what a kill leaves
    return [closed, killed]


def _do_some(engine: facegrep.Engine, seed: int, world: World, first: int) -> tuple[World, int]:
    """Do steps, at least until there is a token, and a second library that anybody may search."""
    step = first
    while (
        step < first + _STEPS
        or not world.tokens
        or not world.known
        or not _can_search_spare(world)
        or world.search_audit
    ):
        call = plan(seed, step, world)
        perform(engine, call)
        world = after(world, call)
        step += 1
    return world, step


def _can_search_spare(world: World) -> bool:
    return SPARE in world.shelves and world.shelves[SPARE].active


def _add_boxes(engine: facegrep.Engine) -> None:
    """Assets with boxes, as pictures have; without pictures, which would take a model."""
    store = engine._shared.store
    with store.catalog.read() as connection:
        library = find_library(connection, "default", "boxes")
    chance = np.random.default_rng(3)
    assets = []
    for number in range(20):
        values = chance.uniform(0, 100, (2, FACE_VALUES)).astype(np.float32)
        faces = Faces(np.array([code_of(number), code_of(number + 1)]), values, "fp32")
        columns = Columns("image", "somewhere", number, "red", "blue")
        asset = NewAsset(
            media_id=media_id_of(-number - 1),
            columns=columns,
            utc_create_ms=1_700_000_000_000 + number,
            utc_was_given=True,
            content_sha256=bytes(range(32)),
            title=f"title {number}",
            source=f"/photos/{number}.jpg",
            faces=faces,
            job=Job("Success", 1, 2),
        )
        assets.append(asset)
    store.add(library, assets, stop_at_conflict=True)
    add_films(engine, "boxes", with_vectors([_film(number) for number in range(_FILMS)]))


def _add_somebody(engine: facegrep.Engine) -> None:
    """Add an entity whose samples are in some of the assets with boxes."""
    (known,) = engine.recognition_libraries()
    entity = engine.create_entity(known.recognition_id, _SOMEBODY)
    for number in (2, 7):
        engine.add_sample(known.recognition_id, entity.entity_id, vector=vector_of(number))
    engine.set_recognition("boxes", [known.recognition_id])


def _film(number: int) -> Asset:
    return Asset(media_id_of(-1000 - number), tuple(range(5 * number, 5 * number + 4)))


def _copy(store: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(store, target)


def _flips(store: Path, chance: random.Random, count: int) -> Iterator[tuple[str, int, int]]:
    """Yield ``(file, offset, bit)``."""
    sizes = {
        path.relative_to(store).as_posix(): size
        for path in sorted(store.rglob("*"))
        if path.is_file() and (size := path.stat().st_size)
    }
    weights = [size**0.5 for size in sizes.values()]
    for name in chance.choices(list(sizes), weights, k=count):
        yield name, chance.randrange(sizes[name]), chance.randrange(8)


def _in_a_process(
    store: Path, damaged: Path, plans: list[tuple[str, int, int]], outcome: Outcome
) -> None:
    here, there = worker.pipe()
    process = worker.start(flip_many, store, damaged, plans, clock.now_ms(), there)
    there.close()
    told = 0
    try:
        while told < len(plans):
            counts, violations = here.recv()
            told += 1
            outcome.counts.update(counts)
            for violation in violations:
                outcome.violate(violation)
    except EOFError:
        process.join()
        outcome.violate(f"the process died ({process.exitcode}) of a flip at {plans[told]}")
    finally:
        worker.kill(process)


def flip_many(
    store: Path, damaged: Path, plans: list[tuple[str, int, int]], now_ms: int, gate: Connection
) -> None:
    """Flip one bit after another, each in a fresh copy; say what came of each."""
    clock.move_to(now_ms)
    _copy(store, damaged)
    before = {readonly: answers(damaged, readonly=readonly) for readonly in (True, False)}
    wrong = [key for key, reply in before[False].items() if isinstance(reply, facegrep.StoreError)]
    assert set(wrong) == set(), wrong
    for number, (name, offset, bit) in enumerate(plans):
        _copy(store, damaged)
        data = bytearray((damaged / name).read_bytes())
        data[offset] ^= 1 << bit
        (damaged / name).write_bytes(data)
        readonly = number % 2 == 0
        kind = name.split("/")[0] if "/" in name else name
        counts = Counter({"flips": 1, f"in {kind}": 1})
        violations = []
        where = f"{store.name}/{name} byte {offset} bit {bit}{' readonly' if readonly else ''}"
        try:
            now = answers(damaged, readonly=readonly)
            changed = silent(before[readonly], now)
            loud = bool(_loud(now))
            if changed:
                counts["silent"] += 1
                violations.append(f"{where}: silently changed: {', '.join(changed[:4])}")
            elif loud:
                counts["noticed"] += 1
                if now.get(_VERIFIED):
                    violations.append(f"{where}: noticed by {_loud(now)}, but not by verify")
            elif not now[_VERIFIED]:
                counts["noticed by verify alone"] += 1
            else:
                counts["without effect"] += 1
        except BaseException as error:
            violations.append(f"{where}: {type(error).__name__}: {error}")
        gate.send((counts, violations))


def _loud(now: Answers) -> list[str]:
    return [key for key, reply in now.items() if isinstance(reply, facegrep.StoreError)]


def _hits(engine: facegrep.Engine, library: str, where: dict[str, Any] | None) -> Any:
    vector = vector_of(7)
    found = engine.search(library, vector=vector, threshold=-1.0, limit=1000, where=where)
    return found.total, found.threshold, found.hits


def _clips(engine: facegrep.Engine, media_id: str) -> Any:
    found = engine.clips("boxes", media_id, vector=vector_of(7), threshold=-1.0)
    return found.video, [
        (
            (clip.person, clip.score, clip.box, clip.time_ms),
            [(one.start_ms, one.end_ms, one.times_ms, one.boxes) for one in clip.occurrences],
        )
        for clip in found
    ]


def _listing(engine: facegrep.Engine, library: str) -> Any:
    # Of the others the scores of the search tell every vector.
    listed = engine.media(library, limit=1000, vectors=library == "boxes")
    return [(each, [face.code for face in each.faces]) for each in listed]


def _page(engine: facegrep.Engine, library: str, token: str) -> Any:
    answer = engine.answers.get(library, token)
    if answer is None:
        return None
    return answer.condition, answer.threshold, answer.embedding.tobytes(), answer.page(0, 1000)


def _told(engine: facegrep.Engine, library: str) -> Any:
    with engine._shared.store.catalog.read() as connection:
        return sorted(read_told(connection, find_library(connection, engine.account, library)))


def _recognition(engine: facegrep.Engine) -> Any:
    return [
        (
            library,
            [
                (entity, [(one.sample_id, one.code) for one in _samples(engine, entity)])
                for entity in engine.entities(library.recognition_id)
            ],
        )
        for library in engine.recognition_libraries()
    ]


def _samples(engine: facegrep.Engine, entity: Entity) -> Any:
    return engine.samples(entity.recognition_id, entity.entity_id)


def _recognised(engine: facegrep.Engine) -> Any:
    names = {
        entity.name: entity.entity_id
        for library in engine.recognition_libraries()
        for entity in engine.entities(library.recognition_id)
    }
    if _SOMEBODY not in names:
        return None
    found = engine.search("boxes", vector=vector_of(7), recognised=names[_SOMEBODY], limit=1000)
    return found.total, found.hits


def _one(engine: facegrep.Engine) -> Any:
    media = engine.get("boxes", media_id_of(-1), vectors=True)
    return media, [face.code for face in media.faces]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


if __name__ == "__main__":
    main("damage", {"flips": 50_000}, run)
