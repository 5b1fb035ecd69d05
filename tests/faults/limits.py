"""A full disk, too little memory: a typed error, a process that lives, a store that opens.

``python -m tests.faults.limits --sizes 40 --limits 200 --seed 1``

The disk is a small tmpfs (root), else a limit on the size of files. Memory is short by RLIMIT_AS,
from too little to open a store up to enough for everything. ``MemoryError`` is Python's own type
for that, and counts as typed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.faults import worker
from tests.faults.check import differences, which
from tests.faults.operations import FIRST, after, make_store, perform, plan
from tests.faults.powercut import unmount
from tests.faults.report import Outcome, main
from tests.faults.world import DIM, World

import facegrep

_BIGGEST_DISK: Final = 6 << 20
_BIGGEST_FILE: Final = 3 << 20
_MOST_MEMORY: Final = 12 << 20
"""Beyond what the process has when it begins; enough for everything below."""

_ROWS: Final = 4000
_STEPS: Final = 4000


def run(*, sizes: int, limits: int, seed: int) -> Outcome:
    """Fill disks of some sizes; then work in some amounts of memory."""
    outcome = Outcome("disk full, short of memory", seed)
    for number in range(sizes):
        part = (number + 1) / sizes
        if os.geteuid() == 0 and number % 2 == 0:
            with _small_disk(int(_BIGGEST_DISK * part)) as folder:
                _fill(outcome, folder / "store", seed + number, None, "disk of")
        else:
            with worker.scratch("full") as folder:
                limit = int(_BIGGEST_FILE * part)
                _fill(outcome, folder / "store", seed + number, limit, "files up to")
        outcome.progress(number + 1, sizes, "disks")
    for number in range(limits):
        _run_short_of_memory(outcome, seed, number * _MOST_MEMORY // limits)
        outcome.progress(number + 1, limits, "amounts of memory")
    return outcome


@contextlib.contextmanager
def _small_disk(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="facegrep-tmpfs-") as name:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        subprocess.run(command, check=True, capture_output=True)
        try:
            yield Path(name)
        finally:
            unmount(Path(name))


def _fill(outcome: Outcome, path: Path, seed: int, limit: int | None, what: str) -> None:
    steps, opened, error = _in_a_worker(outcome, what, fill, path, seed, limit)
    outcome.counts["disks filled" if limit is None else "limits on files reached"] += 1
    if error is None or not opened:
        outcome.counts["too small to make a store"] += not opened
        return
    outcome.counts[error] += 1
    # With room again, all is there, and goes on. The last step was refused.
    if limit is None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(path.parent)], check=True)
    worlds = [FIRST]
    for step in range(1, steps + 2):
        worlds.append(after(worlds[-1], _plan(seed, step, worlds[-1])))
    try:
        found, wrong = which(path, worlds[-2:-1], readonly=False)
        if found is None:
            outcome.violate(f"{what}, seed {seed}, after {steps} steps: {wrong[:3]}")
            return
        with facegrep.open(path) as engine:
            perform(engine, _plan(seed, steps + 1, worlds[-2]))
            wrong = differences(engine, worlds[-1])
        if wrong:
            outcome.violate(f"{what}, seed {seed}: after one more step: {wrong[:3]}")
    except facegrep.FacegrepError as failure:
        outcome.violate(f"{what}, seed {seed}: {failure!r}")


def fill(path: Path, seed: int, limit: int | None, gate: Connection) -> None:
    """Work until the disk refuses; then read everything, close, and open again."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    steps, opened, world, said = 0, False, FIRST, None
    try:
        make_store(path)
        opened = True
        with facegrep.open(path) as engine:
            while steps < _STEPS:
                call = _plan(seed, steps + 1, world)
                try:
                    perform(engine, call)
                except facegrep.StoreError as error:
                    said = type(error).__name__
                    wrong = differences(engine, world)
                    if wrong:
                        gate.send((steps, opened, said, f"{error}: then {wrong[:3]}"))
                        return
                    break
                world = after(world, call)
                steps += 1
        with facegrep.open(path, readonly=True) as engine:
            wrong = differences(engine, replace(world, tokens={}))
        gate.send((steps, opened, said, f"{said}: opened again: {wrong[:3]}" if wrong else None))
    except facegrep.StoreError as error:
        if opened:
            gate.send((steps, opened, None, traceback.format_exc()))
        else:
            gate.send((0, False, type(error).__name__, None))
    except BaseException:
        gate.send((steps, opened, None, traceback.format_exc()))


