"""Frozen answers: pages of a result, and what a token keeps of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import facegrep
from facegrep.engine import SearchResult
from facegrep.store import _answers

DIM = 8
CONDITION, URL = b"c" * 32, b"u" * 32
Floats = NDArray[np.float32]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=0.0)
        yield engine


def near(count: int, seed: int) -> Floats:
    """Vectors with positive scores against the query of ones."""
    return np.random.default_rng(seed).uniform(0.1, 1, size=(count, DIM)).astype(np.float32)


def fill(engine: facegrep.Engine, count: int) -> list[str]:
    """Assets that all match; their ids, best first."""
    ids = [f"m{row:04}" for row in range(count)]
    engine.add_vectors("lib", ids, near(count, seed=1))
    return engine.search("lib", vector=np.ones(DIM), limit=count).media_ids


def put(engine: facegrep.Engine, token: str, *, url: bytes = URL) -> SearchResult:
    result = engine.search("lib", vector=np.ones(DIM))
    engine.answers.put("lib", token, CONDITION, url, result.embedding, result)
    return result


def test_a_result_keeps_every_match_whatever_its_first_page(engine: facegrep.Engine) -> None:
    ids = fill(engine, 100)
    result = engine.search("lib", vector=np.ones(DIM), limit=7, offset=20)
    assert result.total == 100
    assert result.media_ids == ids[20:27]
    assert [hit.media_id for hit in result] == ids[20:27]
    assert len(result) == 7
    assert result[0].media_id == ids[20]
    assert result.page(0, 100).media_ids == ids
    assert result.page(95, 50).media_ids == ids[95:]
    assert result.page(100, 10).media_ids == result.page(10**18, 10**18).media_ids == []
    assert result.page(10**18, 10).total == 100
    assert result.page(3, 4).scores.dtype == np.float32
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(facegrep.InvalidArgumentError):
            result.page(wrong, 1)  # type: ignore[arg-type]
        with pytest.raises(facegrep.InvalidArgumentError):
            result.page(0, wrong)  # type: ignore[arg-type]


def test_without_a_threshold_a_result_reaches_as_far_as_it_was_asked_to(
    engine: facegrep.Engine,
) -> None:
    ids = fill(engine, 30)
    result = engine.search("lib", vector=np.ones(DIM), threshold=None, limit=10, offset=5)
    assert (result.total, result.threshold) == (30, None)
    assert result.media_ids == ids[5:15]
    assert result.page(0, 15).media_ids == ids[:15]
    with pytest.raises(facegrep.InvalidArgumentError, match="reaches to 15 of 30"):
        result.page(10, 6)


@pytest.mark.parametrize("where", [None, {"intField1": 1}])
def test_what_is_deleted_beyond_the_reach_of_an_answer_leaves_its_total_too(
    engine: facegrep.Engine, where: dict[str, object] | None
) -> None:
    ids = [f"m{row:02}" for row in range(60)]
    engine.add_vectors("lib", ids, near(60, seed=1), {"intField1": [row % 2 for row in range(60)]})
    everything = {"vector": np.ones(DIM), "threshold": None, "where": where}
    before = engine.search("lib", **everything, limit=100).media_ids  # type: ignore[arg-type]
    result = engine.search("lib", **everything, limit=5, offset=2)  # type: ignore[arg-type]
    assert result.total == len(before) == (60 if where is None else 30)
    engine.update("lib", before[9], fields={"intField1": 7})  # it was counted, and is still there
    engine.delete("lib", [before[0], before[8], before[29]])
    engine.delete("lib", [media_id for media_id in ids if media_id not in before])  # never counted
    engine.add_vectors("lib", ["new", before[8]], near(2, seed=2), {"intField1": [1, 1]})
    assert result.page(2, 5).media_ids == before[2:7]
    assert result.page(2, 5).total == result.page(0, 7).total == len(before) - 3
    with pytest.raises(facegrep.InvalidArgumentError, match="threshold"):
        engine.answers.put("lib", "token", CONDITION, URL, result.embedding, result)


def test_paging_yields_every_match_once_while_another_thread_writes(
    engine: facegrep.Engine,
) -> None:
    ids = fill(engine, 400)
    result = put(engine, "token")
    kept = engine.answers.get("lib", "token")
    assert kept is not None
    stop = threading.Event()
    deleted: list[str] = []

    def write() -> None:
        for turn in range(10**6):
            if stop.is_set():
                return
            engine.add_vectors("lib", [f"new{turn}"], near(1, seed=turn))
            if turn < 40:
                deleted.append(ids[turn * 10])
                engine.delete("lib", media_ids=[ids[turn * 10]])
            engine.update("lib", ids[turn % 40 * 10 + 1], fields={"intField1": turn})

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[list[str]] = [[], []]
    try:
        for first in range(0, 400, 9):
            time.sleep(0.005)  # lets the other thread in
            seen[0] += result.page(first, 9).media_ids
            hits, total = kept.page(first, 9)
            seen[1] += [hit.media_id for hit in hits]
            assert 360 <= total <= 400
    finally:
        stop.set()
        writer.join()
    assert len(deleted) > 3
    for found in seen:
        assert found == [media_id for media_id in ids if media_id in set(found)]  # once, in order
        assert set(ids) - set(found) <= set(deleted)
    assert result.page(0, 400).media_ids == [m for m in ids if m not in set(deleted)]
    assert result.page(0, 0).total == kept.page(0, 0).total == 400 - len(deleted)


def test_deleted_assets_leave_a_short_page_and_a_smaller_total(engine: facegrep.Engine) -> None:
    ids = fill(engine, 20)
    result = put(engine, "token")
    engine.delete("lib", media_ids=[ids[0], ids[12]])
    engine.add_vectors("lib", [ids[0]], np.ones((1, DIM)))  # another asset under its id
    kept = engine.answers.get("lib", "token")
    assert kept is not None
    assert (result.page(0, 10).media_ids, result.page(0, 10).total) == (ids[1:10], 18)
    assert [hit.media_id for hit in kept.page(10, 10).hits] == [*ids[10:12], *ids[13:]]
    assert result.total == 20  # what was said stays said
    engine.set_face_index("lib", "deactive")
    assert result.page(0, 10).media_ids == ids[1:10]  # erased faces, but the assets are there
    assert {hit.face_count for hit in result.page(0, 10)} == {0}
    engine.drop_library("lib")
    assert (result.page(0, 10).media_ids, result.page(0, 10).total) == ([], 0)


def test_a_token_keeps_the_answer_its_condition_and_its_embedding(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    ids = fill(engine, 30)
    result = put(engine, "é/../token")
    engine.delete("lib", media_ids=[ids[3]])
    engine.close()
    with facegrep.open(tmp_path / "store") as again:  # another process would see the same
        kept = again.answers.get("lib", "é/../token")
        assert kept is not None
        assert (kept.condition, kept.threshold) == (CONDITION, 0.0)
        np.testing.assert_array_equal(kept.embedding, result.embedding)
        hits, total = kept.page(0, 10)
        assert [hit.media_id for hit in hits] == [*ids[:3], *ids[4:10]]
        assert total == 29
        before = {hit.media_id: hit.score for hit in result}
        assert all(hit.score == before[hit.media_id] for hit in hits)
        assert again.answers.get("lib", "token") is None
        with pytest.raises(facegrep.NotFoundError):
            again.answers.get("other", "é/../token")


def test_an_embedding_is_known_by_its_url_while_a_token_lives(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, 3)
    assert engine.answers.embedding_of("lib", "token", URL) is None
    result = put(engine, "token")
    found = engine.answers.embedding_of("lib", "token", URL)
    assert found is not None
    np.testing.assert_array_equal(found, result.embedding)
    assert engine.answers.embedding_of("lib", "token", b"x" * 32) is None
    assert engine.answers.embedding_of("lib", "other", URL) is None
    monkeypatch.setattr(engine._shared.store.answers, "lifetime_s", -1.0)
    put(engine, "token")
    assert engine.answers.embedding_of("lib", "token", URL) is None
    assert engine.answers.get("lib", "token") is None


SCAN = """
import pathlib, sys
found = set()
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    data = path.read_bytes() if path.is_file() else b""
    found |= {number for number, hex in enumerate(sys.argv[2:]) if bytes.fromhex(hex) in data}
