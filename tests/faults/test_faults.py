"""The short form of every test of the harness; FACEGREP_FAULTS_SEED repeats a seed it printed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.faults import (
    calls,
    clock,
    controls,
    damage,
    erasure,
    kill,
    limits,
    machine,
    powercut,
    processes,
    tears,
    trace,
)
from tests.faults.report import Outcome, random_seed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with clock.stopped():
        yield


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("FACEGREP_FAULTS_SEED") or random_seed())


@pytest.fixture
def strace() -> None:
    if reason := trace.why_not():
        pytest.skip(reason)


@pytest.fixture
def power() -> None:
    if reason := powercut.why_not():
        pytest.skip(reason)


def require_none_wrong(outcome: Outcome) -> None:
    print(outcome.summary())  # noqa: T201 - pytest shows it, with the seed, when the test fails
    assert not outcome.violations, "\n".join([outcome.summary(), *outcome.violations])


def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_no_half(seed: int) -> None:
    require_none_wrong(kill.run(cycles=40, seed=seed))


@pytest.mark.usefixtures("strace")
def test_a_fault_at_any_call_on_files_leaves_what_was_before_or_after(seed: int) -> None:
    require_none_wrong(calls.run(points=150, nested=30, seed=seed))


@pytest.mark.usefixtures("power")
def test_a_power_cut_loses_nothing_acknowledged_before_it(seed: int) -> None:
    require_none_wrong(powercut.run(cuts=10, seed=seed))


@pytest.mark.usefixtures("power")
@pytest.mark.parametrize("fault", controls.NEEDS_POWER_CUT)
def test_power_cuts_catch_a_store_that_does_not_wait_for_its_disk(fault: str, seed: int) -> None:
    outcome = controls.caught_by_power_cut(fault, cuts=60, seed=seed)
    assert outcome.violations, outcome.summary()


@pytest.mark.usefixtures("strace")
def test_lost_names_catch_a_store_that_does_not_sync_its_directory(seed: int) -> None:
    outcome = controls.caught_by_names(seed=seed)
    assert outcome.violations, outcome.summary()


def test_no_flipped_bit_changes_an_answer_silently(seed: int) -> None:
    require_none_wrong(damage.run(flips=2000, seed=seed))


def test_a_torn_tail_is_before_or_after_its_step_or_said(seed: int) -> None:
    require_none_wrong(tears.run(lengths=60, seed=seed))


def test_every_answer_beside_a_writer_is_that_of_a_moment_within_the_call(seed: int) -> None:
    require_none_wrong(processes.run(seconds=30, seed=seed))


def test_what_was_erased_is_in_no_byte_of_the_store_after_the_receipt(seed: int) -> None:
    require_none_wrong(erasure.run(erasures=40, seed=seed))


def test_engines_agree_with_the_model_whatever_is_called_or_killed(seed: int) -> None:
    require_none_wrong(machine.run(steps=3000, seed=seed))


def test_a_full_disk_and_too_little_memory_are_said_and_survived(seed: int) -> None:
    require_none_wrong(limits.run(sizes=8, limits=16, seed=seed))
