"""An account that is dropped leaves nothing, and takes nothing of others along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import facegrep
from facegrep.cli._app import app
from facegrep.keys import Keys

MASTER = bytes(range(32))


def fill(root: facegrep.Engine, account: str, seed: int) -> list[bytes]:
    """Put something of everything into an account; what of it can be found in bytes."""
    engine = root.for_account(account)
    vectors = np.random.default_rng(seed).normal(size=(40, 64)).astype(np.float32)
    ids = [f"{account} media {number}" for number in range(40)]
    engine.create_library("lib", dim=64, threshold=0.9)
    engine.add_vectors("lib", ids, vectors, {"strField1": [f"{account} field"] * 40})
    found = engine.search("lib", vector=vectors[0])
    engine.answers.put("lib", f"{account} token", b"c" * 32, b"u" * 32, found.embedding, found)
    known = engine.create_recognition_library(f"{account} people", dim=64).recognition_id
    entity = engine.create_entity(known, f"{account} somebody").entity_id
    engine.add_sample(known, entity, vector=vectors[1])
    key = Keys(root).create(account, sealed=False)
    engine.access.use_nonce(key.id, f"{account} nonce", 2**50)
    codes = facegrep._core.quantize(vectors)
    texts = [
        *ids,
        *(f"{account} {what}" for what in ("field", "token", "somebody", "nonce")),
    ]
    return [
        *(text.encode() for text in texts),
        key.secret.encode(),
        *(bytes(code) for code in codes),
    ]


def found_in(path: Path, wanted: list[bytes]) -> list[bytes]:
    content = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
    return [one for one in wanted if one in content]


def test_nothing_of_a_dropped_account_is_in_any_file_and_all_of_another_is(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with facegrep.open(path, actor="alice") as root:
        gone, kept = fill(root, "gone", 1), fill(root, "kept", 2)
        assert found_in(path, gone) == gone
        plan = root.drop_account("gone", dry_run=True)
        assert found_in(path, gone) == gone
        done = root.drop_account("gone")
        assert done == replace(plan, dropped_ms=done.dropped_ms, hash=done.hash)
        assert found_in(path, gone) == []
        assert found_in(path, kept) == kept
        assert [key.account for key in Keys(root).list()] == ["kept"]
        assert root.verify().ok
        assert root.verify_audit().ok
        last = root.for_account("gone").audit()
        assert "drop_account" in [entry.action for entry in last]
        assert root.verify_audit(str(done.hash)).ok
        other = root.for_account("kept")
        assert other.library("lib").media_count == 40
        assert other.answers.get("lib", "kept token") is not None
        assert not root.access.use_nonce(Keys(root).list()[0].id, "kept nonce", 2**50)
    assert found_in(path, gone) == []


def test_one_with_a_key_alone_is_dropped_and_an_unknown_one_is_said(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as root:
        Keys(root, MASTER).create("new")
        root.drop_account("new")
        assert Keys(root).list() == []
        for name in ("new", "never"):
            with pytest.raises(facegrep.NotFoundError, match="account"):
                root.drop_account(name)
    with (
        facegrep.open(tmp_path / "store", readonly=True) as readonly,
        pytest.raises(facegrep.StoreReadOnly),
    ):
        readonly.drop_account("default")
    with facegrep.open(tmp_path / "store", readonly=True) as readonly:
        assert readonly.drop_account("default", dry_run=True).key_ids == ()


def test_a_drop_that_was_cut_off_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    with facegrep.open(path) as root:
        gone = fill(root, "gone", 1)

        def fail(*_: object, **__: object) -> None:
            raise facegrep.StoreFull("full")

        for step in ("engine.Engine.drop_library", "store.Store.drop_account"):
            with monkeypatch.context() as patch:
                patch.setattr(f"facegrep.{step}", fail)
                with pytest.raises(facegrep.StoreFull):
                    root.drop_account("gone")
            assert Keys(root).list() == []  # first of all
        root.drop_account("gone")
        assert found_in(path, gone) == []
        assert root.for_account("gone").libraries()[0].name == "ims-default-search-lib"


def test_an_account_that_has_a_library_again_is_not_dropped_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = facegrep.engine.Engine.recognition_libraries

    def meanwhile(engine: facegrep.Engine) -> object:
        engine.create_library("again")
        return listed(engine)

    with facegrep.open(tmp_path / "store") as root:
        root.for_account("busy").create_library("lib")
        with monkeypatch.context() as patch:
            patch.setattr("facegrep.engine.Engine.recognition_libraries", meanwhile)
            with pytest.raises(facegrep.OperationDeniedError, match="has a library again"):
                root.drop_account("busy")
        assert [one.name for one in root.for_account("busy").libraries()] == ["again"]
        assert root.verify().ok
        root.drop_account("busy")
        with pytest.raises(facegrep.NotFoundError):
            root.drop_account("busy")


def run(store: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["drop-account", *map(str, words), "--store", str(store)])


def test_the_command_shows_what_would_go_and_takes_it_when_it_is_told(tmp_path: Path) -> None:
    path, file = tmp_path / "store", tmp_path / "receipt.json"
    with facegrep.open(path) as root:
        gone, kept = fill(root, "gone", 1), fill(root, "kept", 2)
        ids = {key.account: key.id for key in Keys(root).list()}
    shown = run(path, "gone")
    assert shown.exit_code == 0, shown.output
    assert "nothing was erased" in shown.stdout
    plan = json.loads(run(path, "gone", "--json").stdout)
    assert found_in(path, gone) == gone
    assert plan == {
        "account": "gone",
        "libraries": ["ims-default-search-lib", "lib"],
        "media_count": 40,
        "face_count": 40,
        "recognition_libraries": ["gone people"],
        "entity_count": 1,
        "key_ids": [ids["gone"]],
        "dropped_ms": None,
        "hash": None,
    }
    for word in ("lib", "40", "gone people", ids["gone"]):
        assert word in shown.stdout
    done = run(path, "gone", "--yes", "--receipt", file)
    assert done.exit_code == 0, done.output
    receipt = json.loads(file.read_text())
    assert receipt == plan | {"dropped_ms": receipt["dropped_ms"], "hash": receipt["hash"]}
    assert receipt["hash"] in done.stdout
    assert found_in(path, gone) == []
    assert found_in(path, kept) == kept
    proof = ["audit", "verify", "--store", str(path), "--receipt"]
    assert CliRunner().invoke(app, [*proof, str(file)]).exit_code == 0
    changes = {
        "account": "kept",
        "libraries": ["lib"],
        "media_count": 41,
        "face_count": 39,
        "recognition_libraries": [],
        "entity_count": 2,
        "key_ids": [],
        "dropped_ms": 0,
    }
    forged = tmp_path / "forged.json"
    for name, value in changes.items():
        forged.write_text(json.dumps(receipt | {name: value}))
        said = CliRunner().invoke(app, [*proof, str(forged)])
        assert (said.exit_code, "says otherwise of" in said.stderr) == (1, True), name
    forged.write_text(json.dumps(receipt | {"hash": "0" * 64}))
    assert "no entry has the hash 000" in CliRunner().invoke(app, [*proof, str(forged)]).stderr
    forged.write_text(json.dumps(plan))  # nothing went
    assert CliRunner().invoke(app, [*proof, str(forged)]).exit_code == 1
    again = run(path, "gone", "--yes")
    assert again.exit_code == 1
    assert "account 'gone' does not exist; see `facegrep keys list`" in again.stderr


def test_no_account_is_dropped_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    assert run(tmp_path / "none", "default", "--yes").exit_code == 1
    assert not (tmp_path / "none").exists()
