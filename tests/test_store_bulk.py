"""A bulk insert that was killed goes on when it is repeated, and writes nothing twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import facegrep

ASSETS, FACES, DIM, ROWS_A_COMMIT = 6_000, 2, 16, 200
COMMITS = ASSETS * FACES // ROWS_A_COMMIT

ADD = f"""
import sys, numpy as np, facegrep
from facegrep.engine import _vector_rows
_vector_rows.CHUNK_ROWS = {ROWS_A_COMMIT}
ids = [f"{{i * 7919 % {ASSETS}:05}}" for i in range({ASSETS}) for _ in range({FACES})]
vectors = np.random.default_rng(1).standard_normal(({ASSETS * FACES}, {DIM}), dtype=np.float32)
with facegrep.open(sys.argv[1]) as engine:
    done = engine.add_vectors("lib", ids, vectors, progress=lambda *rows: print(*rows, flush=True))
    print(done.added, done.unchanged, done.faces, flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ADD, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def catalog(path: Path) -> dict[str, tuple[object, ...]]:
    """Every row of media, whole, by its id."""
    connection = sqlite3.connect(path / "catalog.db")
    rows = {row[2]: row for row in connection.execute("SELECT * FROM media")}
    connection.close()
    return rows


def vectors_in(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (path / "v").iterdir()}


@pytest.mark.parametrize("seed", range(3))
def test_a_bulk_insert_that_was_killed_goes_on_and_touches_nothing_that_was_stored(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=0.2)
    stored: dict[str, tuple[object, ...]] = {}
    kills = commits = 0
    while commits < COMMITS // 2:
        with start(path) as adding:
            assert adding.stdout is not None
            # Those that are stored already are acknowledged at once.
            for _ in range(commits + int(rng.integers(1, 6))):
                acknowledged = int(adding.stdout.readline().split()[0])
            time.sleep(float(rng.random()) * 0.01)
            adding.kill()
        kills += 1
        with facegrep.open(path) as engine:  # what was cut off is undone
            faces = engine.library("lib").face_count
            assert acknowledged <= faces
            assert faces % ROWS_A_COMMIT == 0  # whole commits
            commits = faces // ROWS_A_COMMIT
        now = catalog(path)
        assert stored.items() <= now.items()
        stored = now
    assert kills > 1
    assert commits < COMMITS

    with start(path) as adding:
        assert adding.stdout is not None
        *_, last = adding.stdout.read().splitlines()
        assert adding.wait() == 0
    rest = ASSETS - len(stored)
    assert tuple(map(int, last.split())) == (rest, len(stored), rest * FACES)
    complete = catalog(path)
    assert stored.items() <= complete.items()
    assert len(complete) == ASSETS

    files = vectors_in(path)
    with start(path) as adding:
        assert adding.stdout is not None
        *_, last = adding.stdout.read().splitlines()
    assert tuple(map(int, last.split())) == (0, ASSETS, 0)
    assert (catalog(path), vectors_in(path)) == (complete, files)

    made = np.random.default_rng(1).standard_normal((ASSETS * FACES, DIM), dtype=np.float32)
    with facegrep.open(path) as engine:
        assert engine.verify().ok
        for asset in rng.integers(ASSETS, size=200).tolist():
            found = engine.get("lib", f"{asset * 7919 % ASSETS:05}", vectors=True)
            codes = facegrep._core.quantize(made[FACES * asset : FACES * (asset + 1)])
            np.testing.assert_array_equal(np.array([face.code for face in found.faces]), codes)
