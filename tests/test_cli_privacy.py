"""The command erases, keeps, checks, backs up and says who did what."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import facegrep
from facegrep.cli._app import app
from facegrep.cli._durations import read_ttl, show_duration
from facegrep.cli._opening import actor

PORTRAITS = Path(__file__).parent / "data" / "portraits"


def run(store: Path, *words: str | Path, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--store", str(store), *map(str, words)], input=answer)


def run_json(store: Path, *words: str | Path, exit_code: int = 0) -> Any:
    result = run(store, *words, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with four vectors in the library "people"."""
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("people", dim=8, threshold=0.9)
        engine.add_vectors("people", list("abcd"), np.eye(4, 8, dtype=np.float32))
    return tmp_path / "store"


def media_of(store: Path) -> list[str]:
    return [asset["media_id"] for asset in run_json(store, "media", "-l", "people")]


def test_erasing_asks_first(store: Path) -> None:
    for answer in ("n\n", ""):
        result = run(store, "erase", "a", "-l", "people", answer=answer)
        assert result.exit_code == 1
        assert "Erase 1 medium from 'people', for good?" in result.stderr
        assert media_of(store) == ["a", "b", "c", "d"]
    result = run(store, "erase", "a", "-l", "people", answer="y\n")
    assert result.exit_code == 0, result.output
    assert "1 medium erased" in result.stdout
    assert "faces overwritten     1" in result.stdout
    assert "not reached" in result.stdout
    assert media_of(store) == ["b", "c", "d"]


