"""From the measured parts to `report.md`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benches.plots import draw
from benches.results import Results, Row, read_results
from benches.targets import bytes_per_s, touched_per_s, verdicts

INTRODUCTION = """\
# Benchmarks

Made by `make bench`; how, and what is fair about it: [README.md](README.md).

A row is the median of its rounds; *spread* is half the distance between the quartiles. *times* is a
row's time over facegrep's in the same run. Every answer was checked: facegrep's assets, their order
and the Total equal those of a brute force over its codes in float64, or the row would not be here.
*recall@10* and *Total off by* compare with a brute force over the float32 vectors (8 queries; 4 at
10M), which nobody who stores less can reproduce to the last face. *cores* is processor time over
time. facegrep's answer has threshold, grouping by asset, exact Total, order and ids;
what another leaves out is said.
"""


def write_report(results_folder: Path, folder: Path) -> None:
    """Write report.md and its plots, if anything was measured."""
    results = read_results(results_folder)
    if not results.rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    plots = draw(results, folder / "plots")
    lines = [INTRODUCTION, *_machines(results), *_verdicts(results)]
    lines += [f"![{path.stem}](plots/{path.name})" for path in plots]
    lines += ["", *_bandwidth(results), *_groups(results)]
    text = "\n".join(lines)
    (folder / "report.md").write_text(text.rstrip() + "\n")


def _machines(results: Results) -> Iterator[str]:
    """One line for all parts that were measured on the same machine and with the same code."""
    parts: dict[str, list[str]] = {}
    for part, machine in results.machines.items():
        packages = ", ".join(
            f"{name} {version or 'not installed'}" for name, version in machine["packages"].items()
        )
        said = (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
            f"tier {machine['isa']}; {packages}; BLAS: {', '.join(machine['blas']) or 'unknown'}; "
            f"commit {results.commits[part]}"
        )
        parts.setdefault(said, []).append(part)
    yield "## Machine\n"
    yield from (f"- {', '.join(names)}: {said}" for said, names in parts.items())
    yield ""


def _verdicts(results: Results) -> Iterator[str]:
    tiers = ", ".join(sorted({machine["isa"] for machine in results.machines.values()}))
    yield "## What it must reach\n"
    yield f"At 1M faces. Set for AVX-512 VNNI, but for the rows that say AVX2; here: {tiers}.\n"
    yield from _table(
        ("work", "at least", "aim", "measured", ""),
        (
            (
                verdict.work,
                verdict.least,
                verdict.aim,
                verdict.measured,
                {True: "reached", False: "**missed**", None: ""}[verdict.reached],
            )
            for verdict in verdicts(results)
        ),
    )
    yield from _missed(results)


def _missed(results: Results) -> Iterator[str]:
    """What a query that was not fast enough spent its time on, by the plan that it followed."""
    rows = [
        (verdict.work, verdict.row)
        for verdict in verdicts(results)
        if verdict.reached is False and verdict.row is not None
    ]
    if not rows:
        return
    yield "Missed, and what the time went into:\n"
    for work, row in rows:
        plan, reached = row.facts.get("plan", {}), touched_per_s(row)
        one = bytes_per_s(results, row.part, 1)
        said = f"- {work}: {_time(row.each)}"
        if reached:
            said += f" for {plan['bytes_touched'] / 1e6:.1f} MB ({plan['strategy']})"
            said += f", {_gb(reached)} GB/s"
        if reached and one:
            said += f": {reached / one:.0%} of what one core reads"
        if plan.get("rows_scanned"):
            said += f"; {row.each * 1e9 / plan['rows_scanned']:.1f} ns a row"
        yield said + "."
    yield ""


def _bandwidth(results: Results) -> Iterator[str]:
    parts = [part for part in results.machines if bytes_per_s(results, part, 1)]
    if not parts:
        return
    yield "## Read bandwidth, and how much of it one query uses\n"
    yield "The fastest of four numpy reductions over 512 MiB (`facegrep/_bench/bandwidth.py`).\n"

    def cells(part: str) -> tuple[str, ...]:
        one, two = bytes_per_s(results, part, 1), bytes_per_s(results, part, 2)
        row = results.one(part, "one query", "facegrep")
        reached = None if row is None else touched_per_s(row)
        share = "" if not (reached and one) else f"{reached / one:.0%}"
        return (part, _gb(one), _gb(two), _gb(reached), share)

    header = ("part", "one core, GB/s", "two cores, GB/s", "one query, GB/s", "share")
    yield from _table(header, map(cells, parts))


def _gb(rate: float | None) -> str:
    return "" if rate is None else f"{rate / 1e9:.1f}"


def _groups(results: Results) -> Iterator[str]:
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in results.rows:
        if row.faces:
            groups.setdefault(row.work, {}).setdefault(row.part, []).append(row)
    for work, by_part in groups.items():
        yield f"## {work[0].upper()}{work[1:]}\n"
        for part, rows in sorted(by_part.items(), key=lambda item: _size(item[1])):
            yield f"**{rows[0].dim}-d, {rows[0].faces:,} faces** ({part}, {rows[0].isa})\n"
            ours_first = sorted(rows, key=lambda row: not row.engine.startswith("facegrep"))
            yield from _table(HEADER, map(_cells, ours_first, [_base(rows)] * len(rows)))


HEADER = (
    "engine", "a query", "spread", "times", "recall@10", "Total off by", "bytes a face", "built in",
    "cores", "leaves out",
)  # fmt: skip


def _cells(row: Row, base: Row | None) -> tuple[str, ...]:
    facts = row.facts
    error = facts.get("total_error")
    searched = "recall" in facts
    return (
        f"**{row.engine}**" if row.engine.startswith("facegrep") else row.engine,
        _time(row.each) if searched else f"{1 / row.each / 1e6:.2f} M faces/s",
        f"+-{row.spread:.0%}",
        "" if base is None else f"{row.each / base.each:.2f}",
        f"{facts['recall']:.3f}" if searched else "",
        "" if not searched else "no Total" if error is None else f"{error:.2f}",
        f"{facts['bytes_stored'] / row.faces:.0f}" if facts["bytes_stored"] else "",
        f"{facts['build_s']:.1f} s",
        f"{facts['cores']:.1f}",
        facts["leaves_out"],
    )


def _base(rows: list[Row]) -> Row | None:
    return next((row for row in rows if row.engine.startswith("facegrep")), None)


def _size(rows: list[Row]) -> tuple[int, int, str]:
    return rows[0].dim, rows[0].faces, rows[0].part


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
    yield ""
