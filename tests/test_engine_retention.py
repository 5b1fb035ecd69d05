"""What is kept no longer is in no answer from that millisecond on, and in no file once purged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import facegrep
from facegrep.store._media import list_expired

DIM = 16
TTL_MS = 1000
VECTORS = np.random.default_rng(3).normal(size=(64, DIM)).astype(np.float32)
ONES = np.ones(DIM, dtype=np.float32)


class Clock:
    """The time that facegrep sees, which tests set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms = time.time_ns() // 1_000_000
        monkeypatch.setattr(time, "time_ns", lambda: self.now_ms * 1_000_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def engine(store: Path, clock: Clock) -> Iterator[facegrep.Engine]:
    with facegrep.open(store) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0, ttl_ms=TTL_MS)
        engine.add_vectors("lib", ["a", "b"], VECTORS[:2])
        clock.now_ms += 400
        engine.add_vectors("lib", ["c"], VECTORS[2:3])
        yield engine


def seen(engine: facegrep.Engine) -> set[str]:
    """The assets that are there, which every way to ask must agree on."""
    listed = [media.media_id for media in engine.media("lib")]
    for threshold in (-1.0, None):
        found = engine.search("lib", vector=ONES, threshold=threshold)
        assert sorted(found.media_ids) == listed
        assert found.total == len(listed)
    library = engine.library("lib")
    assert library in engine.libraries()
    assert library.media_count == library.face_count == len(listed)
    for media_id in "abc":
        if media_id in listed:
            assert engine.get("lib", media_id, vectors=True).media_id == media_id
        else:
            with pytest.raises(facegrep.NotFoundError):
                engine.get("lib", media_id)
    return set(listed)


def test_an_asset_is_there_for_its_time_to_the_millisecond(
    engine: facegrep.Engine, store: Path, clock: Clock
) -> None:
    with facegrep.open(store, readonly=True) as reader:
        begin_ms = clock.now_ms - 400
        for at, expected in ((400, "abc"), (999, "abc"), (1000, "c"), (1399, "c"), (1400, "")):
            clock.now_ms = begin_ms + at
            assert seen(engine) == seen(reader) == set(expected)
        with facegrep.open(store, readonly=True) as fresh:
            assert seen(fresh) == set()
    assert engine.verify().ok


def test_pages_of_a_frozen_answer_leave_out_what_expired_since(
    engine: facegrep.Engine, clock: Clock
) -> None:
    result = engine.search("lib", vector=ONES)
    best = engine.search("lib", vector=ONES, threshold=None, limit=1)
    engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, result.embedding, result)
    order = result.media_ids
    assert (result.total, best.total) == (3, 3)
    engine.delete("lib", ["a"])
    clock.now_ms += 600
    kept = engine.answers.get("lib", "token")
    assert kept is not None
    for page in (result.page(0, 3), kept.page(0, 3)):
        assert [hit.media_id for hit in page.hits] == ["c"]
        assert page.total == 1  # each once, though `a` was deleted and expired
    assert best.page(0, 1).total == 1
    place = order.index("c")
    assert [hit.media_id for hit in kept.page(place, 1).hits] == ["c"]
    clock.now_ms += 400
    for page in (result.page(0, 3), kept.page(0, 3), best.page(0, 1)):
        assert (page.hits, page.total) == ((), 0)


def test_an_answer_from_before_there_was_a_retention_is_as_exact(
    engine: facegrep.Engine, clock: Clock
) -> None:
    engine.set_retention("lib", None)
    result = engine.search("lib", vector=ONES)
    engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, result.embedding, result)
    assert result.answer.added_ms is None
    engine.set_retention("lib", TTL_MS)
    clock.now_ms += 600
    kept = engine.answers.get("lib", "token")
    assert kept is not None
    page = kept.page(0, 3)
    assert ([hit.media_id for hit in page.hits], page.total) == (["c"], 1)


