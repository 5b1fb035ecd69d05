"""Saved indexes make opening fast, change no answer, and hold nothing that was erased."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fuzz.store_fuzz import rewrite_section

import facegrep
from facegrep.engine import _indexes, _library_index

DIM = 16
RNG = np.random.default_rng(5)
VECTORS = RNG.standard_normal((600, DIM)).astype(np.float32)
IDS = [str(uuid.UUID(bytes=RNG.bytes(16))) for _ in range(300) for _ in range(1)]
ROWS = [media_id for media_id in IDS for _ in range(2)]


@pytest.fixture(autouse=True)
def small_libraries_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_library_index, "MIN_CHANGES", 8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store whose library `lib` was added and never searched, closed."""
    path = tmp_path / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=0.2)
        engine.add_vectors("lib", ROWS, VECTORS, {"intField1": [i // 2 for i in range(600)]})
    return path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What indexes begin with from here on: ``file``, or ``refused``; nothing for a catalog."""
    seen: list[str] = []
    load = _library_index.LibraryIndex.load

    def noting(self: _library_index.LibraryIndex, *arguments: object) -> None:
        try:
            load(self, *arguments)  # type: ignore[arg-type]
        except BaseException:
            seen.append("refused")
            raise
        seen.append("file")

    monkeypatch.setattr(_library_index.LibraryIndex, "load", noting)
    return seen


def files(path: Path) -> list[Path]:
    return sorted((path / "cache").iterdir())


def answer(engine: facegrep.Engine, query: NDArray[np.float32] = VECTORS[0]) -> object:
    found = engine.search("lib", vector=query, limit=1000)
    some = engine.search("lib", vector=query, limit=1000, where={"intField1": {"lte": 40}})
    return [
        [(h.media_id, h.score, h.face_count) for h in r.hits] + [r.total] for r in (found, some)
    ]


def answer_without_files(path: Path, tmp_path: Path) -> object:
    copy = tmp_path / f"copy-{uuid.uuid4()}"
    shutil.copytree(path, copy)
    shutil.rmtree(copy / "cache")
    with facegrep.open(copy, readonly=True) as engine:
        return answer(engine)


def test_closing_saves_the_index_of_what_was_added(path: Path, loads: list[str]) -> None:
    (file,) = files(path)
    assert file.stat().st_mode & 0o777 == 0o600
    with facegrep.open(path, readonly=True) as engine:
        assert engine.search("lib", vector=VECTORS[0], limit=1).hits[0].media_id == IDS[0]
    assert loads == ["file"]


def test_closing_lets_go_of_every_file_at_once(path: Path) -> None:
    """Not when the garbage is collected: the disk may be wanted back."""
    gc.disable()
    try:
        engine = facegrep.open(path)
        assert answer(engine)
        engine.close()
        links = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    finally:
        gc.enable()
    assert not [link for link in links if link.is_relative_to(path)]


def test_a_search_that_read_much_saves_it_at_once(path: Path, loads: list[str]) -> None:
    files(path)[0].unlink()
    with facegrep.open(path) as engine:
        answer(engine)
        assert len(files(path)) == 1
        with facegrep.open(path) as other:
            assert answer(other) == answer(engine)
    assert loads == ["file"]


def test_a_readonly_engine_never_writes_one(path: Path) -> None:
    files(path)[0].unlink()
    with facegrep.open(path, readonly=True) as engine:
        answer(engine)
    assert not files(path)


def test_a_little_that_changed_saves_nothing_anew(path: Path) -> None:
    before = files(path)
    with facegrep.open(path) as engine:
        engine.add_vectors("lib", ["one more"], VECTORS[:1])
        answer(engine)
    assert files(path) == before


def test_an_eighth_that_changed_replaces_the_file(path: Path) -> None:
    before = files(path)
    with facegrep.open(path) as engine:
        engine.add_vectors("lib", [f"more {i}" for i in range(100)], VECTORS[:100] + 1)
        answer(engine)
        assert len(files(path)) == 1
        assert files(path) != before


def test_a_file_that_is_behind_is_followed_up(path: Path, tmp_path: Path, loads: list[str]) -> None:
    with facegrep.open(path) as engine:
        engine.delete("lib", IDS[3:6])
        engine.add_vectors("lib", ["new"], VECTORS[:1])
        engine.delete("lib", [IDS[9]])
        engine.add_vectors("lib", [IDS[9]], VECTORS[40:41])
        engine.update("lib", IDS[20], fields={"intField1": 7})
    with facegrep.open(path, readonly=True) as engine:
        seen = answer(engine)
    assert loads == ["file"]
    assert seen == answer_without_files(path, tmp_path)


def damage(file: Path, offset: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.97, 0.999])
def test_a_damaged_file_is_made_anew_and_the_answer_is_right(
    path: Path, tmp_path: Path, share: float
) -> None:
    right = answer_without_files(path, tmp_path)
    (file,) = files(path)
    damage(file, int(share * file.stat().st_size))
    with facegrep.open(path, readonly=True) as engine:
        assert answer(engine) == right
    with facegrep.open(path) as engine:
        assert answer(engine) == right
        assert answer(engine) == right
    with facegrep.open(path) as engine:
        assert answer(engine) == right
    assert len(files(path)) == 1


def test_a_file_of_any_length_changes_no_answer(path: Path, tmp_path: Path) -> None:
    right = answer_without_files(path, tmp_path)
    (file,) = files(path)
    content = file.read_bytes()
    for length in [*range(0, len(content), 9973), len(content) - 1]:
        file.write_bytes(content[:length])
        with facegrep.open(path, readonly=True) as engine:
            assert answer(engine) == right, length


def test_a_file_and_segments_that_are_damaged_are_store_corrupt(path: Path) -> None:
    (file,) = files(path)
    damage(file, file.stat().st_size - 4096)  # codes: found when they are wanted
    for segment in (path / "v").iterdir():
        damage(segment, 4096 + 5)
    with facegrep.open(path, readonly=True) as engine:
        for _ in range(2):
            with pytest.raises(facegrep.StoreCorrupt, match="'lib'"):
                answer(engine)


def test_a_file_of_another_history_is_dropped(path: Path, tmp_path: Path, loads: list[str]) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(path, backup)
    with facegrep.open(path) as engine:  # the file's history: goes on further
        engine.add_vectors("lib", [f"a{i}" for i in range(100)], VECTORS[:100] + 1)
        answer(engine)
    with facegrep.open(backup) as engine:  # the other: as many commits, other faces
        engine.add_vectors("lib", [f"b{i}" for i in range(60)], VECTORS[100:160] + 2)
    (theirs,), ours = files(path), files(backup)
    for old in ours:
        old.unlink()
    shutil.copy(theirs, backup / "cache" / theirs.name)
    right = answer_without_files(backup, tmp_path)
    loads.clear()
    with facegrep.open(backup, readonly=True) as engine:
        assert answer(engine) == right
    with facegrep.open(backup) as engine:
        engine.add_vectors("lib", ["c"], VECTORS[:1])
        assert answer(engine) != right
        now = answer(engine)
    assert loads[:2] == ["file", "file"]  # it looked well, but the catalog had the last word
    assert now == answer_without_files(backup, tmp_path)


def test_a_file_newer_than_the_catalog_is_dropped(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(path, backup)
    with facegrep.open(path) as engine:
        engine.delete("lib", IDS[:200])
        answer(engine)
    (newer,) = files(path)
    files(backup)[0].unlink()
    shutil.copy(newer, backup / "cache" / newer.name)
    with facegrep.open(backup, readonly=True) as engine:
        assert answer(engine) == answer_without_files(backup, tmp_path)


def test_a_file_under_a_wrong_name_is_refused(path: Path, tmp_path: Path, loads: list[str]) -> None:
    (file,) = files(path)
    library, generation, seq = file.stem.split("-")
    file.rename(file.with_name(f"{library}-{generation}-{int(seq) + 1}.idx"))
    with facegrep.open(path, readonly=True) as engine:
        assert answer(engine) == answer_without_files(path, tmp_path)
    assert loads[0] == "refused"


def test_a_file_that_is_replaced_or_overwritten_under_a_reader_changes_no_answer(
    path: Path, tmp_path: Path
) -> None:
    with facegrep.open(path, readonly=True) as reader:
        # Begun, and hardly a page of codes read yet.
        reader.search("lib", vector=VECTORS[0], threshold=0.99)
        with facegrep.open(path) as writer:
            writer.add_vectors("lib", [f"more {i}" for i in range(100)], VECTORS[:100] + 1)
            answer(writer)
        assert answer(reader) == answer_without_files(path, tmp_path)
        for file in files(path):
            file.write_bytes(bytes(file.stat().st_size))
        assert answer(reader) == answer_without_files(path, tmp_path)


def needles(path: Path, media_id: str, vector: NDArray[np.float32]) -> list[str]:
    code = facegrep._core.quantize(vector[None]).tobytes()
    return [
        str(file.relative_to(path))
        for file in path.rglob("*")
        if file.is_file() and (media_id.encode() in (data := file.read_bytes()) or code in data)
    ]


ERASURES: dict[str, Callable[[facegrep.Engine], object]] = {
    "erase": lambda engine: engine.erase("lib", [IDS[7]]),
    "drop_library": lambda engine: engine.drop_library("lib"),
    "delete and compact": lambda engine: (
        engine.delete("lib", [IDS[7]]),
        engine.compact(min_dead_share=0),
    ),
}


@pytest.mark.parametrize("how", ERASURES)
def test_what_is_erased_is_in_no_saved_index_on_return(path: Path, how: str) -> None:
    (file,) = files(path)
    descriptor = os.open(file, os.O_RDONLY)  # as a process that still has it open
    assert str(file.relative_to(path)) in needles(path, IDS[7], VECTORS[14])
    with facegrep.open(path) as reader, facegrep.open(path) as engine:
        answer(reader)
        ERASURES[how](engine)
        assert not [name for name in needles(path, IDS[7], VECTORS[14]) if "cache/" in name]
        assert not any(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        os.close(descriptor)
        if how != "drop_library":
            assert IDS[7] not in str(answer(reader))
            assert answer(reader) == answer(engine)
    assert not needles(path, IDS[7], VECTORS[14])


@pytest.mark.parametrize("how", ["erase", "delete and compact"])
def test_who_erases_saves_the_index_anew_before_it_returns_without_reading_the_catalog(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with facegrep.open(path) as engine:
        monkeypatch.setattr(_library_index, "read_changed_assets", lambda *_: iter(()))
        ERASURES[how](engine)
        assert len(files(path)) == 1
    monkeypatch.undo()
    with facegrep.open(path, readonly=True) as engine:
        assert IDS[7] not in str(answer(engine))
        assert answer(engine) == answer_without_files(path, tmp_path)


def test_switching_an_index_off_removes_its_file(path: Path) -> None:
    with facegrep.open(path) as engine:
        engine.set_face_index("lib", "deactive")
        assert not files(path)


def test_an_index_from_before_an_erasure_is_never_saved_after_it(path: Path) -> None:
    files(path)[0].unlink()
    with facegrep.open(path) as engine, facegrep.open(path) as eraser:
        publish = engine._shared.store.caches.publish

        def too_late(*arguments: object, **options: object) -> bool:
            eraser.erase("lib", [IDS[7]])
            return publish(*arguments, **options)  # type: ignore[arg-type]

        engine._shared.store.caches.publish = too_late  # type: ignore[method-assign]
        answer(engine)
        assert not files(path)


def test_a_writer_that_died_leaves_nothing_behind(path: Path) -> None:
    (file,) = files(path)
    (path / "tmp" / file.name).write_bytes(b"x" * 9000)
    shutil.copy(file, path / "cache" / "999-0-5.idx")  # of a library that is gone
    shutil.copy(file, path / "cache" / file.name.replace("-0-", "-7-"))  # of another generation
    facegrep.open(path).close()
    assert files(path) == [file]
    assert not [*(path / "tmp").iterdir()]


@pytest.fixture
def locked(path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path / request.param)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield
        assert other.stdin is not None
        other.stdin.close()


@pytest.mark.parametrize("locked", ["cache.lock"], indirect=True)
@pytest.mark.usefixtures("locked")
def test_no_search_waits_for_another_to_save_an_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(path)[0].unlink()
    with facegrep.open(path) as engine:
        monkeypatch.setattr(_indexes, "CLOSE_TIMEOUT_S", 0.01)
        assert len(str(answer(engine))) > 100
        assert not files(path)


@pytest.mark.parametrize("locked", ["writer.lock"], indirect=True)
@pytest.mark.usefixtures("locked")
def test_no_search_waits_for_a_writer_to_save_an_index(path: Path) -> None:
    files(path)[0].unlink()
    with facegrep.open(path) as engine:
        engine._shared.store.catalog.lock_timeout_s = 0.01
        answer(engine)
        assert len(files(path)) == 1


def test_a_disk_that_is_full_costs_the_file_and_no_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(path)[0].unlink()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with facegrep.open(path) as engine:
        assert len(str(answer(engine))) > 100
        monkeypatch.undo()
        assert not files(path)
        assert not [*(path / "tmp").iterdir()]


def test_many_processes_open_replace_and_erase_at_once(path: Path) -> None:
    code = """
import sys, numpy as np, facegrep
from facegrep.engine import _library_index
_library_index.MIN_CHANGES = 8
path, number = sys.argv[1], int(sys.argv[2])
vectors = np.random.default_rng(number).standard_normal((80, 16)).astype(np.float32)
for round_ in range(6):
    with facegrep.open(path) as engine:
        ids = [f"{number}/{round_}/{i}" for i in range(80)]
        engine.add_vectors("lib", ids, vectors + round_)
        best = engine.search("lib", vector=vectors[3] + round_, threshold=0.999, limit=1000)
        assert ids[3] in [hit.media_id for hit in best.hits], best
        if round_ % 2:
            engine.erase("lib", ids[:40])
            best = engine.search("lib", vector=vectors[3] + round_, threshold=0.999, limit=1000)
            assert ids[3] not in [hit.media_id for hit in best.hits], best
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(n)], stderr=subprocess.PIPE)
        for n in range(3)
    ]
    for run in runs:
        _, complaints = run.communicate(timeout=120)
        assert run.returncode == 0, complaints.decode()
    with facegrep.open(path, readonly=True) as engine:
        everything = engine.search("lib", vector=VECTORS[0], threshold=-1.0, limit=1)
        assert everything.total == 300 + 3 * (6 * 80 - 3 * 40)
    assert len(files(path)) <= 1


@pytest.mark.parametrize("ordinal", [-1, 7, 299, 300, 1 << 40])
@pytest.mark.parametrize("ttl_ms", [None, 10**12])
def test_a_file_that_somebody_made_up_about_other_assets_is_refused(
    path: Path, tmp_path: Path, loads: list[str], ordinal: int, ttl_ms: int | None
) -> None:
    with facegrep.open(path) as engine:
        engine.set_retention("lib", ttl_ms)
        answer(engine)
    expected = answer_without_files(path, tmp_path)
    (file,) = files(path)
    content = bytearray(file.read_bytes())
    rewrite_section(content, KEYS, 0, ordinal.to_bytes(8, "little", signed=True))
    file.write_bytes(content)
    loads.clear()
    with facegrep.open(path, readonly=True) as engine:
        assert answer(engine) == expected
    assert loads == ["refused"]


KEYS = 2
"""The section of a saved index that has the assets' ordinals (cpp/src/snapshot/snapshot.hpp)."""
