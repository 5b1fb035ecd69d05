"""Keys: what is stored of them, who sees them, and what damage and time do to them."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import facegrep
from facegrep.keys import AccessKey, Keys, Policy, master_key_from_environment
from facegrep.store._checksum import checksum

MASTER = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_a_key_is_found_with_its_secret_by_every_process_that_has_the_master_key(
    path: Path,
) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine, MASTER).create("studio")
        assert (made.account, made.disabled, made.security_token) == ("studio", False, None)
    with facegrep.open(path) as engine:
        assert Keys(engine, lambda: MASTER).find(made.id) == made
        assert Keys(engine, MASTER).find("FGunknown") is None


def test_no_byte_of_a_secret_is_in_the_store_or_in_a_list_or_in_a_log(path: Path) -> None:
    with facegrep.open(path) as engine:
        keys = Keys(engine, MASTER)
        made = [keys.create("studio"), keys.create("studio", lifetime_ms=60_000)]
        listed = keys.list()
        assert [key.secret for key in listed] == ["", ""]
        engine.backup(path.with_name("copy"))
        stored = bytes_of(path) + bytes_of(path.with_name("copy"))
    for key in made:
        assert key.secret not in repr(key)
        for part in (key.secret, key.secret[:12], key.security_token or key.secret):
            assert part.encode() not in stored
    assert made[0].id.encode() in stored


def test_without_a_master_key_nothing_is_made_and_it_says_what_to_set(path: Path) -> None:
    with facegrep.open(path) as engine:
        with pytest.raises(facegrep.MasterKeyError, match="set FACEGREP_MASTER_KEY to 32 bytes"):
            Keys(engine).create("studio")
        assert Keys(engine).list() == []


def test_no_key_is_sealed_with_another_master_key_than_those_that_can_be_used(path: Path) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine, MASTER).create("studio")
        with pytest.raises(facegrep.MasterKeyError, match="another master key"):
            Keys(engine, bytes(32)).create("studio")
        Keys(engine, MASTER).check_master_key()
        assert [key.id for key in Keys(engine).list()] == [made.id]
        Keys(engine).disable(made.id)  # as whoever lost the master key does
        Keys(engine, bytes(32)).create("studio")
        Keys(engine, bytes(32)).check_master_key()


def test_a_secret_that_was_not_sealed_opens_without_a_master_key(path: Path) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine).create("studio", sealed=False)
        Keys(engine).check_master_key()
        assert Keys(engine).find(made.id) == made


def test_another_master_key_opens_nothing(path: Path) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine, MASTER).create("studio")
        for other in (bytes(32), bytes(31), None):
            with pytest.raises(facegrep.MasterKeyError):
                Keys(engine, other).find(made.id)
            with pytest.raises(facegrep.MasterKeyError):
                Keys(engine, other).check_master_key()


@pytest.mark.parametrize(
    ("column", "value"),
    [("account", "another"), ("policy", Policy().text + " "), ("expires_ms", None), ("id", "FGx")],
)
def test_a_sealed_secret_opens_for_no_other_account_policy_or_time(
    path: Path, column: str, value: object
) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine, MASTER).create("studio", lifetime_ms=60_000)
    connection = sqlite3.connect(path / "session.db", isolation_level=None)
    connection.execute(f"UPDATE access_key SET {column} = ?", (value,))
    (row,) = connection.execute("SELECT * FROM access_key").fetchall()
    connection.execute("UPDATE access_key SET checksum = ?", (checksum(row[:-1]),))
    connection.close()
    with facegrep.open(path) as engine, pytest.raises(facegrep.MasterKeyError, match="was changed"):
        Keys(engine, MASTER).find("FGx" if column == "id" else made.id)


def test_a_damaged_row_is_found_by_verify_and_by_who_asks_for_it(path: Path) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine, MASTER).create("studio")
        engine.access.use_nonce(made.id, "once", 2**50)
        assert engine.verify().ok
    connection = sqlite3.connect(path / "session.db", isolation_level=None)
    connection.execute("UPDATE access_key SET account = 'another'")
    connection.execute("UPDATE nonce SET expires_ms = 1")
    connection.close()
    with facegrep.open(path) as engine:
        found = [damage.what for damage in engine.verify().damages]
        assert any("access_key" in what for what in found)
        assert any("nonce" in what for what in found)
        with pytest.raises(facegrep.StoreCorrupt, match="access_key"):
            Keys(engine, MASTER).find(made.id)


def test_a_disabled_key_is_disabled_for_all_and_in_a_backup(path: Path) -> None:
    with facegrep.open(path, actor="alice") as engine, facegrep.open(path) as other:
        keys = Keys(engine, MASTER)
        made, kept = keys.create("studio"), keys.create("studio")
        keys.disable(made.id)
        keys.disable(made.id)
        found = Keys(other, MASTER).find(made.id)
        assert found is not None
        assert found.disabled
        listed = {key.id: key.disabled for key in Keys(other).list()}
        assert listed == {made.id: True, kept.id: False}
        with pytest.raises(facegrep.NotFoundError, match="access key 'FGnone'"):
            keys.disable("FGnone")
        actions = [
            (entry.action, entry.actor)
            for entry in engine.for_account("studio").audit(searches=True)
        ]
        assert actions == [("create_key", "alice")] * 2 + [("disable_key", "alice")]
        assert engine.verify_audit().ok
        engine.backup(path.with_name("copy"))
    with facegrep.open(path.with_name("copy")) as copy:
        assert {key.id: key.disabled for key in Keys(copy).list()} == listed


OTHER_MASTER = bytes(range(32, 64))


@settings(max_examples=15, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["sealed", "insecure", "temporary", "disabled"]), max_size=6),
    unsealed_too=st.booleans(),
)
def test_under_another_master_key_every_key_is_what_it_was_and_the_old_one_opens_nothing(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], unsealed_too: bool
) -> None:
    path = tmp_path_factory.mktemp("resealed") / "store"
    with facegrep.open(path) as engine, facegrep.open(path) as other:
        keys = Keys(engine, MASTER)
        for kind in kinds:
            lifetime_ms = 60_000 if kind == "temporary" else None
            made = keys.create("studio", lifetime_ms=lifetime_ms, sealed=kind != "insecure")
            if kind == "disabled":
                keys.disable(made.id)
        before = [keys.find(key.id) for key in keys.list()]
        rows = engine.access.list_keys()
        sealed = [row for row in rows if row.seal != "none" or unsealed_too]
        assert keys.reseal(OTHER_MASTER, unsealed_too=unsealed_too) == len(sealed)
        renewed = Keys(other, OTHER_MASTER)
        assert [renewed.find(key.id) for key in renewed.list()] == before
        for row, now in zip(rows, engine.access.list_keys(), strict=True):
            assert (now == row) == (row not in sealed)
            if row in sealed:
                with pytest.raises(facegrep.MasterKeyError, match="another master key"):
                    keys.find(row.id)
        stored = bytes_of(path)  # the log, too
        for row in sealed:
            pieces = [row.sealed[at : at + 12] for at in range(0, len(row.sealed) - 12, 4)]
            assert not any(piece in stored for piece in pieces)
        assert engine.verify().ok
        assert engine.verify_audit().ok
        audit = engine.for_account("studio").audit(searches=True)
        assert [entry.action for entry in audit].count("reseal_key") == len(sealed)


def test_keys_that_cannot_be_sealed_anew_all_stay_as_they_are(path: Path) -> None:
    with facegrep.open(path) as engine:
        other = Keys(engine, OTHER_MASTER).create("studio")
        Keys(engine).disable(other.id)
        Keys(engine, MASTER).create("studio")
        Keys(engine).create("studio", sealed=False)
        before = engine.access.list_keys()
        for master_key in (MASTER, OTHER_MASTER, None):
            with pytest.raises(facegrep.MasterKeyError):
                Keys(engine, master_key).reseal(bytes(32), unsealed_too=True)
        for new in (b"short", MASTER, lambda: MASTER):
            with pytest.raises(facegrep.MasterKeyError, match=r"must be 32 bytes|is the old one"):
                Keys(engine, MASTER).reseal(new)
        assert engine.access.list_keys() == before


def test_old_secrets_that_a_reader_holds_in_the_log_are_said_and_go_with_the_next_opening(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegrep.store._access.ERASE_TIMEOUT_S", 0.1)
    with facegrep.open(path) as engine, facegrep.open(path, readonly=True) as reader:
        made = Keys(engine, MASTER).create("studio")
        (row,) = engine.access.list_keys()
        with (
            reader._shared.store.session.read(),
            pytest.raises(facegrep.ErasePending, match=r"sealed anew, but .* holds back the log"),
        ):
            Keys(engine, MASTER).reseal(OTHER_MASTER)
        assert Keys(engine, OTHER_MASTER).find(made.id) == made
        assert row.sealed in bytes_of(path)
    with facegrep.open(path):
        assert row.sealed not in bytes_of(path)


def test_temporary_credentials_have_a_token_and_an_end(path: Path) -> None:
    with facegrep.open(path) as engine:
        made = Keys(engine, MASTER).create("studio", lifetime_ms=60_000)
        assert made.id.startswith("STS.")
        assert made.security_token
        assert made.expires_ms == made.created_ms + 60_000
        assert Keys(engine, MASTER).find(made.id) == made
        with pytest.raises(facegrep.InvalidArgumentError, match="lifetime_ms"):
            Keys(engine, MASTER).create("studio", lifetime_ms=0)


def _race(path: str, start: object, accepted: object, count: int) -> None:
    with facegrep.open(path) as engine:
        start.wait()  # type: ignore[attr-defined]
        for number in range(count):
            if engine.access.use_nonce("FG", f"nonce {number}", 2**50):
                with accepted.get_lock():  # type: ignore[attr-defined]
                    accepted[number] += 1  # type: ignore[index]


def test_of_processes_that_race_for_a_nonce_exactly_one_wins(path: Path) -> None:
    facegrep.open(path).close()
    count, processes = 250, 4  # 1,000 tries
    context = multiprocessing.get_context("spawn")
    start, accepted = context.Barrier(processes), context.Array("i", count)
    children = [
        context.Process(target=_race, args=(str(path), start, accepted, count))
        for _ in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert accepted[:] == [1] * count


def test_of_threads_that_race_for_a_nonce_exactly_one_wins(path: Path) -> None:
    with facegrep.open(path) as engine:
        won: list[int] = []

        def use() -> None:
            won.extend(
                number
                for number in range(20)
                if engine.access.use_nonce("FG", f"nonce {number}", 2**50)
            )

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(20))


def test_nonces_that_wait_for_a_commit_share_the_next(path: Path) -> None:
    with facegrep.open(path) as engine:
        session = engine._shared.store.session

        def commits() -> int:
            with session.read() as connection:
                return int(connection.execute("SELECT seq FROM store").fetchone()[0])

        before = commits()
        threads = [
            threading.Thread(target=engine.access.use_nonce, args=("FG", f"nonce {n}", 2**50))
            for n in range(8)
        ]
        with session.locked():  # one begins, and the others wait for it
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 10
            while len(engine.access._waiting) < 7 and time.monotonic() < deadline:
                time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert not any(engine.access.use_nonce("FG", f"nonce {n}", 2**50) for n in range(8))
        assert commits() - before <= 2


def test_who_waited_for_a_commit_that_failed_is_told_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with facegrep.open(path) as engine:
        session = engine._shared.store.session
        monkeypatch.setattr(session, "lock_timeout_s", 0.5)
        errors: list[type[Exception]] = []

        def use(number: int) -> None:
            try:
                engine.access.use_nonce("FG", f"nonce {number}", 2**50)
            except facegrep.StoreError as error:
                errors.append(type(error))

        threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        with session.locked():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(errors) == 4
        assert facegrep.StoreBusy in errors
        assert engine.access.use_nonce("FG", "nonce 0", 2**50)  # nothing was written


def test_nonces_that_are_over_go_when_another_comes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with facegrep.open(path) as engine:
        now_ms = facegrep.store.now_ms()
        assert engine.access.use_nonce("FG", "old", now_ms + 1000)
        assert not engine.access.use_nonce("FG", "old", now_ms + 1000)
        assert engine.access.use_nonce("FGother", "old", now_ms + 1000)
        later = "facegrep.store._access.now_ms"
        monkeypatch.setattr(later, lambda: now_ms + 10**6)
        assert engine.access.use_nonce("FG", "new", now_ms + 10**7)
        with engine._shared.store.session.read() as connection:
            left = connection.execute("SELECT nonce FROM nonce").fetchall()
    assert left == [("new",)]


def test_threads_make_keys_side_by_side(path: Path) -> None:
    made: list[AccessKey] = []
    with facegrep.open(path) as engine:
        keys = Keys(engine, MASTER)

        def make() -> None:
            made.extend(keys.create("studio") for _ in range(5))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {key.id for key in keys.list()} == {key.id for key in made}
        assert len(made) == 20


def test_the_master_key_comes_from_a_variable_or_from_a_file_that_others_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(match: str) -> None:
        with pytest.raises(facegrep.MasterKeyError, match=match):
            master_key_from_environment()

    monkeypatch.delenv("FACEGREP_MASTER_KEY", raising=False)
    monkeypatch.delenv("FACEGREP_MASTER_KEY_FILE", raising=False)
    assert master_key_from_environment() is None
    text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    monkeypatch.setenv("FACEGREP_MASTER_KEY", text + "\n")
    assert master_key_from_environment() == MASTER
    file = tmp_path / "key"
    monkeypatch.setenv("FACEGREP_MASTER_KEY_FILE", str(file))
    refused("both set")
    monkeypatch.delenv("FACEGREP_MASTER_KEY")
    refused("No such file")
    for content in (MASTER, text.encode(), text.encode() + b"\n"):
        file.write_bytes(content)
        file.chmod(0o644)
        refused("chmod 600")
        file.chmod(0o600)
        assert master_key_from_environment() == MASTER
    file.write_bytes(b"short")
    refused("expected 32 bytes in base64")


def test_a_secret_that_is_not_sealed_is_known_by_its_row_alone(path: Path) -> None:
    with facegrep.open(path) as engine:
        Keys(engine).create("studio", sealed=False)
        (row,) = engine.access.list_keys()
        assert row.seal == "none"
        assert json.loads(row.sealed)["secret"]
        assert os.stat(path / "session.db").st_mode & 0o077 == 0  # noqa: PTH116
