"""From the cosines of labelled pairs to a model's calibration: distributions, tail, tables."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

# Of 0.1, 0.05, 0.02, 0.01 the one that foretold the rates of unseen people best, for two models.
TAIL_SHARE: Final = 0.1
RATES: Final = (0.99, 0.9, 0.5, 0.3, *(step * 10.0**-k for k in range(1, 9) for step in (1, 0.3)))
# The table ends where fewer pairs than these would be counted. Beyond, the tail would be believed
# and not measured: of 610 people of LFW twice as many pairs reach 0.477 as the normal of 200 says.
PAIRS_AT_LEAST: Final = 10
ODDS_STEP: Final = 0.05


class Normals(NamedTuple):
    """A mixture: weights that add up to 1, means, standard deviations."""

    weights: F64
    means: F64
    sds: F64

    def density(self, cosines: F64) -> F64:
        z = (cosines[..., None] - self.means) / self.sds
        parts: F64 = self.weights * np.exp(-z * z / 2) / (self.sds * math.sqrt(2 * math.pi))
        return np.asarray(parts.sum(axis=-1))


class Tail(NamedTuple):
    """The highest `share`, from `start` on: a normal that is cut off there."""

    share: float
    start: float
    mean: float
    sd: float

    def rate(self, cosine: float) -> float:
        """Return the share of all that reach a cosine of at least `start`."""
        above = _upper((cosine - self.mean) / self.sd)
        return self.share * above / _upper((self.start - self.mean) / self.sd)

    def threshold(self, rate: float) -> float:
        """Return the cosine that a share reaches; bisection."""
        low, high = self.start, 2.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate(middle) > rate else (low, middle)
        return high


def fit_tail(impostor: F64, share: float = TAIL_SHARE) -> Tail:
    """Fit a cut normal to the highest cosines, by maximum likelihood.

    A generalised Pareto tail of such cosines ends somewhere (its shape is negative), and would
    promise rates of 0 beyond. A normal's does not, and foretells 1e-5 from what is above 0.1.
    """
    start = float(np.quantile(impostor, 1 - share))
    above = impostor[impostor >= start]
    first, second = float(above.mean()), float((above * above).mean())

    def loss(mean: float, sd: float) -> float:
        cut = _upper((start - mean) / sd)
        if sd < 0.01 or cut < 1e-200:
            return math.inf
        squares = second - 2 * mean * first + mean * mean
        return squares / (2 * sd * sd) + math.log(sd) + math.log(cut)

    mean, sd, step = float(impostor.mean()), float(impostor.std()), 0.04
    best = loss(mean, sd)
    while step > 1e-6:
        around = [(mean + a * step, sd + b * step / 4) for a, b in product((-1, 0, 1), repeat=2)]
        losses = [loss(*place) for place in around]
        if min(losses) < best:
            best = min(losses)
            mean, sd = around[losses.index(best)]
        else:
            step /= 2
    return Tail(share, start, mean, sd)


def fit_genuine(genuine: F64, strangers: tuple[float, float]) -> tuple[Normals, float]:
    """Fit two normals, beside a share of pairs that are like strangers: wrong labels. EM.

    Returns
    -------
    density, mislabelled
        That of the pairs that are one person's, and the share of those that are not.
    """
    weights = np.array([0.2, 0.799, 0.001])
    means = np.array([np.quantile(genuine, 0.2), np.quantile(genuine, 0.6), strangers[0]])
    sds = np.array([genuine.std(), genuine.std(), strangers[1]])
    for _ in range(500):
        z = (genuine[:, None] - means) / sds
        parts = weights * np.exp(-z * z / 2) / sds
        parts /= parts.sum(axis=1, keepdims=True)
        counts = parts.sum(axis=0)
        weights = counts / counts.sum()
        means[:2] = (parts * genuine[:, None]).sum(axis=0)[:2] / counts[:2]
        sds[:2] = np.sqrt((parts * (genuine[:, None] - means) ** 2).sum(axis=0)[:2] / counts[:2])
    own = weights[:2] / weights[:2].sum()
    return Normals(own, means[:2].copy(), sds[:2].copy()), float(weights[2])


def calibrate(genuine: F64, impostor: F64, data: str) -> dict[str, Any]:
    """Return a manifest's table ``[calibration]``."""
    tail = fit_tail(impostor)
    mean, sd = float(impostor.mean()), float(impostor.std())
    density, mislabelled = fit_genuine(genuine, (mean, sd))
    thresholds = [
        (
            rate,
            float(np.quantile(impostor, 1 - rate)) if rate > tail.share else tail.threshold(rate),
        )
        for rate in RATES
        if rate * len(impostor) >= PAIRS_AT_LEAST
    ]
    return {
        "data": data,
        "genuine": {
            "pairs": len(genuine),
            "mean": round(float(genuine.mean()), 4),
            "sd": round(float(genuine.std()), 4),
            "mislabelled": round(mislabelled, 5),
        },
        "impostor": {
            "pairs": len(impostor),
            "mean": round(mean, 4),
            "sd": round(sd, 4),
            "tail": {
                "share": tail.share,
                "start": round(tail.start, 4),
                "mean": round(tail.mean, 4),
                "sd": round(tail.sd, 4),
            },
        },
        "thresholds": [(float(f"{rate:.3g}"), round(cosine, 4)) for rate, cosine in thresholds],
        "odds": _odds(density, impostor, tail, len(genuine)),
    }


def _odds(
    density: Normals, impostor: F64, tail: Tail, genuine_pairs: int
) -> list[tuple[float, float]]:
    """Return log10 of genuine over impostor density, made to rise, no further than pairs bear out.

    Strangers' cosines are a normal below the tail.
    """
    cosines = np.arange(-0.3, 0.95, ODDS_STEP)
    own = density.density(cosines)
    below = Normals(np.ones(1), np.array([impostor.mean()]), np.array([impostor.std()]))
    cut = tail.share / _upper((tail.start - tail.mean) / tail.sd)
    above = Normals(np.array([cut]), np.array([tail.mean]), np.array([tail.sd]))
    others = np.where(cosines < tail.start, below.density(cosines), above.density(cosines))
    values = rising(np.log10(own / others), own + others)
    values = np.clip(values, -math.log10(genuine_pairs), math.log10(len(impostor)))
    knots: list[tuple[float, float]] = []
    for cosine, value in zip(cosines, values, strict=True):
        knot = (round(float(cosine), 2), round(float(value), 3))
        if knots and knot[1] <= knots[0][1]:  # level at the low end: its last knot
            knots = [knot]
        elif not knots or knot[1] > knots[-1][1]:  # and the first one at the high end
            knots.append(knot)
    return knots


def rising(values: F64, weights: F64) -> F64:
    """Return the nearest values that never fall (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            before = blocks.pop()
            total = before[1] + block[1]
            pooled = (before[0] * before[1] + block[0] * block[1]) / total
            block = (pooled, total, before[2] + block[2])
        blocks.append(block)
    return np.repeat([value for value, _, _ in blocks], [count for _, _, count in blocks])


def _upper(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))
