"""What was erased is in no answer and in no file; a crash anywhere is taken up."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import facegrep
from facegrep.store import _erase, _journal, _receipt, _segments
from facegrep.store._audit import AuditEntry, read_entries
from facegrep.store._segments import HEADER_BYTES

DIM = 64
ASSETS = 3000  # two faces each: six blocks of 64 KiB
CHANCE = np.random.default_rng(4)
VECTORS = CHANCE.normal(size=(2 * ASSETS, DIM)).astype(np.float32)
IDS = [str(uuid.UUID(bytes=CHANCE.bytes(16), version=4)) for _ in range(ASSETS)]
GONE = [IDS[0], IDS[1], *IDS[700:720], *IDS[1500:2100], IDS[-1]]

# By another process: one that uses SQLite may never open its files itself.
SCAN = """
import pathlib, sys
needles = [bytes.fromhex(line) for line in sys.stdin.read().split()]
size = 48
windows = {needle for needle in needles if len(needle) == size}
others = [needle for needle in needles if len(needle) != size]
found = set()
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        data = path.read_bytes()
        found |= {needle for needle in needles if needle in data}
print(len(found))
"""


def needles(ids: list[str]) -> list[bytes]:
    """Their ids, and windows of 48 bytes of their codes."""
    found = [media_id.encode() for media_id in ids]
    codes = facegrep._core.quantize(VECTORS)
    for media_id in ids:
        first = 2 * IDS.index(media_id)
        found += [codes[row].tobytes()[at : at + 48] for row in (first, first + 1) for at in (0, 9)]
    return found


def count_found(store: Path, ids: list[str]) -> int:
    lines = "\n".join(needle.hex() for needle in needles(ids))
    command = [sys.executable, "-c", SCAN, str(store)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("erase") / "store"
    with facegrep.open(path) as engine:
        engine.create_library("lib", dim=DIM, threshold=-1.0)
        # In an order that makes SQLite move rows between pages.
        order = CHANCE.permutation(ASSETS)
        for part in np.array_split(order, 7):
            ids = [IDS[asset] for asset in part for _ in range(2)]
            rows = [row for asset in part for row in (2 * asset, 2 * asset + 1)]
            engine.add_vectors("lib", ids, VECTORS[rows])
        found = engine.search("lib", vector=VECTORS[0])
        engine.answers.put("lib", "token", b"c" * 32, b"u" * 32, found.embedding, found)
    return path


@pytest.fixture
def store(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


@pytest.fixture
def engine(store: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(store) as engine:
        yield engine


def audit_of(engine: facegrep.Engine) -> list[AuditEntry]:
    with engine._shared.store.catalog.read() as connection:
        return [entry for entry in read_entries(connection) if entry.action.startswith("erase")]


def require_erased(store: Path, gone: list[str]) -> None:
    """In no answer, in no file, and the rest is whole."""
    left = [media_id for media_id in IDS if media_id not in set(gone)]
    assert count_found(store, gone) == 0
    with facegrep.open(store) as engine:
        found = engine.search("lib", vector=VECTORS[7], limit=ASSETS)
        assert sorted(found.media_ids) == sorted(left)
        for media_id in (left[0], left[700], left[-1]):
            codes = [face.code for face in engine.get("lib", media_id, vectors=True).faces]
            first = 2 * IDS.index(media_id)
            expected = facegrep._core.quantize(VECTORS[first : first + 2])
            np.testing.assert_array_equal(np.array(codes), expected)
        assert engine.verify().damages == ()
        assert audit_of(engine)[-1].action == "erased"
        kept = engine.answers.get("lib", "token")
        assert kept is not None
        assert kept.page(0, ASSETS).total == len(left)
    assert count_found(store, gone) == 0


def test_what_was_erased_is_in_no_file_while_open_and_after(store: Path) -> None:
    assert count_found(store, GONE) == 5 * len(GONE)
    with facegrep.open(store) as engine, facegrep.open(store, readonly=True) as reader:
        before = reader.search("lib", vector=VECTORS[7])
        receipt = engine.erase("lib", [*GONE, "unknown", GONE[0]])
        assert count_found(store, GONE) == 0
        assert reader.search("lib", vector=VECTORS[7]).total == before.total - len(GONE)
        assert receipt.media_ids == tuple(sorted(GONE))
        assert receipt.unknown_ids == ("unknown",)
        assert receipt.face_count == 2 * len(GONE)
        assert receipt.segments == ("2-0-0.vec",)
        assert receipt.generations == (0,)
        assert receipt.rewritten == ("catalog.db", "session.db")
        assert receipt.answers == 1
        assert receipt.begun_ms <= receipt.erased_ms
        assert "not reached" in receipt.note
        assert json.loads(json.dumps(receipt.to_dict()))["media_ids"] == sorted(GONE)
    require_erased(store, GONE)


def test_the_audit_knows_counts_and_a_salted_hash_and_chains_the_receipts(
    engine: facegrep.Engine,
) -> None:
    receipts = [engine.erase("lib", [media_id]) for media_id in IDS[:2]]
    entries = audit_of(engine)
    assert [entry.action for entry in entries] == ["erase", "erased"] * 2
    for number, receipt in enumerate(receipts):
        begun, done = entries[2 * number : 2 * number + 2]
        assert (begun.hash.hex(), done.hash.hex()) == (receipt.begun_hash, receipt.hash)
        assert done.previous.hex() == receipt.previous_hash
        assert (begun.media_count, begun.face_count, begun.library) == (1, 2, "lib")
    with engine._shared.store.catalog.read() as connection:
        (salt,) = connection.execute("SELECT salt FROM store").fetchone()
    said = json.loads(entries[0].details)["ids"]
    assert said == _receipt.hash_ids(salt, [IDS[0]])
    assert said != _receipt.hash_ids(bytes(32), [IDS[0]])
    assert IDS[0] not in repr(entries)


def test_an_id_that_was_deleted_before_goes_from_the_catalog(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.delete("lib", IDS[:200])
        receipt = engine.erase("lib", IDS[:200])
        assert receipt.media_ids == ()
    ids = b"".join(media_id.encode() for media_id in IDS[:200])
    data = (store / "catalog.db").read_bytes()
    assert not any(ids[at : at + 36] in data for at in range(0, len(ids), 36))


def test_pages_of_an_answer_keep_their_places(engine: facegrep.Engine) -> None:
    kept = engine.answers.get("lib", "token")
    assert kept is not None
    pages = [kept.page(at, 50).hits for at in range(0, ASSETS, 50)]
    gone = {pages[0][3].media_id, pages[1][0].media_id, pages[1][49].media_id}
    engine.erase("lib", sorted(gone))
    again = engine.answers.get("lib", "token")
    assert again is not None
    for at, hits in enumerate(pages):
        page = again.page(50 * at, 50)
        assert page.total == ASSETS - 3
        assert page.hits == tuple(hit for hit in hits if hit.media_id not in gone)


def test_a_person_goes_with_the_answers_of_searches_for_them(engine: facegrep.Engine) -> None:
    engine.create_library("people", dim=DIM, threshold=0.9)
    person, other = VECTORS[0], VECTORS[1]
    rows = np.stack([person, person * 2, other, other])
    engine.add_vectors("people", ["p1", "p2", "both", "both"], np.stack([rows[0], *rows[1:]]))
    engine.add_vectors("people", ["mixed"] * 2, np.stack([person, other]))
    for token, vector in (("hers", person * 3), ("his", other)):
        found = engine.search("people", vector=vector)
        engine.answers.put("people", token, b"c" * 32, b"u" * 32, found.embedding, found)
    plan = engine.erase_person("people", vector=person)
    assert sorted(plan.media_ids) == ["mixed", "p1", "p2"]
    assert plan.threshold == 0.9
    assert engine.library("people").media_count == 4  # a plan is no deed
    receipt = engine.erase_person("people", vector=person, dry_run=False)
    assert receipt.media_ids == ("mixed", "p1", "p2")
    assert receipt.answers == 2  # one dropped, one that lost the hit of `mixed`
    assert engine.answers.get("people", "hers") is None
    his = engine.answers.get("people", "his")
    assert his is not None
    assert [hit.media_id for hit in his.page(0, 9).hits] == ["both"]
    assert engine.search("people", vector=person).total == 0
    assert audit_of(engine)[-2].action == "erase_person"
    path = engine.path
    engine.close()
    session = (path / "session.db").read_bytes()
    assert (person * 3).tobytes()[:48] not in session
    assert other.tobytes()[:48] in session
    with facegrep.open(path) as again, pytest.raises(facegrep.InvalidArgumentError):
        again.erase_person("people", vector=person, threshold=None)


def test_a_reader_in_a_transaction_makes_it_pending_without_a_receipt(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        _erase.EraseOperations.erase,
        "__kwdefaults__",
        {
            **(_erase.EraseOperations.erase.__kwdefaults__ or {}),
            "timeout_s": 0.2,
        },
    )
    with facegrep.open(store) as engine, facegrep.open(store, readonly=True) as reader:
        with reader._shared.store.catalog.read() as connection:
            connection.execute("SELECT count(*) FROM media").fetchone()
            with pytest.raises(facegrep.ErasePending, match="holds back the log"):
                engine.erase("lib", GONE)
            assert engine.search("lib", vector=VECTORS[7]).total == ASSETS - len(GONE)
            assert [entry.action for entry in audit_of(engine)] == ["erase"]
        receipt = engine.erase("lib", [])  # the next one finishes it
        assert receipt.media_ids == ()
    require_erased(store, GONE)


POINTS = ["begun", "half overwritten", "overwritten", "answers", "session", "rebuilt", "emptied"]
CHILD = """
import os, signal, sys
import facegrep
from facegrep.store import _answers, _erase, _journal, _scrub, _segments

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def after(module, name, count=1):
    function = getattr(module, name)
    left = [count]
    def run(*arguments, **named):
        result = function(*arguments, **named)
        left[0] -= 1
        if not left[0]:
            kill()
        return result
    setattr(module, name, run)

