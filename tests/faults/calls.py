"""A fault at every call on files that an operation makes: KILL, EIO, ENOSPC, on the real process.

``python -m tests.faults.calls --points 0 --seed 1`` (0: all of them; ``--verbs purge,backup``)

The process is traced once to learn its calls, then run anew for each fault. A killed one is judged
in two ways: by its files as they are, and (CUT) without the names that no fsync of a directory had
made durable. After KILL and CUT the store is opened, which is where it recovers; NESTED faults hit
that recovery in turn.
"""

from __future__ import annotations

import random
import re
import shutil
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tests.faults import clock, sabotage, worker
from tests.faults.call import Call
from tests.faults.check import differences, which
from tests.faults.operations import FIRST, OPERATIONS, after, make_store, perform, plan
from tests.faults.report import Outcome, main
from tests.faults.trace import FileCall, Strace, allow_strace, forget_names, keep_names
from tests.faults.world import World

import facegrep

Fault: TypeAlias = Literal["KILL", "CUT", "EIO", "ENOSPC", "EIO+", "ENOSPC+"]
"""+: at that call and at every later one of its name."""

_NO_ROOM: Final = {"fallocate", "fdatasync", "fsync", "ftruncate", "mkdir", "pwrite64", "rename"}
_UNTYPED: Final = "an error that is not ours"
_NOTHING: Final = re.compile(r"nothing (of this batch )?was|it is as it was")


@dataclass(frozen=True, slots=True)
class Target:
    """A store, what is done to it, and what it may hold before that."""

    name: str
    store: Path
    before: tuple[World, ...]
    call: Call | None

    @property
    def afterwards(self) -> tuple[World, ...]:
        """What it holds when the call was acknowledged."""
        return tuple(after(w, self.call) for w in self.before) if self.call else self.before


@dataclass(frozen=True, slots=True)
class Said:
    """What the worker has to say: it was opened; the call's outcome; what the engine holds then."""

    opened: bool = False
    error: str | None = None
    message: str = ""
    state: int | None = None
    wrong: tuple[str, ...] = ()


def work_once(
    path: Path, worlds: Sequence[World], call: Call | None, gate: Connection, fault: str | None
) -> None:
    """Open a store, perform one call, look at what the engine holds, close."""
    allow_strace()
    sabotage.apply(fault)
    clock.move_to(worlds[0].now_ms)
    gate.send_bytes(b"ready")
    gate.recv_bytes()
    try:
        _work_once(path, worlds, call, gate)
    except BaseException:
        gate.send(Said(error=_UNTYPED, message=traceback.format_exc()))


def _work_once(path: Path, worlds: Sequence[World], call: Call | None, gate: Connection) -> None:
    try:
        engine = facegrep.open(path)
    except facegrep.FacegrepError as error:
        gate.send(Said(error=type(error).__name__, message=str(error)))
        return
    gate.send(Said(opened=True))
    with engine:
        try:
            if call is not None:
                perform(engine, call)
                gate.send(Said(opened=True, state=-1))
        except facegrep.FacegrepError as error:
            gate.send(Said(True, type(error).__name__, str(error), *_state(engine, worlds)))


def _state(engine: facegrep.Engine, worlds: Sequence[World]) -> tuple[int | None, tuple[str, ...]]:
    wrong: list[str] = []
    for number, world in enumerate(worlds):
        try:
            wrong = differences(engine, world)
        except facegrep.StoreError as error:  # the fault may last
            return None, (f"unreadable: {error!r}",)
        if not wrong:
            return number, ()
    return None, tuple(wrong[:3])


def targets(folder: Path, seed: int, verbs: Iterable[str] = tuple(OPERATIONS)) -> list[Target]:
    """A target for each operation, on stores of some tens of steps, and on new ones."""
    found = [
        Target("make", folder / "absent", (World(),), None),
        Target("first add", folder / "new", (FIRST,), _an_add()),
    ]
    make_store(folder / "new")
    chance = random.Random(seed)
    for verb in verbs:
        store = folder / verb / "store"
        store.parent.mkdir(parents=True)
        make_store(store)
        world, step = FIRST, 1
        with facegrep.open(store) as engine:
            while True:
                call = plan(seed, step, world)
                if step > 25 and (call.verb == verb or step > 60):
                    fitting = OPERATIONS[verb].plan(chance, world, step)
                    if fitting is not None:
                        break
                perform(engine, call)
                world = after(world, call)
                step += 1
        found.append(Target(verb, store, (replace(world, copy=None),), fitting))
    return found


