"""``facegrep keys``: a secret is shown once, and never stored readable by accident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import facegrep
from facegrep.cli._app import app
from facegrep.keys import Keys

MASTER = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
MASTER_BYTES = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEGREP_MASTER_KEY", MASTER)
    monkeypatch.delenv("FACEGREP_MASTER_KEY_FILE", raising=False)
    return tmp_path / "store"


def run(store: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["keys", *map(str, words), "--store", str(store)])


def run_json(store: Path, *words: str | Path) -> Any:
    result = run(store, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_making_a_key_makes_the_store_and_prints_one_object(store: Path) -> None:
    made = run_json(store, "create", "--account", "studio")
    assert set(made) == {"AccessKeyId", "AccessKeySecret", "Account"}
    (listed,) = run_json(store, "list")
    assert (listed["AccessKeyId"], listed["Account"]) == (made["AccessKeyId"], "studio")
    assert made["AccessKeySecret"] not in json.dumps(listed)
    assert made["AccessKeySecret"] not in run(store, "list").output


def test_without_a_master_key_it_refuses_and_makes_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACEGREP_MASTER_KEY")
    refused = run(store, "create", "--account", "studio")
    assert refused.exit_code == 2
    assert "FACEGREP_MASTER_KEY_FILE" in refused.stderr
    assert not store.exists()
    result = run(store, "create", "--insecure-store", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["AccessKeySecret"]
    assert "whoever can read the store" in result.stderr


def test_a_policy_comes_from_a_file(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ice:Search*","Resource":"*"}]}'
    )
    run_json(store, "create", "--policy", file)
    assert run_json(store, "list")[0]["Policy"] == file.read_text()
    file.write_text("{}")
    refused = run(store, "create", "--policy", file)
    assert refused.exit_code == 1
    assert "facegrep: policy: expected statements" in refused.stderr
    assert run(store, "create", "--policy", tmp_path / "none").exit_code == 2
    assert len(run_json(store, "list")) == 1


def test_a_key_is_disabled_and_an_unknown_one_is_said(store: Path) -> None:
    made = run_json(store, "create", "--lifetime", "12h")
    assert made["SecurityToken"]
    assert run(store, "disable", made["AccessKeyId"]).exit_code == 0
    (listed,) = run_json(store, "list")
    assert listed["Disabled"]
    assert listed["ExpiresMs"] - listed["CreatedMs"] == 12 * 3_600_000
    refused = run(store, "disable", "FGnone")
    assert refused.exit_code == 1
    assert "access key 'FGnone' does not exist; see `facegrep keys list`" in refused.stderr


@pytest.mark.parametrize("time", ["none", "soon"])
def test_a_lifetime_is_a_time_and_what_is_none_makes_no_key(store: Path, time: str) -> None:
    refused = run(store, "create", "--lifetime", time)
    assert refused.exit_code == 2
    assert "Invalid value for --lifetime: expected a number and one of" in refused.stderr
    assert not store.exists()


def test_that_there_is_no_key_yet_is_said(store: Path) -> None:
    made = run_json(store, "create")
    assert made["AccessKeyId"] in run(store, "list").stdout
    with facegrep.open(store) as engine:
        engine.drop_account("default")
    assert "nobody has a key; `facegrep keys create` makes one" in run(store, "list").stdout
    assert run_json(store, "list") == []


def test_a_server_that_nobody_has_a_key_for_says_so_when_it_starts(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn", reason="the server is not installed (facegrep[server])")
    monkeypatch.setattr("facegrep.server._serve.serve", lambda *_: None)
    serve = ["serve", "--store", str(store)]
    facegrep.open(store).close()
    assert "nobody has a key yet" in CliRunner().invoke(app, serve).stderr
    run_json(store, "create")
    result = CliRunner().invoke(app, serve)
    assert (result.exit_code, result.stderr) == (0, "")


def test_no_server_starts_that_could_not_accept_a_call(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn", reason="the server is not installed (facegrep[server])")
    started: list[object] = []
    monkeypatch.setattr("facegrep.server._serve.serve", lambda *given: started.append(given))
    run_json(store, "create")
    (store / "session.lock").unlink()
    (store / "session.lock").mkdir()  # of an owner who is somebody else, but not to root
    result = CliRunner().invoke(app, ["serve", "--store", str(store)])
    assert result.exit_code == 1
    assert result.stderr.startswith("facegrep: opening session.lock failed")
    assert not started


def test_secrets_are_encrypted_under_another_master_key_and_stay_what_they_are(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [run_json(store, "create"), run_json(store, "create", "--insecure-store")]
    refused = run(store, "reseal")
    assert refused.exit_code == 2
    assert "FACEGREP_NEW_MASTER_KEY_FILE" in " ".join(refused.stderr.split())
    new = store.with_name("new master key")
    new.write_bytes(bytes(32))
    new.chmod(0o600)
    monkeypatch.setenv("FACEGREP_NEW_MASTER_KEY_FILE", str(new))
    monkeypatch.setenv("FACEGREP_MASTER_KEY", "A" * 42 + "E=")
    wrong = run(store, "reseal")
    assert (wrong.exit_code, "another master key" in wrong.stderr) == (1, True)
    monkeypatch.setenv("FACEGREP_MASTER_KEY", MASTER)
    result = run(store, "reseal")
    assert result.exit_code == 0, result.output
    assert result.stdout == "1 secret is encrypted under the new one\n"
    assert "restart servers" in result.stderr
    monkeypatch.setenv("FACEGREP_MASTER_KEY", "A" * 43 + "=")
    again = run(store, "reseal")
    assert (again.exit_code, "is the old one" in again.stderr) == (1, True)
    new.write_text(MASTER)
    assert run_json(store, "reseal", "--insecure-too") == {"resealed": 2}
    with facegrep.open(store) as engine:
        keys = Keys(engine, MASTER_BYTES)
        for key in made:
            found = keys.find(key["AccessKeyId"])
            assert found is not None
            assert found.secret == key["AccessKeySecret"]
        assert {row.seal for row in engine.access.list_keys()} == {"aes-256-gcm"}


def test_no_key_is_disabled_or_sealed_in_a_store_that_is_not_there(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(store, "disable", "FGnone").exit_code == 1
    monkeypatch.setenv("FACEGREP_NEW_MASTER_KEY", MASTER)
    assert run(store, "reseal").exit_code == 1
    assert not store.exists()
