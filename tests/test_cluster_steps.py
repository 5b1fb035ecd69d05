"""The steps by which faces become people: who is near, who is merged, who stands for a person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facegrep import _core
from facegrep.engine._clusters import DISORDER, cluster
from facegrep.engine._identities import Identities
from facegrep.engine._means import MeanIndex
from facegrep.engine._samples import choose

DIM = 12
UNTOLD = -1


def means_of(seed: int, count: int) -> NDArray[np.float64]:
    """Means as clusters have them: not longer than 1, or by a rounding error."""
    chance = np.random.default_rng(seed)
    units = chance.normal(size=(count, DIM))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return np.asarray(units * chance.choice([1.0, 1.00004, 0.9, 0.5], size=(count, 1)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 60), limit=st.sampled_from([1, 3, 17]))
def test_who_is_not_found_is_less_like_than_is_said(seed: int, count: int, limit: int) -> None:
    means = means_of(seed, count)
    index = MeanIndex(DIM)
    index.put(np.arange(count), means)
    products = means @ means.T
    for least in np.sort(products[0])[-4:]:  # of some: to the last bit
        found = index.search(means, float(least) - 1e-12, limit)
        ends = np.cumsum(found.counts)
        for one, end in enumerate(ends.tolist()):
            near = found.clusters[end - int(found.counts[one]) : end]
            others = np.setdiff1d(np.arange(count), near)
            like = products[one, others]
            assert ((like < least) | (like <= found.unseen[one])).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    spread=st.sampled_from([0.1, 0.4, 0.8]),
    threshold=st.sampled_from([-1.0, 0.0, 0.3, 0.5]),
)
def test_whoever_merge_are_alike_now_and_hardly_less_than_either_is_like_others(
    seed: int, spread: float, threshold: float
) -> None:
    chance = np.random.default_rng(seed)
    count = int(chance.integers(2, 40))
    vectors = chance.normal(size=(4, DIM))[chance.integers(4, size=count)]
    vectors += spread * chance.normal(size=vectors.shape)
    codes = _core.quantize(vectors.astype(np.float32))
    units = codes / np.linalg.norm(codes.astype(np.float64), axis=1, keepdims=True)
    parts = {face: [face] for face in range(count)}
    merges = 0
    join = Identities.join

    def link(one: list[int], other: list[int]) -> float:
        return float((units[one] @ units[other].T).mean())

    def joined(self: Identities, one: int, other: int) -> None:
        nonlocal merges
        merges += 1
        mine, theirs = parts.pop(one), parts.pop(other)
        between = link(mine, theirs) + 1e-3  # of what is rounded to a grid
        assert between >= threshold
        for third in parts.values():
            assert between >= max(link(mine, third), link(theirs, third)) - DISORDER
        parts[one] = mine + theirs
        join(self, one, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Identities, "join", joined)
        firsts = cluster(codes, np.arange(count), np.full(count, UNTOLD), threshold)
    assert merges == count - len(np.unique(firsts))


def samples_of(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    chance = np.random.default_rng(seed)
    # Few directions: some faces are the same.
    units = chance.integers(-1, 2, size=(count, 4)) + np.array([0.0, 0.0, 0.0, 2.5])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return units, chance.choice([0.2, 0.6, 1.0], size=count)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 40), most=st.integers(1, 10))
def test_as_many_samples_as_wanted_are_chosen_each_once_and_the_best_first(
    seed: int, count: int, most: int
) -> None:
    units, qualities = samples_of(seed, count)
    chosen = choose(units, qualities, most)
    assert len(chosen) == len(set(chosen)) == min(most, count)
    mean = units.sum(axis=0)
    typical = units @ mean / np.linalg.norm(mean)
    there = typical >= np.median(typical) if count > 2 * most else np.ones(count, dtype=bool)
    assert there[chosen].all()
    assert qualities[chosen[0]] * typical[chosen[0]] == (qualities * typical)[there].max()


def test_a_sample_that_shows_something_new_comes_before_a_better_one_of_the_same() -> None:
    front, side = np.array([1.0, 0.0]), np.array([0.6, 0.8])
    units = np.array([front, front, front, side])
    assert choose(units, np.array([1.0, 0.9, 0.9, 0.5]), 2) == [0, 3]
