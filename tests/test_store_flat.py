"""What a long life of a store costs: handles, the log and threads stay as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import facegrep
from facegrep.store import _database

DIM = 16
VECTORS = np.random.default_rng(8).normal(size=(40, DIM)).astype(np.float32)


def handles() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def live(engine: facegrep.Engine, reader: facegrep.Engine, step: int) -> None:
    """A bit of everything."""
    ids = [f"{step}/{number}" for number in range(40)]
    engine.add_vectors("lib", ids, VECTORS)
    found = engine.search("lib", vector=VECTORS[0])
    engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, found.embedding, found)
    engine.update("lib", ids[0], title=str(step))
    engine.delete("lib", ids[:30])
    if step % 10 == 0:
        engine.erase("lib", ids[30:35])
        engine.compact("lib", min_dead_share=0)
        engine.verify("lib")
    assert reader.search("lib", vector=VECTORS[39]).media_ids[0].endswith("/39")
    assert reader.get("lib", ids[39], vectors=True).title is None


def test_handles_and_the_log_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with facegrep.open(path) as engine, facegrep.open(path, readonly=True) as reader:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        for step in range(11):
            live(engine, reader, step)
        before = handles()
        for step in range(11, 71):
            live(engine, reader, step)
        assert handles() == before
        for name in ("catalog.db-wal", "session.db-wal"):
            assert (path / name).stat().st_size <= _database._WAL_BYTES + (4 << 20)


def test_the_log_is_emptied_when_it_is_long_and_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=4, threshold=-1.0)
        longest = 0
        for step in range(60):
            ids = [f"{step}/{number:04}{'x' * 400}" for number in range(1000)]
            engine.add_vectors("lib", ids, np.ones((1000, 4)))
            longest = max(longest, (path / "catalog.db-wal").stat().st_size)
        assert longest <= _database._WAL_BYTES + (4 << 20)
        assert (path / "catalog.db").stat().st_size > 20_000_000


CHILD = """
import sys
import facegrep, numpy as np
with facegrep.open(sys.argv[1], readonly=True) as engine:
    for line in sys.stdin:
        print(" ".join(engine.search("lib", vector=np.ones(4)).media_ids), flush=True)
"""


def test_a_search_of_another_process_after_a_delete_returned_does_not_show_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=4, threshold=-1.0)
        engine.add_vectors("lib", [str(n) for n in range(9)], np.ones((9, 4)))
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        left = [str(n) for n in range(9)]
        for remove in (engine.delete, engine.erase, engine.delete, engine.erase):
            remove("lib", [left.pop(0)])
            child.stdin.write("search\n")
            child.stdin.flush()
            assert child.stdout.readline().split() == left
        child.stdin.close()
        assert child.wait() == 0
        child.stdout.close()
