"""How soon a new process has its first answer from a library on disk, and what it reads for it.

    python benches/open_library.py FOLDER                     # 500,000 faces, 20 s to make
    python benches/open_library.py FOLDER --faces 10000000    # 10 GB of disk, some minutes

FOLDER keeps the store. Every row is a new process each time (the median of several, and the range),
whose answer is compared with a brute force over all codes, asset by asset and score by score.
*Disk* means that nothing of the store is in the page cache (posix_fadvise); what a host below keeps
is not ours to know. *ms* is from `facegrep.open`, with the imports that it begins with, to the
answer; *processor* what of that was not waiting; *process* from its start, with Python and numpy.
Modules are compiled, as they are where a package was installed. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM = 128
THRESHOLD = 0.48
QUERIES = 3
CHUNKS = 256  # of the generator's, one call of add_vectors


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def media_id(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def scores(queries: NDArray[np.float32], codes: NDArray[np.int8]) -> NDArray[np.float64]:
    exact = codes.astype(np.float64)
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)[:, None]
    found = queries.astype(np.float64) @ exact.T / (norms * np.linalg.norm(exact, axis=1))
    return np.asarray(found)


def make(folder: Path, faces: int) -> None:
    """Make a store of pairs, and what each query must find in it: brute force, as it goes."""
    import facegrep
    from facegrep._bench.face_like import FaceLike
    from facegrep._bench.library import quantized

    population = FaceLike(DIM)
    queries = population.queries(QUERIES, faces)
    truth: list[dict[str, float]] = [{} for _ in range(QUERIES)]
    chunks = population.faces(faces)
    started = time.perf_counter()
    with facegrep.open(folder / "store") as engine:
        engine.create_library("faces", dim=DIM, threshold=THRESHOLD)
        first = 0
        while part := list(itertools.islice(chunks, CHUNKS)):
            vectors = np.concatenate(part)
            rows = [media_id((first + row) // 2) for row in range(len(vectors))]
            engine.add_vectors("faces", rows, vectors)
            of_query = scores(queries, quantized(vectors))
            for query, row in np.argwhere(of_query >= THRESHOLD):
                found = truth[query]
                found[rows[row]] = max(found.get(rows[row], -1.0), of_query[query, row])
            first += len(vectors)
        added = time.perf_counter()
    say(f"added in {added - started:.0f} s, closed in {time.perf_counter() - added:.1f} s")
    (folder / "truth.json").write_text(json.dumps({"queries": queries.tolist(), "found": truth}))


def open_and_search(store: Path, query: list[float], began_ns: int) -> None:
    """What the new process does."""
    import facegrep

    vector = np.array(query, dtype=np.float32)
    opening, processor = time.perf_counter(), time.process_time()
    with facegrep.open(store, readonly=True) as engine:
        opened = time.perf_counter()
        found = engine.search("faces", vector=vector, limit=0)
        answered, processor = time.perf_counter(), time.process_time() - processor
        process_ms = (time.time_ns() - began_ns) / 1e6
        status = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        engine.search("faces", vector=np.roll(vector, 1), limit=0)
        second = time.perf_counter()
        hits = found.page(0, found.total).hits
        report = {
            "open_ms": (opened - opening) * 1e3,
            "answer_ms": (answered - opened) * 1e3,
            "total_ms": (answered - opening) * 1e3,
            "processor_ms": processor * 1e3,
            "process_ms": process_ms,
            "next_ms": (second - answered) * 1e3,
            "read_mb": int(io["rchar"]) / 1e6,
            "disk_mb": int(io["read_bytes"]) / 1e6,
            "memory_mb": int(status["VmHWM"].split()[0]) * 1024 / 1e6,
            "found": {hit.media_id: hit.score for hit in hits},
        }
    json.dump(report, sys.stdout)


def drop_from_memory(store: Path) -> None:
    for path in store.rglob("*"):
        # Never a database's: closing any descriptor of one drops this process's locks on it, but
        # this process has none open.
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def runs(
    store: Path, truth: dict[str, Any], repeats: int, *, from_disk: bool
) -> Iterator[dict[str, float]]:
    for repeat in range(repeats):
        number = repeat % QUERIES
        if from_disk:
            drop_from_memory(store)
        arguments = ["--open", json.dumps(truth["queries"][number]), str(time.time_ns())]
        command = [sys.executable, __file__, str(store), *arguments]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        report: dict[str, Any] = json.loads(run.stdout)
        expected = truth["found"][number]
        found = report.pop("found")
        assert found.keys() == expected.keys(), "not the assets of the brute force"
        for media, score in expected.items():
            assert abs(found[media] - score) < 1e-6, (media, found[media], score)
        yield report


COLUMNS = {
    "processor_ms": "processor",
    "open_ms": "open, with imports",
    "answer_ms": "first answer",
    "process_ms": "process",
    "next_ms": "next answer",
    "read_mb": "read, MB",
    "disk_mb": "of it from disk",
    "memory_mb": "memory, MB",
}


def row(name: str, reports: list[dict[str, float]]) -> str:
    totals = [report["total_ms"] for report in reports]
    medians = [statistics.median(report[column] for report in reports) for column in COLUMNS]
    return (
        f"| {name} | {statistics.median(totals):.0f} ({min(totals):.0f} to {max(totals):.0f}) | "
        f"{' | '.join(f'{median:.0f}' for median in medians)} |"
    )


def insert_one(store: Path, truth: dict[str, Any]) -> None:
    """One asset more, which every query must find: its faces are the queries themselves."""
    import facegrep
    from facegrep._bench.library import quantized

    queries = np.array(truth["queries"], dtype=np.float32)
    name = f"one more {len(truth['found'][0])}"
    with facegrep.open(store) as engine:
        engine.add_vectors("faces", [name] * len(queries), queries)
    for number, best in enumerate(scores(queries, quantized(queries)).max(axis=1)):
        truth["found"][number][name] = float(best)


def erase_one(store: Path, truth: dict[str, Any]) -> float:
    """The asset that was inserted last is erased; in seconds."""
    import facegrep

    *_, name = truth["found"][0]
    with facegrep.open(store) as engine:
        began = time.perf_counter()
        assert engine.erase("faces", [name]).media_ids == (name,)
        seconds = time.perf_counter() - began
    for found in truth["found"]:
        del found[name]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--open", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_and_search(options.folder, json.loads(options.open[0]), int(options.open[1]))
        return
    folder = options.folder / str(options.faces)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "truth.json").exists():
        make(folder, options.faces)
    truth = json.loads((folder / "truth.json").read_text())
    store = folder / "store"
    vectors_mb = sum(path.stat().st_size for path in (store / "v").iterdir()) / 1e6
    saved_mb = sum(path.stat().st_size for path in (store / "cache").iterdir()) / 1e6
    say(f"{options.faces:,} faces, {DIM}-d: {vectors_mb:.0f} MB of vectors, {saved_mb:.0f} saved\n")
    say(f"| | ms | {' | '.join(COLUMNS.values())} |")
    say("|---" * (2 + len(COLUMNS)) + "|")
    list(runs(store, truth, 1, from_disk=False))  # compiles
    say(row("saved index, disk", [*runs(store, truth, options.repeats, from_disk=True)]))
    say(row("saved index", [*runs(store, truth, options.repeats, from_disk=False)]))
    insert_one(store, truth)
    (folder / "truth.json").write_text(json.dumps(truth))
    say(row("after one insert, disk", [*runs(store, truth, options.repeats, from_disk=True)]))
    say(row("after one insert", [*runs(store, truth, options.repeats, from_disk=False)]))
    if options.faces <= 1_000_000:
        seconds = erase_one(store, truth)
        (folder / "truth.json").write_text(json.dumps(truth))
        say(row("after one erasure", [*runs(store, truth, options.repeats, from_disk=False)]))
        hidden = store.with_name("saved")
        (store / "cache").rename(hidden)
        try:
            say(row("nothing saved", [*runs(store, truth, 3, from_disk=False)]))
        finally:
            hidden.rename(store / "cache")
        say(f"\nThe erasure took {seconds:.1f} s.")


if __name__ == "__main__":
    main()
