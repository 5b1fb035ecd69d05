"""What the project set out to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benches.results import Results, Row

RIVAL: Final = "faiss SQ8"
OURS: Final = "facegrep"
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the first table of the report."""

    work: str
    least: str
    aim: str
    measured: str
    reached: bool | None  # None: not measured
    row: Row | None = None  # of ours


@dataclass(frozen=True, slots=True)
class Ratio:
    """Times faster than a rival in the same run."""

    work: str
    dims: tuple[int, ...]
    least: float
    aim: float
    rival: str = RIVAL


RATIOS: Final = (
    Ratio("one query", (128, 512), 2.2, 3),
    Ratio("one query", (128, 512), 10, 10, "usearch exact"),
    Ratio("16 queries a call", (128, 512), 6, 9),
    Ratio("64 queries a call", (128, 512), 8, 12),
    Ratio("filter passes 0.1 % at random", (128, 512), 50, 100),
    Ratio("filter passes 1 % at random", (128,), 20, 40),
    Ratio("filter passes 1 % at random", (512,), 8, 40),
    Ratio("filter passes 10 % at random", (128,), 3, 4),
    Ratio("filter passes 10 % at random", (512,), 1.7, 4),
    Ratio("filter passes 10 % by time", (128, 512), 8, 12),
)


def verdicts(results: Results) -> Iterator[Verdict]:
    """Every target, at 1M faces unless it says otherwise."""
    for ratio in RATIOS:
        for dim in ratio.dims:
            yield _ratio(results, ratio, f"{dim}-1m", dim, "1M")
    for dim in (128, 512):
        yield _share_of_bandwidth(results, dim)
    yield from _tier(results)
    for dim in (128, 512):
        yield _scaling(results, dim, "one query on two cores", "2 threads", "1 thread", 1.7)
        cores = _cores(results, dim)
        yield _scaling(
            results,
            dim,
            "searches by 8 Python threads",
            "8 Python threads",
            "1 Python thread",
            0.85 * cores,
        )
        yield _memory(results, dim)
    yield _add(results)
    for dim in (128, 512):
        for faces, least_us in ((1_000, 30), (10_000, 60)):
            yield _small(results, dim, faces, least_us)
    for ratio in RATIOS:
        if 128 in ratio.dims and "a call" not in ratio.work:
            yield _ratio(results, ratio, "128-10m", 128, "10M")
    yield _growth(results)


def _missing(work: str, least: str, aim: str = "") -> Verdict:
    return Verdict(work, least, aim, "not measured", None)


def _ratio(results: Results, ratio: Ratio, part: str, dim: int, size: str) -> Verdict:
    work = f"{ratio.work}, {dim}-d, {size}, against {ratio.rival}"
    least, aim = f"{ratio.least:g} x", f"{ratio.aim:g} x"
    ours, rival = results.one(part, ratio.work, OURS), results.one(part, ratio.work, ratio.rival)
    if ours is None or rival is None:
        return _missing(work, least, aim)
    times = rival.each / ours.each
    return Verdict(work, least, aim, f"{times:.1f} x", times >= ratio.least, ours)


def bytes_per_s(results: Results, part: str, cores: int) -> float | None:
    """The read bandwidth measured in the part."""
    row = results.one(part, "read memory", "1 core" if cores == 1 else f"{cores} cores")
    return None if row is None else row.per / row.seconds


def touched_per_s(row: Row) -> float | None:
    """Bytes that the plan touched, over the time a query took."""
    touched = row.facts.get("plan", {}).get("bytes_touched")
    return None if touched is None else float(touched) / row.each


def _share(results: Results, row: Row | None, cores: int) -> float | None:
    if row is None:
        return None
    reached, possible = touched_per_s(row), bytes_per_s(results, row.part, cores)
    return None if reached is None or possible is None else reached / possible


