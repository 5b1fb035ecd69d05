"""Compaction gives the room of dead vectors back, and nobody sees it but by that."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store import _compact, _segment_rows
from facegrep.store._segments import HEADER_BYTES

DIM = 32
ASSETS = 4000
VECTORS = np.random.default_rng(9).normal(size=(2 * ASSETS, DIM)).astype(np.float32)
IDS = [f"{number:05}" for number in range(ASSETS)]
LEFT = IDS[1::3]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four segments, each with every third asset left."""
    monkeypatch.setattr("facegrep.store._vectors.CAPACITY_BYTES", 2 * 1000 * DIM)
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        for first in range(0, ASSETS, 1000):
            ids = [media_id for media_id in IDS[first : first + 1000] for _ in range(2)]
            engine.add_vectors("lib", ids, VECTORS[2 * first : 2 * first + 2000])
        engine.delete("lib", sorted(set(IDS) - set(LEFT)))
    return path


@pytest.fixture
def engine(store: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(store) as engine:
        yield engine


def segments_of(store: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size - HEADER_BYTES for path in (store / "v").iterdir()}


def require_left(engine: facegrep.Engine, left: list[str]) -> None:
    found = engine.search("lib", vector=VECTORS[5], limit=ASSETS)
    assert sorted(found.media_ids) == left
    for media_id in left[:: max(1, len(left) // 40)]:
        first = 2 * IDS.index(media_id)
        codes = [face.code for face in engine.get("lib", media_id, vectors=True).faces]
        expected = facegrep._core.quantize(VECTORS[first : first + 2])
        np.testing.assert_array_equal(np.array(codes), expected)


def test_dead_vectors_give_their_room_back_and_are_overwritten(
    engine: facegrep.Engine, store: Path
) -> None:
    before = segments_of(store)
    assert len(before) == 4
    held = [path.open("rb") for path in (store / "v").iterdir()]  # their bytes, once unlinked
    report = engine.compact("lib")
    assert [one.file for one in report.rewritten] == [f"v/2-0-{number}.vec" for number in range(4)]
    after = segments_of(store)
    assert not set(before) & set(after)
    assert sum(after.values()) == 2 * len(LEFT) * DIM
    assert report.freed_bytes == sum(before.values()) - sum(after.values())
    assert report.erasures_finished
    assert report.to_dict()["freed_bytes"] == report.freed_bytes
    for file in held:
        assert set(file.read()) <= {0}
        file.close()
    require_left(engine, LEFT)
    assert engine.verify().damages == ()
    assert engine.compact().rewritten == ()
    engine.add_vectors("lib", ["new"], np.ones((1, DIM)))
    engine.close()
    with facegrep.open(store) as again:
        assert again.search("lib", vector=np.ones(DIM)).media_ids[0] == "new"
        assert again.verify().damages == ()


def test_a_segment_with_few_dead_is_left_unless_it_is_asked_for(
    engine: facegrep.Engine, store: Path
) -> None:
    engine.compact()
    engine.delete("lib", LEFT[:10])
    assert engine.compact("lib").rewritten == ()
    (one,) = engine.compact("lib", min_dead_share=0).rewritten
    assert one.bytes_before - one.bytes_after == 2 * 10 * DIM
    engine.delete("lib", LEFT)
    assert all(one.bytes_after == 0 for one in engine.compact("lib").rewritten)
    assert segments_of(store) == {}
    assert engine.search("lib", vector=VECTORS[0]).total == 0
    for wrong in (-0.1, 1.5, float("nan"), "x"):
        with pytest.raises(facegrep.InvalidArgumentError, match="min_dead_share"):
            engine.compact(min_dead_share=wrong)  # type: ignore[arg-type]


def test_an_index_in_memory_has_nothing_to_follow(
    engine: facegrep.Engine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with facegrep.open(store, readonly=True) as reader:
        require_left(reader, LEFT)
        engine.compact()
        with monkeypatch.context() as patch:
            patch.setattr("facegrep.engine._library_index.read_changed_assets", None)
            require_left(reader, LEFT)
        engine.delete("lib", [LEFT[0]])
        engine.update("lib", LEFT[1], title="moved, and told anew")
        require_left(reader, LEFT[1:])


def test_answers_are_right_while_compaction_and_deletion_go_on(store: Path) -> None:
    """Of readers that load anew each time: their file goes away under them."""
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with facegrep.open(store) as engine:
                number = 0
                while not done.is_set():
                    number += 1
                    ids = [f"{number}/{row}" for row in range(50)]
                    engine.add_vectors("lib", ids, np.full((50, DIM), -1.0))
                    engine.delete("lib", ids)
                    engine.compact("lib", min_dead_share=0)
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(25):
            with facegrep.open(store, readonly=True) as reader:
                found = reader.search("lib", vector=np.abs(VECTORS[5]), limit=ASSETS + 50)
                assert [m for m in sorted(found.media_ids) if "/" not in m] == LEFT
                assert reader.get("lib", LEFT[5], vectors=True).faces[0].code is not None
    finally:
        done.set()
        writer.join()
    assert not failures


CHILD = """
import os, signal, sys
import facegrep
from facegrep.store import _compact, _segments

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

point = sys.argv[2]
if point == "copied":
    _segments.sync_directory = kill
if point == "named":
    _compact.extend_segment = kill
if point == "remapped":
    _compact.delete_segment = kill
if point == "committed":
    _compact.wipe_segment = kill
if point == "half wiped":
    _segments._write_zeros = lambda fd, start, size: (os.pwrite(fd, bytes(size // 2), 0), kill())
with facegrep.open(sys.argv[1]) as engine:
    engine.compact()
"""


@pytest.mark.parametrize("point", ["copied", "named", "remapped", "committed", "half wiped"])
def test_a_kill_anywhere_leaves_every_asset_and_no_file_too_many(store: Path, point: str) -> None:
    command = [sys.executable, "-c", CHILD, str(store), point]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with facegrep.open(store, readonly=True) as reader:
        require_left(reader, LEFT)
        assert reader.verify().damages == ()
    with facegrep.open(store) as engine:
        assert engine.verify().leftovers == ()
        require_left(engine, LEFT)
        engine.compact()
        require_left(engine, LEFT)
        assert engine.verify().leftovers == ()
    assert not list((store / "tmp").iterdir())
    assert sum(segments_of(store).values()) == 2 * len(LEFT) * DIM


@pytest.mark.parametrize("name", ["pwrite", "fsync", "rename"])
def test_a_disk_that_fails_leaves_the_segment_as_it_was(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path if name == "rename" else os, name, fail)
        with pytest.raises(facegrep.StoreFull, match="nothing was changed"):
            engine.compact()
    require_left(engine, LEFT)
    assert engine.verify().damages == ()
    assert len(engine.compact().rewritten) == 4
    require_left(engine, LEFT)


def test_a_damaged_segment_is_not_moved(engine: facegrep.Engine, store: Path) -> None:
    path = store / "v" / "2-0-1.vec"
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 3 * DIM] ^= 4
    path.write_bytes(data)
    with pytest.raises(facegrep.StoreCorrupt) as caught:
        engine.compact()
    assert (caught.value.library, caught.value.block) == ("lib", ("2-0-1.vec", 0))
    assert path.exists()
    (damage,) = engine.verify().damages
    assert damage.file == "v/2-0-1.vec"


def test_an_erasure_that_was_cut_off_is_finished_by_a_compaction(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(facegrep.ErasePending):
            engine.erase("lib", LEFT[:5])
    assert engine.compact().erasures_finished
    require_left(engine, LEFT[5:])
    assert engine.verify().damages == ()


def test_segments_of_a_library_that_is_dropped_meanwhile_are_no_error(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = _segment_rows.seal_segment
    engine.create_library("other", dim=4)

    def drop(*arguments: object) -> None:
        monkeypatch.setattr(_compact, "same_library", lambda *_: engine.library("gone"))
        seal(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_compact, "seal_segment", drop)
    assert engine.compact().rewritten == ()
    with pytest.raises(facegrep.NotFoundError):
        engine.compact("lib")
