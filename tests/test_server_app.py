"""The ASGI app in somebody else's server: too much to do, too slow, and whose fault it was."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving import sign

import facegrep
from facegrep.ice import Service
from facegrep.keys import AccessKey, Keys
from facegrep.server import create_app
from facegrep.server._rate import RateLimit

PORTRAITS = Path(__file__).parent / "data" / "portraits"
PICTURE = {"PersonImageUrl": "https://pictures.example/slow", "FaceSearchToken": "t"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        yield engine


@pytest.fixture
def key(engine: facegrep.Engine) -> AccessKey:
    return Keys(engine).create("studio", sealed=False)


async def ask(
    app: Any, key: AccessKey, action: str, parameters: dict[str, str]
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """One signed call, as a server would hand it on: status, body, headers of the reply."""
    request = sign(key, action, parameters)
    path, _, query = request.target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body), headers


async def get(app: Any, path: str) -> tuple[int, str]:
    """Status and text of what operators ask for."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "root_path": ""}
    await app(scope, receive, send)
    return int(sent[0]["status"]), b"".join(m.get("body", b"") for m in sent[1:]).decode()


def test_more_calls_than_can_wait_are_told_when_to_come_again(
    engine: facegrep.Engine, key: AccessKey
) -> None:
    held = threading.Event()

    def slow(_url: str) -> bytes:
        held.wait(30)
        raise OSError

    app = create_app(engine, fetcher=slow, threads=1, max_wait_s=30)

    async def load() -> list[tuple[int, dict[str, Any], dict[str, str]]]:
        calls = [
            asyncio.create_task(ask(app, key, "SearchMediaByFace", PICTURE)) for _ in range(12)
        ]
        done, _ = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        held.set()
        answers = await asyncio.gather(*calls)
        assert all(call.result()[1]["Code"] == "Throttling.Api" for call in done)
        status, _, _ = await ask(app, key, "ListSearchLib", {})
        assert status == 200
        return answers

    answers = asyncio.run(load())
    codes = [reply["Code"] for _, reply, _ in answers]
    assert sorted(codes) == ["InvalidParameter"] * 5 + ["Throttling.Api"] * 7
    for status, reply, headers in answers:
        assert status == 400
        assert ("x-acs-retry-after" in headers) == (reply["Code"] == "Throttling.Api")


def test_a_call_that_waited_too_long_is_not_begun_and_the_next_is_served(
    engine: facegrep.Engine, key: AccessKey
) -> None:
    held, begun = threading.Event(), []

    def slow(url: str) -> bytes:
        begun.append(url)
        held.wait(30)
        raise OSError

    app = create_app(engine, fetcher=slow, threads=1, max_wait_s=0.2)

    async def load() -> None:
        first = asyncio.create_task(ask(app, key, "SearchMediaByFace", PICTURE))
        while not begun:
            await asyncio.sleep(0.01)
        waiting = [
            asyncio.create_task(ask(app, key, "SearchMediaByFace", PICTURE)) for _ in range(3)
        ]
        await asyncio.sleep(0.3)
        assert not any(call.done() for call in waiting)
        held.set()
        assert (await first)[1]["Code"] == "InvalidParameter"
        for call in waiting:
            status, reply, headers = await call
            assert (status, reply["Code"]) == (400, "Throttling.Api")
            assert int(headers["x-acs-retry-after"]) > 0
        assert (await ask(app, key, "ListSearchLib", {}))[0] == 200

    asyncio.run(load())
    assert len(begun) == 1


def test_a_key_that_calls_too_often_is_told_when_to_come_again_and_others_are_not(
    engine: facegrep.Engine, key: AccessKey
) -> None:
    other = Keys(engine).create("studio", sealed=False)
    app = create_app(engine, rate_limit_per_s=0.01)

    async def calls() -> None:
        for caller in (key, other):
            assert (await ask(app, caller, "ListSearchLib", {}))[0] == 200
            status, reply, headers = await ask(app, caller, "ListSearchLib", {})
            assert (status, reply["Code"]) == (400, "Throttling.User")
            assert 0 < int(headers["x-acs-retry-after"]) <= 100_000

    asyncio.run(calls())
    with pytest.raises(facegrep.InvalidArgumentError, match="rate_limit_per_s"):
        create_app(engine, rate_limit_per_s=0)


@given(
    per_s=st.floats(0.1, 50),
    pauses_s=st.lists(st.floats(0, 3), max_size=60),
)
def test_no_key_gets_more_than_its_rate_and_who_waits_as_told_is_let_in(
    per_s: float, pauses_s: list[float]
) -> None:
    now_s = 0.0
    limit = RateLimit(per_s, lambda: now_s)
    taken = 0
    for pause_s in pauses_s:
        now_s += pause_s
        wait_ms = limit.take("key")
        taken += wait_ms == 0
        assert taken <= max(per_s, 1) + now_s * per_s + 1e-6
        if wait_ms:
            now_s += wait_ms / 1000
            assert limit.take("key") == 0
            taken += 1


def test_a_call_that_takes_too_long_is_answered_and_holds_its_place_to_its_end(
    engine: facegrep.Engine, key: AccessKey
) -> None:
    held = threading.Event()

    def slow(_url: str) -> bytes:
        held.wait(30)
        raise OSError

    app = create_app(engine, fetcher=slow, threads=2, deadline_s=0.3)

    async def wait() -> None:
        status, reply, _ = await ask(app, key, "SearchMediaByFace", PICTURE)
        assert (status, reply["Code"]) == (503, "ServiceUnAvailable")
        assert "may have been done" in reply["Recommend"]
        held.set()
        status, _, _ = await ask(app, key, "ListSearchLib", {})
        assert status == 200

    asyncio.run(wait())