point = sys.argv[2]
if point == "begun":
    _erase.overwrite_entered = kill
if point == "half overwritten":
    after(_segments, "_write_zeros", 3)
if point == "overwritten":
    after(_erase, "overwrite_entered")
if point == "answers":
    after(_answers.AnswerStore, "forget_deleted")
if point == "session":
    after(_scrub, "scrub")
if point == "rebuilt":
    truncate, left = _scrub._truncate, [2]
    def before(*arguments):
        left[0] -= 1
        return truncate(*arguments) if left[0] else kill()
    _scrub._truncate = before
if point == "emptied":
    after(_erase, "scrub")
ids = sys.stdin.read().split()
with facegrep.open(sys.argv[1]) as engine:
    engine.erase("lib", ids)
"""


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_anywhere_is_taken_up_by_the_next_opening(store: Path, point: str) -> None:
    command = [sys.executable, "-c", CHILD, str(store), point]
    done = subprocess.run(command, input="\n".join(GONE), text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    with facegrep.open(store, readonly=True) as reader:  # which cannot finish it, and need not
        assert reader.search("lib", vector=VECTORS[7]).total == ASSETS - len(GONE)
        assert reader.get("lib", IDS[2], vectors=True).faces[0].code is not None
        assert reader.verify().damages == ()
    facegrep.open(store).close()
    require_erased(store, GONE)


def test_readers_answer_while_blocks_are_half_overwritten(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before the erasure to after it, those that were loaded and those that load just now."""
    overwrite = _segments.overwrite_slots
    steps = 0

    def look(descriptor: int, segment: object, slots: list[range]) -> None:
        nonlocal steps
        for part in slots:
            for begin in range(part.start, part.stop, 200):
                piece = range(begin, min(begin + 200, part.stop))
                overwrite(descriptor, segment, [piece])  # type: ignore[arg-type]
                steps += 1
                for reader in (loaded, fresh):
                    found = reader.search("lib", vector=VECTORS[7])
                    assert found.total == ASSETS - len(GONE)
                    assert reader.get("lib", IDS[2], vectors=True).faces[1].code is not None

    with (
        facegrep.open(store) as engine,
        facegrep.open(store, readonly=True) as loaded,
        facegrep.open(store, readonly=True) as fresh,
    ):
        loaded.search("lib", vector=VECTORS[7])
        monkeypatch.setattr(_journal, "overwrite_slots", look)
        engine.erase("lib", GONE)
    assert steps > 5
    require_erased(store, GONE)


