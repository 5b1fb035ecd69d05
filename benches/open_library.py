"""How soon a new process has its first answer from a library on disk, and what it reads for it.

    python benches/open_library.py FOLDER                     # 500,000 faces, 20 s to make
    python benches/open_library.py FOLDER --faces 10000000    # 10 GB of disk, some minutes

FOLDER keeps the store. Every row is a new process each time (the median of several), whose answer
is compared with a brute force over all codes, asset by asset and score by score. *Disk* means that
nothing of the store is in the page cache (posix_fadvise); what a host below keeps is not ours to
know. *ms* is from `facegrep.open` to the answer; *process* from its start, with Python and numpy.
Prints a Markdown table.
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
    opening = time.perf_counter()
    with facegrep.open(store, readonly=True) as engine:
        opened = time.perf_counter()
        found = engine.search("faces", vector=vector, limit=0)
        answered = time.perf_counter()
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
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        report: dict[str, Any] = json.loads(run.stdout)
        expected = truth["found"][number]
        found = report.pop("found")
        assert found.keys() == expected.keys(), "not the assets of the brute force"
        for media, score in expected.items():
            assert abs(found[media] - score) < 1e-6, (media, found[media], score)
        yield report


def row(name: str, reports: list[dict[str, float]]) -> str:
    median = {key: statistics.median(report[key] for report in reports) for key in reports[0]}
    return (
        f"| {name} | {median['open_ms'] + median['answer_ms']:.0f} | {median['open_ms']:.0f} | "
        f"{median['answer_ms']:.0f} | {median['process_ms']:.0f} | {median['next_ms']:.0f} | "
        f"{median['read_mb']:.0f} | {median['disk_mb']:.0f} | {median['memory_mb']:.0f} |"
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
    say(
        "| | ms | open, with imports | first answer | process | next answer"
        " | read, MB | of it from disk | memory, MB |"
    )
    say("|---|---|---|---|---|---|---|---|---|")
    say(row("saved index, disk", [*runs(store, truth, options.repeats, from_disk=True)]))
    say(row("saved index", [*runs(store, truth, options.repeats, from_disk=False)]))
    insert_one(store, truth)
    (folder / "truth.json").write_text(json.dumps(truth))
    say(row("after one insert, disk", [*runs(store, truth, options.repeats, from_disk=True)]))
    say(row("after one insert", [*runs(store, truth, options.repeats, from_disk=False)]))
    if options.faces <= 1_000_000:
        hidden = store.with_name("saved")
        (store / "cache").rename(hidden)
        try:
            say(row("nothing saved", [*runs(store, truth, 3, from_disk=False)]))
        finally:
            hidden.rename(store / "cache")


if __name__ == "__main__":
    main()