class Bench:
    """Runs targets under strace, in a folder of its own."""

    def __init__(self, folder: Path, outcome: Outcome, fault: str | None = None) -> None:
        self.outcome = outcome
        self._store = folder / "run" / "store"
        self._kept = folder / "kept"
        self._fault = fault

    def trace(self, target: Target) -> list[FileCall]:
        """Learn which calls on files of the store a target makes."""
        calls, said, code = self._run(target, None)
        if code or any(each.error for each in said):
            self.outcome.violate(f"{target.name} without a fault: {said} {code}")
        return [call for call in calls if self._is_ours(call)]

    def hit(self, target: Target, call: FileCall, fault: Fault) -> Path | None:
        """Run a target with a fault at a call, and judge it.

        Returns
        -------
        store
            As a killed process left it, before it is opened again; ``None`` if nobody died.
        """
        injection = {"KILL": "signal=SIGKILL", "CUT": "signal=SIGKILL"}.get(
            fault, f"error={fault.rstrip('+')}"
        )
        when = f"{call.occurrence}{'+' if fault.endswith('+') else ''}"
        calls, said, code = self._run(target, f"{call.name}:{injection}:when={when}")
        what = f"{target.name}, {fault} at {call.name} {call.occurrence} ({call.text[-160:]})"
        killed = injection == "signal=SIGKILL"
        if (code != -9) if killed else not any("INJECTED" in each.text for each in calls):
            self.outcome.counts["points not reached again"] += 1
            return None
        self.outcome.counts[fault.rstrip("+")] += 1
        if not killed and code != 0:
            self.outcome.violate(f"{what}: the process ended with {code}")
        if said and said[-1].error == _UNTYPED:
            self.outcome.violate(f"{what}: {said.pop().message[-1500:]}")
        if fault == "CUT":
            self.outcome.counts["names undone"] += forget_names(calls, self._store, self._kept)
        allowed = self._allowed(target, said, what)
        left = None
        if killed:
            left = self._store.with_name("left")
            shutil.rmtree(left, ignore_errors=True)
            if self._store.exists():
                shutil.copytree(self._store, left)
        self.judge(allowed, what)
        return left

    def judge(self, allowed: Sequence[World], what: str) -> None:
        """Open what is left: it must hold one of the models, and take more."""
        try:
            found, wrong = which(self._store, allowed, readonly=False)
            if found is None:
                self.outcome.violate(f"{what}: {wrong[:3]}")
                return
            world = allowed[found]
            clock.move_to(world.now_ms)
            with facegrep.open(self._store) as engine:
                if not world.shelves:
                    engine.create_library("main", dim=64, threshold=0.2)
                    world = FIRST
                more = _an_add()
                perform(engine, more)
                wrong = differences(engine, after(world, more))
            if wrong:
                self.outcome.violate(f"{what}: after one more step: {wrong[:3]}")
        except Exception as error:
            self.outcome.violate(f"{what}: {error!r}")

    def _allowed(self, target: Target, said: list[Said], what: str) -> Sequence[World]:
        """What may be found, by what the worker said before its end."""
        last = said[-1] if said else Said()
        if last.state == -1:  # acknowledged
            return target.afterwards
        if last.error is None or not last.opened:
            return (*target.before, *target.afterwards) if last.opened else target.before
        if last.error == "ErasePending":
            return target.afterwards
        both = (*target.before, *target.afterwards)
        self.outcome.counts["typed errors"] += 1
        if last.state is not None:
            both = (both[last.state],)
        elif not (last.wrong and last.wrong[0].startswith("unreadable")):
            self.outcome.violate(f"{what}: {last.error}, and then the engine holds {last.wrong}")
        if _NOTHING.search(last.message):
            if all(world not in target.before for world in both):
                self.outcome.violate(f"{what}: said {last.message!r}, and it was written")
            return target.before
        return both

    def _run(
        self, target: Target, injection: str | None
    ) -> tuple[list[FileCall], list[Said], int | None]:
        for folder in (self._store.parent, self._kept):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        if target.store.exists():
            shutil.copytree(target.store, self._store)
            keep_names(self._store, self._kept)
        here, there = worker.pipe()
        worlds = (*target.before, *target.afterwards)
        process = worker.start(work_once, self._store, worlds, target.call, there, self._fault)
        there.close()
        try:
            here.recv_bytes()  # it imports no more, so that calls are counted alike in each run
            strace = Strace(process.pid or 0, injection)
            here.send_bytes(b"go")
            calls = strace.calls()
            process.join(worker.PATIENCE_S)
            said = []
            while here.poll():
                try:
                    said.append(here.recv())
                except (EOFError, ConnectionResetError):
                    break
        finally:
            here.close()
            worker.kill(process)
        return calls, said, process.exitcode

    def _is_ours(self, call: FileCall) -> bool:
        folder = self._store.parent  # backups lie beside the store
        return any(Path(path).is_relative_to(folder) for path in call.paths)


