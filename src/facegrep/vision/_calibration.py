"""What a cosine of a model means: how often strangers reach it, how likely it is one person.

The curves are measured (`benches/calibrate.py`) and kept as tables in the model's manifest; between
their knots they are straight, false match rates in their logarithm, probabilities in their odds'.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from typing import Annotated

import msgspec

from facegrep.vision._strict import Strict

_Cosine = Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]
_Rate = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Positive = Annotated[float, msgspec.Meta(gt=0.0, le=2.0)]
_Log10Odds = Annotated[float, msgspec.Meta(ge=-15.0, le=15.0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Knots = msgspec.Meta(min_length=2, max_length=256)

# Knots closer than this make slopes that no measurement has, and overflow (0.001 but for rounding).
_STEP = 0.0009

# A threshold that is chosen is a multiple of this, rounded up: what is printed is what was used.
_THRESHOLD_STEP = 1e-4


class GenuinePairs(Strict, frozen=True):
    """Cosines of two photos of one person; `mislabelled`: the share that looked like strangers."""

    pairs: _Count
    mean: _Cosine
    sd: _Positive
    mislabelled: _Share


class Tail(Strict, frozen=True):
    """The highest `share` of the strangers' cosines, from `start` on: those of a cut normal."""

    share: _Rate
    start: _Cosine
    mean: float
    sd: _Positive


class ImpostorPairs(Strict, frozen=True):
    """Cosines of photos of two people."""

    pairs: _Count
    mean: _Cosine
    sd: _Positive
    tail: Tail


class Calibration(Strict, frozen=True):
    """What a model's cosines mean, as measured on labelled photos.

    Attributes
    ----------
    data
        Which photos.
    genuine, impostor
        What the tables were made from.
    thresholds
        ``(false match rate, cosine)``: the share of pairs of two people that reach the cosine.
        Rates fall, cosines rise.
    odds
        ``(cosine, log10 of the odds)`` that a pair is one person's, where as many pairs are as are
        not. Both rise.

    Notes
    -----
    Plain arithmetic of Python floats, so that one cosine always means the same. Of people who are
    like those in the photos: relatives, children and groups that are rare there match more often.
    """

    data: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    genuine: GenuinePairs
    impostor: ImpostorPairs
    thresholds: Annotated[tuple[tuple[_Rate, _Cosine], ...], _Knots]
    odds: Annotated[tuple[tuple[_Cosine, _Log10Odds], ...], _Knots]

    def __post_init__(self) -> None:
        super().__post_init__()
        rates, cosines = zip(*self.thresholds, strict=True)
        if not _rises(cosines, _STEP) or not _rises([-rate for rate in rates]):
            raise ValueError("thresholds: expected falling rates of cosines that rise by 0.001")
        cosines, log_odds = zip(*self.odds, strict=True)
        if not _rises(cosines, _STEP) or not _rises(log_odds):
            raise ValueError("odds: expected rising odds of cosines that rise by 0.001")

    def probability(self, cosine: float) -> float:
        """Return the probability of "same person", 0 to 1, where it was 1 : 1 before.

        Rises with the cosine, and stays level outside the table: it claims no more than as many
        pairs as were measured can bear out.
        """
        knots = self.odds
        position = bisect_right(knots, (cosine, math.inf))
        if position == 0:
            log_odds = knots[0][1]
        elif position == len(knots):
            log_odds = knots[-1][1]
        else:
            (low, start), (high, end) = knots[position - 1 : position + 1]
            # min: the last bit of the sum may lie above the knot.
            log_odds = min(start + (cosine - low) * ((end - start) / (high - low)), end)
        return 1.0 / (1.0 + math.pow(10.0, -log_odds))

    def false_match_rate(self, cosine: float) -> float:
        """Return the share of pairs of two people that reach a cosine, 0 to 1.

        Beyond the table it falls as it does at the table's end, which is more slowly than the
        cosines of strangers did: nobody measured so few.
        """
        knots = self.thresholds
        position = bisect_right(knots, cosine, key=lambda knot: knot[1])
        rate, start, slope = self._segment(min(max(position, 1), len(knots) - 1))
        # 700: below the table the rate may be beyond any float before it is cut off.
        found = min(1.0, rate * math.exp(min(slope * (cosine - start), 700.0)))
        # max: the last bit may lie below the knot.
        return max(found, knots[position][0]) if position < len(knots) else found

    def threshold_at(self, rate: float) -> float:
        """Return the lowest cosine, in steps of 0.0001, with at most this false match rate.

        1.0 where no cosine below is known to be enough.
        """
        knots = self.thresholds
        position = bisect_right(knots, -rate, key=lambda knot: -knot[0])
        base, start, slope = self._segment(min(max(position, 1), len(knots) - 1))
        cosine = start + math.log(rate / base) / slope
        steps = math.ceil(cosine / _THRESHOLD_STEP)
        while self.false_match_rate(steps * _THRESHOLD_STEP) > rate and steps < 1 / _THRESHOLD_STEP:
            steps += 1  # rounding
        return min(max(round(steps * _THRESHOLD_STEP, 4), -1.0), 1.0)

    def _segment(self, end: int) -> tuple[float, float, float]:
        """Return rate and cosine where the segment before knot `end` starts, and its slope."""
        (rate, low), (next_rate, high) = self.thresholds[end - 1 : end + 1]
        return rate, low, math.log(next_rate / rate) / (high - low)


def _rises(values: list[float] | tuple[float, ...], by: float = 0.0) -> bool:
    return all(high > low and high - low >= by for low, high in itertools.pairwise(values))
