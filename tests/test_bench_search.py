"""``facegrep bench search``, and that no fast wrong answer gets a timing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import facegrep
from facegrep._bench.bandwidth import read_bandwidth
from facegrep._bench.engines import Engine, Facegrep, FaissSq8, Numpy, UsearchExact, installed
from facegrep._bench.judge import WrongAnswerError, judge
from facegrep._bench.library import Library
from facegrep._bench.quick import face_like_library
from facegrep.cli._app import app

DIM, FACES = 128, 3000


@pytest.fixture(scope="module")
def library() -> Library:
    return face_like_library(DIM, FACES)


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, ["bench", "search", "--seconds", "0.1", "--json", *words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_bench_has_facegrep_and_numpy_in_every_row_of_work() -> None:
    shown = run("--faces", "2000")
    works = {row["work"] for row in shown["rows"]}
    assert len(works) == 5
    for engine in ("facegrep", "numpy"):
        assert {row["work"] for row in shown["rows"] if row["engine"] == engine} == works
    assert all(row["ms_per_query"] > 0 for row in shown["rows"])
    assert shown["read_bytes_per_s"] > 0


def test_the_bench_searches_a_library_of_the_store(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 24)).astype(np.float32)
    twice = [f"{number // 2:03d}.jpg" for number in range(300)]
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("people", dim=24)
        engine.add_vectors("people", twice, vectors)
    shown = run("--store", str(tmp_path / "store"), "--library", "people")
    assert (shown["faces"], shown["assets"], shown["dim"]) == (300, 150, 24)


@pytest.mark.parametrize("kind", [Facegrep, Numpy, FaissSq8, UsearchExact])
def test_exact_engines_answer_what_brute_force_does(kind: type[Engine], library: Library) -> None:
    if not installed(kind):
        pytest.skip(f"{kind.name} is not installed: pip install --group bench-check")
    engine = kind(library)
    window = library.window("intField1", 0.2)
    judge(engine)
    if engine.filters != "no":
        judge(engine, window, engine.prepare(window))


def test_an_asset_too_few_is_not_timed(library: Library) -> None:
    engine = Facegrep(library)
    judge(engine)
    best = engine.answers(engine.search(library.queries[:1]))[0].best[0]
    engine.index.remove([library.media_id(best)])
    with pytest.raises(WrongAnswerError, match="expected Total"):
        judge(engine)


def test_a_filter_that_passes_others_is_not_timed(library: Library) -> None:
    engine = Facegrep(library)
    asked, given = (library.window("utcCreate", 0.5, start) for start in (0.0, 1.0))
    with pytest.raises(WrongAnswerError, match="expected Total"):
        judge(engine, asked, engine.prepare(given))


def test_a_rival_that_finds_little_is_not_timed(library: Library) -> None:
    engine = Numpy(library)
    engine.vectors = library.vectors[::-1]
    with pytest.raises(WrongAnswerError, match="recall"):
        judge(engine)


def test_reading_memory_takes_time() -> None:
    assert 1e8 < read_bandwidth(seconds=0.1) < 1e12