print(sorted(found))
"""


def found_in_files(store: Path, *needles: bytes) -> list[int]:
    """Which are in a file of the store; by another process, for SQLite's locks of this one."""
    command = [sys.executable, "-c", SCAN, str(store), *(needle.hex() for needle in needles)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("way", ["purge", "open"])
def test_a_query_is_in_no_file_once_its_token_is_over(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    fill(engine, 5)
    chance = np.random.default_rng(7)
    queries = [chance.normal(size=DIM).astype(np.float32) for _ in range(3)]
    needles = [query.tobytes() for query in queries]
    clock_s = time.time()

    def set_clock(hours: float) -> None:
        monkeypatch.setattr(_answers, "now_ms", lambda: round((clock_s + hours * 3600) * 1000))

    # The first goes when the third is kept, and is in the log still; the second nobody follows.
    for token, query, hours in zip("abc", queries, (0, 23, 25), strict=True):
        set_clock(hours)
        found = engine.search("lib", vector=query, threshold=-1.0)
        engine.answers.put("lib", token, CONDITION, URL, query, found)
    set_clock(48)
    assert engine.answers.get("lib", "b") is None
    assert found_in_files(engine.path, *needles) == [0, 1, 2]
    if way == "purge":
        assert engine.purge() == []
    else:
        with facegrep.open(engine.path):
            pass
    assert found_in_files(engine.path, *needles) == [2]
    assert engine.answers.get("lib", "c") is not None
    engine.close()
    assert found_in_files(engine.path, *needles) == [2]


def test_answers_belong_to_their_account_and_library_incarnation(engine: facegrep.Engine) -> None:
    fill(engine, 3)
    put(engine, "token")
    other = engine.for_account("other")
    other.create_library("lib", dim=DIM, threshold=0.0)
    assert other.answers.get("lib", "token") is None
    assert other.answers.embedding_of("lib", "token", URL) is None
    engine.drop_library("lib")
    engine.create_library("lib", dim=DIM, threshold=0.0)
    assert engine.answers.get("lib", "token") is None
    with engine._shared.store.session.read() as connection:
        assert connection.execute("SELECT count(*) FROM answer").fetchone() == (0,)


def test_a_receipt_counts_the_answers_of_its_account_alone(engine: facegrep.Engine) -> None:
    other = engine.for_account("other")
    other.create_library("lib", dim=DIM, threshold=0.0)
    for view in (engine, other):
        fill(view, 3)
        put(view, "token")
        view.delete("lib", media_ids=["m0000"])
    assert engine.erase("lib", media_ids=["m0001"]).answers == 1


def test_the_same_token_again_is_replaced(engine: facegrep.Engine) -> None:
    fill(engine, 3)
    put(engine, "token")
    engine.add_vectors("lib", ["more"], np.ones((1, DIM)))
    put(engine, "token")
    kept = engine.answers.get("lib", "token")
    assert kept is not None
    assert kept.page(0, 10).total == 4


def test_answers_are_bounded_in_bytes_and_the_oldest_go(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, 1000)
    monkeypatch.setattr(engine._shared.store.answers, "max_bytes", 60_000)
    for number in range(8):
        put(engine, f"t{number}")  # 16.5 kB each
    alive = [n for n in range(8) if engine.answers.get("lib", f"t{n}") is not None]
    assert alive == [5, 6, 7]
    monkeypatch.setattr(engine._shared.store.answers, "max_bytes", 1000)
    put(engine, "too large")
    assert engine.answers.get("lib", "too large") is None
    assert engine.answers.get("lib", "t7") is not None


def test_what_processes_keep_side_by_side_stays_within_the_bound(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, 1)
    monkeypatch.setattr(_answers, "_PROCESSES", 2)
    with facegrep.open(tmp_path / "store") as other:
        for one in (engine, other):
            monkeypatch.setattr(one._shared.store.answers, "max_bytes", 100_000)
        for number in range(400):  # 560 bytes each; five of one process between two looks
            put((engine, other)[number % 7 > 2], f"t{number}")
            with engine._shared.store.session.read() as connection:
                (kept,) = connection.execute("SELECT sum(bytes) FROM answer").fetchone()
            assert kept <= 100_000
            assert kept > 90_000 or number < 180
        assert engine.answers.get("lib", "t399") is not None


def test_keeping_an_answer_takes_no_longer_the_more_are_kept(engine: facegrep.Engine) -> None:
    fill(engine, 1)

    def steps() -> int:
        """How much SQLite does for the next fifty."""
        with engine._shared.store.session.exclusive() as connection:
            count = 0

            def step() -> int:
                nonlocal count
                count += 1
                return 0

            connection.set_progress_handler(step, 10)
        for number in range(50):
            put(engine, f"{count} {number}")
        with engine._shared.store.session.exclusive() as connection:
            connection.set_progress_handler(None, 10)
        return count

    put(engine, "first")  # a process adds all up once
    few = steps()
    for number in range(500):
        put(engine, f"t{number}")
    assert steps() < 2 * few


def test_a_readonly_engine_keeps_answers_in_memory(engine: facegrep.Engine, tmp_path: Path) -> None:
    ids = fill(engine, 5)
    before = (tmp_path / "store" / "session.db").read_bytes()
    with facegrep.open(tmp_path / "store", readonly=True) as reader:
        put(reader, "token")
        kept = reader.answers.get("lib", "token")
        assert kept is not None
        engine.delete("lib", media_ids=[ids[0]])
        assert [hit.media_id for hit in kept.page(0, 10).hits] == ids[1:]
        assert engine.answers.get("lib", "token") is None
    assert (tmp_path / "store" / "session.db").read_bytes() == before


def test_an_answer_is_kept_while_a_bulk_insert_holds_the_catalog(engine: facegrep.Engine) -> None:
    fill(engine, 5)
    with engine._shared.store.catalog.write() as transaction:
        assert transaction.seq
        put(engine, "token")  # does not wait
        assert engine.answers.get("lib", "token") is not None


def test_a_damaged_session_is_said_and_the_catalog_still_answers(
    engine: facegrep.Engine,
) -> None:
    fill(engine, 5)
    put(engine, "token")
    with engine._shared.store.session.write() as transaction:
        assert transaction.seq
        transaction.connection.execute("UPDATE answer SET scores = x'00'")
    with pytest.raises(facegrep.StoreCorrupt, match=r"session\.db"):
        engine.answers.get("lib", "token")
    assert engine.search("lib", vector=np.ones(DIM)).total == 5


@pytest.mark.parametrize("token", ["", "a\nb", "\u202eabc", "\ud800", "x" * 513, None, 7])
def test_a_token_is_a_name(engine: facegrep.Engine, token: str) -> None:
    fill(engine, 1)
    with pytest.raises(facegrep.InvalidArgumentError, match="token"):
        put(engine, token)
    with pytest.raises(facegrep.InvalidArgumentError, match="token"):
        engine.answers.get("lib", token)


def test_no_flipped_bit_of_a_token_or_of_its_index_makes_it_unknown(tmp_path: Path) -> None:
    path = tmp_path / "store"
    token = "the one"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=0.0)
        fill(engine, 3)
        for name in ("one before", token, "unlike it"):
            expected = put(engine, name).embedding
    session, acknowledged = path / "session.db", path / "session.acknowledged"
    content, last = session.read_bytes(), acknowledged.read_bytes()
    with contextlib.closing(sqlite3.connect(session)) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_answer_1'"
        (root,) = connection.execute(query).fetchone()
    places = [place.start() for place in re.finditer(token.encode(), content)]
    assert len(places) == 2, "in the table and in its index"
    offsets = {place + distance for place in places for distance in range(-8, len(token) + 14)}
    offsets |= {(root - 1) * page_bytes + distance for distance in range(16)}
    noticed = 0
    for offset, bit in itertools.product(sorted(offsets), range(8)):
        data = bytearray(content)
        data[offset] ^= 1 << bit
        session.write_bytes(data)
        acknowledged.write_bytes(last)
        try:
            with facegrep.open(path) as engine:
                put(engine, "another")  # which forgets those whose day is over
                kept = engine.answers.get("lib", token)
        except facegrep.StoreError:
            noticed += 1
        else:
            assert kept is not None, (offset, bit)
            assert np.array_equal(kept.embedding, expected), (offset, bit)
    assert noticed > 200
