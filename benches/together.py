"""Faces of concurrent calls: one run of the network for all, or each in its own thread? A script.

    python -m benches.together --precision fp32

A run of n is what a batcher would make of n calls that come together; two threads at it are what
it would keep busy on two cores. Embeddings must be those of single runs, bit for bit where the
CPU runs them. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from benches.served import PORTRAITS
from facegrep.media import read_picture
from facegrep.vision import FaceAnalyzer

SIZES = (1, 2, 4, 8)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "int8"], default="fp32")
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args(arguments)
    analyzer = FaceAnalyzer(device=options.device, precision=options.precision)
    picture = read_picture(sorted(PORTRAITS.rglob("*.jpg"))[0]).pixels
    faces = analyzer.align(picture, analyzer.detect([picture])[0])[:1]
    # Lit differently, so that a mix-up of rows shows.
    crops = np.concatenate([(faces * (1 - 0.05 * n)).astype(np.uint8) for n in range(max(SIZES))])
    embed, look = analyzer._embedder.embed, analyzer._detector.look
    canvases = [analyzer._detector.canvas(picture)] * max(SIZES)
    singly = np.concatenate([embed(crop[np.newaxis])[0] for crop in crops])
    together = embed(crops)[0]
    same = np.array_equal(singly, together)
    if not np.allclose(singly, together, atol=1e-3) or (options.device == "cpu" and not same):
        raise SystemExit(f"embeddings differ by {np.abs(singly - together).max():.2g}")
    if len(look(canvases)) != max(SIZES):
        raise SystemExit("not a list of faces for each picture")
    cores = os.cpu_count() or 1
    write = sys.stdout.write
    write(f"{analyzer.provider}, {options.precision}, {cores} cores; the same bits: {same}\n\n")
    write(f"| a second | n | one run of n | n threads, singly | {cores} threads, runs of n |\n")
    write("|---|---|---|---|---|\n")
    for name, run in (
        ("embedded", lambda n: embed(crops[:n])),
        ("detected", lambda n: look(canvases[:n])),
    ):
        for size in SIZES:
            rates = [
                size * calls_per_s(run, size, 1, options.seconds),
                calls_per_s(run, 1, size, options.seconds),
                size * calls_per_s(run, size, cores, options.seconds),
            ]
            cells = " | ".join(f"{rate:.0f}" for rate in rates)
            write(f"| {name} | {size} | {cells} |\n")
            sys.stdout.flush()


def calls_per_s(run: Callable[[int], object], size: int, threads: int, seconds: float) -> float:
    """How often threads together get through, each one call after the other."""
    counts = [0] * threads
    began_s = time.perf_counter()

    def work(number: int) -> None:
        while time.perf_counter() < began_s + seconds:
            run(size)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main(sys.argv[1:])
