"""Erasure: what was erased is in the store's files before, and in none after the receipt.

``python -m tests.faults.erasure --erasures 500 --seed 1``

A process works on the store; this one looks for needles in every byte of its files: the id of each
erased asset, 48 bytes in a row of its vectors' codes, of the picture that waits to be analysed or
of what was fetched of its video, and the embedding that a frozen answer was searched with. Half of
the erasures are killed in the middle, after they were begun and before the receipt; then the next
opening finishes them.
"""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import signal
import sys
import traceback
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from PIL import Image
from tests.faults import clock, worker
from tests.faults.films import add_films, begin_to_fetch, film_of
from tests.faults.report import Outcome, main
from tests.faults.world import Asset

import facegrep
from facegrep import _core

PEOPLE: Final = "people"
WAITING: Final = "waiting"
"""A library without a face index: it keeps the pictures themselves, or fetches videos."""

DIM: Final = 128
WINDOW_BYTES: Final = 48
_PART_BYTES: Final = WINDOW_BYTES // 2
_ERASURES_PER_STORE: Final = 25
_LATER_S: Final = 0.002
"""How long after a call the kill comes at most: some calls of SQLite's take as long, or longer."""

_MOST_TRIES: Final = 3
"""How many erasures there may be for each asked for, until half are killed in the middle."""

Way = Literal["ids", "person", "purge"]


