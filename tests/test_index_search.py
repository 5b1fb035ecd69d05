"""Every answer of a FaceIndex is the full scan's. Twins: cpp/{score,query,filter}_test.cpp."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import facegrep

WANTED = "from facegrep import FaceIndex"
TIERS = ("scalar", "avx2", "avx512vnni", "neon", "neon_dotprod")


def run_on(tier: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "FACEGREP_ISA": tier},
        capture_output=True,
        text=True,
        check=False,
    )


def available_tiers() -> list[str]:
    return [tier for tier in TIERS if run_on(tier, "-c", WANTED).returncode == 0]


def test_a_thousand_random_searches_equal_brute_force_on_every_tier() -> None:
    script = str(Path(__file__).with_name("index_oracle.py"))
    answers = {}
    for tier in available_tiers():
        run = run_on(tier, script, "--cases", "1000", "--seed", "20201109")
        assert run.returncode == 0, run.stderr
        word, _, digest = run.stdout.split()
        assert word == tier
        answers[tier] = digest
    print(f"tiers of this machine: {', '.join(answers)}")  # noqa: T201 - shown by pytest -rP
    assert "scalar" in answers
    assert len({*answers.values()}) == 1, answers  # bit for bit


def test_facegrep_isa_forces_a_tier_and_an_impossible_one_is_an_import_error() -> None:
    for tier in available_tiers():
        run = run_on(tier, "-c", "import facegrep; print(facegrep.active_isa())")
        assert run.stdout == f"{tier}\n", run.stderr
    unknown = run_on("sse9", "-c", WANTED)
    assert "ImportError: FACEGREP_ISA=sse9: expected one of" in unknown.stderr
    for tier in {*TIERS} - {*available_tiers()}:
        assert "ImportError" in run_on(tier, "-c", WANTED).stderr


def exact_cosines(query: NDArray[np.float32], codes: NDArray[np.int8]) -> NDArray[np.float64]:
    c = codes.astype(np.float64)
    q = query.astype(np.float64)
    return np.asarray(c @ q / (np.linalg.norm(q) * np.linalg.norm(c, axis=1)))


@pytest.mark.parametrize("dim", [100, 128, 512])
@pytest.mark.parametrize("threads", [1, 3])
def test_many_tiles_and_threads_find_what_one_matrix_product_finds(dim: int, threads: int) -> None:
    rng = np.random.default_rng(dim)
    people = rng.standard_normal((300, dim))
    x = (people[rng.integers(300, size=9_000)] + 0.8 * rng.standard_normal((9_000, dim))).astype(
        np.float32
    )
    ids = np.array([f"m{i:04}" for i in rng.integers(4_000, size=9_000)])
    index = facegrep.FaceIndex(dim)
    index.add(ids.tolist(), x)
    order = np.argsort(ids, kind="stable")
    names = np.unique(ids)
    codes = index.codes(names.tolist())
    queries = people[:5].astype(np.float32)
    results = index.search(queries, threshold=0.4, limit=10_000, threads=threads)
    assert isinstance(results, list)
    for query, result in zip(queries, results, strict=True):
        cosines = exact_cosines(query, codes)
        best = np.maximum.reduceat(cosines, np.searchsorted(ids[order], names))
        found = dict(zip(result.media_ids, result.scores, strict=True))
        # numpy sums in another order: within D * 2^-53 of ours, so skip what lies that near the cut
        margin = dim * 2.0**-53
        assert {*names[best >= 0.4 + margin]} <= {*found} <= {*names[best >= 0.4 - margin]}
        assert result.total == len(found) > 5
        for name, score in zip(names, best, strict=True):
            if name in found:
                assert abs(found[name] - score) <= 2.0**-24 + margin
        top = index.search(query, limit=7, threads=threads)
        assert top.media_ids == result.media_ids[:7]
        assert top.plan.rows_scored < 9_000
        assert result.plan.threads == threads


def test_equal_scores_come_in_the_order_of_their_ids_bytes() -> None:
    ids = ["b", "a/2", "中", "a", "Z", "é", "a/10"]
    index = facegrep.FaceIndex(3)
    index.add(ids, np.tile(np.array([1, 2, 3], np.float32), (7, 1)))
    expected = sorted(ids, key=str.encode)
    assert index.search([1, 2, 3], threshold=0.99).media_ids == expected
    for k in range(1, 8):  # also where the k-th place falls among equals
        assert index.search([1, 2, 3], limit=k).media_ids == expected[:k]
        assert index.search([1, 2, 3], limit=k, threads=3).media_ids == expected[:k]


def test_total_counts_assets_not_faces() -> None:
    index = facegrep.FaceIndex(2)
    index.add(["a", "a", "a", "b"], [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.0]])
    result = index.search([1, 0], threshold=0.9)
    assert (result.total, result.media_ids) == (2, ["a", "b"])


def fan(count: int) -> NDArray[np.float64]:
    return np.array([[1.0, i] for i in range(count)])


def test_without_a_threshold_total_is_what_passes_and_a_page_beyond_raises() -> None:
    index = facegrep.FaceIndex(2)
    index.add([f"m{i}" for i in range(9)], fan(9), {"intField1": [*range(9)]})
    result = index.search([1, 0], limit=3, offset=2, where={"intField1": {"gte": 1}})
    assert (result.total, len(result)) == (8, 3)
    assert [hit.media_id for hit in result] == result.media_ids == ["m3", "m4", "m5"]
    assert [hit.media_id for hit in result.page(0, 5)] == ["m1", "m2", "m3", "m4", "m5"]
    with pytest.raises(facegrep.InvalidArgumentError, match="reaches to 5 of 8"):
        result.page(3, 3)
    assert index.search([1, 0], limit=20).page(8, 5)[0].media_id == "m8"


def test_with_a_threshold_every_page_can_be_cut_and_one_past_the_end_is_empty() -> None:
    index = facegrep.FaceIndex(2)
    index.add([f"m{i}" for i in range(9)], fan(9))
    result = index.search([1, 0], threshold=-1.0, limit=2)
    pages = [hit.media_id for n in range(5) for hit in result.page(2 * n, 2)]
    assert pages == [f"m{i}" for i in range(9)]
    assert result.page(9, 2) == result.page(10**9, 10**9) == []
    index.remove(["m0"])
    assert (result.total, result.page(0, 1)[0].media_id) == (9, "m0")  # plain data
    assert result.scores.dtype == np.float32


def test_a_score_on_the_threshold_is_a_match() -> None:
    index = facegrep.FaceIndex(2)
    index.add(["a"], [[1, 0]])
    assert index.search([1, 0], threshold=1.0).total == 1
    exact = float(index.search([1, 1], threshold=-1.0)._core.scores[0])
    assert index.search([1, 1], threshold=exact).total == 1
    assert index.search([1, 1], threshold=float(np.nextafter(exact, 1))).total == 0


@pytest.mark.parametrize(
    ("offset", "limit"), [(-1, 1), (0, -1), (0.0, 1), (0, "1"), (True, 1), (0, 2**80)]
)
def test_a_page_that_makes_no_sense_is_refused(offset: Any, limit: Any) -> None:
    index = facegrep.FaceIndex(1)
    index.add(["a"], [[1.0]])
    with pytest.raises(facegrep.InvalidArgumentError, match=r"offset|limit"):
        index.search([1.0], threshold=-1.0).page(offset, limit)


def test_a_result_and_its_columns_outlive_the_index_and_do_not_change() -> None:
    index = facegrep.FaceIndex(2)
    index.add(["a", "b"], fan(2))
    result = index.search([1, 0], threshold=-1.0)
    scores = result._core.scores
    del index
    assert [hit.media_id for hit in result] == ["a", "b"]
    del result
    assert scores[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        scores[0] = 0.0


def test_a_filter_that_was_used_before_sees_what_was_written_since() -> None:
    index = facegrep.FaceIndex(2)
    where = {"intField1": {"gte": 1}, "strField1": ["x", "y"]}

    def found() -> list[str]:
        return index.search([1, 0], threshold=-1.0, where=where).media_ids

    assert found() == []
    for i in range(5):
        index.add([f"m{i}", f"n{i}"], fan(2), {"intField1": [1, 0], "strField1": ["x", "y"]})
        assert found() == found() == [f"m{k}" for k in range(i + 1)]
    for unlike in range(40):  # more filters than are remembered
        assert index.search([1, 0], where={"intField1": [unlike, 1]}).total == (5 if unlike else 10)
    for i in range(5):
        index.remove([f"m{i}"])
        assert found() == [f"m{k}" for k in range(i + 1, 5)]


@pytest.mark.parametrize("share", [0.002, 0.1, 0.3, 0.9])
def test_gathering_and_the_plane_give_the_same_answers(share: float) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((6_000, 48)).astype(np.float32)
    ids = [f"m{i // 3}" for i in range(6_000)]
    chosen = {f"m{i}" for i in range(2_000) if rng.random() < share}
    index = facegrep.FaceIndex(48)
    index.add(ids, x, {"intField1": [int(i in chosen) for i in ids]})
    for query in x[:40]:
        everything = index.search(query, threshold=0.2)
        filtered = index.search(query, threshold=0.2, where={"intField1": 1})
        assert filtered.plan.strategy == ("gather" if share < 0.2 else "plane")
        expected = [hit for hit in everything.page(0, 9_999) if hit.media_id in chosen]
        assert filtered.page(0, 9_999) == expected
        top = index.search(query, limit=5, where={"intField1": 1})
        assert top.page(0, 5)[: len(expected)] == expected[:5]


def test_an_empty_index_answers_with_nothing() -> None:
    index = facegrep.FaceIndex(4)
    assert index.search([1, 0, 0, 0]).total == 0
    assert index.search(np.zeros((0, 4))) == []
    assert index.search([[1, 0, 0, 0]], threshold=0.1)[0].media_ids == []
    assert index.codes([]).shape == (0, 4)
    assert index.add([], np.zeros((0, 4))) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"threshold": 1.5}, "threshold: expected a cosine from -1 to 1"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": "0.5"}, "threshold"),
        ({"threshold": 10**400}, "threshold"),
        ({"threshold": np.complex64(0.5)}, "threshold"),
        ({"limit": -1}, "limit: expected 0"),
        ({"limit": 2.0}, "limit: expected an int"),
        ({"offset": -1}, "offset"),
        ({"threads": 0}, "threads: expected 1"),
        ({"threads": 10**9}, "threads"),
        ({"where": {"intField1": {"gte": 2, "lte": 1}}}, "gte 2 is greater than lte 1"),
        ({"where": {"intField1": {}}}, "expected a range"),
        ({"where": {"intField1": {"gt": 2}}}, "expected a range"),
        ({"where": {"intField1": True}}, "expected an int"),
        ({"where": {"intField1": 2**63}}, "64 bits"),
        ({"where": {"intField1": np.array([1, 2])}}, "expected an int"),
        ({"where": {"strField1": {"gte": "a"}}}, "ranges are for integer fields"),
        ({"where": {"strField1": 5}}, "expected a str"),
        ({"where": {"color": 5}}, "unknown field 'color'"),
        ({"where": [1]}, "expected a mapping"),
    ],
)
def test_a_refused_search_says_what_was_expected(arguments: Any, complaint: str) -> None:
    index = facegrep.FaceIndex(2)
    index.add(["a"], [[1, 0]])
    with pytest.raises(facegrep.InvalidArgumentError, match=complaint):
        index.search([1, 0], **arguments)


@pytest.mark.parametrize("query", [[0, 0], [np.nan, 1], [1j, 0], [1, 0, 0], [[[1, 0]]], "ab"])
def test_a_query_without_a_direction_is_refused(query: Any) -> None:
    index = facegrep.FaceIndex(2)
    index.add(["a"], [[1, 0]])
    with pytest.raises(facegrep.InvalidArgumentError, match="queries"):
        index.search(query)
