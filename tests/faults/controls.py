"""The harness itself: four careless stores, each of which must be caught.

``python -m tests.faults.controls --cuts 20 --seed 1``
"""

from __future__ import annotations

from typing import Final

from tests.faults import powercut, worker
from tests.faults.calls import Bench, faults_at, targets
from tests.faults.report import Outcome, main

NEEDS_POWER_CUT: Final = ("no-fdatasync", "late-fdatasync", "synchronous-off")


def caught_by_power_cut(fault: str, *, cuts: int, seed: int) -> Outcome:
    """Cut the power of a sabotaged store until that is seen, `cuts` times at most."""
    return powercut.run(cuts=cuts, seed=seed, fault=fault)


def caught_by_names(*, seed: int) -> Outcome:
    """Add to a store that makes no directory durable, and lose names after each call.

    ext4 makes the name of a new file durable with the file, so that no power cut shows this.
    """
    outcome = Outcome("names lost, no-directory-fsync", seed)
    with worker.scratch("controls") as folder:
        bench = Bench(folder, outcome, "no-directory-fsync")
        _, first_add = targets(folder / "stores", seed, ())
        for call in reversed(bench.trace(first_add)):
            if "CUT" in faults_at(call, lasting=False) and not outcome.violations:
                bench.hit(first_add, call, "CUT")
    return outcome


def run(*, cuts: int, seed: int) -> Outcome:
    """Sabotage the store in four ways; a violation here is one that was not caught."""
    outcome = Outcome("negative controls", seed)
    caught = {fault: caught_by_power_cut(fault, cuts=cuts, seed=seed) for fault in NEEDS_POWER_CUT}
    caught["no-directory-fsync"] = caught_by_names(seed=seed)
    for fault, found in caught.items():
        if found.violations:
            tries = found.counts["cuts"] or found.counts["CUT"]
            outcome.counts[f"cuts until {fault} was caught"] = tries
        else:
            outcome.violate(f"{fault} was not caught: {found.summary()}")
    return outcome


if __name__ == "__main__":
    main("controls", {"cuts": 20}, run)