def _share_of_bandwidth(results: Results, dim: int) -> Verdict:
    work = f"one query, {dim}-d, 1M: share of the core's read bandwidth"
    share = _share(results, results.one(f"{dim}-1m", "one query", OURS), 1)
    if share is None:
        return _missing(work, "70 %", "90 %")
    return Verdict(work, "70 %", "90 %", f"{share:.0%}", share >= 0.7)


def _tier(results: Results) -> Iterator[Verdict]:
    for dim in (128, 512):
        work = f"AVX2 tier, one query, {dim}-d, 1M, against {RIVAL} (at its best)"
        parts = [
            part
            for part in (f"{dim}-1m-avx2", f"{dim}-1m")
            if results.machines.get(part, {}).get("isa") == "avx2"
        ]
        pairs = [[results.one(part, "one query", name) for name in (OURS, RIVAL)] for part in parts]
        for ours, rival in pairs:
            if ours is not None and rival is not None:
                times = rival.each / ours.each
                yield Verdict(work, "1.3 x", "2 x", f"{times:.1f} x", times >= 1.3, ours)
                break
        else:
            yield _missing(work, "1.3 x", "2 x")


def _cores(results: Results, dim: int) -> int:
    machine = results.machines.get(f"{dim}-1m", {"cores": 2})
    return min(int(machine["cores"]), 8)


def _scaling(results: Results, dim: int, work: str, many: str, one: str, least: float) -> Verdict:
    part = f"{dim}-1m"
    title = f"{work}, {dim}-d, 1M"
    required = f"{least:.2g} x one, or 85 % of the two-core read bandwidth"
    several = results.one(part, work, f"{OURS}, {many}")
    alone = results.one(part, work, f"{OURS}, {one}")
    if several is None or alone is None:
        return _missing(title, required)
    times = alone.each / several.each
    # The plan of one query tells the bytes; the eight threads run the same queries.
    planned = results.one(part, "one query on two cores", f"{OURS}, 2 threads")
    touched = planned and planned.facts.get("plan", {}).get("bytes_touched")
    possible = bytes_per_s(results, part, 2)
    share = touched / several.each / possible if touched and possible else None
    measured = f"{times:.2f} x" + ("" if share is None else f", {share:.0%}")
    return Verdict(title, required, "", measured, times >= least or (share or 0) >= 0.85)


def _memory(results: Results, dim: int) -> Verdict:
    least = 1.6 * dim + 40
    work = f"bytes a face beside the ids, {dim}-d, 1M"
    row = results.one(f"{dim}-1m", "one query", OURS)
    if row is None:
        return _missing(work, f"<= {least:.0f}")
    stored = row.facts["bytes_stored"] / row.faces
    return Verdict(work, f"<= {least:.0f}", "", f"{stored:.0f}", stored <= least)


def _add(results: Results) -> Verdict:
    row = results.one("128-1m", "add", OURS)
    work = "add, 128-d, ids and two integer fields as lists"
    if row is None:
        return _missing(work, "1 M faces/s", "2 M")
    rate = 1 / row.each
    return Verdict(work, "1 M faces/s", "2 M", f"{rate / 1e6:.2f} M", rate >= 1e6)


def _small(results: Results, dim: int, faces: int, least_us: int) -> Verdict:
    work = f"one query, {dim}-d, {faces:,} faces, one call from Python"
    row = results.one(f"{dim}-{faces // 1000}k", "one query", OURS)
    if row is None:
        return _missing(work, f"<= {least_us} us")
    each_us = row.each * 1e6
    return Verdict(work, f"<= {least_us} us", "", f"{each_us:.0f} us", each_us <= least_us, row)


def _growth(results: Results) -> Verdict:
    work = "one query, 128-d: time at 10M over time at 1M"
    rows = [results.one(part, "one query", OURS) for part in ("128-1m", "128-10m")]
    if rows[0] is None or rows[1] is None:
        return _missing(work, "<= 10 x")
    times = rows[1].each / rows[0].each
    return Verdict(work, "<= 10 x", "", f"{times:.1f} x", times <= 10, rows[1])
