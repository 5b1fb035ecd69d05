"""Many readers or one writer: the index itself sees to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import facegrep


def test_searches_beside_a_writer_see_whole_adds_and_whole_removals() -> None:
    rng = np.random.default_rng(1)
    index = facegrep.FaceIndex(32)
    batch = rng.standard_normal((50, 32)).astype(np.float32)
    done = threading.Event()

    def write() -> None:
        for round_ in range(60):
            index.add([f"{round_}/{i}" for i in range(50)], batch, {"intField1": [round_] * 50})
            if round_ >= 3:
                index.remove([f"{round_ - 3}/{i}" for i in range(50)])
        done.set()

    def read() -> int:
        searches = 0
        while not done.is_set():
            total = index.search(batch[0], threshold=-1.0).total
            assert total % 50 == 0
            searches += 1
        return searches

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        pool.submit(write).result(timeout=60)
        assert all(reader.result(timeout=60) > 0 for reader in readers)
    assert index.media_count == 150


def test_the_gil_is_free_while_a_search_runs() -> None:
    rng = np.random.default_rng(2)
    index = facegrep.FaceIndex(256)
    index.add([f"{i}" for i in range(40_000)], rng.standard_normal((40_000, 256)))
    queries = rng.standard_normal((256, 256))
    ticks = 0
    finished = threading.Event()

    def search() -> None:
        index.search(queries, threshold=0.9, threads=1)
        finished.set()

    worker = threading.Thread(target=search)
    worker.start()
    while not finished.is_set():  # with the GIL held, this loop would not turn once
        ticks += 1
        time.sleep(0.0005)
    worker.join()
    assert ticks > 10


def test_an_add_keeps_alive_the_ids_and_strings_that_nobody_else_holds() -> None:
    count = 20_000
    index = facegrep.FaceIndex(1)
    index.add(
        (f"media/{i}" for i in range(count)),  # type: ignore[arg-type]
        np.ones((count, 1), np.float32),
        {"strField1": (f"text {i}" for i in range(count))},  # type: ignore[dict-item]
    )
    assert index.search([1], where={"strField1": "text 777"}).media_ids == ["media/777"]
    assert index.media_count == count


def test_a_query_that_is_written_to_during_the_search_is_the_one_that_was_given() -> None:
    rng = np.random.default_rng(4)
    index = facegrep.FaceIndex(64)
    x = rng.standard_normal((30_000, 64)).astype(np.float32)
    index.add([f"{i}" for i in range(len(x))], x)
    queries = np.repeat(x[:1], 64, axis=0)
    expected = index.search(x[0], limit=5).media_ids
    searching = ThreadPoolExecutor(1).submit(index.search, queries, limit=5, threads=1)
    while not searching.done():  # the search has the GIL until it has taken what it needs
        time.sleep(0.002)
        for query in queries:
            query[:] = -x[0]
    opposite = index.search(-x[0], limit=5).media_ids
    for result in searching.result():  # the opposite, if the writer was faster; never a mixture
        assert result.media_ids in (expected, opposite)


SEARCH_ACROSS_A_FORK = """
import os, sys
import numpy as np
import facegrep

def threads():
    return len(os.listdir("/proc/self/task"))

index = facegrep.FaceIndex(64)
x = np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32)
index.add([f"m{k // 2}" for k in range(5000)], x)
idle = threads()
index.search(x[0], threshold=0.1, threads=1)
assert threads() == idle
expected = index.search(x[0], threshold=0.1, threads=4).total
assert idle < threads() <= idle + max(1, os.cpu_count() - 1)
child = os.fork()
if child == 0:
    assert threads() == 1
    found = index.search(x[0], threshold=0.1, threads=4).total
    os._exit(0 if found == expected and threads() > 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_workers_start_with_the_first_search_that_can_use_them_and_again_after_a_fork() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SEARCH_ACROSS_A_FORK],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0)


INTERRUPT_A_LONG_SEARCH = """
import signal, time
import numpy as np
import facegrep

rng = np.random.default_rng(0)
x = rng.standard_normal((20_000, 128)).astype(np.float32)
index = facegrep.FaceIndex(128)
index.add([f"{i}" for i in range(len(x))], x)
signal.signal(signal.SIGALRM, signal.default_int_handler)
for threads in (1, 2):
    queries, whole_s = x[:2000], 0.0
    while whole_s < 0.4:  # long beside the 50 ms between two looks at the signals
        queries = np.concatenate([queries, queries])
        started = time.perf_counter()
        index.search(queries, threshold=0.9, threads=threads)
        whole_s = time.perf_counter() - started
    signal.setitimer(signal.ITIMER_REAL, whole_s / 8)
    try:
        index.search(queries, threshold=0.9, threads=threads)
    except KeyboardInterrupt:
        print("interrupted")
    assert index.search(x[5], limit=1).media_ids == ["5"]
"""


def test_ctrl_c_ends_a_long_search_early_and_leaves_the_index_usable() -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPT_A_LONG_SEARCH], capture_output=True, text=True, timeout=120
    )
    assert (run.stdout, run.stderr) == ("interrupted\ninterrupted\n", "")
