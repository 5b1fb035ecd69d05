"""What the engine asks of an index beside a search: among which assets, whose faces, what score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index_oracle import exact_scores

import facegrep
from facegrep import _core

DIM = 20


def index_of(count: int, keys: list[int]) -> _core.FaceIndex:
    core = _core.FaceIndex(DIM)
    rows = np.random.default_rng(count).normal(size=(count, DIM)).astype(np.float32)
    fields = {"intField1": [number % 3 for number in range(count)]}
    ids = [f"m{number:03}" for number in range(count)]
    core.add_codes(ids, _core.quantize(rows), fields, np.array(keys, dtype=np.int64))
    return core


@settings(deadline=None)
@given(
    count=st.integers(1, 150),
    among=st.lists(st.integers(-3, 400), max_size=60),
    removed=st.sets(st.integers(0, 149), max_size=20),
    seed=st.integers(0, 5),
)
def test_a_search_among_assets_leaves_out_the_others_and_nothing_else(
    count: int, among: list[int], removed: set[int], seed: int
) -> None:
    keys = np.random.default_rng(seed).permutation(300)[:count].tolist()
    core = index_of(count, keys)
    core.remove([f"m{number:03}" for number in removed])
    wanted = np.array(among, dtype=np.int64)
    query = np.random.default_rng(seed).normal(size=(1, DIM)).astype(np.float32)
    for where in ([], [("intField1", [(1, 2)])]):
        (every,) = core.search(query, -1.0, 1000, 0, where, 0)
        for threshold in (-1.0, None):
            (found,) = core.search(query, threshold, 1000, 0, where, 0, wanted)
            kept = [number for number, key in enumerate(every.keys) if key in among]
            assert found.total == len(kept)
            np.testing.assert_array_equal(found.keys, every.keys[kept])
            np.testing.assert_array_equal(found.scores, every.scores[kept])
        assert sorted(core.keys(where, wanted)) == sorted(every.keys[kept])


def test_no_asset_is_among_none() -> None:
    core = index_of(5, [0, 1, 2, 3, 4])
    query = np.ones((1, DIM), dtype=np.float32)
    (found,) = core.search(query, None, 10, 0, [], 0, np.zeros(0, dtype=np.int64))
    assert (found.total, len(found)) == (0, 0)
    (found,) = core.search(query, None, 10, 0, [], 0, None)
    assert found.total == 5


def test_two_sets_of_the_same_size_are_not_taken_for_one_another() -> None:
    core = index_of(5, [0, 1, 2, 3, 4])
    query = np.ones((1, DIM), dtype=np.float32)
    for key in (0, 3, 0):
        (found,) = core.search(query, None, 10, 0, [], 0, np.array([key], dtype=np.int64))
        assert found.keys.tolist() == [key]


def test_an_index_without_assets_has_none_among_any() -> None:
    core = _core.FaceIndex(DIM)
    among = np.array([0, 7], dtype=np.int64)
    (found,) = core.search(np.ones((1, DIM), dtype=np.float32), -1.0, 10, 0, [], 0, among)
    assert found.total == 0
    assert core.keys([], among).tolist() == []


def test_faces_are_counted_by_asset() -> None:
    index = facegrep.FaceIndex(2)
    index.add(["a", "b", "a", "c", "a"], [[1, 0], [0, 1], [1, 1], [1, 2], [2, 1]])
    assert index._core.face_counts(["c", "a", "b", "a"]).tolist() == [1, 3, 1, 3]
    assert index._core.face_counts([]).tolist() == []
    with pytest.raises(facegrep.NotFoundError):
        index._core.face_counts(["a", "x"])


@settings(deadline=None)
@given(dim=st.integers(1, 70), count=st.integers(1, 20), seed=st.integers(0, 1000))
def test_the_score_of_a_pair_is_that_of_a_search_to_the_bit(
    dim: int, count: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count, dim)).astype(np.float32) * chance.choice([1e-20, 1, 1e20])
    index = facegrep.FaceIndex(dim)
    ids = [f"{number:03}" for number in range(count)]
    index.add(ids, rows)
    queries = chance.normal(size=(count, dim)).astype(np.float32)
    codes = index.codes(ids)
    scores = _core.scores(queries, codes)
    for number, query in enumerate(queries):
        assert scores[number] == exact_scores(query, codes[number : number + 1])[0]
        found = index.search(query, threshold=-1.0, limit=count)
        assert scores[number] == found._core.scores[found.media_ids.index(ids[number])]


def test_pairs_that_have_no_score_are_refused() -> None:
    query, code = np.ones((1, 4), dtype=np.float32), np.ones((1, 4), dtype=np.int8)
    assert _core.scores(query, code)[0] == 1.0
    for wrong in (np.zeros_like(query), np.full_like(query, np.nan), np.full_like(query, np.inf)):
        with pytest.raises(facegrep.InvalidArgumentError, match="finite"):
            _core.scores(wrong, code)
    with pytest.raises(facegrep.InvalidArgumentError, match="all zero"):
        _core.scores(query, np.zeros_like(code))
    with pytest.raises(facegrep.InvalidArgumentError, match="one a row"):
        _core.scores(np.ones((2, 4), dtype=np.float32), code)
    with pytest.raises(facegrep.InvalidArgumentError, match="columns"):
        _core.scores(query, np.ones((1, 5), dtype=np.int8))


@pytest.mark.parametrize("large", [2**21, 2**40, 2**63 - 1])
def test_a_key_of_any_size_takes_no_memory_of_its_size(large: int) -> None:
    # The engine counts up; a saved index that somebody made up need not.
    core = index_of(5, [3, large, -1, 0, large - 1])
    among = np.array([large, 0, 7, 7, -1, -(2**63)], dtype=np.int64)
    (found,) = core.search(np.ones((1, DIM), dtype=np.float32), -1.0, 10, 0, [], 0, among)
    assert sorted(found.keys.tolist()) == [0, large]
    assert sorted(core.keys([], among)) == [0, large]
