"""Torn tails: a record that was written in part, at any length that the part can have.

``python -m tests.faults.tears --lengths 1500 --seed 1`` (0: every length, hours)

Three things can have been torn when a step was interrupted or a disk forgot its end:

- the log of a database, before the step was acknowledged: the store is as before the step or, with
  the whole record, as after it, and says nothing;
- that log, after the step was acknowledged: as after it, or a typed error;
- the vectors, after they were acknowledged: a typed error.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults import worker
from tests.faults.damage import answers, silent
from tests.faults.operations import FIRST, OPERATIONS, after, make_store, perform, plan
from tests.faults.report import Outcome, main

import facegrep

_STEPS: Final = 12
_UNACKNOWLEDGED: Final = "before it was acknowledged"
_ACKNOWLEDGED: Final = "after it was acknowledged"


def run(*, lengths: int, seed: int) -> Outcome:
    """Tear the last record of each file, `lengths` times each, or at every length."""
    outcome = Outcome("torn tails", seed)
    chance = random.Random(seed)
    with worker.scratch("tears") as folder:
        for verb, file in (("add", "catalog.db-wal"), ("search", "session.db-wal"), ("add", "v")):
            older, newer = _around_a_step(folder / f"{verb} {file}", seed, verb)
            if file == "v":
                (file,) = (
                    path.relative_to(newer).as_posix()
                    for path in (newer / "v").iterdir()
                    if path.stat().st_size > _size(older / path.relative_to(newer))
                )
            start, end = _size(older / file), _size(newer / file)
            every: list[int] = list(range(start, end + 1))
            chosen = sorted(chance.sample(every, lengths)) if 0 < lengths < len(every) else every
            for length, what in _tears(older, newer, file, chosen, folder / "torn"):
                _judge(outcome, folder / "torn", older, newer, f"{file} {what}, {length} bytes")
            outcome.counts[f"lengths of {file.split('/')[0]}"] += len(chosen)
            outcome.progress(len(chosen), len(chosen), f"lengths of {file}")
    return outcome


def _around_a_step(folder: Path, seed: int, verb: str) -> tuple[Path, Path]:
    """The files of a store before and after a step, while nobody writes."""
    store, older, newer = folder / "store", folder / "older", folder / "newer"
    make_store(store)
    world, step = FIRST, 1
    with facegrep.open(store) as engine:
        while step < _STEPS or (call := plan(seed, step, world)).verb != verb:
            call = plan(seed, step, world)
            perform(engine, call)
            world = after(world, call)
            step += 1
        shutil.copytree(store, older)
        OPERATIONS[verb].perform(engine, call)
        shutil.copytree(store, newer)
    return older, newer


def _tears(
    older: Path, newer: Path, file: str, lengths: list[int], torn: Path
) -> Iterator[tuple[int, str]]:
    content = (newer / file).read_bytes()
    log = file.endswith("-wal")
    for length in lengths:
        if log:
            _copy(older, torn)
            if (newer / "v").exists():  # durable before the record
                shutil.copytree(newer / "v", torn / "v", dirs_exist_ok=True)
            (torn / file).write_bytes(content[:length])
            yield length, _UNACKNOWLEDGED
        if length < len(content):
            _copy(newer, torn)
            (torn / file).write_bytes(content[:length])
            yield length, _ACKNOWLEDGED


def _judge(outcome: Outcome, torn: Path, older: Path, newer: Path, what: str) -> None:
    key = str(older)
    if key not in _ANSWERS:
        for store in (older, newer):
            _copy(store, torn.with_name("whole"))
            _ANSWERS[str(store)] = answers(torn.with_name("whole"), readonly=False)
    now = answers(torn, readonly=False)
    loud = any(isinstance(reply, facegrep.StoreError) for reply in now.values())
    is_newer = not loud and not silent(_ANSWERS[str(newer)], now)
    is_older = not loud and not silent(_ANSWERS[key], now)
    outcome.counts["torn"] += 1
    outcome.counts["noticed"] += loud
    if _UNACKNOWLEDGED in what and not (is_older or is_newer):
        outcome.violate(f"{what}: neither as before nor as after the step: {_first_error(now)}")
    if _ACKNOWLEDGED in what and not (loud or is_newer):
        outcome.violate(f"{what}: an acknowledged step is gone, and nothing says so")


_ANSWERS: dict[str, dict[str, object]] = {}


def _first_error(now: dict[str, object]) -> str:
    errors = [repr(reply) for reply in now.values() if isinstance(reply, facegrep.StoreError)]
    return errors[0] if errors else "other answers"


def _copy(store: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(store, target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    main("tears", {"lengths": 1500}, run)