def test_what_is_ours_is_logged_with_the_id_that_the_caller_gets_and_not_shown(
    engine: facegrep.Engine, key: AccessKey, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(engine)
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_: object) -> None:
            raise RuntimeError("a secret of ours")

        patch.setattr(Service, "call", fail)
        with caplog.at_level(logging.ERROR, "facegrep.server"):
            status, reply, headers = asyncio.run(ask(app, key, "ListSearchLib", {}))
    assert (status, reply["Code"]) == (500, "InternalError")
    assert "secret" not in json.dumps(reply)
    assert reply["RequestId"] == headers["x-acs-request-id"]
    assert reply["RequestId"] in caplog.text
    assert "a secret of ours" in caplog.text
    assert key.secret not in caplog.text


def test_a_store_that_is_closed_is_not_ready(engine: facegrep.Engine) -> None:
    app = create_app(engine)
    assert asyncio.run(get(app, "/readyz"))[0] == 200
    engine.close()
    assert asyncio.run(get(app, "/readyz"))[0] == 503
    assert asyncio.run(get(app, "/healthz"))[0] == 200


def test_who_has_the_old_master_key_is_not_ready_once_secrets_are_sealed_with_another(
    engine: facegrep.Engine,
) -> None:
    old, new = Keys(engine, bytes(32)), Keys(engine, bytes(range(32)))
    key, unsealed = old.create("studio"), old.create("studio", sealed=False)
    app = create_app(engine, keys=old)
    assert asyncio.run(ask(app, key, "ListSearchLib", {}))[0] == 200
    old.reseal(bytes(range(32)))
    assert asyncio.run(get(app, "/readyz"))[0] == 503
    status, reply, _ = asyncio.run(ask(app, key, "ListSearchLib", {}))
    assert (status, reply["Code"]) == (503, "ServiceUnAvailable")
    assert "master key" not in json.dumps(reply)
    assert asyncio.run(ask(app, unsealed, "ListSearchLib", {}))[0] == 200
    assert asyncio.run(ask(create_app(engine, keys=new), key, "ListSearchLib", {}))[0] == 200


def stage_seconds(text: str, name: str) -> dict[str, float]:
    """Sums by stage, of searches."""
    label = r'action="SearchMediaByFace",stage="(\w+)"'
    found = re.findall(rf"^{name}_sum{{{label}}} (\S+)$", text, re.MULTILINE)
    return {stage: float(value) for stage, value in found}


def test_operators_see_where_the_time_of_searches_goes(
    engine: facegrep.Engine, key: AccessKey
) -> None:
    portrait = PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg"

    def slow(_url: str) -> bytes:
        time.sleep(0.3)
        return portrait.read_bytes()

    app = create_app(engine, fetcher=slow)
    parameters = PICTURE | {"SearchLibName": "ims-default-search-lib"}
    assert asyncio.run(ask(app, key, "SearchMediaByFace", parameters))[0] == 200
    text = asyncio.run(get(app, "/metrics"))[1]
    wall_s, cpu_s = (stage_seconds(text, f"facegrep_stage{kind}_seconds") for kind in ("", "_cpu"))
    steps = ["wait", "gate", "fetch", "decode", "detect", "embed", "scan", "keep", "other", "reply"]
    assert sorted(wall_s) == sorted(cpu_s) == sorted(steps)
    assert wall_s["fetch"] >= 0.3
    assert cpu_s["fetch"] < 0.3
    assert min(cpu_s[name] for name in ("decode", "detect", "embed")) > 0
    (whole_s,) = re.findall(r"facegrep_request_seconds_sum\S+ (\S+)\n", text)
    assert 0.3 <= sum(wall_s.values()) <= float(whole_s)


def test_a_readonly_engine_and_keys_that_do_not_open_are_refused_at_once(
    engine: facegrep.Engine,
) -> None:
    with (
        facegrep.open(engine.path, readonly=True) as readonly,
        pytest.raises(facegrep.InvalidArgumentError, match="remembers nonces"),
    ):
        create_app(readonly)
    Keys(engine, bytes(32)).create("studio")
    with pytest.raises(facegrep.MasterKeyError):
        create_app(engine)
    create_app(engine, keys=Keys(engine, bytes(32)))


def test_the_audit_names_the_key_that_acted(engine: facegrep.Engine, key: AccessKey) -> None:
    app = create_app(engine)
    asyncio.run(ask(app, key, "CreateSearchLib", {"SearchLibName": "made"}))
    last = engine.for_account("studio").audit()[-1]
    assert (last.action, last.actor, last.account) == ("create_library", key.id, "studio")


def test_a_service_is_awaited_while_the_loop_goes_on(engine: facegrep.Engine) -> None:
    service = Service(engine)

    async def both() -> int:
        call = asyncio.create_task(service.acall("ListSearchLib", {}))
        turns = 0
        while not call.done():
            await asyncio.sleep(0)
            turns += 1
        assert call.result()["Total"] == 1
        return turns

    started = time.perf_counter()
    assert asyncio.run(both()) > 1
    assert time.perf_counter() - started < 60
