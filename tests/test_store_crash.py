"""Writes that fail, and the order in which they become durable. tests/faults kills writers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facegrep


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=8, threshold=0.0)
        yield engine


def codes_of(engine: facegrep.Engine, library: str) -> dict[str, bytes]:
    """Every asset of a library, with its codes; checks every checksum on the way."""
    found = {}
    for asset in engine.media(library, limit=10**6):
        faces = engine.get(library, asset.media_id, vectors=True).faces
        assert all(face.code is not None for face in faces)
        found[asset.media_id] = b"".join(f.code.tobytes() for f in faces if f.code is not None)
    return found


def failing(function: Callable[..., Any], number: int, *, after: int = 0) -> Callable[..., Any]:
    calls = iter(range(after))

    def fail(*arguments: Any, **named: Any) -> Any:
        if next(calls, None) is not None:
            return function(*arguments, **named)
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("name", ["pwrite", "fdatasync"])
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, facegrep.StoreFull),
        (errno.EDQUOT, facegrep.StoreFull),
        (errno.EFBIG, facegrep.StoreFull),
        (errno.EIO, facegrep.StoreError),
    ],
)
def test_a_failed_write_stores_nothing_says_so_and_leaves_the_store_usable(
    engine: facegrep.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
    error: type[Exception],
) -> None:
    engine.add_vectors("lib", ["before"], np.eye(8, dtype=np.float32)[:1])
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(getattr(os, name), number))
        with pytest.raises(error, match="nothing of this batch was stored") as caught:
            engine.add_vectors("lib", ["lost"], np.eye(8, dtype=np.float32)[1:2])
        assert type(caught.value) is error
    assert list(codes_of(engine, "lib")) == ["before"]
    engine.add_vectors("lib", ["after"], np.eye(8, dtype=np.float32)[2:3])
    stored = codes_of(engine, "lib")
    assert list(stored) == ["after", "before"]
    # The failed segment's pages are not trusted again: what came after is in a file of its own.
    assert len(list((tmp_path / "store" / "v").iterdir())) == 2
    engine.close()
    with facegrep.open(tmp_path / "store") as again:
        assert codes_of(again, "lib") == stored
        assert again.search("lib", vector=np.eye(8)[2]).media_ids == ["after", "before"]


def test_a_failed_segment_is_not_trusted_even_where_that_cannot_be_noted(
    engine: facegrep.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.add_vectors("lib", ["before"], np.eye(8)[:1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(os.fdatasync, errno.ENOSPC))

        def seal(*_: object) -> None:
            raise facegrep.StoreFull("the catalog cannot grow either")

        patch.setattr("facegrep.store._segment_rows.seal_segment", seal)
        with pytest.raises(facegrep.StoreFull, match="nothing of this batch"):
            engine.add_vectors("lib", ["lost"], np.eye(8)[1:2])
    engine.add_vectors("lib", ["after"], np.eye(8)[2:3])
    assert len(list((tmp_path / "store" / "v").iterdir())) == 2


@pytest.mark.parametrize("name", ["pwrite", "fsync", "fdatasync"])
def test_a_segment_that_cannot_be_made_is_made_by_the_next_add(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(getattr(os, name), errno.EIO))
        with pytest.raises(facegrep.StoreError):
            engine.add_vectors("lib", ["m"], np.ones((1, 8)))
    engine.add_vectors("lib", ["m"], np.ones((1, 8)))
    assert len(codes_of(engine, "lib")) == 1


def test_a_failure_in_a_later_commit_keeps_the_commits_before_it(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(1).normal(size=(20_000, 8))
    ids = [f"{row:05d}" for row in range(len(vectors))]
    monkeypatch.setattr("facegrep.engine._vector_rows.CHUNK_ROWS", 8192)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(os.fdatasync, errno.ENOSPC, after=1))
        words = "acknowledged before is unchanged"
        with pytest.raises(facegrep.StoreFull, match=words) as caught:
            engine.add_vectors("lib", ids, vectors)
        assert caught.value.acknowledged == 8192
    assert [asset.media_id for asset in engine.media("lib", limit=10**6)] == ids[:8192]
    again = engine.add_vectors("lib", ids, vectors)
    assert (again.added, again.unchanged) == (len(ids) - 8192, 8192)


def test_short_writes_are_continued(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:5], at))
    vectors = np.random.default_rng(2).normal(size=(50, 8)).astype(np.float32)
    engine.add_vectors("lib", [str(row) for row in range(50)], vectors)
    stored = codes_of(engine, "lib")
    for row, code in enumerate(facegrep._core.quantize(vectors)):
        assert stored[str(row)] == code.tobytes()


def test_vectors_are_durable_before_the_catalog_speaks_of_them(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """kill -9 cannot see a missing fsync; the order of the calls can."""
    engine.add_vectors("lib", ["first"], np.ones((1, 8)))
    wal = tmp_path / "store" / "catalog.db-wal"
    events: list[tuple[str, int]] = []
    for name in ("pwrite", "fdatasync"):
        function = getattr(os, name)

        def spy(*arguments: Any, name: str = name, function: Any = function) -> Any:
            result = function(*arguments)
            events.append((name, wal.stat().st_size))
            return result

        monkeypatch.setattr(os, name, spy)
    before = wal.stat().st_size
    engine.add_vectors("lib", ["second"], np.ones((1, 8)))
    # The vectors, their sync, then the commit, and then its acknowledgement.
    assert [name for name, _ in events] == ["pwrite", "fdatasync", "pwrite"]
    after = wal.stat().st_size
    assert after > before
    assert [size for _, size in events] == [before, before, after]


def test_what_a_dead_writer_left_is_overwritten_and_removed(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=8, threshold=0.0)
        engine.add_vectors("lib", ["m"], np.ones((1, 8)))
    folder = tmp_path / "store" / "v"
    (named,) = folder.iterdir()
    orphan = folder / "77-0-0.vec"
    orphan.write_bytes(b"face" * 2048)
    keep = orphan.open("rb")  # its bytes, after its name is gone
    with named.open("ab") as file:
        file.write(b"beyond what was committed")
    with keep, facegrep.open(tmp_path / "store") as engine:
        assert not orphan.exists()
        assert set(keep.read()) == {0}
        assert named.exists()
        engine.add_vectors("lib", ["n"], np.ones((1, 8)))
        assert len(codes_of(engine, "lib")) == 2
