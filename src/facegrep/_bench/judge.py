"""Whether an answer is right, and how nearly: no timing without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facegrep._bench.engines import Engine, Facegrep

if TYPE_CHECKING:
    from typing import Any

    from facegrep._bench.library import Answer, Window

# int8 swaps neighbours whose cosines differ by less than its error, so an exact search of codes
# misses some of the ten that float32 would give. Less than this is a mistake of ours, not of int8.
_LOWEST_RECALL = {"float32": 0.97, "int8": 0.9, "int8, one scale": 0.85}


class Quality(NamedTuple):
    """How far the answers are from those of a float32 brute force, over the checked queries.

    Attributes
    ----------
    recall
        Share of its best 10 (faces, or assets where the engine answers with assets).
    total_error
        Mean absolute difference of the Total, in assets; None where there is no Total.
    """

    recall: float
    total_error: float | None


class WrongAnswerError(AssertionError):
    """An engine that promises an exact answer gave another."""


def judge(engine: Engine, window: Window | None = None, chosen: Any = None) -> Quality:  # noqa: ANN401
    """Search for the checked queries, one by one; see :func:`judge_answers`."""
    queries = engine.library.queries[: engine.library.checked]
    answers = [
        engine.answers(engine.search(engine.encode(query[None]), chosen))[0] for query in queries
    ]
    return judge_answers(engine, answers, window)


def judge_answers(engine: Engine, answers: list[Answer], window: Window | None = None) -> Quality:
    """Measure the answers to the first queries, and raise if facegrep's are not the very ones.

    facegrep is held to the best assets and the Total of a brute force over its codes in float64;
    other exact engines to a recall that their codes allow.
    """
    library = engine.library
    recalls: list[float] = []
    errors: list[int] = []
    for query, answer in enumerate(answers[: library.checked]):
        scores = library.truth.floats[query]
        true = library.best_assets(scores, engine.threshold, window)
        if answer.of == "faces":
            true = true._replace(best=library.best_faces(scores, window))
        best = true.best
        recalls.append(len(np.intersect1d(best, answer.best)) / len(best) if len(best) else 1.0)
        if answer.total is not None:
            errors.append(abs(answer.total - (true.total or 0)))
        if isinstance(engine, Facegrep):
            _hold_to_definition(engine, query, answer, window)
    quality = Quality(float(np.mean(recalls)), float(np.mean(errors)) if errors else None)
    lowest = _LOWEST_RECALL.get(engine.stores, 0.85) if engine.exact else 0.0
    if quality.recall < lowest:
        raise WrongAnswerError(
            f"{engine.name}: recall@10 is {quality.recall:.3f}, {engine.stores} allows {lowest}"
        )
    return quality


def _hold_to_definition(
    engine: Facegrep, query: int, answer: Answer, window: Window | None
) -> None:
    library = engine.library
    true = library.best_assets(library.truth.codes[query], engine.threshold, window)
    if answer.total != true.total or not np.array_equal(answer.best, true.best):
        raise WrongAnswerError(
            f"facegrep, query {query}, {window}: expected Total {true.total} and assets "
            f"{true.best.tolist()}, got {answer.total} and {answer.best.tolist()}"
        )