@dataclass(frozen=True, slots=True)
class Victim:
    """An asset to be erased; all of it follows from its number."""

    number: int
    faces: int = 1

    @property
    def media_id(self) -> str:
        """A UUID."""
        return str(uuid.UUID(int=random.Random(f"id {self.number}").getrandbits(128), version=4))

    @property
    def vectors(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """``(faces, DIM)``."""
        chance = np.random.default_rng([7, self.number])
        return chance.normal(size=(self.faces, DIM)).astype(np.float32)

    @property
    def film(self) -> Asset | None:
        """Of every third: a video of their faces, which has tracks."""
        if self.number % 3:
            return None
        numbers = range(self.number * 10, self.number * 10 + self.faces)
        return Asset(self.media_id, tuple(numbers), is_video=True)

    @property
    def is_fetched(self) -> bool:
        """Whether what waits is no picture, but a video behind a URL that is being fetched."""
        return self.number % 2 == 1

    @property
    def picture(self) -> bytes:
        """A PNG of noise, which does not compress; also what was fetched of a video."""
        chance = np.random.default_rng([8, self.number])
        file = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(file, "PNG")
        return file.getvalue()


@dataclass(frozen=True, slots=True)
class Case:
    """What is done before an erasure, and what is erased.

    Attributes
    ----------
    way
        ``"person"``: by vector, the first victim's; ``"purge"``: their time is up.
    copy
        Make a backup afterwards: it holds nothing of them, either.
    """

    victims: tuple[Victim, ...]
    others: tuple[Victim, ...]
    ghosts: tuple[Victim, ...]
    waiting: bool
    way: Way
    compact: bool
    reopen: bool
    copy: bool

    @property
    def library(self) -> str:
        """Where they are."""
        return WAITING if self.waiting else PEOPLE

    def needles(self) -> dict[str, bytes]:
        """What must be found before and not after, by name."""
        found: dict[str, bytes] = {}
        for victim in self.victims:
            found[f"id {victim.number}"] = victim.media_id.encode()
            if self.waiting:
                found[f"picture {victim.number}"] = victim.picture[60:]
                continue
            for face, code in enumerate(_core.quantize(victim.vectors)):
                found[f"codes {victim.number}/{face}"] = code.tobytes()
            for number, one in enumerate(film_of(victim.film).tracks if victim.film else ()):
                found[f"track {victim.number}/{number}"] = one.samples.tobytes()
        if self.way == "person":
            found["embedding"] = self.victims[0].vectors[0].tobytes()
        return found


def run(*, erasures: int, seed: int) -> Outcome:
    """Erase again and again, half of the times with a kill in the middle."""
    outcome = Outcome("erasure", seed)
    chance = random.Random(seed)
    windows: defaultdict[tuple[Way, bool], Window] = defaultdict(Window)
    done = 0
    while not outcome.violations:
        killed = outcome.counts["killed in the middle"]
        if done >= erasures and 2 * killed >= done:
            break
        if done >= _MOST_TRIES * erasures:
            outcome.violate(f"only {killed} of {done} erasures were killed in the middle")
            break
        with worker.scratch("erasure") as folder:
            store = folder / "store"
            with facegrep.open(store) as engine:
                engine.create_library(PEOPLE, dim=DIM, threshold=0.5)
                engine.create_library(WAITING, face_index=None)
            for _ in range(min(_ERASURES_PER_STORE, max(erasures - done, 2))):
                case = _plan(chance, done)
                # Some are killed too early, some too late: then the next one is killed, too.
                kill = 2 * outcome.counts["killed in the middle"] <= done
                window = windows[case.way, case.waiting]
                clock.move_to(clock.now_ms() + clock.TICK_MS)
                _erase(outcome, store, case, chance, window, kill=kill)
                done += 1
                outcome.counts["erasures"] += 1
                outcome.progress(done, erasures, "erasures")
    return outcome


@dataclass(slots=True)
class Window:
    """At which calls of C functions an erasure of some kind is in the middle; it learns."""

    early: float = 0.0
    late: float = 0.0

    def was_whole(self, calls: int) -> None:
        self.late = self.late or calls

    def was_too_early(self) -> None:
        self.early += (self.late - self.early) / 8

    def was_too_late(self) -> None:
        self.late -= (self.late - self.early) / 8

    def was_right(self) -> None:
        self.early *= 0.99
        self.late *= 1.01


def found_in(folder: Path, needle: bytes) -> list[str]:
    """List the files that hold a needle: all of a short one, or any `WINDOW_BYTES` of a long one.

    Every window of 48 bytes holds a whole part of 24 that begins at a multiple of 24: so those are
    looked for, and what is found is compared to both sides.
    """
    files = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        hit = needle in data if len(needle) < WINDOW_BYTES else _has_window(data, needle)
        if hit:
            files.append(path.relative_to(folder).as_posix())
    return files


def work(path: Path, now_ms: int, gate: Connection) -> None:
    """Do what is asked for, by name, until asked to close."""
    clock.move_to(now_ms)
    try:
        with facegrep.open(path) as engine:
            gate.send("opened")
            while (order := gate.recv()) is not None:
                verb, case, kill = order
                with _counting(kill) as calls:
                    done = _DO[verb](engine, case)
                gate.send((done, calls[0]))
        gate.send("closed")
    except (EOFError, BrokenPipeError):
        pass
    except BaseException:
        gate.send(traceback.format_exc())


class Kill(NamedTuple):
    """A kill that was planned: some time after the call of a C function of that number."""

    at: int
    later_s: float


@contextlib.contextmanager
def _counting(kill: Kill | None) -> Iterator[list[int]]:
    """Count calls of C functions (of SQLite, of the system), and be killed after one of them."""
    calls = [0]

    def count(_frame: object, event: str, _function: object) -> None:
        if event == "c_call":
            calls[0] += 1
            if kill is not None and calls[0] == kill.at:
                # Nobody handles it, so that the kernel ends the process, in whatever call it is.
                signal.setitimer(signal.ITIMER_REAL, kill.later_s)

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def _prepare(engine: facegrep.Engine, case: Case) -> str:
    """Put everything in that is to go, into every place that a store has for it."""
    engine.set_retention(case.library, None)
    _add(engine, case, case.victims)
    clock.move_to(clock.now_ms() + clock.TICK_MS)
    _add(engine, case, (*case.others, *case.ghosts))
    if not case.waiting:
        for number, one in enumerate((case.victims[0], case.others[0])):
            found = engine.search(PEOPLE, vector=one.vectors[0], threshold=-1.0)
            token = f"token {number}"
            embedding = found.embedding
            engine.answers.put(PEOPLE, token, bytes(32), bytes(32), embedding, found)
    engine.update(case.library, case.victims[0].media_id, title="another title")
    engine.delete(case.library, [ghost.media_id for ghost in case.ghosts])
    if case.compact:
        engine.compact(min_dead_share=0.0)
    if case.way == "purge":  # the victims' time is up, with that of all who were there before them
        engine.set_retention(case.library, clock.TICK_MS)
    return "prepared"


def _add(engine: facegrep.Engine, case: Case, victims: Iterable[Victim]) -> None:
    if case.waiting:
        for victim in victims:
            if victim.is_fetched:
                begin_to_fetch(engine, WAITING, victim.media_id, victim.picture)
                continue
            engine.add(WAITING, media_id=victim.media_id, source=victim.picture, title="a title")
        return
    films = [(victim.film, victim.vectors) for victim in victims if victim.film]
    if films:
        add_films(engine, PEOPLE, films)
    rows = [(v.media_id, vector) for v in victims if not v.film for vector in v.vectors]
    if rows:
        ids, vectors = zip(*rows, strict=True)
        engine.add_vectors(PEOPLE, ids, np.array(vectors))


def _do_erase(engine: facegrep.Engine, case: Case) -> Any:
    if case.way == "person":
        vector = case.victims[0].vectors[0]
        return engine.erase_person(PEOPLE, vector=vector, threshold=0.9, dry_run=False)
    if case.way == "purge":
        return engine.purge()
    return engine.erase(case.library, [victim.media_id for victim in case.victims])


def _do_compact(engine: facegrep.Engine, _case: Case) -> str:
    engine.compact(min_dead_share=0.0)
    return "compacted"


def _do_list(engine: facegrep.Engine, case: Case) -> list[str]:
    with clock.at(clock.START_MS):  # what has expired is stored until it is purged
        return [media.media_id for media in engine.media(case.library, limit=10**6)]


def _do_backup(engine: facegrep.Engine, _case: Case) -> str:
    return engine.backup(engine.path.with_name("copy")).directory


_DO: Final = {
    "prepare": _prepare,
    "erase": _do_erase,
    "compact": _do_compact,
    "list": _do_list,
    "backup": _do_backup,
}


class _Worker:
    """A process that has the store open."""

    def __init__(self, store: Path) -> None:
        self.gate, theirs = worker.pipe()
        self.process: BaseProcess = worker.start(work, store, clock.now_ms(), theirs)
        theirs.close()
        self.said()

    def said(self) -> Any:
        reply = self.gate.recv()
        if isinstance(reply, str) and "Traceback" in reply:
            raise RuntimeError(reply)
        return reply

    def ask(self, verb: str, case: Case) -> Any:
        return self.count(verb, case)[0]

    def count(self, verb: str, case: Case) -> tuple[Any, int]:
        """What came of it, and how many calls of C functions it took."""
        self.gate.send((verb, case, None))
        reply: tuple[Any, int] = self.said()
        return reply

    def survives(self, verb: str, case: Case, kill: Kill) -> bool:
        """Whether the reply comes before the kill."""
        self.gate.send((verb, case, kill))
        try:
            self.said()
        except (EOFError, ConnectionResetError):
            return False
        return True

    def close(self) -> None:
        self.gate.send(None)
        self.said()
        self.process.join(worker.PATIENCE_S)

    def kill(self) -> None:
        worker.kill(self.process)
        self.gate.close()


def _plan(chance: random.Random, number: int) -> Case:
    victims = [Victim(number * 100 + place, chance.choice([1, 1, 2, 3])) for place in range(12)]
    waiting = chance.random() < 0.2
    ways: list[Way] = ["ids", "ids", "purge"] if waiting else ["ids", "ids", "person", "purge"]
    way = chance.choice(ways)
    count = 1 if way == "person" else chance.randint(1, 5)
    return Case(
        victims=tuple(victims[:count]),
        others=tuple(victims[5:9]),
        ghosts=tuple(victims[9:]) if chance.random() < 0.5 else (),
        waiting=waiting,
        way=way,
        compact=chance.random() < 0.3,
        reopen=chance.random() < 0.3,
        copy=chance.random() < 0.3,
    )


def _erase(
    outcome: Outcome, store: Path, case: Case, chance: random.Random, window: Window, *, kill: bool
) -> None:
    """Make, look, erase, look."""
    needles = case.needles()
    one = _Worker(store)
    try:
        one.ask("prepare", case)
        clock.move_to(clock.now_ms() + clock.TICK_MS)  # as in that process
        for name, needle in needles.items():
            outcome.counts["needles"] += 1
            if not found_in(store, needle):
                outcome.violate(f"{case}: {name} is not there before")
        if case.reopen:
            one.close()
            one = _Worker(store)
        outcome.counts[f"by {case.way}"] += 1
        if kill and window.late:
            at = round(chance.uniform(window.early, window.late))
            receipt = one.survives("erase", case, Kill(at, chance.uniform(1e-6, _LATER_S)))
            one.kill()
            _look(outcome, store, needles, case, "killed after the receipt", wanted=receipt)
            one = _Worker(store)  # opening finishes it
            if receipt:
                outcome.counts["killed after the receipt"] += 1
                window.was_too_late()
            elif case.victims[0].media_id in one.ask("list", case):
                outcome.counts["killed before it was begun"] += 1
                window.was_too_early()
                one.ask("erase", case)
            else:
                outcome.counts["killed in the middle"] += 1
                window.was_right()
        else:
            window.was_whole(one.count("erase", case)[1])
        _look(outcome, store, needles, case, "while the engine is open")
        _look_for_ghosts(outcome, store, one, case)
        if case.copy:
            copy = Path(one.ask("backup", case))
            if not found_in(copy, case.others[0].media_id.encode()):
                outcome.violate(f"the backup lacks an asset that is there; {case}")
            _look(outcome, copy, needles, case, "in a backup made afterwards")
            shutil.rmtree(copy)
        one.close()
        _look(outcome, store, needles, case, "after the engine was closed")
    finally:
        one.kill()


def _look(
    outcome: Outcome,
    store: Path,
    needles: dict[str, bytes],
    case: Case,
    when: str,
    *,
    wanted: bool = True,
) -> None:
    for name, needle in needles.items():
        if wanted and (files := found_in(store, needle)):
            outcome.violate(f"{when}: {name} is in {', '.join(files)}; {case}")


def _look_for_ghosts(outcome: Outcome, store: Path, one: _Worker, case: Case) -> None:
    """Of what was deleted before, ids and rows are gone, and vectors once it was compacted."""
    for ghost in case.ghosts:
        if files := found_in(store, ghost.media_id.encode()):
            outcome.violate(f"the id of a deleted asset is in {', '.join(files)}; {case}")
    one.ask("compact", case)
    for ghost in () if case.waiting else case.ghosts:
        for code in _core.quantize(ghost.vectors):
            outcome.counts["vectors of deleted assets"] += 1
            if files := found_in(store, code.tobytes()):
                outcome.violate(f"compacted: a deleted vector is in {', '.join(files)}; {case}")


def _has_window(data: bytes, needle: bytes) -> bool:
    for start in range(0, len(needle) - _PART_BYTES + 1, _PART_BYTES):
        part = needle[start : start + _PART_BYTES]
        at = data.find(part)
        while at >= 0:
            before = after = 0
            while before < min(start, at) and data[at - before - 1] == needle[start - before - 1]:
                before += 1
            end, at_end = start + _PART_BYTES, at + _PART_BYTES
            while (
                end + after < len(needle)
                and at_end + after < len(data)
                and data[at_end + after] == needle[end + after]
            ):
                after += 1
            if before + _PART_BYTES + after >= WINDOW_BYTES:
                return True
            at = data.find(part, at + 1)
    return False


if __name__ == "__main__":
    main("erasure", {"erasures": 500}, run)