def test_the_id_of_an_expired_asset_is_free(engine: facegrep.Engine, clock: Clock) -> None:
    clock.now_ms += 600
    again = engine.add_vectors("lib", ["a"], VECTORS[:1])
    other = engine.add_vectors("lib", ["b"], VECTORS[9:10])
    assert (again.added, other.added) == (1, 1)
    assert seen(engine) == {"a", "b", "c"}
    clock.now_ms += 400
    assert seen(engine) == {"a", "b"}
    with pytest.raises(facegrep.NotFoundError):
        engine.update("lib", "c", title="gone")
    assert engine.delete("lib", ["c"]) == 0
    engine.set_retention("lib", None)
    assert seen(engine) == {"a", "b"}, "what was deleted does not come back"
    assert engine.verify().ok


def test_a_longer_retention_brings_back_what_was_not_purged(
    engine: facegrep.Engine, store: Path, clock: Clock
) -> None:
    with facegrep.open(store, readonly=True) as reader:
        clock.now_ms += 600
        assert seen(engine) == seen(reader) == {"c"}
        engine.set_retention("lib", 2000)
        assert seen(engine) == seen(reader) == {"a", "b", "c"}
        engine.set_retention("lib", 1)
        assert seen(engine) == seen(reader) == set()
        assert engine.library("lib").ttl_ms == 1
        engine.set_retention("lib", None)
        assert seen(engine) == seen(reader) == {"a", "b", "c"}


