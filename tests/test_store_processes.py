"""Several engines on one store: in threads, in other processes, and across a fork."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import facegrep


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=4, threshold=0.5)
        engine.add_vectors("lib", ["m"], [[1, 2, 3, 4]])
        yield engine


def in_another_process(path: Path, code: str) -> str:
    """Run code on `engine`, opened in a process of its own; returns what it printed."""
    script = f"import facegrep\nwith facegrep.open({str(path)!r}) as engine:\n" + textwrap.indent(
        textwrap.dedent(code), "    "
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def in_a_fork(work: Callable[[], None]) -> None:
    """Run in a forked child; fails unless it ends well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: there are threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_engines_see_each_others_writes_at_once(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    with facegrep.open(tmp_path / "store") as other:
        for number in range(20):
            here, there = (engine, other) if number % 2 else (other, engine)
            here.add_vectors("lib", [f"n{number}"], [[1, 2, 3, 4]], {"intField1": [number]})
            where = {"intField1": number}
            assert there.search("lib", vector=[1, 2, 3, 4], where=where).total == 1
            here.update("lib", f"n{number}", fields={"intField1": 100 + number})
            assert there.search("lib", vector=[1, 2, 3, 4], where=where).total == 0
            there.delete("lib", media_ids=[f"n{number}"])
            result = here.search("lib", vector=[1, 2, 3, 4])
            assert (result.total, result.media_ids) == (1, ["m"])


def test_a_search_sees_what_another_process_wrote(engine: facegrep.Engine, tmp_path: Path) -> None:
    assert engine.search("lib", vector=[1, 2, 3, 4]).total == 1
    in_another_process(
        tmp_path / "store",
        """
        engine.delete("lib", media_ids=["m"])
        engine.add_vectors("lib", ["n", "o"], [[1, 2, 3, 4], [4, 3, 2, 1]])
        """,
    )
    assert engine.search("lib", vector=[1, 2, 3, 4]).media_ids == ["n", "o"]
    in_another_process(
        tmp_path / "store",
        "engine.set_face_index('lib', 'deactive')\nengine.set_face_index('lib', 'active')",
    )
    assert engine.search("lib", vector=[1, 2, 3, 4]).total == 0
    in_another_process(
        tmp_path / "store",
        """
        engine.drop_library("lib")
        engine.create_library("lib", dim=2, threshold=0.5)
        engine.add_vectors("lib", ["p"], [[1, 1]])
        """,
    )
    assert engine.search("lib", vector=[1, 2]).media_ids == ["p"]
    assert list((tmp_path / "store" / "v").glob("2-*")) == []  # the first library's are gone


def test_a_writer_gives_up_when_another_process_holds_the_lock(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    engine._shared.store.catalog.lock_timeout_s = 0.05
    with (tmp_path / "store" / "writer.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(facegrep.StoreBusy, match="nothing was written"):
            engine.delete("lib", media_ids=["m"])
        assert time.monotonic() - started < 5
        # Reading, and keeping an answer, wait for no writer of the catalog.
        result = engine.search("lib", vector=[1, 2, 3, 4])
        engine.answers.put("lib", "token", bytes(32), bytes(32), result.embedding, result)
        fcntl.flock(other, fcntl.LOCK_UN)
    assert engine.delete("lib", media_ids=["m"]) == 1


def test_a_writer_gives_up_when_another_thread_holds_the_lock(engine: facegrep.Engine) -> None:
    catalog = engine._shared.store.catalog
    catalog.lock_timeout_s = 0.05
    with catalog.locked(), pytest.raises(facegrep.StoreBusy):
        engine.delete("lib", media_ids=["m"])
    assert engine.delete("lib", media_ids=["m"]) == 1


def test_a_lock_file_that_was_replaced_does_not_let_two_writers_in(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    lock = tmp_path / "store" / "writer.lock"
    engine._shared.store.catalog.lock_timeout_s = 1.0
    errors: list[BaseException] = []

    def write() -> None:
        try:
            engine.delete("lib", media_ids=["m"])
        except facegrep.StoreBusy as error:
            errors.append(error)

    waiting = threading.Thread(target=write)
    with lock.open("rb") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        waiting.start()
        time.sleep(0.2)  # it waits for the file that is there now
        lock.unlink()
        with lock.open("wb") as new:
            fcntl.flock(new, fcntl.LOCK_EX)
            fcntl.flock(old, fcntl.LOCK_UN)
            waiting.join()
    assert len(errors) == 1
    assert engine.delete("lib", media_ids=["m"]) == 1


def test_processes_that_write_at_once_lose_nothing(engine: facegrep.Engine, tmp_path: Path) -> None:
    code = """
    for number in range(30):
        engine.add_vectors("lib", [f"%s/{number}"], [[1, 2, 3, 4]])
    """
    threads = [
        threading.Thread(target=in_another_process, args=(tmp_path / "store", code % name))
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    seen = 1
    while any(thread.is_alive() for thread in threads):
        total = engine.search("lib", vector=[1, 2, 3, 4]).total
        assert total >= seen
        seen = total
    for thread in threads:
        thread.join()
    assert engine.search("lib", vector=[1, 2, 3, 4]).total == 61
    assert len(engine.media("lib")) == 61


def test_an_engine_opened_before_a_fork_is_refused_after_it(engine: facegrep.Engine) -> None:
    result = engine.search("lib", vector=[1, 2, 3, 4])
    engine.answers.put("lib", "token", bytes(32), bytes(32), result.embedding, result)
    uses: list[Callable[[], object]] = [
        lambda: engine.libraries(),
        lambda: engine.search("lib", vector=[1, 2, 3, 4]),
        lambda: engine.add_vectors("lib", ["n"], [[1, 2, 3, 4]]),
        lambda: engine.delete("lib", media_ids=["m"]),
        lambda: engine.answers.get("lib", "token"),
        lambda: engine.for_account("other"),
        lambda: result.page(0, 1),
    ]

    def child() -> None:
        for use in uses:
            with pytest.raises(facegrep.ForkError, match=r"facegrep\.open again"):
                use()
        engine.close()  # no harm

    in_a_fork(child)
    assert engine.search("lib", vector=[1, 2, 3, 4]).media_ids == ["m"]


def test_a_child_that_ends_leaves_the_parents_log_alone(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    """Closing an inherited connection would fold the log and remove it under the parent."""
    wal = tmp_path / "store" / "catalog.db-wal"
    engine.add_vectors("lib", ["n"], [[1, 2, 3, 4]])
    size = wal.stat().st_size
    script = textwrap.dedent(
        f"""
        import gc, os, facegrep
        engine = facegrep.open({str(tmp_path / "own")!r})
        engine.set_config("ims-default-search-lib", "something")
        wal = {str(tmp_path / "own" / "catalog.db-wal")!r}
        size = os.stat(wal).st_size
        if (child := os.fork()) == 0:
            engine.close()
            del engine
            gc.collect()
            raise SystemExit(0)  # and the interpreter takes everything down
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert os.stat(wal).st_size == size > 0
        with facegrep.open({str(tmp_path / "own")!r}) as other:
            assert other.library("ims-default-search-lib").config == "something"
        engine.set_config("ims-default-search-lib", "more")
        engine.close()
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert wal.stat().st_size == size


def test_a_child_that_outlives_its_parent_leaves_the_log_of_others_alone(tmp_path: Path) -> None:
    """It has the store's connections still, and would be the last to close them."""
    path = tmp_path / "store"
    facegrep.open(path).close()
    gate, opened = os.pipe()
    script = textwrap.dedent(
        f"""
        import gc, os, facegrep
        engine = facegrep.open({str(path)!r})
        engine.set_config("ims-default-search-lib", "parent")
        if os.fork() == 0:
            os.read({gate}, 1)  # until the others are gone
            del engine
            gc.collect()
            os.write(1, b"x")
            os._exit(0)
        engine.close()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, pass_fds=[gate]
    ) as parent:
        parent.wait()
        in_another_process(
            path, 'engine.set_config("ims-default-search-lib", "other")\nimport os\nos._exit(0)'
        )
        wal = path / "catalog.db-wal"
        size = wal.stat().st_size
        os.write(opened, b"x")
        assert parent.stdout is not None
        assert parent.stdout.read() == b"x"
    os.close(gate)
    os.close(opened)
    assert wal.stat().st_size == size > 0
    with facegrep.open(path) as engine:
        assert engine.library("ims-default-search-lib").config == "other"


def test_a_child_may_open_the_store_for_itself(engine: facegrep.Engine, tmp_path: Path) -> None:
    def child() -> None:
        with facegrep.open(tmp_path / "store") as own:
            own.add_vectors("lib", ["child"], [[1, 2, 3, 4]])

    in_a_fork(child)
    assert engine.search("lib", vector=[1, 2, 3, 4]).media_ids == ["child", "m"]


def test_a_fork_during_a_commit_does_not_keep_the_lock(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    """The child inherits the lock's descriptor; it must not hold the lock after the parent dies."""
    script = textwrap.dedent(
        f"""
        import os, sys, time, facegrep
        engine = facegrep.open({str(tmp_path / "store")!r})
        with engine._shared.store.catalog.locked():
            if os.fork() == 0:
                os.close(1)
                time.sleep(20)
                os._exit(0)
            print("forked", flush=True)
            os.kill(os.getpid(), 9)
        """
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False, timeout=15)
    assert engine.delete("lib", media_ids=["m"]) == 1
    assert time.monotonic() - started < 10


def test_closing_while_others_work_ends_them_without_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for attempt in range(3):
        engine = facegrep.open(path)
        library = f"lib{attempt}"
        engine.create_library(library, dim=4, threshold=0.5)
        started = threading.Barrier(7)
        ends: list[BaseException] = []

        def use(number: int, engine: facegrep.Engine = engine, library: str = library) -> None:
            started.wait()  # noqa: B023 - joined below
            try:
                for turn in range(10**6):
                    if number % 2:
                        engine.add_vectors(library, [f"{number}-{turn}"], np.ones((1, 4)))
                    else:
                        engine.search(library, vector=np.ones(4)).page(0, 5)
            except BaseException as error:
                ends.append(error)  # noqa: B023

        threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        started.wait()
        time.sleep(0.2)
        engine.close()
        for thread in threads:
            thread.join(30)
        assert [type(error) for error in ends] == [facegrep.StoreClosed] * 6


def test_use_after_close_is_refused_and_closing_again_is_not(engine: facegrep.Engine) -> None:
    result = engine.search("lib", vector=[1, 2, 3, 4])
    view = engine.for_account("other")
    engine.close()
    engine.close()
    uses: list[Callable[[], object]] = [
        lambda: engine.libraries(),
        lambda: engine.library("lib"),
        lambda: engine.create_library("x", dim=2),
        lambda: engine.search("lib", vector=[1, 2, 3, 4]),
        lambda: engine.add("lib", media_id="x", source=b""),
        lambda: engine.add_many("lib", []),
        lambda: engine.get("lib", "m"),
        lambda: engine.answers.get("lib", "token"),
        lambda: engine.for_account("other"),
        lambda: view.libraries(),
        lambda: result.page(0, 1),
    ]
    for use in uses:
        with pytest.raises(facegrep.StoreClosed):
            use()
    assert result.media_ids == ["m"]  # what was cut is plain data


def test_closing_a_view_leaves_the_store_open(engine: facegrep.Engine) -> None:
    with engine.for_account("other") as view:
        view.libraries()
    with pytest.raises(facegrep.StoreClosed):
        view.libraries()
    assert engine.library("lib").media_count == 1