@pytest.mark.parametrize("name", ["pwrite", "fdatasync"])
def test_a_disk_that_fails_makes_it_pending_and_the_next_time_finishes_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with facegrep.open(store) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(facegrep.ErasePending, match="in no answer any more"):
                engine.erase("lib", GONE)
        assert engine.search("lib", vector=VECTORS[7]).total == ASSETS - len(GONE)
        assert [entry.action for entry in audit_of(engine)] == ["erase"]
    facegrep.open(store).close()
    require_erased(store, GONE)


FINISHED_AND_LEFT = {
    "overwrite_entered": "finished: nothing; left: vectors, saved indexes, kept answers, the cat",
    "wipe_outdated": "finished: vectors; left: saved indexes, kept answers, the catalog",
    "forget_deleted": "finished: vectors, saved indexes; left: kept answers, the catalog",
    "scrub_if_wanted": "finished: vectors, saved indexes; left: kept answers, the catalog",
    "scrub": "finished: vectors, saved indexes, kept answers; left: the catalog",
    "append_entry": "finished: vectors, saved indexes, kept answers; left: the catalog",
}


@pytest.mark.parametrize("step", FINISHED_AND_LEFT)
def test_what_is_pending_is_said_truly(
    store: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise facegrep.StoreBusy("another writer held writer.lock for 10 s; nothing was written")

    with facegrep.open(store) as engine:
        owners = (_erase, engine._shared.store.caches, engine._shared.store.answers)
        with monkeypatch.context() as patch:
            patch.setattr(next(o for o in owners if hasattr(o, step)), step, fail)
            with pytest.raises(facegrep.ErasePending) as caught:
                engine.erase("lib", GONE)
        message = str(caught.value)
        assert FINISHED_AND_LEFT[step] in message
        assert "another writer held writer.lock for 10 s; finished" in message
        assert "nothing was written" not in message  # much was
        again = engine.erase("lib", GONE)
        assert (again.media_ids, set(again.unknown_ids)) == ((), set(GONE))
    require_erased(store, GONE)


def test_a_damaged_block_is_overwritten_and_stays_damaged(store: Path) -> None:
    path = store / "v" / "2-0-0.vec"
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 70_000] ^= 1
    path.write_bytes(data)
    with facegrep.open(store) as engine:
        engine.erase("lib", IDS)
        (damage,) = engine.verify().damages
        assert damage.block == 1
    assert count_found(store, IDS) == 0


