"""An index that is saved and loaded is the same one; a file that is not what was saved is none."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import facegrep
from facegrep import _core
from facegrep._errors import SnapshotDamaged
from facegrep._where import compile_where

PAGE = 4096
DIM = 20  # rows lie across pages


def load_oracle() -> Any:
    spec = importlib.util.spec_from_file_location(
        "index_oracle", Path(__file__).with_name("index_oracle.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["index_oracle"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


oracle = load_oracle()


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = os.memfd_create("saved index")
    yield descriptor
    os.close(descriptor)


def saved(index: _core.FaceIndex, notes: bytes = b"") -> bytes:
    descriptor = os.memfd_create("saved index")
    try:
        index.save(descriptor, notes)
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def loaded(content: bytes) -> tuple[_core.FaceIndex, bytes]:
    descriptor = os.memfd_create("saved index")
    try:
        os.pwrite(descriptor, content, 0)
        return _core.FaceIndex.load(descriptor)
    finally:
        os.close(descriptor)  # what was loaded has a descriptor of its own


def answers(index: _core.FaceIndex, queries: NDArray[np.float32], where: Any) -> object:
    """All that searches can see, bit for bit."""
    seen: list[object] = []
    for threshold, threads in ((None, 1), (-1.0, 1), (0.3, 2)):
        for found in index.search(queries, threshold, 50, 0, where, threads):
            ids = found.media_ids(0, 50)
            keys = found.keys.tolist()
            seen.append((ids, found.scores.tobytes(), keys, found.faces.tolist(), found.total))
            seen.append(index.codes(ids).tobytes())
    return seen, index.face_count, index.media_count, index.keys(where).tolist()


def add_some(
    rng: np.random.Generator, index: _core.FaceIndex, pool: NDArray[np.float32], first_key: int
) -> None:
    taken = set(index.search(pool[:1], None, 99, 0, [], 1)[0].media_ids(0, 99))
    fresh = [i for i in rng.permutation(oracle.IDS)[: rng.integers(1, 9)] if i not in taken]
    rows = [media_id for media_id in fresh for _ in range(rng.integers(1, 5))]
    fields = {}
    for name in oracle.FIELDS:
        values = oracle.INTS if name in oracle.FIELDS[:2] else oracle.TEXTS
        if rng.random() < 0.5:
            of = {media_id: values[rng.integers(len(values))] for media_id in fresh}
            fields[name] = [of[media_id] for media_id in rows]
    codes = _core.quantize(pool[rng.integers(len(pool), size=len(rows))])
    keys = np.array([first_key + fresh.index(media_id) for media_id in rows], dtype=np.int64)
    index.add_codes(rows, codes, fields, keys)


def test_a_loaded_index_answers_like_the_saved_one_also_after_more_changes() -> None:
    for case in range(120):
        rng = np.random.default_rng([4, case])
        dim = int(rng.choice([1, 7, 8, 20, 64, 128, 500]))
        pool = oracle.adversarial_pool(rng, dim)
        queries = np.ascontiguousarray(pool[:3] + rng.standard_normal((3, dim)), np.float32)
        pair = [_core.FaceIndex(dim)]
        for step in range(6):
            seed = [case, step]
            for index in pair:
                add_some(np.random.default_rng(seed), index, pool, 100 * step)
            gone = [i for i in oracle.IDS if rng.random() < 0.15]
            keys = np.flatnonzero(rng.random(600) < 0.02).astype(np.int64)
            assert len({index.remove(gone) for index in pair}) == 1
            assert len({index.remove_keys(keys) for index in pair}) == 1
            if rng.random() < 0.5:
                content = saved(pair[-1], b"%d" % step)
                other, notes = loaded(content)
                assert notes == b"%d" % step
                # Untouched by reading: a file is the same as long as the index is.
                assert saved(pair[-1], notes) == content
                pair = [pair[0], other]
            where = compile_where(oracle.random_where(rng))
            seen = [answers(index, queries, where) for index in pair]
            assert seen[0] == seen[-1], (case, step)


@pytest.fixture(scope="module")
def small() -> tuple[bytes, NDArray[np.float32], object]:
    rng = np.random.default_rng(9)
    index = _core.FaceIndex(DIM)
    rows = [f"photo-{i // 2}-é" if i % 7 else f"photo {i}" for i in range(700)]
    unique = list(dict.fromkeys(rows))
    codes = _core.quantize(rng.standard_normal((700, DIM)).astype(np.float32))
    number = np.array([unique.index(media_id) for media_id in rows], dtype=np.int64)
    fields = {
        "intField1": number.tolist(),
        "strField1": [f"name {n % 90}" for n in number],
        "mediaType": ["image" if n % 3 else None for n in number],
    }
    index.add_codes(rows, codes, fields, number)
    index.remove(unique[::5])
    queries = rng.standard_normal((2, DIM)).astype(np.float32)
    return saved(index, b"notes"), queries, answers(index, queries, [])


def outcome(content: bytes, queries: NDArray[np.float32]) -> object:
    """The answers, or None if the file was refused, at once or when codes were wanted."""
    try:
        index, notes = loaded(content)
        assert notes == b"notes"
        return answers(index, queries, [])
    except SnapshotDamaged:
        return None


def test_no_flipped_bit_goes_unseen(small: tuple[bytes, NDArray[np.float32], object]) -> None:
    content, queries, _ = small
    rng = np.random.default_rng(3)
    header = [(byte, bit) for byte in range(900) for bit in range(8)]
    places = [(int(rng.integers(len(content))), int(rng.integers(8))) for _ in range(2500)]
    damaged = bytearray(content)
    for byte, bit in header + places:
        damaged[byte] ^= 1 << bit
        # Not even an answer that happens to be right: every page is covered, and all are read.
        assert outcome(bytes(damaged), queries) is None, (byte, bit)
        damaged[byte] ^= 1 << bit


def test_a_file_cut_short_or_grown_is_refused(
    small: tuple[bytes, NDArray[np.float32], object],
) -> None:
    content, queries, right = small
    assert outcome(content, queries) == right
    edges = {edge + step for edge in range(0, len(content) + 1, PAGE) for step in (-1, 0, 1)}
    lengths = ({*range(2 * PAGE), *edges} | {*range(0, len(content), 37)}) - {-1, len(content)}
    for length in sorted(lengths):
        cut = content[:length].ljust(length, b"\0")
        assert outcome(cut, queries) is None, length


def test_pages_may_come_in_any_order_and_never_twice(
    small: tuple[bytes, NDArray[np.float32], object],
) -> None:
    content, queries, right = small
    for seed in range(20):
        index, _ = loaded(content)
        ids = index.search(queries[:1], None, 999, 0, [], 1)[0].media_ids(0, 999)
        index, _ = loaded(content)
        for media_id in np.random.default_rng(seed).permutation(ids)[:40]:
            index.codes([media_id])
        assert answers(index, queries, []) == right


def test_a_file_that_changes_after_loading_fails_and_never_answers_wrongly(file: int) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((20_000, 64)).astype(np.float32)
    index = facegrep.FaceIndex(64)
    index.add([f"{i}" for i in range(len(vectors))], vectors)
    index._core.save(file, b"")
    right = index.search(vectors[5], limit=3).media_ids
    size = os.fstat(file).st_size
    changes: dict[str, Callable[[], object]] = {
        "overwritten": lambda: os.pwrite(file, bytes(size), 0),
        "cut short": lambda: os.ftruncate(file, size // 2),
        "cut to nothing": lambda: os.ftruncate(file, 0),
    }
    content = os.pread(file, size, 0)
    for name, change in changes.items():
        os.pwrite(file, content, 0)
        unread, seen = (facegrep.FaceIndex._of(_core.FaceIndex.load(file)[0]) for _ in range(2))
        assert seen.search(vectors[5], limit=3).media_ids == right
        seen.codes([f"{i}" for i in range(len(vectors))])  # all are here now
        change()
        with pytest.raises(SnapshotDamaged):
            unread.search(vectors[5], limit=3)
        with pytest.raises(SnapshotDamaged):
            unread.codes(["7"])
        with pytest.raises(SnapshotDamaged):
            unread.add(["7"], vectors[7:8])  # is it the same asset?
        with pytest.raises(SnapshotDamaged):
            unread._core.save(file, b"")
        assert unread.remove(["7"]) == 1, name
        assert seen.search(vectors[5], limit=3).media_ids == right
        # Most are removed: clearing them away needs codes that cannot be had.
        assert unread.remove([f"{i}" for i in range(100, 20_000)]) == 19_900
        unread.add(["new"], vectors[9:10])
        assert unread.search(vectors[9], limit=1, where={"mediaType": []}).total == 0


def test_what_was_removed_does_not_come_back_with_its_page(
    small: tuple[bytes, NDArray[np.float32], object],
) -> None:
    content, queries, _ = small
    index, _ = loaded(content)
    ids = index.search(queries[:1], None, 999, 0, [], 1)[0].media_ids(0, 999)
    index, _ = loaded(content)
    index.remove(ids[::2])  # before their pages came
    for media_id in ids[1::2]:
        index.codes([media_id])
    again = np.frombuffer(saved(index), np.int8)
    gone, _ = loaded(content)
    for code in gone.codes(ids[::2]):
        assert code.tobytes() not in again.tobytes()


def test_what_a_removed_asset_had_in_its_fields_is_in_no_file() -> None:
    rng = np.random.default_rng(8)
    index = _core.FaceIndex(DIM)
    ids = [f"asset {i}" for i in range(200)]
    codes = _core.quantize(rng.standard_normal((200, DIM)).astype(np.float32))
    numbers = [0x1122334455667700 + i for i in range(200)]
    fields = {
        "intField1": numbers,
        "utcCreate": numbers,
        "strField1": [f"<name {i}>" for i in range(200)],
        "strField2": [f"<shared {i % 20}>" for i in range(200)],
        "namespace": [None if i % 2 else f"<space {i}>" for i in range(200)],
    }
    index.add_codes(ids, codes, fields, np.arange(200))
    with pytest.raises(facegrep.AlreadyExistsError):  # a refused call changes nothing
        index.add_codes(["x", ids[3]], codes[:2], {"strField1": ["<refused>"] * 2}, np.arange(2))
    for round_ in range(3):
        gone = range(round_ * 40, round_ * 40 + 40) if round_ < 2 else range(10, 200, 20)
        index.remove(ids[gone.start : gone.stop : gone.step])
        content = saved(index)
        left = set(range(200)) - set(range(min(round_ + 1, 2) * 40))
        left -= set(range(10, 200, 20)) if round_ == 2 else set()
        for i in range(200):
            is_left = i in left
            assert (b"<name %d>" % i in content) is is_left, i
            assert (numbers[i].to_bytes(8, "little") in content) is is_left, i
        shared = {i % 20 for i in left}
        assert [b"<shared %d>" % i in content for i in range(20)] == [
            i in shared for i in range(20)
        ]
        assert b"<refused>" not in content
        index, _ = loaded(content)
    assert b"<shared 10>" not in content
    # A string that is gone can come again, and is found.
    index.add_codes(["new"], codes[:1], {"strField2": ["<shared 10>"]}, np.array([999]))
    assert index.keys(compile_where({"strField2": "<shared 10>"})).tolist() == [999]
    assert index.keys(compile_where({"strField1": "<name 1>"})).tolist() == []


def test_threads_that_want_the_same_pages_get_the_same_answers() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((30_000, 64)).astype(np.float32)
    index = facegrep.FaceIndex(64)
    index.add([f"{i // 2}" for i in range(len(vectors))], vectors)
    queries = rng.standard_normal((16, 64)).astype(np.float32)
    right = [index.search(query, threshold=0.2).scores.tobytes() for query in queries]
    content = saved(index._core)
    for _ in range(5):
        copy = facegrep.FaceIndex._of(loaded(content)[0])
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(partial(copy.search, threshold=0.2, threads=2), queries)
            assert [result.scores.tobytes() for result in found] == right


TABLE = [0] * 256
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    TABLE[byte] = crc


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


HEADER = struct.Struct("<8sIIIIIIII")


def sections(content: bytes) -> list[tuple[int, int]]:
    """Offset and length of each; the first is the table of checksums."""
    places: list[tuple[int, int]] = []
    at, end = HEADER.size, PAGE
    while len(places) < 2 or end < len(content):
        offset, length = struct.unpack_from("<QQ", content, at)
        assert offset == end
        places.append((offset, length))
        at, end = at + 16, end + -(-length // PAGE) * PAGE
    return places


def sealed(content: bytearray, pages: set[int]) -> bytes:
    """Made to pass its checksums again, after these pages changed."""
    (table, length), (first, _) = sections(bytes(content))[:2] if 0 not in pages else TABLES[0]
    for page in pages - {0}:
        if page * PAGE < first:
            continue
        crc = crc32c(bytes(content[page * PAGE : (page + 1) * PAGE]))
        struct.pack_into("<I", content, table + 4 * (page - first // PAGE), crc)
    whole = -(-length // PAGE) * PAGE
    struct.pack_into("<I", content, HEADER.size - 8, crc32c(bytes(content[table : table + whole])))
    struct.pack_into("<I", content, PAGE - 4, crc32c(bytes(content[: PAGE - 4])))
    return bytes(content)


TABLES: list[Any] = []


def test_the_checksum_is_crc_32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_a_file_with_right_checksums_and_wrong_contents_does_no_harm(
    small: tuple[bytes, NDArray[np.float32], object],
) -> None:
    content, queries, right = small
    places = sections(content)
    TABLES[:] = [places[:2]]
    assert outcome(sealed(bytearray(content), {0, 5}), queries) == right
    rng = np.random.default_rng(6)
    refused = 0
    edges = [0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(content)]
    for case in range(1200):
        forged = bytearray(content)
        if rng.random() < 0.3:
            offset, length = 8, HEADER.size + 16 * len(places) - 8
        else:  # not the codes: any are as good as others
            offset, length = places[int(rng.integers(1, len(places) - 1))]
        if length < 8:
            continue
        for _ in range(rng.integers(1, 4)):
            at = offset + int(rng.integers(length // 4)) * 4
            old = struct.unpack_from("<I", forged, at)[0]
            new = rng.choice([rng.integers(2**32), edges[case % 7] & 0xFFFFFFFF, old + 1, old - 1])
            struct.pack_into("<I", forged, at, int(new) & 0xFFFFFFFF)
        pages = {at // PAGE for at in range(offset, offset + length, PAGE)} | {at // PAGE}
        try:
            index, _ = loaded(sealed(forged, pages))
        except SnapshotDamaged:
            refused += 1
            continue
        ids = index.search(queries, None, 999, 0, [], 1)[0].media_ids(0, 999)
        index.search(queries, -1.0, 999, 0, [("strField1", ["name 3"])], 2)
        index.search(queries, 0.1, 9, 0, [("intField1", [(3, 90)])], 1)
        index.remove(ids[::3])
        index.remove_keys(np.arange(50))
        index.add_codes(["new"], np.ones((1, DIM), np.int8), {"strField1": ["x"]}, np.array([1]))
        index.search(queries, None, 999, 0, [], 1)
        with contextlib.suppress(SnapshotDamaged):  # of ids that were not found, say
            loaded(saved(index))
    assert refused > 500


@pytest.mark.parametrize("field", range(1, 8))
def test_a_file_of_another_version_or_build_is_refused(
    small: tuple[bytes, NDArray[np.float32], object], field: int
) -> None:
    content, queries, _ = small
    TABLES[:] = [sections(content)[:2]]
    changed = bytearray(content)
    at = 8 + 4 * (field - 1)
    struct.pack_into("<I", changed, at, struct.unpack_from("<I", changed, at)[0] + 1)
    if field == 7:  # of the checksums: sealing it would make it right again
        struct.pack_into("<I", changed, PAGE - 4, crc32c(bytes(changed[: PAGE - 4])))
        assert outcome(bytes(changed), queries) is None
    else:
        assert outcome(sealed(changed, {0}), queries) is None


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(64 * PAGE))
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path / "zeros", tmp_path / "empty", tmp_path):
        descriptor = os.open(path, os.O_RDONLY)
        with pytest.raises(SnapshotDamaged):
            _core.FaceIndex.load(descriptor)
        os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        _core.FaceIndex.load(descriptor)


def test_a_full_disk_is_an_os_error_and_the_index_goes_on() -> None:
    index = _core.FaceIndex(4)
    index.add(["a"], np.ones((1, 4), np.float32), {})
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        index.save(descriptor, b"")
    os.close(descriptor)
    assert index.media_count == 1


def test_an_index_of_nothing_is_saved_as_one() -> None:
    index, notes = loaded(saved(_core.FaceIndex(7), b"x" * 5000))
    assert (index.face_count, index.dim, notes) == (0, 7, b"x" * 5000)
    index.add(["a"], np.ones((1, 7), np.float32), {})
    assert index.media_count == 1