def _plan(seed: int, step: int, world: World) -> Any:
    """As `plan`, of what only ever takes more room."""
    while (call := plan(seed, step, world)).verb not in {"add", "update", "search"}:
        seed += 1
    return call


def _run_short_of_memory(outcome: Outcome, seed: int, more: int) -> None:
    with worker.scratch("memory") as folder:
        path = folder / "store"
        make_store(path)
        what = f"{more >> 10} KiB more than the start"
        done, _, error = _in_a_worker(outcome, what, work_within, path, seed, more)
        outcome.counts["amounts of memory"] += 1
        outcome.counts[error or "enough memory"] += 1
        with facegrep.open(path) as engine:
            count = engine.library("main").media_count
            listed = len(engine.media("main", limit=10**6, vectors=True))
            total = engine.search("main", vector=np.ones(DIM), threshold=-1.0).total
        # A call that failed for memory may be durable, as one that was killed may be.
        if not count == listed == total or total not in _possible(done):
            outcome.violate(f"{what}: {done} calls done, {count}, {listed} listed, {total} found")


def _possible(done: int) -> set[int]:
    after_calls = [0, _ROWS, _ROWS, _ROWS // 2, _ROWS, _ROWS]
    return set(after_calls[done : done + 2])


def work_within(path: Path, seed: int, more: int, gate: Connection) -> None:
    """Open, add, search, delete, list, in little more memory than the process has now."""
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(_ROWS, DIM)).astype(np.float32)
    ids = [f"{number}" for number in range(_ROWS)]
    small_change = (_small_change(), list(range(10**6, 10**6 + 9000))[::50])
    now = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))
    done = 0
    said: str | None = None
    try:
        with facegrep.open(path) as engine:
            work: tuple[Callable[[], Any], ...] = (
                lambda: engine.add_vectors("main", ids, vectors),
                lambda: engine.search("main", vector=vectors[0]),
                lambda: engine.delete("main", ids[: _ROWS // 2]),
                lambda: engine.add_vectors("main", ids, vectors),
                lambda: engine.media("main", limit=_ROWS, vectors=True),
            )
            for call in work:
                call()
                done += 1
        del small_change
    except (facegrep.StoreError, MemoryError) as error:
        said = type(error).__name__
    except BaseException:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        gate.send((done, True, None, traceback.format_exc()))
        return
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    gate.send((done, True, said, None))


def _small_change() -> list[list[bytes]]:
    """Make room for small objects, a megabyte in all, in pools that the interpreter keeps.

    Where not even an int can be had while an exception is handled, CPython 3.11 tries for ever
    (`exception_unwind` in its ceval.c, which needs one): one run in two hundred hung there.
    """
    return [[bytes(size) for _ in range(2000)][::50] for size in range(0, 480, 16)]


def _in_a_worker(
    outcome: Outcome, what: str, target: Callable[..., None], *arguments: Any
) -> tuple[int, bool, str | None]:
    """Run; returns steps done, whether it could be opened, and the error that ended it."""
    here, there = worker.pipe()
    process = worker.start(target, *arguments, there)
    there.close()
    try:
        if not here.poll(worker.PATIENCE_S):
            outcome.violate(f"{what} {arguments[1:]}: the process did nothing any more")
            return 0, False, None
        steps, opened, error, violation = here.recv()
    except EOFError:
        process.join(worker.PATIENCE_S)
        outcome.violate(f"{what} {arguments[1:]}: the process died: {process.exitcode}")
        return 0, False, None
    finally:
        worker.kill(process)
    if violation:
        outcome.violate(f"{what} {arguments[1:]}: {violation[-1500:]}")
    return steps, opened, error


if __name__ == "__main__":
    main("limits", {"sizes": 40, "limits": 200}, run)