def test_a_receipt_is_a_file_that_was_there_before_anything_went(
    store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "receipt.json"
    shown = run_json(store, "erase", "a", "b", "-l", "people", "--yes", "--receipt", file)
    assert json.loads(file.read_text()) == shown
    assert shown["media_ids"] == ["a", "b"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = run(store, "erase", "c", "-l", "people", "--yes", "--receipt", file)
    assert again.exit_code == 2
    assert "exists already" in " ".join(again.stderr.replace("│", " ").split())
    nowhere = run(store, "erase", "c", "-l", "people", "--yes", "--receipt", tmp_path / "no" / "r")
    assert nowhere.exit_code == 1
    failed = run(store, "erase", "c", "-l", "no", "--yes", "--receipt", tmp_path / "other.json")
    assert failed.exit_code == 1
    assert not (tmp_path / "other.json").exists()
    assert media_of(store) == ["c", "d"]
    assert run(store, "audit", "verify", "--receipt", file).exit_code == 0


@pytest.mark.parametrize("words", [["erase", "a", "-l", "people", "--yes"], ["purge"]])
def test_a_receipt_that_cannot_be_written_is_shown(
    store: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    with facegrep.open(store) as engine:
        engine.add_vectors("people", ["z"], np.ones((1, 8)))
        engine.set_retention("people", 1 if words == ["purge"] else None)
    file, fsync = store.parent / "receipt.json", os.fsync

    def full(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    result = run(store, *words, "--receipt", file)
    assert result.exit_code == 1
    assert f"{file}: No space left on device; it is erased" in result.stderr
    shown = json.loads(result.stdout)
    (receipt,) = shown if words == ["purge"] else [shown]
    assert "a" in receipt["media_ids"]
    assert not file.exists()
    monkeypatch.undo()
    file.write_text(result.stdout)
    assert run(store, "audit", "verify", "--receipt", file).exit_code == 0


def test_an_id_that_is_not_there_is_exit_code_1(store: Path) -> None:
    shown = run_json(store, "erase", "a", "x", "y", "-l", "people", "--yes", exit_code=1)
    assert (shown["media_ids"], shown["unknown_ids"]) == (["a"], ["x", "y"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["erase"], "one of the two"),
        (["erase", "a", "--person", "x.jpg"], "one of the two"),
        (["erase", "--person", "x.jpg", "--threshold", "none"], "every medium would go"),
        (["erase", "a", "--json"], "cannot ask"),
        (["retention", "30"], "as in 30d"),
        (["retention", "0d"], "as in 30d"),
        (["add", "x", "--ttl", "soon"], "as in 30d"),
        (["audit", "searches", "maybe"], "Invalid value"),
        (["audit", "verify", "--receipt", "/no/such/file"], "no receipt"),
        (["backup"], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_exit_code_2(
    tmp_path: Path, words: list[str], complaint: str
) -> None:
    result = run(tmp_path / "none", *words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["erase", "a", "--yes"],
        ["purge"],
        ["verify"],
        ["backup", "copy"],
        ["compact"],
        ["audit"],
        ["audit", "verify"],
        ["audit", "searches", "on"],
        ["retention"],
        ["retention", "1d"],
    ],
    ids=" ".join,
)
def test_nothing_makes_a_store_by_the_way(tmp_path: Path, words: list[str]) -> None:
    result = run(tmp_path / "none", *words)
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
    assert not (tmp_path / "none").exists()


def test_a_person_is_shown_before_anything_goes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")
    folder, path = tmp_path / "photos", tmp_path / "store"
    folder.mkdir()
    for name in ("Emmanuel_Macron/person_a_1.jpg", "Jacinda_Ardern/person_b_1.jpg"):
        shutil.copy(PORTRAITS / name, folder / Path(name).name)
    assert run(path, "add", folder, "-l", "people").exit_code == 0
    words = ("erase", "-l", "people", "--person", PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg")
    plan = run(path, *words)
    assert plan.exit_code == 0, plan.output
    assert "1 medium would be erased: a score of 0.420 or more" in plan.stdout
    assert "nothing was erased" in plan.stdout
    macron = (folder / "person_a_1.jpg").as_posix()
    assert [hit["media_id"] for hit in run_json(path, *words)["hits"]] == [macron]
    assert len(media_of(path)) == 2
    assert run_json(path, *words, "--yes")["media_ids"] == [macron]
    assert media_of(path) == [(folder / "person_b_1.jpg").as_posix()]
    assert run(path, "audit").stdout.count("erase_person") == 1


def test_verify_names_what_is_damaged(store: Path) -> None:
    assert "all is as it was written" in run(store, "verify").stdout
    assert run_json(store, "verify", "-l", "people")["ok"]
    for segment in store.rglob("*.vec"):
        data = bytearray(segment.read_bytes())
        data[4096] ^= 1
        segment.write_bytes(data)
    result = run(store, "verify")
    assert result.exit_code == 1
    assert "v/2-0-0.vec  people   0      " in result.stdout
    assert "1 thing is damaged" in result.stderr
    (damage,) = run_json(store, "verify", exit_code=1)["damages"]
    assert (damage["file"], damage["library"], damage["block"]) == ("v/2-0-0.vec", "people", 0)


def test_a_backup_is_a_store(store: Path, tmp_path: Path) -> None:
    result = run(store, "backup", tmp_path / "copy")
    assert result.exit_code == 0, result.output
    assert "copied and verified" in result.stdout
    assert media_of(tmp_path / "copy") == ["a", "b", "c", "d"]
    again = run(store, "backup", tmp_path / "copy")
    assert again.exit_code == 1
    assert "overwrites nothing" in again.stderr
    assert run_json(store, "backup", tmp_path / "other")["media_count"] == 4


def test_compact_says_what_it_freed(store: Path) -> None:
    assert run(store, "compact").stdout == "0 bytes freed\n"
    run(store, "delete", "a", "b", "-l", "people")
    assert run_json(store, "compact")["freed_bytes"] == 16


def test_compact_leaves_no_deleted_vector_when_it_is_told_all(store: Path) -> None:
    with facegrep.open(store) as engine:
        engine.add_vectors("people", list("efg"), -np.eye(3, 8, dtype=np.float32))
        engine.add_vectors("people", ["h"], np.arange(1, 9, dtype=np.float32)[None])
        code = engine.get("people", "h", vectors=True).faces[0].code
    assert code is not None
    gone = code.tobytes()
    run(store, "delete", "h", "-l", "people")

    def there() -> bool:
        return any(gone in path.read_bytes() for path in store.rglob("*.vec"))

    assert run_json(store, "compact")["freed_bytes"] == 0  # an eighth is too little
    assert there()
    assert run_json(store, "compact", "--all")["freed_bytes"] == 8
    assert not there()
    assert run_json(store, "compact", "--all")["rewritten"] == []
    assert media_of(store) == list("abcdefg")


def test_media_of_a_library_are_kept_as_long_as_it_says(store: Path) -> None:
    assert run(store, "retention", "-l", "people").stdout == "kept for ever\n"
    assert run(store, "retention", "30d", "-l", "people").exit_code == 0
    assert "  30d  " in run(store, "libraries").stdout
    assert run_json(store, "libraries")[1]["ttl_ms"] == 30 * 86_400_000
    assert run(store, "purge").stderr == "nothing has expired\n"
    with facegrep.open(store) as engine:
        engine.set_retention("people", 1)
    (receipt,) = run_json(store, "purge")
    assert receipt["media_ids"] == ["a", "b", "c", "d"]
    assert run_json(store, "purge", "-l", "people") == []


def test_a_new_library_takes_a_retention_and_an_old_one_does_not_change(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")
    store, picture = tmp_path / "store", PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"
    assert run(store, "add", picture, "-l", "people", "--ttl", "36h").exit_code == 0
    assert run(store, "add", picture, "-l", "people", "--ttl", "36h").exit_code == 0
    assert run(store, "add", picture, "-l", "people").exit_code == 0
    refused = run(store, "add", picture, "-l", "people", "--ttl", "1h")
    assert refused.exit_code == 1
    assert "facegrep retention 1h --library people" in refused.stderr
    assert run(store, "retention", "-l", "people").stdout == "kept 36h\n"


def test_the_audit_is_a_table_with_who_it_was(store: Path) -> None:
    run(store, "delete", "a", "-l", "people")
    *_, row = run(store, "audit").stdout.splitlines()
    assert row.split()[4:] == ["default", actor(), "delete", "people", "1", "1", "-"]
    assert [entry["action"] for entry in run_json(store, "audit", "--last", "2")] == [
        "add_vectors",
        "delete",
    ]
    assert "the last 1 of 4; for more: --last 4" in run(store, "audit", "--last", "1").stderr
    whole = run(store, "audit", "verify")
    assert whole.stdout.startswith("the audit is whole: 4 entries, 0 of searches and keys\nhead ")
    report = run_json(store, "audit", "verify")
    assert whole.stdout.split()[-1] == report["head"]


def test_a_receipt_is_borne_out_by_the_audit_or_refuted(store: Path) -> None:
    files = [store.parent / f"{name}.json" for name in "ab"]
    for name, file in zip("ab", files, strict=True):
        run(store, "erase", name, "-l", "people", "--yes", "--receipt", file)
    receipts = [json.loads(file.read_text()) for file in files]
    both = store.parent / "both.json"
    both.write_text(json.dumps(receipts))
    assert run(store, "audit", "verify", "--receipt", files[0], "--receipt", both).exit_code == 0
    changes = {
        "library": "other",
        "media_ids": ["a", "c"],
        "face_count": 2,
        "begun_ms": 0,
        "erased_ms": 0,
        "previous_hash": "0" * 64,
    }
    for name, value in changes.items():
        forged = store.parent / "forged.json"
        forged.write_text(json.dumps({**receipts[0], name: value}))
        result = run(store, "audit", "verify", "--receipt", forged)
        assert result.exit_code == 1
        assert result.stderr.endswith(f"the audit says otherwise of {name}\n")
        report = run_json(store, "audit", "verify", "--receipt", forged, exit_code=1)
        assert [report[key] for key in ("ok", "damages", "missing")] == [False, [], []]
    # Of one erasure the beginning, of another the end.
    forged.write_text(json.dumps({**receipts[1], "hash": receipts[0]["hash"]}))
    assert "erased_ms" in run(store, "audit", "verify", "--receipt", forged).stderr
    forged.write_text(json.dumps({**receipts[0], "hash": "0" * 64}))
    result = run(store, "audit", "verify", "--receipt", forged)
    assert result.exit_code == 1
    assert result.stderr.count("no entry has the hash 000") == 1
    for wrong in ([1], {"hash": "0" * 64}, {**receipts[0], "media_ids": "a"}, "text"):
        forged.write_text(json.dumps(wrong))
        assert run(store, "audit", "verify", "--receipt", forged).exit_code == 2


def test_the_store_may_stand_before_or_behind_audit(store: Path) -> None:
    for words in (["audit", "--store", store, "verify"], ["audit", "verify", "--store", store]):
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, result.output
        assert "3 entries" in result.stdout


def test_searches_are_audited_when_that_is_switched_on(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")
    store, picture = tmp_path / "store", PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"
    run(store, "add", picture, "-l", "people")
    run(store, "search", picture, "-l", "people")
    assert run(store, "audit", "searches", "on").stdout == "searches are audited\n"
    assert run(store, "search", picture, "-l", "people").exit_code == 0
    *_, row = run(store, "audit", "--searches").stdout.splitlines()
    assert row.split()[5:9] == [actor(), "search", "people", "1"]
    assert run(store, "doctor").exit_code == 0, "it searches nobody"
    assert len(run_json(store, "audit", "--searches")) == 1


@pytest.mark.parametrize("text", ["45s", "90m", "36h", "30d", "2y"])
def test_a_duration_is_shown_as_it_was_written(text: str) -> None:
    assert show_duration(read_ttl(text)) == text


def test_durations_without_a_unit_of_their_own() -> None:
    assert read_ttl("none") is None
    assert show_duration(None) == "for ever"
    assert show_duration(read_ttl("2w")) == "14d"
    assert show_duration(1500) == "1,500 ms"
