"""Random FaceIndex cases against brute force over ``.codes()`` in numpy; a script, one tier a run.

``FACEGREP_ISA=avx2 python tests/index_oracle.py --cases 1000 --seed 1`` prints the tier and a
digest of every answer; it exits with the first difference. test_index_search.py runs each tier.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import facegrep

IDS = [f"a/{i}.jpg" for i in range(12)] + ["中.jpg", "é", "É", "z" * 60, " ", "~", "Z", "a", "aa"]
INTS = [None, -(2**63), -1, 0, 7, 8, 2**63 - 1]
TEXTS = [None, "", "a", "b", "中"]
FIELDS = ("intField1", "utcCreate", "strField1", "strField2", "mediaType", "namespace")

Fields = dict[str, int | str | None]


def exact_scores(query: NDArray[np.float32], codes: NDArray[np.int8]) -> NDArray[np.float64]:
    """The definition: float64, eight interleaved sums, then ((0+1)+(2+3)) + ((4+5)+(6+7))."""
    norms = np.sqrt((codes.astype(np.int64) ** 2).sum(axis=1).astype(np.float64))
    query_norm = np.sqrt(_dot(query[None, :], query[None, :].astype(np.float64)))[0]
    scores = _dot(codes, query[None, :].astype(np.float64)) / (query_norm * norms)
    return np.asarray(np.clip(scores, -1.0, 1.0))


def _dot(a: NDArray[np.generic], b: NDArray[np.float64]) -> NDArray[np.float64]:
    products = a.astype(np.float64) * b
    padding = -products.shape[1] % 8
    lanes = np.pad(products, ((0, 0), (0, padding))).reshape(len(products), -1, 8)
    s = np.zeros((len(products), 8))
    for step in range(lanes.shape[1]):
        s += lanes[:, step]
    return ((s[:, 0] + s[:, 1]) + (s[:, 2] + s[:, 3])) + ((s[:, 4] + s[:, 5]) + (s[:, 6] + s[:, 7]))


@dataclass
class Model:
    """What the index must hold: assets by id, with their fields; codes are asked of the index."""

    assets: dict[str, Fields] = field(default_factory=dict)

    def passing(self, where: dict[str, object]) -> list[str]:
        return [
            media_id
            for media_id, fields in self.assets.items()
            if all(_holds(fields.get(name), mode) for name, mode in where.items())
        ]


def _holds(value: int | str | None, mode: object) -> bool:
    if value is None:
        return False
    if isinstance(mode, dict):
        return bool(mode.get("gte", -(2**63)) <= value <= mode.get("lte", 2**63 - 1))
    if isinstance(mode, list):
        return value in mode
    return value == mode


def expected(
    index: facegrep.FaceIndex, model: Model, query: NDArray[np.float32], where: dict[str, object]
) -> list[tuple[str, float]]:
    """Every passing asset with its best face's score, in the answer's order."""
    best = [
        (media_id, float(exact_scores(query, index.codes([media_id])).max()))
        for media_id in model.passing(where)
    ]
    return sorted(best, key=lambda hit: (-hit[1], hit[0].encode()))


def random_where(rng: np.random.Generator) -> dict[str, object]:
    where: dict[str, object] = {}
    for name in FIELDS:
        if rng.random() > 0.15:
            continue
        values = [v for v in (INTS if name in FIELDS[:2] else TEXTS) if v is not None]
        some = [values[i] for i in rng.integers(len(values), size=rng.integers(4))]
        if name in FIELDS[:2] and rng.random() < 0.5:
            ends = sorted(values[i] for i in rng.integers(len(values), size=2))
            both = {"gte": ends[0], "lte": ends[1]}
            where[name] = [both, {"gte": ends[0]}, {"lte": ends[1]}][rng.integers(3)]
        else:
            where[name] = some if rng.random() < 0.7 or not some else some[0]
    return where


def adversarial_pool(rng: np.random.Generator, dim: int) -> NDArray[np.float32]:
    """Vectors to draw rows and queries from; most kinds sit on a bound of the scan."""
    pool = rng.standard_normal((12, dim)).astype(np.float32)
    pool[0], pool[1] = pool[2], -pool[2]
    kind = rng.integers(8)
    if kind == 0:
        pool = np.sign(pool)  # all codes +-127, and many equal scores
    elif kind == 1:
        pool = -np.abs(pool)
    elif kind == 2:  # one-hot: the smallest norms and, for long codes, the largest residuals
        pool = np.eye(dim, dtype=np.float32)[rng.integers(dim, size=12)] * np.sign(pool[:, :1])
    elif kind in (3, 4):
        # Low nibbles as far from their middle as can be, with the signs of the first vector, which
        # has one magnitude: as a query it makes Cauchy-Schwarz an equality (score/plane.hpp).
        signs = np.where(rng.random(dim) < 0.5, -1, 1)
        high = rng.integers(0, 16, (12, dim))
        pool = (16 * high - 128 + np.where(signs > 0, 15, 0)).clip(-127, 127).astype(np.float32)
        pool[:, 0] = 127 * signs[0]  # the largest, so that the codes are these numbers
        pool[0] = 127 * signs
    elif kind == 5:  # neighbours that differ in one place by one step
        pool[1:] = pool[0]
        pool[np.arange(1, 12), rng.integers(dim, size=11)] += np.abs(pool[0]).max() / 127
    elif kind == 6:
        pool *= np.float32(10.0) ** rng.integers(-30, 30, (12, 1))
    return pool


def random_index(
    rng: np.random.Generator, dim: int
) -> tuple[facegrep.FaceIndex, Model, NDArray[np.float32]]:
    """Several adds of unsorted rows with duplicates and missing fields, removals among them."""
    index, model = facegrep.FaceIndex(dim), Model()
    pool = adversarial_pool(rng, dim)
    for _ in range(rng.integers(1, 5)):
        fresh = [i for i in rng.permutation(IDS)[: rng.integers(1, 9)] if i not in model.assets]
        rows = [media_id for media_id in fresh for _ in range(rng.integers(1, 5))]
        rng.shuffle(rows)
        used = [name for name in FIELDS if rng.random() < 0.5]
        for media_id in fresh:
            model.assets[media_id] = {
                name: (INTS if name in FIELDS[:2] else TEXTS)[
                    rng.integers(len(INTS if name in FIELDS[:2] else TEXTS))
                ]
                for name in used
            }
        vectors = pool[rng.integers(len(pool), size=len(rows))]
        noisy = rng.random(len(rows)) < rng.choice([0.0, 0.5])
        noise = (
            rng.standard_normal(vectors.shape) * 0.3 * np.abs(vectors).max(axis=1, keepdims=True)
        )
        fields = {name: [model.assets[i][name] for i in rows] for name in used}
        index.add(rows, vectors + noisy[:, None] * noise, fields)
        gone = [i for i in model.assets if rng.random() < 0.2]
        assert index.remove([*gone, "never there"]) == len(gone)
        for media_id in gone:
            del model.assets[media_id]
    return index, model, pool


def check_case(rng: np.random.Generator, digest: hashlib._Hash) -> None:
    dim = int(rng.choice([1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 65, 100, 128, 512]))
    index, model, pool = random_index(rng, dim)
    queries = rng.standard_normal((rng.integers(1, 5), dim)).astype(np.float32)
    queries[0] = pool[rng.integers(len(pool))]
    where = random_where(rng) if rng.random() < 0.6 else {}
    answers = [expected(index, model, query, where) for query in queries]
    threshold = None if rng.random() < 0.4 else float(rng.uniform(-1, 1))
    if threshold is not None and answers[0] and rng.random() < 0.5:
        threshold = answers[0][rng.integers(len(answers[0]))][1]  # exactly on a score
    limit, offset = int(rng.integers(0, 8)), int(rng.integers(0, 6))
    got = index.search(
        queries, threshold=threshold, limit=limit, offset=offset, where=where or None,
        threads=int(rng.integers(1, 4)),
    )  # fmt: skip
    assert isinstance(got, list)
    for query, result, answer in zip(queries, got, answers, strict=True):
        if threshold is not None:
            answer = [hit for hit in answer if hit[1] >= threshold]
        ids, scores = [i for i, _ in answer], np.array([s for _, s in answer], np.float32)
        case = (dim, threshold, limit, offset, where)
        assert result.total == len(answer), (case, result.total, len(answer))
        assert result.media_ids == ids[offset : offset + limit], case
        np.testing.assert_array_equal(result.scores, scores[offset : offset + limit], str(case))
        if threshold is not None:
            everything = result.page(0, len(answer) + 5)
            assert [hit.media_id for hit in everything] == ids, case
            for media_id, face in zip(ids, result._core.faces, strict=True):
                assert face == exact_scores(query, index.codes([media_id])).argmax(), case
            digest.update(result._core.scores.tobytes())
        digest.update("\0".join(result.media_ids).encode() + result.scores.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    digest = hashlib.sha256()
    for case in range(options.cases):
        try:
            check_case(np.random.default_rng([options.seed, case]), digest)
        except AssertionError as error:
            raise SystemExit(f"case {case} of seed {options.seed}: {error}") from error
    print(facegrep.active_isa(), options.cases, digest.hexdigest())  # noqa: T201 - a script


if __name__ == "__main__":
    main()
