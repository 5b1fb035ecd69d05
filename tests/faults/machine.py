"""Random calls to three engines and two accounts of one store, against a dict and numpy.

``python -m tests.faults.machine --steps 50000 --seed 1``

A call is also made by a process that is killed at one of its calls of C functions (of SQLite, of
the system), counted: the same number kills it at the same place, so that hypothesis can shrink.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray
from tests.faults import clock, worker
from tests.faults.report import Outcome, main

import facegrep

DIM = 3
IDS = [f"m{number}" for number in range(8)]
VECTORS = np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32)
CODES = facegrep._core.quantize(VECTORS).astype(np.float64)
THRESHOLD = 0.2


@dataclass(frozen=True)
class Asset:
    """What the model knows of an asset: its vectors by number, a field, when it was added."""

    vectors: tuple[int, ...]
    number: int | None
    added_ms: int = field(default=clock.START_MS, compare=False)


def score(query: NDArray[np.float32], asset: Asset) -> float:
    codes = CODES[list(asset.vectors)]
    wanted = query.astype(np.float64)
    return float((codes @ wanted / np.linalg.norm(codes, axis=1)).max() / np.linalg.norm(wanted))


assets = st.builds(
    Asset,
    st.lists(st.integers(0, len(VECTORS) - 1), min_size=1, max_size=3).map(tuple),
    st.sampled_from([None, 1, 2]),
)
accounts = st.sampled_from(["default", "other"])
engines = st.integers(0, 1)
"""Those that write; number 2 is readonly."""

readers = st.integers(0, 2)
batches = st.dictionaries(st.sampled_from(IDS), assets)
Batch = dict[str, Asset]


def add_batch(view: facegrep.Engine, batch: Batch) -> facegrep.engine.AddManyResult:
    rows = [(media_id, row) for media_id, asset in batch.items() for row in asset.vectors]
    ids = [media_id for media_id, _ in rows]
    fields = {"intField1": [batch[media_id].number for media_id in ids]}
    vectors = VECTORS[[row for _, row in rows]] if rows else np.empty((0, DIM))
    return view.add_vectors("lib", ids, vectors, fields)


def die_within(
    path: Path,
    account: str,
    board_path: Path,
    batch: Batch,
    gone: list[str],
    at: int,
    now_ms: int,
) -> None:
    """Add, erase or purge, and be killed by the call of a C function of that number."""
    board = worker.Board(board_path)
    clock.move_to(now_ms)
    calls = 0

    def count(_frame: object, event: str, _function: object) -> None:
        nonlocal calls
        if event == "c_call":
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

    view = facegrep.open(path).for_account(account)
    sys.setprofile(count)
    with contextlib.suppress(facegrep.FacegrepError):
        if batch:
            add_batch(view, batch)
        elif not gone:
            view.purge("lib")
        else:
            view.erase("lib", media_ids=gone)
    sys.setprofile(None)
    board.done = 1
    os.kill(os.getpid(), signal.SIGKILL)


class EngineMachine(RuleBasedStateMachine):
    """Engines on one store; every call goes to any of them."""

    steps = 0
    kills = 0

    def __init__(self) -> None:
        super().__init__()
        self.scratch = contextlib.ExitStack()
        self.folder = self.scratch.enter_context(worker.scratch("machine"))
        self.stack = contextlib.ExitStack()
        self.stored: dict[str, dict[str, Asset]] = {"default": {}, "other": {}}
        self.active = {"default": True, "other": True}
        self.ttl_ms: dict[str, int | None] = {"default": None, "other": None}
        self.search_audit = False
        self.audited = 0
        self.frozen: tuple[str, Any, list[str]] | None = None
        self.engines: list[facegrep.Engine] = []

    @initialize()
    def make(self) -> None:
        clock.move_to(clock.START_MS)
        self.reopen()
        for account in self.stored:
            self.engines[0].for_account(account).create_library("lib", dim=DIM, threshold=THRESHOLD)

    def view(self, engine: int, account: str) -> facegrep.Engine:
        return self.engines[engine].for_account(account)

    def live(self, account: str) -> dict[str, Asset]:
        """What has not expired."""
        ttl_ms, stored = self.ttl_ms[account], self.stored[account]
        if ttl_ms is None:
            return stored
        until_ms = clock.now_ms() - ttl_ms
        return {key: asset for key, asset in stored.items() if asset.added_ms > until_ms}

    def expired(self, account: str) -> set[str]:
        return self.stored[account].keys() - self.live(account).keys()

    def put(self, account: str, batch: Batch) -> None:
        """Enter what was added, in place of what has expired."""
        self.forget(account, self.expired(account) & batch.keys())
        for media_id, asset in batch.items():
            if media_id not in self.stored[account]:
                self.stored[account][media_id] = replace(asset, added_ms=clock.now_ms())

    @rule(engine=engines, account=accounts, batch=batches)
    def add(self, engine: int, account: str, batch: Batch) -> None:
        stored = self.live(account)
        known = {media_id for media_id in batch if media_id in stored}
        try:
            result = add_batch(self.view(engine, account), batch)
        except facegrep.OperationDeniedError:
            assert not self.active[account]
        except facegrep.AlreadyExistsError:
            assert any(stored[media_id] != batch[media_id] for media_id in known)
        else:
            assert self.active[account]
            assert all(stored[media_id] == batch[media_id] for media_id in known)
            assert (result.added, result.unchanged) == (len(batch) - len(known), len(known))
            self.put(account, batch)

    @rule(engine=engines, account=accounts, ids=st.lists(st.sampled_from(IDS)))
    def delete(self, engine: int, account: str, ids: list[str]) -> None:
        gone = set(ids) & self.live(account).keys()
        assert self.view(engine, account).delete("lib", media_ids=ids) == len(gone)
        self.forget(account, set(ids) & self.stored[account].keys())

    @rule(engine=engines, account=accounts, ids=st.lists(st.sampled_from(IDS), max_size=3))
    def erase(self, engine: int, account: str, ids: list[str]) -> None:
        gone = set(ids) & self.stored[account].keys()
        receipt = self.view(engine, account).erase("lib", ids)
        assert set(receipt.media_ids) == gone
        assert set(receipt.unknown_ids) == set(ids) - gone
        self.forget(account, gone)

    @rule(engine=engines, account=accounts)
    def compact(self, engine: int, account: str) -> None:
        self.view(engine, account).compact(min_dead_share=0.0)

    @rule(engine=readers)
    def verify(self, engine: int) -> None:
        report = self.engines[engine].verify()
        assert report.ok, report.damages
        audit = self.engines[engine].verify_audit()
        assert audit.ok, audit.damages
        assert audit.searches == self.audited

    @rule(ticks=st.integers(1, 4))
    def wait(self, ticks: int) -> None:
        clock.move_to(clock.now_ms() + ticks * clock.TICK_MS)

    @rule(engine=engines, account=accounts, ticks=st.none() | st.integers(1, 6))
    def set_retention(self, engine: int, account: str, ticks: int | None) -> None:
        ttl_ms = None if ticks is None else ticks * clock.TICK_MS
        self.view(engine, account).set_retention("lib", ttl_ms)
        self.ttl_ms[account] = ttl_ms

    @rule(engine=engines, account=accounts, one=st.booleans())
    def purge(self, engine: int, account: str, one: bool) -> None:
        expired = self.expired(account)
        receipts = self.view(engine, account).purge("lib" if one else None)
        assert [set(receipt.media_ids) for receipt in receipts] == ([expired] if expired else [])
        self.forget(account, expired)

    @rule(account=accounts, at=st.integers(1, 800))
    def kill_while_purging(self, account: str, at: int) -> None:
        if expired := self.expired(account):
            done = self.die(account, {}, [], at)
            with clock.at(clock.START_MS):  # what has expired is stored until it is purged
                found = {media.media_id for media in self.view(1, account).media("lib")}
            assert found & expired in ([set()] if done else [set(), expired])
            if not found & expired:
                self.forget(account, expired)

    @rule(engine=readers)
    def backup(self, engine: int) -> None:
        copy = self.folder / "copy"
        self.engines[engine].backup(copy)
        with facegrep.open(copy, readonly=True) as restored:
            for account in self.stored:
                self.require_listing(restored.for_account(account), account)
            assert restored.verify().ok
        shutil.rmtree(copy)

    @rule(engine=engines, on=st.booleans())
    def audit_searches(self, engine: int, on: bool) -> None:
        self.engines[engine].set_search_audit(on)
        self.search_audit = on

    def forget(self, account: str, gone: set[str]) -> None:
        for media_id in gone:
            del self.stored[account][media_id]
        if self.frozen is not None and self.frozen[0] == account:
            _, result, expected = self.frozen
            self.frozen = account, result, [m for m in expected if m not in gone]

    @rule(account=accounts, batch=batches, at=st.integers(1, 500))
    def kill_while_adding(self, account: str, batch: Batch, at: int) -> None:
        fresh = {key: asset for key, asset in batch.items() if key not in self.live(account)}
        if fresh and self.active[account]:
            done = self.die(account, fresh, [], at)
            found = {media.media_id for media in self.view(0, account).media("lib")}
            assert found & fresh.keys() in ([fresh.keys()] if done else [set(), fresh.keys()])
            if found & fresh.keys():
                self.put(account, fresh)

    @rule(account=accounts, ids=st.lists(st.sampled_from(IDS)), at=st.integers(1, 800))
    def kill_while_erasing(self, account: str, ids: list[str], at: int) -> None:
        gone = set(ids) & self.live(account).keys()
        if gone:
            done = self.die(account, {}, ids, at)
            found = {media.media_id for media in self.view(1, account).media("lib")}
            assert found & gone in ([set()] if done else [set(), gone])
            if not found & gone:
                self.forget(account, set(ids) & self.stored[account].keys())

    def die(self, account: str, batch: Batch, gone: list[str], at: int) -> bool:
        """Let a process die within a call; whether it was acknowledged."""
        type(self).kills += 1
        with worker.board() as board:
            path = self.folder / "store"
            arguments = (path, account, board.path, batch, gone, at, clock.now_ms())
            process = worker.start(die_within, *arguments)
            process.join(worker.PATIENCE_S)
            assert process.exitcode == -signal.SIGKILL
            return board.done == 1

    @rule(
        engine=engines,
        account=accounts,
        media_id=st.sampled_from(IDS),
        number=st.sampled_from([None, 1, 2]),
    )
    def update(self, engine: int, account: str, media_id: str, number: int | None) -> None:
        view, stored = self.view(engine, account), self.stored[account]
        try:
            view.update("lib", media_id, fields={"intField1": number})
        except facegrep.NotFoundError:
            assert media_id not in self.live(account)
        else:
            stored[media_id] = replace(stored[media_id], number=number)

    @rule(
        engine=readers,
        account=accounts,
        query=st.integers(0, len(VECTORS) - 1),
        number=st.sampled_from([None, 1, 2]),
    )
    def search(self, engine: int, account: str, query: int, number: int | None) -> None:
        where = None if number is None else {"intField1": number}
        matches = {
            media_id: score(VECTORS[query], asset)
            for media_id, asset in self.live(account).items()
            if number in (None, asset.number)
        }
        expected = sorted(
            (media_id for media_id, value in matches.items() if value >= THRESHOLD),
            key=lambda media_id: (-matches[media_id], media_id),
        )
        try:
            result = self.view(engine, account).search("lib", vector=VECTORS[query], where=where)
        except facegrep.OperationDeniedError:
            assert not self.active[account] or (engine == 2 and self.search_audit)
            return
        assert self.active[account]
        self.audited += self.search_audit
        assert result.total == len(expected)
        assert set(result.media_ids) == set(expected)
        np.testing.assert_allclose(result.scores, [matches[m] for m in result.media_ids], atol=1e-6)
        self.frozen = account, result, result.media_ids

    @rule(engine=engines, account=accounts)
    def switch_off_and_on(self, engine: int, account: str) -> None:
        view, stored = self.view(engine, account), self.stored[account]
        faces = sum(len(asset.vectors) for asset in stored.values())
        if self.active[account]:
            assert view.set_face_index("lib", "deactive").erased == faces
            self.active[account] = False
            self.stored[account] = stored
        else:
            view.set_face_index("lib", "active")
            view.delete("lib", media_ids=IDS)  # what is there has no vectors any more
            self.active[account] = True
            self.stored[account] = {}
            if self.frozen is not None and self.frozen[0] == account:
                self.frozen = None

    @rule()
    def reopen(self) -> None:
        self.frozen = None
        self.stack.close()
        self.engines = [
            self.stack.enter_context(facegrep.open(self.folder / "store", readonly=readonly))
            for readonly in (False, False, True)
        ]

    @invariant()
    def count(self) -> None:
        EngineMachine.steps += 1

    @invariant()
    def everything_stored_is_listed_and_nothing_else(self) -> None:
        for account in self.stored:
            for engine in self.engines:
                self.require_listing(engine.for_account(account), account)

    def require_listing(self, view: facegrep.Engine, account: str) -> None:
        live = self.live(account)
        assert [media.media_id for media in view.media("lib")] == sorted(live)
        assert view.library("lib").media_count == len(live)

    @invariant()
    def every_engine_follows_every_write(self) -> None:
        engines = self.engines[:2] if self.search_audit else self.engines
        for account in self.stored:
            live = self.live(account)
            for engine in engines if self.active[account] else []:
                view = engine.for_account(account)
                for number in (1, 2):
                    expected = sorted(m for m, asset in live.items() if asset.number == number)
                    result = view.search(
                        "lib", vector=VECTORS[0], threshold=-1.0, where={"intField1": number}
                    )
                    assert sorted(result.media_ids) == expected
                    assert result.total == len(expected)
                    self.audited += self.search_audit

    @invariant()
    def a_frozen_answer_only_ever_loses_the_deleted(self) -> None:
        if self.frozen is not None:
            account, result, expected = self.frozen
            live = self.live(account)
            left = [media_id for media_id in expected if media_id in live]
            assert result.page(0, 100).media_ids == left
            assert result.page(0, 0).total == len(left)

    def teardown(self) -> None:
        self.stack.close()
        self.scratch.close()


def run(*, steps: int, seed: int) -> Outcome:
    """Run the machine for about that many steps."""
    outcome = Outcome("stateful model", seed)
    length = 30
    EngineMachine.steps = EngineMachine.kills = 0
    while EngineMachine.steps < steps and not outcome.violations:
        examples = max(1, min(100, (steps - EngineMachine.steps) // length))
        chosen = settings(
            max_examples=examples,
            stateful_step_count=length,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        machine = hypothesis.seed(seed + EngineMachine.steps)(EngineMachine)
        try:
            run_state_machine_as_test(machine, settings=chosen)
        except Exception as error:
            notes = "\n".join(getattr(error, "__notes__", []))
            outcome.violate(f"{error!r}\n{notes}")
        outcome.progress(EngineMachine.steps, steps, "steps")
    outcome.counts["steps"] = EngineMachine.steps
    outcome.counts["kills"] = EngineMachine.kills
    return outcome


if __name__ == "__main__":
    main("machine", {"steps": 50_000}, run)
