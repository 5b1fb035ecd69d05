"""Faces put together into people: the constraint, the linkage, and that nothing else matters."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facegrep import _core
from facegrep.engine import _clusters
from facegrep.engine._clusters import cluster

DIM = 12
UNTOLD = -1
Numbers = NDArray[np.int64]
Partition = set[frozenset[int]]


class Crowd(NamedTuple):
    codes: NDArray[np.int8]
    pictures: Numbers
    told: Numbers
    at_once: dict[int, frozenset[int]] = {}  # noqa: RUF012 - never changed


def crowd_of(seed: int, faces: int, people: int, pictures: int, spread: float) -> Crowd:
    """Faces around a few people, some of them in one picture; no two links are the same."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(people, DIM))
    vectors = centres[chance.integers(people, size=faces)]
    vectors += spread * chance.normal(size=vectors.shape)
    numbers = chance.integers(pictures, size=faces)
    at_once: dict[int, set[int]] = {}
    for one, other in chance.integers(pictures, size=(faces // 2, 2)).tolist():
        if one != other:
            at_once.setdefault(one, set()).add(other)
            at_once.setdefault(other, set()).add(one)
    codes = _core.quantize(vectors.astype(np.float32))
    # Below 0 they are tracks: faces of one may be one person, those of two at once may not.
    numbers = np.where(chance.random(pictures)[numbers] < 0.5, numbers, -1 - numbers)
    names = {abs(number + (number < 0)): number for number in numbers.tolist()}
    named = {
        names[one]: frozenset(names[other] for other in others if other in names)
        for one, others in at_once.items()
        if one in names
    }
    return Crowd(codes, numbers, np.full(faces, UNTOLD), named)


crowds = st.builds(
    crowd_of,
    seed=st.integers(0, 2**32),
    faces=st.integers(1, 40),
    people=st.integers(1, 12),
    pictures=st.sampled_from([2, 10, 1000]),
    spread=st.sampled_from([0.1, 0.4, 0.8]),
)
thresholds = st.sampled_from([-1.0, -0.3, 0.0, 0.3, 0.5, 0.8, 1.0])


@st.composite
def told_crowds(draw: st.DrawFn) -> Crowd:
    """Few directions, so that links are often the same, and a user who says things."""
    face = st.lists(st.integers(-1, 1), min_size=4, max_size=4).filter(any)
    faces = draw(st.lists(face, min_size=1, max_size=40))
    count = len(faces)
    pictures = draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    told = draw(st.lists(st.integers(UNTOLD, 3), min_size=count, max_size=count))
    seen: set[tuple[int, int]] = set()
    for face_, (person, picture) in enumerate(zip(told, pictures, strict=True)):
        if (person, picture) in seen:  # nobody is told that two faces of a picture are one person
            told[face_] = UNTOLD
        seen.add((person, picture))
    codes = _core.quantize(np.array([np.tile(face, 3) for face in faces], dtype=np.float32))
    return Crowd(codes, np.array(pictures), np.array(told))


def parts_of(firsts: NDArray[Any]) -> Partition:
    return {frozenset(np.flatnonzero(firsts == first).tolist()) for first in np.unique(firsts)}


def link(crowd: Crowd, one: frozenset[int], other: frozenset[int]) -> float:
    units = crowd.codes / np.linalg.norm(crowd.codes.astype(np.float64), axis=1, keepdims=True)
    grid = np.rint(units * 2**13)
    sums = [grid[sorted(some)].sum(axis=0) for some in (one, other)]
    return float(sums[0] @ sums[1] / (len(one) * len(other) * 2.0**26))


def may_be_one(crowd: Crowd, one: frozenset[int], other: frozenset[int]) -> bool:
    pictures = [int(crowd.pictures[face]) for face in one | other]
    told = {crowd.told[face] for face in one | other} - {UNTOLD}
    at_once = any(b in crowd.at_once.get(a, ()) for a, b in itertools.permutations(pictures, 2))
    whole = [picture for picture in pictures if picture >= 0]
    return len(set(whole)) == len(whole) and len(told) < 2 and not at_once


def clustered(crowd: Crowd, threshold: float) -> NDArray[np.int64]:
    return cluster(crowd.codes, crowd.pictures, crowd.told, threshold, crowd.at_once)


def one_by_one(crowd: Crowd, threshold: float) -> Partition:
    """By definition: merge the two that are most alike, as long as there are any."""
    parts = {frozenset([face]) for face in range(len(crowd.codes))}
    while True:
        pairs = [
            (link(crowd, *pair), pair)
            for pair in itertools.combinations(parts, 2)
            if may_be_one(crowd, *pair)
        ]
        best, pair = max(pairs, key=lambda each: each[0], default=(-2.0, ()))
        if best < threshold:
            return parts
        parts -= set(pair)
        parts.add(frozenset().union(*pair))


@settings(max_examples=40, deadline=None)
@given(crowd=crowds, threshold=thresholds)
def test_without_disorder_people_are_those_of_merging_one_pair_after_another(
    crowd: Crowd, threshold: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_clusters, "DISORDER", 0.0)
        patch.setattr(_clusters, "_LISTED", 3)  # so that lists run out
        patch.setattr(_clusters, "_QUERIES", 7)
        assert parts_of(clustered(crowd, threshold)) == one_by_one(crowd, threshold)


@settings(max_examples=150, deadline=None)
@given(
    crowd=st.one_of(crowds, told_crowds()), threshold=thresholds, listed=st.sampled_from([1, 16])
)
def test_no_person_has_two_faces_of_a_moment_and_what_is_told_holds(
    crowd: Crowd, threshold: float, listed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_clusters, "_LISTED", listed)
        firsts = clustered(crowd, threshold)
    for part in parts_of(firsts):
        pictures = [int(crowd.pictures[face]) for face in part]
        whole = [picture for picture in pictures if picture >= 0]
        assert len(set(whole)) == len(whole)
        assert not any(
            other in crowd.at_once.get(one, ())
            for one, other in itertools.permutations(pictures, 2)
        )
        assert len({crowd.told[face] for face in part} - {UNTOLD}) <= 1
        assert {firsts[face] for face in part} == {min(part)}
    for person in set(crowd.told.tolist()) - {UNTOLD}:
        assert len(set(firsts[crowd.told == person].tolist())) == 1


@settings(max_examples=80, deadline=None)
@given(crowd=crowds, threshold=thresholds)
def test_no_two_people_are_left_that_are_alike_and_may_be_one(
    crowd: Crowd, threshold: float
) -> None:
    parts = parts_of(clustered(crowd, threshold))
    for pair in itertools.combinations(parts, 2):
        assert not may_be_one(crowd, *pair) or link(crowd, *pair) < threshold


@settings(max_examples=40, deadline=None)
@given(crowd=crowds, threshold=thresholds, seed=st.integers(0, 2**32))
def test_people_do_not_depend_on_the_order_of_faces_whose_links_differ(
    crowd: Crowd, threshold: float, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(crowd.codes))
    shuffled = crowd._replace(
        codes=crowd.codes[order], pictures=crowd.pictures[order], told=crowd.told[order]
    )
    back = {
        frozenset(order[list(part)].tolist()) for part in parts_of(clustered(shuffled, threshold))
    }
    assert back == parts_of(clustered(crowd, threshold))


def test_a_hundred_faces_that_are_the_same_are_one_person() -> None:
    face = np.random.default_rng(1).normal(size=(1, DIM)).astype(np.float32)
    codes = np.repeat(_core.quantize(face), 100, axis=0)
    alone = np.arange(100)
    assert not cluster(codes, alone, np.full(100, UNTOLD), 1 - 1e-3).any()
    in_pairs = cluster(codes, alone // 2, np.full(100, UNTOLD), 0.5)
    assert sorted(map(len, parts_of(in_pairs))) == [50, 50]


def test_more_in_one_picture_than_a_list_holds_are_different_people() -> None:
    face = np.random.default_rng(1).normal(size=(1, DIM)).astype(np.float32)
    codes = np.repeat(_core.quantize(face), 60, axis=0)
    pictures = np.array([0] * 59 + [1])
    firsts = cluster(codes, pictures, np.full(60, UNTOLD), 0.5)
    assert len(set(firsts[:59].tolist())) == 59
    assert firsts[59] in firsts[:59]  # though all that it is most like are in the way of each other


def test_who_is_told_to_be_one_person_is_joined_by_what_is_like_either() -> None:
    chance = np.random.default_rng(2)
    child, grown = chance.normal(size=(2, DIM))
    vectors = np.array(
        [grown + 0.1 * chance.normal(size=DIM) if face % 2 else child for face in range(10)]
    )
    codes = _core.quantize(vectors.astype(np.float32))
    told = np.full(10, UNTOLD)
    alone = np.arange(10)
    assert len(parts_of(cluster(codes, alone, told, 0.6))) == 2
    told[:2] = 7
    assert len(parts_of(cluster(codes, alone, told, 0.6))) == 1
    alone[9] = alone[0]  # the grown-up is in a picture with the child: one of them is another
    firsts = cluster(codes, alone, told, 0.6)
    assert firsts[9] != firsts[0]
    assert len(parts_of(firsts)) == 2
