"""The command about itself: doctor, bench, demo, and how it is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import facegrep
from facegrep.cli._app import app

PORTRAITS = Path(__file__).parent / "data" / "portraits"

pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")


def run(store: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--store", str(store), *words])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with four vectors in the library "people"."""
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("people", dim=8)
        engine.add_vectors("people", list("abcd"), np.eye(4, 8, dtype=np.float32))
    return tmp_path / "store"


def test_the_doctor_finds_damaged_vectors(store: Path) -> None:
    for segment in store.rglob("*.vec"):
        segment.write_bytes(bytes(segment.stat().st_size))
    result = run(store, "doctor")
    assert result.exit_code == 1
    assert "facegrep: library people: " in result.stderr


def test_the_doctor_names_what_runs(store: Path) -> None:
    result = run(store, "doctor")
    assert result.exit_code == 0, result.output
    for fact in (
        facegrep.active_isa(),
        "ExecutionProvider",
        "sface",
        "SQLite",
        "sha256",
        "4 media, 4 faces",
    ):
        assert fact in result.stdout
    assert all(finding["what"] for finding in json.loads(run(store, "doctor", "--json").stdout))


def test_what_needs_mending_is_said_and_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {"provider": "none", "problems": ["onnxruntime is not installed; run: pip"]}
    monkeypatch.setattr("facegrep.vision.doctor_report", lambda: report)
    result = run(tmp_path / "store", "doctor")
    assert result.exit_code == 1
    assert "facegrep: to mend: onnxruntime is not installed; run: pip" in result.stderr


def test_the_bench_has_a_row_for_each_stage_and_graph() -> None:
    picture = str(PORTRAITS / "Rishi_Sunak" / "impostor_2.jpg")
    options = ["--seconds", "0.1", "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, ["bench", "embed", picture, *options])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["stage"] for row in rows} == {"detect", "align", "embed"}
    assert {"as shipped", "fp32"} <= {row["graph"] for row in rows}
    assert all(row["faces_per_s"] > 0 for row in rows)


def test_the_demo_leaves_a_store_that_is_there_as_it_is(store: Path) -> None:
    assert run(store, "demo", str(PORTRAITS), "--out", str(store.parent)).exit_code == 0
    assert "people" in run(store, "libraries").stdout
    assert {path.name for path in store.parent.iterdir()} == {"store", "found.html"}


def test_the_demo_does_the_main_job(tmp_path: Path) -> None:
    out = str(tmp_path / "demo")
    run_demo = [sys.executable, "-m", "facegrep", "demo", str(PORTRAITS), "--out", out]
    for _ in range(2):  # a second run starts afresh
        done = subprocess.run(run_demo, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 match with a score of 0.4") == 2
    assert '"MediaInfoList"' in done.stdout
    assert "how long it took" in done.stdout
    assert "2 photos" not in (tmp_path / "demo" / "found.html").read_text()
    assert (tmp_path / "demo" / "found.html").as_uri() in done.stdout


def test_any_name_is_a_row_whatever_the_terminal_can_show(tmp_path: Path) -> None:
    long, foreign = "n" * 500, "é顔"
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("people", dim=8)
        engine.add_vectors("people", [long, foreign], np.eye(2, 8, dtype=np.float32))
    words = ["--store", str(tmp_path / "store"), "media", "--library", "people"]
    done = subprocess.run(
        [sys.executable, "-m", "facegrep", *words],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    _, *rows = done.stdout.decode("ascii").splitlines()
    assert [row.split()[0] for row in rows] == [long, "\\xe9\\u9854"]


def test_the_installed_command_reads_its_store_from_the_environment(store: Path) -> None:
    command = Path(sys.executable).with_name("facegrep")
    if not command.exists():
        pytest.skip("facegrep is not installed as a command beside this Python")
    done = subprocess.run(
        [command, "libraries", "--json"],
        env={**os.environ, "FACEGREP_STORE": str(store)},
        capture_output=True,
        check=True,
    )
    assert "people" in {library["name"] for library in json.loads(done.stdout)}
