"""How long it takes to find out which assets a person is recognised in, beside so many others.

    python -m benches.recognise --faces 1000000 --people 1 100 1000

One face an asset, in memory; a fifth of them shows one of 1,000 people. `first` is what the first
search with such a filter takes after anybody or anything changed, without the search itself;
`filtered` a search with the filter at hand, beside one without. Every answer is compared with a
brute force in float64. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facegrep import _core
from facegrep.engine._recognised import find_assets
from facegrep.engine._roster import Known, Roster, units_of

DIM: Final = 128
THRESHOLD: Final = 0.42
_PART: Final = 100_000
_ROUNDS: Final = 15


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--people", type=int, nargs="*", default=[1, 100, 1000])
    options = parser.parse_args(arguments)
    chance = np.random.default_rng(1)
    queries = chance.normal(size=(max(1000, *options.people), DIM)).astype(np.float32)
    core, codes = _library(options.faces, queries[:1000], chance)
    lines = [
        "| people | their assets | first ms | filtered ms | search ms |",
        "|---|---|---|---|---|",
    ]
    query = chance.normal(size=(1, DIM)).astype(np.float32)

    def search(among: NDArray[np.int64] | None) -> _core.SearchResult:
        return core.search(query, THRESHOLD, 10, 0, [], 1, among)[0]

    whole_ms = _best_ms(functools.partial(search, None))
    for count in options.people:
        chosen = queries[:count]
        names = tuple(Known(f"{number:06}", "", "") for number in range(count))
        roster = Roster((), names, chosen, units_of(chosen))
        found = find_assets(core, roster, 0, THRESHOLD)
        expected = _brute_force(codes, chosen)
        if sorted(found.tolist()) != expected.tolist():
            raise SystemExit(f"{len(found)} assets, expected {len(expected)} or others")
        first_ms = _best_ms(functools.partial(find_assets, core, roster, 0, THRESHOLD))
        filtered_ms = _best_ms(functools.partial(search, found))
        lines.append(
            f"| {count:,} | {len(found):,} | {first_ms:.2f} | {filtered_ms:.3f} | {whole_ms:.2f} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _library(
    faces: int, people: NDArray[np.float32], chance: np.random.Generator
) -> tuple[_core.FaceIndex, NDArray[np.int8]]:
    core, parts = _core.FaceIndex(DIM), []
    for start in range(0, faces, _PART):
        count = min(_PART, faces - start)
        rows = chance.normal(size=(count, DIM)).astype(np.float32)
        known = np.flatnonzero(chance.random(count) < 0.2)
        rows[known] = people[chance.integers(0, len(people), len(known))] + 0.8 * rows[known]
        parts.append(_core.quantize(rows))
        ids = [f"{number:09}" for number in range(start, start + count)]
        core.add_codes(ids, parts[-1], {}, np.arange(start, start + count))
    return core, np.concatenate(parts)


def _brute_force(codes: NDArray[np.int8], queries: NDArray[np.float32]) -> NDArray[np.intp]:
    """The faces that are the first person's: those that are like them, and like nobody more."""
    units = queries / np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)

    def cosines(rows: NDArray[np.int8], others: NDArray[np.float64]) -> NDArray[np.float64]:
        exact = rows.astype(np.float64)
        return np.asarray(exact @ others.T / np.linalg.norm(exact, axis=1, keepdims=True))

    like = np.concatenate(
        [
            cosines(codes[start : start + _PART], units[:1])[:, 0]
            for start in range(0, len(codes), _PART)
        ]
    )
    candidates = np.flatnonzero(like >= THRESHOLD)
    is_theirs = cosines(codes[candidates], units).argmax(axis=1) == 0
    return np.asarray(candidates[is_theirs])


def _best_ms(function: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds) * 1000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
