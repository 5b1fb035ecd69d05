"""What a model's cosines mean, whatever the tables in its manifest."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import LfwFaces

from benches.calibrate import Faces, reliability, search_scores, unseen
from benches.calibration import fit_tail
from benches.calibration import rising as pooled_to_rise
from facegrep.vision import Calibration, EmbedderManifest, load_manifest

NORMAL = NormalDist()
COSINES = st.floats(-1, 1, width=32)


def manifest(name: str = "sface") -> EmbedderManifest:
    found = load_manifest(name).manifest
    assert isinstance(found, EmbedderManifest)
    return found


def shipped(name: str = "sface") -> Calibration:
    calibration = manifest(name).calibration
    assert calibration is not None
    return calibration


def a_table(**changes: Any) -> dict[str, Any]:
    tail = {"share": 0.1, "start": 0.2, "mean": 0.1, "sd": 0.09}
    table = {
        "data": "made up",
        "genuine": {"pairs": 10, "mean": 0.6, "sd": 0.1, "mislabelled": 0.0},
        "impostor": {"pairs": 100, "mean": 0.1, "sd": 0.1, "tail": tail},
        "thresholds": [(0.5, 0.1), (0.001, 0.4)],
        "odds": [(0.1, -2.0), (0.5, 2.0)],
    }
    return table | changes


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """Any valid one; the knots may be so close that only rounding tells them apart."""

    count = draw(st.integers(2, 12))

    def rising(values: st.SearchStrategy[float]) -> list[float]:
        return sorted(draw(st.lists(values, min_size=count, max_size=count, unique=True)))

    cosines = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
    rates = reversed(rising(st.floats(1e-12, 0.999)))
    return msgspec.convert(
        a_table(
            thresholds=list(zip(rates, rising(cosines), strict=True)),
            odds=list(zip(rising(cosines), rising(st.floats(-15, 15)), strict=True)),
        ),
        Calibration,
    )


@given(calibrations(), st.lists(COSINES, min_size=2))
def test_a_probability_lies_within_0_and_1_and_never_falls_as_the_cosine_rises(
    calibration: Calibration, cosines: list[float]
) -> None:
    probabilities = [calibration.probability(cosine) for cosine in sorted(cosines)]
    assert all(0 <= probability <= 1 for probability in probabilities)
    assert probabilities == sorted(probabilities)


@given(calibrations(), st.lists(COSINES, min_size=2))
def test_fewer_strangers_reach_a_higher_cosine(
    calibration: Calibration, cosines: list[float]
) -> None:
    rates = [calibration.false_match_rate(cosine) for cosine in sorted(cosines)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates == sorted(rates, reverse=True)


@given(calibrations(), st.floats(1e-15, 0.999))
def test_a_threshold_for_a_rate_is_the_lowest_step_that_keeps_it(
    calibration: Calibration, rate: float
) -> None:
    threshold = calibration.threshold_at(rate)
    assert -1 <= threshold <= 1
    assert threshold == round(threshold, 4)
    if threshold < 1:
        assert calibration.false_match_rate(threshold) <= rate
    if threshold > -1:
        assert calibration.false_match_rate(threshold - 1e-4) >= rate * (1 - 1e-9)


@given(calibrations())
def test_the_knots_are_what_was_measured(calibration: Calibration) -> None:
    for rate, cosine in calibration.thresholds:
        assert math.isclose(calibration.false_match_rate(cosine), rate, rel_tol=1e-9)
    for cosine, log_odds in calibration.odds:
        expected = 1 / (1 + 10**-log_odds)
        assert math.isclose(calibration.probability(cosine), expected, rel_tol=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [(0.5, 0.1)]},
        {"thresholds": [(0.5, 0.4), (0.001, 0.1)]},
        {"thresholds": [(0.001, 0.1), (0.5, 0.4)]},
        {"thresholds": [(0.5, 0.1), (0.5, 0.4)]},
        {"thresholds": [(0.5, 0.1), (0.0, 0.4)]},
        {"thresholds": [(0.5, 0.1), (0.001, math.nan)]},
        {"odds": [(0.1, 2.0), (0.5, -2.0)]},
        {"odds": [(0.1, -2.0), (0.1, 2.0)]},
        {"odds": [(0.1, -2.0), (0.1002, 2.0)]},
        {"odds": [(0.1, -2.0), (1.5, 2.0)]},
        {"odds": [(0.1, -2.0), (0.5, math.inf)]},
        {"odds": [(index / 1000, index / 100) for index in range(300)]},
        {"data": ""},
        {"threshold": []},
    ],
)
def test_tables_that_are_no_curves_are_refused(change: dict[str, Any]) -> None:
    msgspec.convert(a_table(), Calibration)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(a_table(**change), Calibration)


@pytest.mark.parametrize("name", ["sface", "mobilefacenet512"])
def test_the_tables_we_ship_are_those_of_the_tail_they_name(name: str) -> None:
    calibration = shipped(name)
    tail = calibration.impostor.tail
    cut = NORMAL.cdf(-(tail.start - tail.mean) / tail.sd)
    beyond = [knot for knot in calibration.thresholds if knot[0] < tail.share]
    # No further than ten pairs would be counted, and not much less far either.
    assert 10 <= beyond[-1][0] * calibration.impostor.pairs < 40
    for rate, cosine in beyond:
        fitted = tail.share * NORMAL.cdf(-(cosine - tail.mean) / tail.sd) / cut
        assert math.isclose(fitted, rate, rel_tol=0.03)
    # Halfway between two knots a straight line is close to the curve.
    for (_, low), (_, high) in itertools.pairwise(beyond):
        middle = (low + high) / 2
        fitted = tail.share * NORMAL.cdf(-(middle - tail.mean) / tail.sd) / cut
        assert math.isclose(calibration.false_match_rate(middle), fitted, rel_tol=0.04)


def test_the_default_model_foretells_what_was_published_of_more_people() -> None:
    # 3,647 photos of 610 people of LFW, 6.6 million pairs of strangers.
    for cosine, rate in ((0.298, 1e-2), (0.365, 1e-3), (0.423, 1e-4), (0.477, 1e-5)):
        assert 0.5 < shipped().false_match_rate(cosine) / rate < 2


@given(st.floats(-0.2, 0.2), st.floats(0.06, 0.15), st.integers(0, 99))
def test_a_normal_tail_is_found_again(mean: float, sd: float, seed: int) -> None:
    cosines = np.random.default_rng(seed).normal(mean, sd, 100_000)
    tail = fit_tail(cosines)
    for rate in (1e-2, 1e-3, 1e-4):
        threshold = tail.threshold(rate)
        assert math.isclose(tail.rate(threshold), rate, rel_tol=1e-6)
        assert 0.5 < NORMAL.cdf(-(threshold - mean) / sd) / rate < 2


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=40))
def test_pooled_values_rise_and_keep_their_weighted_sum(pairs: list[tuple[int, int]]) -> None:
    values, weights = np.array(pairs, float).T
    pooled = pooled_to_rise(values, weights)
    assert (np.diff(pooled) >= -1e-9).all()
    assert math.isclose(pooled @ weights, values @ weights, abs_tol=1e-6)
    if (np.diff(values) > 0).all():
        np.testing.assert_allclose(pooled, values)


@pytest.mark.slow
def test_false_matches_among_people_whom_the_fit_has_not_seen_are_as_foretold(
    lfw_faces: LfwFaces,
) -> None:
    faces = Faces(lfw_faces.embeddings, lfw_faces.people)
    scores = search_scores(faces, faces)
    counted = {float(row[0]): float(row[3]) for row in unseen(scores, faces.people)}
    for rate in (1e-2, 3e-3, 1e-3, 3e-4, 1e-4):
        assert 0.5 < counted[rate] < 2, counted
    said = {row[0]: (float(row[1]), float(row[2])) for row in reliability(scores, faces.people)}
    for bounds in ("0.7 to 0.9", "0.9 to 0.99", "0.99 to 0.999", "0.999 to 1"):
        average, was = said[bounds]
        assert abs(average - was) < 0.15, said