def _an_add() -> Call:
    step = 10**6
    while (call := plan(0, step, FIRST)).verb != "add":
        step += 1
    return call


def faults_at(call: FileCall, *, lasting: bool) -> list[Fault]:
    """The faults that make sense at a call. Killed before a call that only reads is as before."""
    found: list[Fault] = ["KILL", "CUT"] if call.changes else []
    no_room = call.name in _NO_ROOM or (call.changes and call.name == "openat")
    lasting = lasting and call.name != "write"  # so does the worker say what came of it
    if call.name not in {"fcntl", "flock"}:
        found += ["EIO", "EIO+"] if lasting else ["EIO"]
    if no_room:
        found += ["ENOSPC", "ENOSPC+"] if lasting else ["ENOSPC"]
    return found


def run(*, points: int, nested: int, seed: int, verbs: str = "") -> Outcome:
    """Hit every call of every operation, or some `points` of them, and recoveries from them.

    `verbs` are those of some operations only, with commas between.
    """
    outcome = Outcome("fault at every call", seed)
    chance = random.Random(seed)
    with worker.scratch("calls") as folder:
        bench = Bench(folder, outcome)
        every: list[tuple[Target, FileCall, Fault]] = []
        for target in targets(folder / "stores", seed, verbs.split(",") if verbs else OPERATIONS):
            calls = bench.trace(target)
            outcome.counts["calls on files"] += len(calls)
            every += [
                (target, call, fault)
                for call in calls
                for fault in faults_at(call, lasting=not points)
            ]
        chosen = chance.sample(every, min(points, len(every))) if points else every
        left: list[Target] = []
        for number, (target, call, fault) in enumerate(chosen, 1):
            store = bench.hit(target, call, fault)
            outcome.counts["points"] += 1
            if store is not None and store.exists():
                kept = folder / "left" / str(number)
                kept.parent.mkdir(exist_ok=True)
                store.rename(kept)
                worlds = tuple(
                    replace(world, copy=None) for world in (*target.before, *target.afterwards)
                )
                left.append(Target(f"recovery of {target.name} {number}", kept, worlds, None))
            outcome.progress(number, len(chosen), "points")
        _hit_recoveries(bench, left, nested, chance)
    return outcome


def _hit_recoveries(bench: Bench, left: list[Target], nested: int, chance: random.Random) -> None:
    """Hit what opens the stores of the dead; `nested` faults, each in a recovery of its own."""
    done = 0
    while left and done < nested:
        target = left.pop(chance.randrange(len(left)))
        calls = bench.trace(target)
        every = [(call, fault) for call in calls for fault in faults_at(call, lasting=False)]
        for call, fault in chance.sample(every, min(len(every), 3, nested - done)):
            bench.hit(target, call, fault)
            bench.outcome.counts["nested points"] += 1
            done += 1
        shutil.rmtree(target.store)
        bench.outcome.progress(done, nested, "nested points")


if __name__ == "__main__":
    main("calls", {"points": 0, "nested": 1000, "verbs": ""}, run)
