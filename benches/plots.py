"""Four pictures of the results; none without matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from benches.results import Results, Row

_COLOURS: Final = {
    "facegrep": "black",
    "faiss SQ8": "tab:red",
    "faiss SQ8, k grows + grouping": "tab:brown",
    "faiss Flat": "tab:pink",
    "usearch exact": "tab:gray",
    "numpy": "tab:olive",
    "zvec flat": "tab:purple",
    "qdrant edge": "tab:blue",
    "lancedb flat": "tab:cyan",
    "usearch HNSW": "tab:green",
    "hnswlib": "tab:orange",
}
_STYLES: Final = {", cold": "s--", ", best 10": "^:"}
_BATCHES: Final = {"one query": 1, "16 queries a call": 16, "64 queries a call": 64}


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the plots that there are results for; their paths."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    drawn = [
        _draw(results, "latency-by-library-size", _by_size, "faces", folder),
        _draw(results, "latency-by-selectivity", _by_selectivity, "share that passes", folder),
        _draw(results, "latency-by-batch-size", _by_batch, "queries a call", folder),
        _draw(results, "recall-against-latency", _by_recall, "recall@10", folder, linear=True),
    ]
    return [path for path in drawn if path is not None]


Points = dict[str, list[tuple[float, float]]]  # engine -> (x, seconds a query)


def _draw(
    results: Results,
    name: str,
    points_of: Callable[[Results, int], Points],
    x_label: str,
    folder: Path,
    *,
    linear: bool = False,
) -> Path | None:
    from matplotlib import pyplot

    by_dim = {dim: points for dim in (128, 512) if (points := points_of(results, dim))}
    if not by_dim:
        return None
    figure, axes = pyplot.subplots(1, len(by_dim), figsize=(8 * len(by_dim), 5), squeeze=False)
    for axis, (dim, points) in zip(axes[0], by_dim.items(), strict=True):
        for engine in sorted(points, key=_rank):
            _line(axis, engine, points[engine])
        axis.set_title(f"{dim} dimensions, one thread")
        axis.set_yscale("log")
        if not linear:
            axis.set_xscale("log")
        axis.set_xlabel(x_label)
        axis.set_ylabel("ms a query")
        axis.grid(visible=True, which="both", alpha=0.25)
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)
    return path


def _rank(engine: str) -> tuple[int, str]:
    return list(_COLOURS).index(_without_variant(engine)), engine


def _without_variant(engine: str) -> str:
    for variant in _STYLES:
        engine = engine.removesuffix(variant)
    return engine


def _line(axis: Any, engine: str, points: Iterable[tuple[float, float]]) -> None:
    base = _without_variant(engine)
    x, seconds = zip(*sorted(points), strict=True)
    axis.plot(
        x,
        [1000 * each for each in seconds],
        _STYLES.get(engine.removeprefix(base), "o-"),
        color=_COLOURS[base],
        linewidth=2.2 if base == "facegrep" else 1.2,
        markersize=4,
        label=engine,
    )


def _points(rows: Iterable[tuple[float, Row]]) -> Points:
    points: Points = {}
    for x, row in rows:
        points.setdefault(row.engine, []).append((x, row.each))
    return points


def _default(row: Row) -> bool:
    """Not a part with a forced tier, and not the same engine measured again beside others."""
    return row.part.partition("-")[0].isdigit() and row.part.count("-") == 1


def _by_size(results: Results, dim: int) -> Points:
    rows = [row for row in results.find("one query", dim) if _default(row)]
    return _points((row.faces, row) for row in rows) if len({row.faces for row in rows}) > 1 else {}


def _by_selectivity(results: Results, dim: int) -> Points:
    rows = [
        row
        for row in results.rows
        if row.dim == dim and row.work.startswith("filter") and row.work.endswith("at random")
    ]
    largest = max((row.faces for row in rows if row.faces <= 1_000_000), default=0)
    shares = ((float(row.work.split()[2]) / 100, row) for row in rows if row.faces == largest)
    return _points((share, row) for share, row in shares if _default(row) or "store" in row.part)


def _by_batch(results: Results, dim: int) -> Points:
    rows = [row for row in results.rows if row.dim == dim and row.work in _BATCHES]
    rows = [row for row in rows if _default(row) and row.engine != "facegrep, best 10"]
    largest = max((row.faces for row in rows if row.faces <= 1_000_000), default=0)
    return _points((_BATCHES[row.work], row) for row in rows if row.faces == largest)


def _by_recall(results: Results, dim: int) -> Points:
    rows = results.find("time against recall", dim)
    largest = max((row.faces for row in rows), default=0)
    points: Points = {}
    for row in rows:
        if row.faces == largest:
            name = row.engine.partition(", ef ")[0]
            points.setdefault(name, []).append((row.facts["recall"], row.each))
    return points
