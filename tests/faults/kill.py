"""kill -9 at random times: what was acknowledged is there, and nothing else.

``python -m tests.faults.kill --cycles 500 --seed 1``
"""

from __future__ import annotations

import random
import time

from tests.faults import worker
from tests.faults.check import which
from tests.faults.operations import FIRST, after, make_store, plan, without_backup
from tests.faults.report import Outcome, main
from tests.faults.world import World

import facegrep

_LONGEST_S = 0.3


def worlds_until(seed: int, world: World, first: int, done: int, begun: int) -> list[World]:
    """The models after step `done` and those after each step up to `begun`, oldest first."""
    worlds = [world] if done < first else []
    for step in range(first, begun + 1):
        world = after(world, plan(seed, step, world))
        if step >= done:  # of thousands, where this process was stopped and the other was not
            worlds.append(world)
    return worlds


def run(*, cycles: int, seed: int) -> Outcome:
    """Kill a writer again and again, each time some time after its first acknowledgement."""
    outcome = Outcome("kill -9", seed)
    chance = random.Random(seed)
    with worker.scratch("kill") as folder, worker.board() as board:
        path = folder / "store"
        make_store(path)
        world, first = FIRST, 1
        for cycle in range(cycles):
            board.begun = board.done = first - 1
            arguments = (path, board.path, seed, world, first, None)
            process = worker.start(worker.work, *arguments)
            try:
                board.wait(lambda board, first=first: board.done >= first, process)  # type: ignore[misc]
                time.sleep(chance.uniform(0.0, _LONGEST_S))
            finally:
                worker.kill(process)
            if board.text:
                outcome.violate(f"cycle {cycle}: {board.text}")
                break
            done, begun = board.done, board.begun
            outcome.counts["cycles"] += 1
            outcome.counts["acknowledged steps"] += done - first + 1
            worlds = worlds_until(seed, world, first, done, begun)
            outcome.counts["killed within a step"] += begun > done
            # Half of the time readonly: then the next writer finds what the dead one left. Frozen
            # answers cannot be looked at that way.
            unsure = plan(seed, begun, worlds[0]).verb if begun > done else ""
            readonly = chance.random() < 0.5 and unsure != "search"
            try:
                found, wrong = which(path, worlds, readonly=readonly)
            except facegrep.FacegrepError as error:
                found, wrong = None, [repr(error)]
            if found is None:
                outcome.violate(f"cycle {cycle}, steps {first} to {done}/{begun}: {wrong[:3]}")
                break
            outcome.counts["steps kept beyond"] += found if begun > done else 0
            world, first = without_backup(path, worlds[found]), begun + 1
            outcome.progress(cycle + 1, cycles, "cycles")
    return outcome


if __name__ == "__main__":
    main("kill", {"cycles": 500}, run)