def test_a_saved_index_expires_as_well(
    engine: facegrep.Engine, store: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows the times of its assets, and which of them it lacks since they expired."""
    monkeypatch.setattr("facegrep.engine._library_index.MIN_CHANGES", 1)

    def reopened() -> set[str]:
        assert list((store / "cache").iterdir())
        with monkeypatch.context() as patch, facegrep.open(store, readonly=True) as reader:
            patch.setattr("facegrep.engine._library_index.read_changed_assets", lambda *_: iter(()))
            return seen(reader)

    assert seen(engine) == reopened() == set("abc")
    clock.now_ms += 600
    assert reopened() == set("c")
    assert seen(engine) == reopened() == set("c")  # saved again, without those
    engine.set_retention("lib", 2000)
    with facegrep.open(store, readonly=True) as reader:
        assert seen(reader) == set("abc")
    assert seen(engine) == reopened() == set("abc")
    engine.set_retention("lib", None)
    engine.add_vectors("lib", ["d"], VECTORS[3:4])
    assert seen(engine) == reopened() == set("abcd")
    clock.now_ms += 10**6
    engine.set_retention("lib", TTL_MS)
    with facegrep.open(store, readonly=True) as reader:
        assert seen(reader) == set()
    engine.purge()
    assert not [path for path in (store / "cache").iterdir() if b"a" in path.read_bytes()]


def test_purge_takes_the_expired_out_of_every_file(
    engine: facegrep.Engine, store: Path, clock: Clock
) -> None:
    ids = [f"needle-{number:02}-of-hay" for number in range(30)]
    engine.add_vectors("lib", ids, VECTORS[:30])
    codes = [facegrep._core.quantize(VECTORS[row : row + 1]).tobytes() for row in range(30)]
    clock.now_ms += 700
    engine.add_vectors("lib", ["late"], VECTORS[40:41])
    clock.now_ms += 300
    assert engine.purge("ims-default-search-lib") == []
    (receipt,) = engine.purge()
    assert set(receipt.media_ids) == {"a", "b", "c", *ids}
    assert receipt.face_count == 33
    assert [media.media_id for media in engine.media("lib")] == ["late"]
    assert engine.purge() == []
    engine.set_retention("lib", None)
    assert engine.library("lib").media_count == 1
    assert engine.verify().ok
    engine.close()
    data = b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
    assert not [needle for needle in (*map(str.encode, ids), *codes) if needle in data]
    assert b"late" in data


def test_a_purge_that_fails_between_libraries_says_what_is_gone_and_is_gone_on_with(
    engine: facegrep.Engine, store: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {name: f"needle-of-{name}" for name in ("one", "two")}
    for row, (name, media_id) in enumerate(ids.items()):
        engine.create_library(name, dim=DIM, threshold=-1.0, ttl_ms=TTL_MS)
        engine.add_vectors(name, [media_id], VECTORS[row : row + 1])
    engine.drop_library("lib")
    clock.now_ms += 2 * TTL_MS

    def fail_at_the_second(connection: Any, library: Any, *, before_ms: int) -> Any:
        if library.name == "two":
            raise facegrep.StoreFull("no room")
        return list_expired(connection, library, before_ms=before_ms)

    with monkeypatch.context() as patched:
        patched.setattr("facegrep.store._erase.list_expired", fail_at_the_second)
        with pytest.raises(facegrep.ErasePending, match=r"what expired in 1 of 3 libraries is rem"):
            engine.purge()
    for name in ids:  # "two" is as it was: expired, and not purged
        engine.set_retention(name, None)
    assert engine.library("one").media_count == 0
    assert engine.library("two").media_count == 1
    engine.set_retention("two", TTL_MS)
    (receipt,) = engine.purge()
    assert receipt.media_ids == (ids["two"],)
    assert engine.verify().ok
    engine.close()
    data = b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
    assert not [media_id for media_id in ids.values() if media_id.encode() in data]


def test_an_analysis_of_what_has_expired_is_of_nothing(
    engine: facegrep.Engine, clock: Clock
) -> None:
    clock.now_ms += 600
    rerun = engine.rerun_jobs("lib", ["a", "c", "never"])
    assert (rerun.media_ids, rerun.unknown_ids) == ([], ["a", "never"])


def test_erasing_reaches_the_expired(engine: facegrep.Engine, clock: Clock) -> None:
    clock.now_ms += 600
    assert engine.erase("lib", ["a"]).media_ids == ("a",)
    receipt = engine.erase_person("lib", vector=VECTORS[2], threshold=0.9, dry_run=False)
    assert receipt.media_ids == ("b", "c"), "nobody knows who is in what no search finds"
    engine.set_retention("lib", None)
    assert seen(engine) == set()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "30d", 2**63])
def test_what_is_no_time_is_refused(engine: facegrep.Engine, wrong: object) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match="ttl_ms"):
        engine.set_retention("lib", wrong)  # type: ignore[arg-type]
    with pytest.raises(facegrep.InvalidArgumentError, match="ttl_ms"):
        engine.create_library("other", dim=8, ttl_ms=wrong)  # type: ignore[arg-type]
    assert engine.library("lib").ttl_ms == TTL_MS


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcdef")),
        st.tuples(st.just("delete"), st.sampled_from("abcdef")),
        st.tuples(st.just("wait"), st.integers(-30, 120)),
        st.tuples(st.just("retention"), st.sampled_from([1, 50, 100, None])),
        st.tuples(st.just("purge"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(Steps)
def test_any_history_shows_what_a_dict_with_times_shows(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, object]],
) -> None:
    with monkeypatch.context() as patch:
        clock = Clock(patch)
        path = tmp_path_factory.mktemp("model") / "store"
        engine = facegrep.open(path)
        engine.create_library("lib", dim=DIM, threshold=-1.0, ttl_ms=100)
        model: dict[str, int] = {}
        ttl: int | None = 100

        def live() -> set[str]:
            return {m for m, added in model.items() if ttl is None or added > clock.now_ms - ttl}

        for verb, value in steps:
            if verb == "add":
                row = ord(str(value)) - ord("a")
                fresh = value not in live()
                assert (
                    engine.add_vectors("lib", [str(value)], VECTORS[row : row + 1]).added == fresh
                )
                if fresh:
                    model[str(value)] = clock.now_ms
            elif verb == "delete":
                assert engine.delete("lib", [str(value)]) == (value in live())
                model.pop(str(value), None)
            elif verb == "wait":
                clock.now_ms += int(str(value))
            elif verb == "retention":
                ttl = None if value is None else int(str(value))
                engine.set_retention("lib", ttl)
            elif verb == "purge":
                gone = {m for receipt in engine.purge() for m in receipt.media_ids}
                assert gone == set(model) - live()
                model = {m: added for m, added in model.items() if m in live()}
            else:
                engine.close()
                engine = facegrep.open(path)
            found = engine.search("lib", vector=ONES, limit=9)
            assert set(found.media_ids) == live()
            assert found.total == engine.library("lib").media_count == len(live())
        assert engine.verify().ok
        engine.close()
