"""One writer, four readers, each a process: every answer is that of a moment within the call.

``python -m tests.faults.processes --seconds 900 --seed 1``

The writer says on the board which step it has begun and which is done. A reader notes the last done
step before a call and the last begun one after it: the answer must be that of one of the steps
between. A search that starts after a delete returned can therefore not show what was deleted. Every
process makes the models itself, from the seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from tests.faults import clock, worker
from tests.faults.check import SCORE_ERROR, is_descending, which_alone
from tests.faults.operations import FIRST, MAIN, after, make_store, perform, plan
from tests.faults.report import Outcome, main
from tests.faults.world import World, media_id_of, vector_of

import facegrep

READERS: Final = 4
COMPACT_EVERY_S: Final = 2.0
_SAMPLE_S: Final = 1.0
_BACKUP_SHARE: Final = 0.005
_MAX_WAL_BYTES: Final = 64 << 20
"""Far above where it is folded (16 MiB): a reader may be in the way for a moment."""


def run(*, seconds: int, seed: int) -> Outcome:
    """Write, compact and read at once for some seconds; then compare memory, handles and logs."""
    outcome = Outcome("one writer, four readers", seed)
    samples: dict[str, list[tuple[int, int]]] = {}
    wal: list[int] = []
    with worker.scratch("many") as folder, worker.board() as board:
        path = folder / "store"
        make_store(path)
        board.clock[0] = FIRST.now_ms
        said: dict[str, Connection] = {}
        processes: dict[str, BaseProcess] = {}
        for number in range(READERS + 1):
            who = f"reader {number}" if number else "writer"
            said[who], theirs = worker.pipe()
            target: Callable[..., None] = read if number else write
            processes[who] = worker.start(target, path, board.path, seed, number, theirs)
            theirs.close()
        try:
            began = time.monotonic()
            while (now := time.monotonic() - began) < seconds:
                time.sleep(_SAMPLE_S)
                for who, process in processes.items():
                    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                        samples.setdefault(who, []).append(_uses(process.pid or 0))
                wal.append(_size(path / "catalog.db-wal"))
                if not all(process.is_alive() for process in processes.values()):
                    break
                outcome.progress(int(now), seconds, "seconds")
            board.stop = True
            for who, process in processes.items():
                process.join(worker.PATIENCE_S)
                _listen(outcome, who, said[who], process)
        finally:
            for process in processes.values():
                worker.kill(process)
    outcome.counts["steps"] = board.done
    outcome.counts["largest log, KiB"] = max(wal, default=0) >> 10
    if max(wal, default=0) > _MAX_WAL_BYTES:
        outcome.violate(f"the log grew to {max(wal)} bytes")
    _judge_growth(outcome, samples)
    return outcome


def write(path: Path, board_path: Path, seed: int, _number: int, gate: Connection) -> None:
    """Do step after step, and compact now and then, until asked to stop."""
    board = worker.Board(board_path)
    clock.share(board.clock)
    world, step, compactions = FIRST, 0, 0
    try:
        with facegrep.open(path) as engine:
            compact = getattr(engine, "compact", None)
            due = time.monotonic() + COMPACT_EVERY_S
            while not board.stop:
                step += 1
                call = plan(seed, step, world)
                board.begun = step
                perform(engine, call)
                board.done = step
                world = after(world, call)
                if compact is not None and time.monotonic() > due:
                    due += COMPACT_EVERY_S
                    compact()
                    compactions += 1
        gate.send(({"compactions": compactions}, None))
    except BaseException:
        gate.send(({}, traceback.format_exc()))


def read(path: Path, board_path: Path, seed: int, number: int, gate: Connection) -> None:
    """Ask until told to stop; end at the first answer that was never right."""
    board = worker.Board(board_path)
    clock.share(board.clock)
    chance = random.Random(f"{seed}/{number}")
    worlds, newest = {0: FIRST}, 0
    counts = {"answers": 0}
    try:
        with facegrep.open(path, readonly=number % 2 == 1) as engine:
            while not board.stop:
                first = board.done
                question, reply = _ask(engine, chance, path.with_name(f"copy {number}"))
                last = board.begun
                while newest < last:
                    worlds[newest + 1] = after(
                        worlds[newest], plan(seed, newest + 1, worlds[newest])
                    )
                    newest += 1
                for old in [step for step in worlds if step < first]:
                    del worlds[old]
                counts["answers"] += 1
                if not _fits([worlds[step] for step in range(first, last + 1)], question, reply):
                    found = f"steps {first} to {last}: {question}: {str(reply)[:600]}"
                    gate.send((counts, f"an answer of no moment: {found}"))
                    return
        gate.send((counts, None))
    except BaseException:
        gate.send((counts, traceback.format_exc()))


Question = tuple[str, Any]


def _ask(engine: facegrep.Engine, chance: random.Random, copy: Path) -> tuple[Question, Any]:
    kind = chance.choice(["search", "search", "filtered", "list", "get"])
    if chance.random() < _BACKUP_SHARE:
        shutil.rmtree(copy, ignore_errors=True)
        engine.backup(copy)
        return ("backup", None), copy
    try:
        if kind == "search":
            query = chance.randrange(1000)
            result = engine.search(MAIN, vector=vector_of(query), threshold=-1.0, limit=1000)
            return (kind, query), (result.total, [(hit.media_id, hit.score) for hit in result])
        if kind == "filtered":
            where = {"intField1": 1, "strField1": "green"}
            result = engine.search(MAIN, vector=vector_of(1), threshold=-1, where=where)
            return (kind, None), result.total
    except facegrep.OperationDeniedError:
        return ("denied", None), engine.readonly
    if kind == "list":
        listed = engine.media(MAIN, limit=1000)
        return (kind, None), [(media.media_id, media.title, len(media.faces)) for media in listed]
    media_id = media_id_of(chance.randrange(20) * 100)
    try:
        return (kind, media_id), engine.get(MAIN, media_id).title
    except facegrep.NotFoundError:
        return (kind, media_id), False


def _fits(worlds: list[World], question: Question, reply: Any) -> bool:
    """Whether it answers for one of these moments.

    The clock is looked at after the rows: a moment later some of them may have expired. A search is
    cut into its page a moment later than it was found, without what was deleted since.
    """
    kind, about = question
    if kind == "denied":
        return reply and any(world.search_audit for world in worlds)
    if kind == "backup":
        # What searches and callers left may be older than the rest: their database comes first.
        held = [
            replace(
                world.backed_up(),
                audited=(),
                keys=older.keys,
                master=older.master,
                nonces=older.nonces,
            )
            for number, world in enumerate(worlds)
            for older in worlds[: number + 1]
        ]
        return which_alone(reply, held, readonly=True)[0] is not None
    if kind in {"search", "filtered"}:
        return any(
            _is_cut(worlds[found], later, about, reply)
            for found in range(len(worlds))
            for later in _seen_later(worlds[found:])
        )
    for world in _seen_later(worlds):
        assets = world.live(MAIN)
        expected: Any
        if kind == "list":
            expected = [
                (key, assets[key].title, len(assets[key].vectors)) for key in sorted(assets)
            ]
        else:
            expected = assets[about].title if about in assets else False
        if reply == expected:
            return True
    return False


def _seen_later(worlds: list[World]) -> Iterator[World]:
    """Every moment, at its own time and at that of every later one."""
    for number, world in enumerate(worlds):
        for now_ms in sorted({later.now_ms for later in worlds[number:]}):
            yield replace(world, now_ms=now_ms)


def _is_cut(world: World, later: World, query: int | None, reply: Any) -> bool:
    left = later.live(MAIN)  # another asset under the same id is another asset
    matches = {
        key: asset
        for key, asset in world.live(MAIN).items()
        if key in left and left[key].vectors == asset.vectors
    }
    if query is None:
        fields = [(asset.int_field1, asset.str_field1) for asset in matches.values()]
        return bool(reply == fields.count((1, "green")))
    total, found = reply
    scores = {key: score for key, score in world.ranked(MAIN, query) if key in matches}
    return (
        total == len(scores) == len(found)
        and {key for key, _ in found} == scores.keys()
        and all(abs(scores[key] - score) <= SCORE_ERROR for key, score in found)
        and is_descending(found)
    )


def _listen(outcome: Outcome, who: str, gate: Connection, process: BaseProcess) -> None:
    try:
        counts, failure = gate.recv() if gate.poll(1) else ({}, f"ended with {process.exitcode}")
    except EOFError:
        counts, failure = {}, f"ended with {process.exitcode}"
    outcome.counts.update(counts)
    if failure:
        outcome.violate(f"{who}: {failure[-1500:]}")


def _judge_growth(outcome: Outcome, samples: dict[str, list[tuple[int, int]]]) -> None:
    """Compare the second quarter of the time with the last: by then everything is warm.

    Of open files the fewest: a backup under way has more, and one that is never closed stays.
    """
    for who, uses in samples.items():
        quarter = len(uses) // 4
        if quarter < 3:
            continue
        early, late = uses[quarter : 2 * quarter], uses[-quarter:]
        handles = [min(use[0] for use in part) for part in (early, late)]
        memory = [statistics.median(use[1] for use in part) for part in (early, late)]
        kind = who.split(" ", maxsplit=1)[0]
        growth = int(memory[1] - memory[0]) >> 10
        outcome.counts[f"KiB more of the {kind}"] = max(
            outcome.counts[f"KiB more of the {kind}"], growth
        )
        if handles[1] > handles[0] + 2:
            outcome.violate(f"{who}: from {handles[0]} to {handles[1]} open files")
        if memory[1] > memory[0] * 1.05 + (4 << 20):
            outcome.violate(f"{who}: from {memory[0]} to {memory[1]} bytes of memory")


def _uses(pid: int) -> tuple[int, int]:
    """Open files, and bytes of memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    main("processes", {"seconds": 900}, run)