def test_two_processes_that_erase_at_once_both_get_a_receipt(store: Path) -> None:
    script = (
        "import sys, facegrep\n"
        "with facegrep.open(sys.argv[1]) as engine:\n"
        "    for media_id in sys.argv[2:]:\n"
        "        assert engine.erase('lib', [media_id]).media_ids == (media_id,)\n"
    )
    parts = [IDS[0:6], IDS[6:12], IDS[12:18]]
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(store), *part]) for part in parts
    ]
    assert [child.wait() for child in children] == [0, 0, 0]
    require_erased(store, IDS[:18])


def test_an_erasure_of_everything_leaves_a_library_that_takes_more(
    engine: facegrep.Engine, store: Path
) -> None:
    engine.erase("lib", IDS)
    assert engine.library("lib").media_count == 0
    engine.add_vectors("lib", IDS[:10], VECTORS[:10])
    assert engine.search("lib", vector=VECTORS[3]).media_ids[0] == IDS[3]
    started = time.monotonic()
    engine.erase("lib", [IDS[3]])
    assert time.monotonic() - started < 30
    engine.close()
    connection = sqlite3.connect(store / "catalog.db")
    assert connection.execute("SELECT count(*) FROM erase_journal").fetchone() == (0,)
    assert connection.execute("SELECT scrub FROM store").fetchone() == (0,)
    connection.close()
