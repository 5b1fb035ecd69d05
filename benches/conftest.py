"""What is measured, on which faces, with which engines, on what machine."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import pytest

from benches.engines import SUITES
from benches.faces import load_library, load_photos
from benches.machine import describe_machine
from benches.measure import Meter
from facegrep._bench.engines import Engine, installed
from facegrep._bench.library import Library


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("facegrep")
    group.addoption("--dim", type=int, default=128)
    group.addoption("--faces", type=int, default=2000)
    group.addoption("--suite", choices=sorted(SUITES), default="all", help="which engines")
    group.addoption("--seconds", type=float, default=0.0, help="to measure each row for, about")
    group.addoption("--photos", type=Path, help="<person>/<photo>.jpg, instead of generated faces")
    group.addoption("--data", type=Path, default=Path("build/bench/data"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let `engine` be each engine of the suite that the bench can use (its `suits`)."""
    if "engine" in metafunc.fixturenames:
        suits = getattr(metafunc.function, "suits", lambda _: True)
        kinds = list(filter(suits, SUITES[metafunc.config.getoption("suite")]))
        metafunc.parametrize("engine", kinds, ids=lambda kind: kind.name, indirect=True)


@pytest.fixture(scope="session")
def library(pytestconfig: pytest.Config) -> Library:
    """The faces, and a few queries whose truth is known."""
    option = pytestconfig.getoption
    if option("photos"):
        return load_photos(option("data"), option("photos"))
    return load_library(option("data"), option("dim"), option("faces"))


@pytest.fixture(scope="session")
def shelf() -> dict[type[Engine], Engine]:
    """Engines that hold the library already: rivals in one group are measured one after another."""
    return {}


@pytest.fixture
def engine(
    request: pytest.FixtureRequest, library: Library, shelf: dict[type[Engine], Engine]
) -> Engine:
    """One engine with all faces in it."""
    kind: type[Engine] = request.param
    if not installed(kind):
        pytest.skip(f"{kind.name} needs {', '.join(kind.needs)}: pip install --group bench")
    if kind not in shelf:
        started, cpu = time.perf_counter(), time.process_time()
        shelf[kind] = kind(library)
        shelf[kind].build_seconds = time.perf_counter() - started
        shelf[kind].build_cpu_seconds = time.process_time() - cpu
        gc.collect()
    shelf[kind].use_threads(1)
    return shelf[kind]


@pytest.fixture
def meter(benchmark: Any, pytestconfig: pytest.Config) -> Meter:
    """Times one row of the report."""
    return Meter(benchmark, pytestconfig.getoption("seconds"))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:  # noqa: ARG001
    """Say what the machine is, in words, and not whose."""
    machine_info.clear()
    machine_info.update(describe_machine())


def pytest_benchmark_update_json(
    config: pytest.Config,  # noqa: ARG001
    benchmarks: Any,  # noqa: ARG001
    output_json: dict[str, Any],
) -> None:
    """Leave out what is of no use to a reader elsewhere."""
    output_json["commit_info"] = {"id": output_json["commit_info"].get("id")}
    for row in output_json["benchmarks"]:
        for name in ("fullname", "options", "params", "param"):
            row.pop(name, None)
        row["stats"].pop("data", None)  # every round
