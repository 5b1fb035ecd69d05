"""How fast a million faces become durable; a script: ``python -m benches.bulk [FACES] [FOLDER]``.

Pairs of 128-d faces under random UUIDs, the worst order for the catalog's index, and under
ascending ids. What was stored is asserted, each time: the count, the Total, codes of a sample,
every checksum, and that the same again is a no-op.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import facegrep

DIM = 128
PAIR = 2


def media_ids(assets: int, *, random: bool) -> list[str]:
    chance = np.random.default_rng(2)
    if random:
        return [str(uuid.UUID(bytes=chance.bytes(16), version=4)) for _ in range(assets)]
    return [f"{number:036}" for number in range(assets)]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def require_stored(engine: facegrep.Engine, ids: list[str], vectors: NDArray[np.float32]) -> None:
    library = engine.library("bulk")
    assert (library.media_count, library.face_count) == (len(ids), len(vectors))
    for asset in np.random.default_rng(3).integers(len(ids), size=50).tolist():
        rows = vectors[PAIR * asset : PAIR * asset + PAIR]
        codes = [face.code for face in engine.get("bulk", ids[asset], vectors=True).faces]
        np.testing.assert_array_equal(np.array(codes), facegrep._core.quantize(rows))
    assert engine.verify("bulk").ok
    assert engine.search("bulk", vector=vectors[0]).total == len(ids)


def measure(faces: int, folder: Path | None, *, random: bool) -> str:
    vectors = np.random.default_rng(1).standard_normal((faces, DIM), dtype=np.float32)
    ids = media_ids(faces // PAIR, random=random)
    rows = [media_id for media_id in ids for _ in range(PAIR)]
    with (
        tempfile.TemporaryDirectory(dir=folder) as path,
        facegrep.open(Path(path) / "store") as engine,
    ):
        engine.create_library("bulk", dim=DIM, threshold=-1.0)
        before_mib = peak_mib()
        commits = [time.perf_counter()]
        cpu = time.process_time()
        stored = engine.add_vectors(
            "bulk", rows, vectors, progress=lambda *_: commits.append(time.perf_counter())
        )
        cpu, grown_mib = time.process_time() - cpu, peak_mib() - before_mib
        seconds = commits[-1] - commits[0]
        assert (stored.added, stored.faces) == (len(ids), faces)
        again_began = time.perf_counter()
        again = engine.add_vectors("bulk", rows, vectors)
        again_s = time.perf_counter() - again_began
        assert (again.added, again.unchanged) == (0, len(ids))
        require_stored(engine, ids, vectors)
    return (
        f"{'UUIDs' if random else 'ascending ids'}: {faces / seconds:,.0f} faces/s"
        f" ({seconds:.2f} s, {cpu:.2f} s of processor), longest step"
        f" {max(np.diff(commits)):.2f} s, {grown_mib:.0f} MiB more memory;"
        f" the same again {faces / again_s:,.0f} faces/s"
    )


def main() -> None:
    faces = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    for random in (True, False):
        sys.stdout.write(measure(faces - faces % PAIR, folder, random=random) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
