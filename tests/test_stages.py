"""Where the time of a call goes."""

from __future__ import annotations

import threading
import time

import pytest

from facegrep._stages import StageClock, stage


def busy(seconds: float) -> None:
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass


def test_waiting_and_computing_are_told_apart_and_the_rest_is_named() -> None:
    clock = StageClock("rest")
    with clock.running():
        with stage("fetch"):
            time.sleep(0.05)
        for _ in range(2):
            with stage("scan"):
                busy(0.02)
        busy(0.03)
    assert list(clock.spent) == ["fetch", "scan", "rest"]
    assert clock.spent["fetch"].wall_s >= 0.05 > clock.spent["fetch"].cpu_s
    assert 0.04 <= clock.spent["scan"].cpu_s < 0.1
    assert 0.03 <= clock.spent["rest"].cpu_s < 0.1
    assert clock.spent["scan"].wall_s >= 0.04


def test_what_is_raised_in_a_stage_is_counted_and_goes_on() -> None:
    clock = StageClock()

    def fail() -> None:
        with clock.running(), stage("fetch"):
            busy(0.01)
            raise OSError("far away")

    with pytest.raises(OSError, match="far away"):
        fail()
    assert clock.spent["fetch"].cpu_s >= 0.01
    with stage("fetch"):  # after its end nobody measures
        busy(0.01)
    assert clock.spent["fetch"].cpu_s < 0.02


def test_a_clock_sees_its_own_thread_alone() -> None:
    clocks = [StageClock(), StageClock()]
    both = threading.Barrier(2)

    def work(clock: StageClock, name: str) -> None:
        with clock.running():
            both.wait(10)
            with stage(name):  # type: ignore[arg-type]
                both.wait(10)

    threads = [
        threading.Thread(target=work, args=pair)
        for pair in zip(clocks, ("decode", "embed"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [set(clock.spent) for clock in clocks] == [{"decode", "other"}, {"embed", "other"}]
