"""Who is let in by a running server, as whom, to do what; and how it starts and ends."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving import Signed, make_key, serving, sign

import facegrep
from facegrep.ice._service import _ACTIONS
from facegrep.keys import AccessKey, Keys, Policy

ONLY_QUERY = Policy(
    '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ice:Query*","Resource":"*"}]}'
)


class Server:
    """A server of one worker, and keys of its store."""

    def __init__(self, store: Path, address: str) -> None:
        self.store = store
        self.address = address
        self.key = make_key(store, "studio")
        self.stranger = make_key(store, "stranger")

    def call(self, action: str, *, key: AccessKey | None = None, **parameters: str) -> Any:
        status, reply = sign(key or self.key, action, parameters).send(self.address)
        assert status == 200, reply
        return reply

    def refusal(self, request: Signed) -> tuple[int, str]:
        status, reply = request.send(self.address)
        assert set(reply) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
        assert reply["Message"]
        assert reply["Recommend"]
        return status, reply["Code"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("calls") / "store"
    make_key(store, "first")
    with serving(store) as (address, _):
        yield Server(store, address)


def test_a_server_that_is_ready_has_loaded_its_models(tmp_path: Path) -> None:
    make_key(tmp_path / "store", "studio")
    with serving(tmp_path / "store") as (_, process):
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
    assert "onnxruntime" in mapped


def test_a_server_without_weights_says_so_and_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(tmp_path / "store", "studio")
    with facegrep.open(tmp_path / "store") as engine:
        view = engine.for_account("studio")
        assert view.library("ims-default-search-lib").model == "sface-2021dec"
    site = tmp_path / "site"
    site.mkdir()
    (site / "onnxruntime.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    says = ".*pictures for some libraries will be refused: .*onnxruntime.*"
    with serving(tmp_path / "store", log_says=says) as (address, _):
        assert sign(key, "ListSearchLib", {}).send(address)[0] == 200


def test_who_does_not_sign_or_signs_with_another_secret_is_refused(server: Server) -> None:
    unsigned = sign(server.key, "ListSearchLib", {})
    del unsigned.headers["authorization"]
    assert server.refusal(unsigned) == (400, "IncompleteSignature")
    other = make_key(server.store, "studio")
    assert server.call("ListSearchLib", key=other)["Total"] == 1
    mixed = sign(other, "ListSearchLib", {})
    mixed.headers["authorization"] = mixed.headers["authorization"].replace(other.id, server.key.id)
    assert server.refusal(mixed) == (400, "SignatureDoesNotMatch")
    mixed.headers["authorization"] = mixed.headers["authorization"].replace(server.key.id, "FGno")
    assert server.refusal(mixed) == (404, "InvalidAccessKeyId.NotFound")


def test_a_request_counts_once(server: Server) -> None:
    request = sign(server.key, "ListSearchLib", {})
    assert request.send(server.address)[0] == 200
    assert server.refusal(request) == (400, "SignatureNonceUsed")


def test_a_refused_signature_uses_no_nonce_up(server: Server) -> None:
    request = sign(server.key, "ListSearchLib", {})
    forged = Signed(request.target + "?x=1", request.headers)
    assert server.refusal(forged) == (400, "SignatureDoesNotMatch")
    assert request.send(server.address)[0] == 200


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_that_is_off_by_more_than_15_minutes_is_refused(
    server: Server, minutes: int
) -> None:
    request = sign(server.key, "ListSearchLib", {}, time_s=time.time() + 60 * minutes)
    assert server.refusal(request) == (400, "InvalidTimeStamp.Expired")


def test_another_version_action_method_or_path_is_not_found(server: Server) -> None:
    key = server.key
    older = sign(key, "ListSearchLib", {}, version="2014-05-26")
    assert server.refusal(older) == (404, "InvalidApi.NotFound")
    assert server.refusal(sign(key, "Listsearchlib", {})) == (404, "InvalidAction.NotFound")
    get = sign(key, "ListSearchLib", {})
    get.method = "GET"
    assert server.refusal(get) == (405, "UnsupportedHTTPMethod")
    for target in ("/other", "//", "/healthz/", "*", "http://elsewhere/"):
        elsewhere = sign(key, "ListSearchLib", {})
        elsewhere.target = target
        assert server.refusal(elsewhere) == (404, "InvalidApi.NotFound")


def test_parameters_in_the_body_are_refused_not_ignored(server: Server) -> None:
    request = sign(server.key, "ListSearchLib", {}, body=b"PageNo=2")
    assert server.refusal(request) == (400, "InvalidParameter")
    request.body = b"PageNo=3"
    assert server.refusal(request) == (400, "SignatureDoesNotMatch")
    huge = sign(server.key, "ListSearchLib", {}, body=b"x" * 70_000)
    assert server.refusal(huge) == (413, "RequestTooLarge")


def test_a_query_that_is_too_long_is_said_so(server: Server) -> None:
    huge = sign(server.key, "SearchMediaByFace", {"PersonImageUrl": "x" * 1_100_000})
    assert server.refusal(huge) == (413, "RequestTooLarge")


def test_a_disabled_key_is_refused_from_the_next_call_on(server: Server) -> None:
    key = make_key(server.store, "studio")
    server.call("ListSearchLib", key=key)
    with facegrep.open(server.store) as engine:
        Keys(engine).disable(key.id)
    assert server.refusal(sign(key, "ListSearchLib", {})) == (400, "InvalidAccessKeyId.Inactive")


def test_temporary_credentials_need_their_token_and_come_to_an_end(server: Server) -> None:
    with facegrep.open(server.store) as engine:
        keys = Keys(engine)
        key = keys.create("studio", sealed=False, lifetime_ms=3_600_000)
        over = keys.create("studio", sealed=False, lifetime_ms=1)
    assert server.call("ListSearchLib", key=key)["Total"] == 1
    without = AccessKey(
        **{name: getattr(key, name) for name in key.__slots__} | {"security_token": None}
    )
    assert server.refusal(sign(without, "ListSearchLib", {})) == (400, "InvalidSecurityToken")
    expired = server.refusal(sign(over, "ListSearchLib", {}))
    assert expired == (400, "InvalidSecurityToken.Expired")


def test_a_policy_is_asked_first_and_tells_nothing_of_what_exists(server: Server) -> None:
    key = make_key(server.store, "studio", ONLY_QUERY)
    server.call("CreateSearchLib", SearchLibName="here")
    server.call("QuerySearchLib", key=key, SearchLibName="here")
    said = set()
    for parameters in ({"SearchLibName": "here"}, {"SearchLibName": "none"}, {"Bad": "x"}, {}):
        status, reply = sign(key, "DropSearchLib", parameters).send(server.address)
        said.add((status, reply["Code"], reply["Message"], reply["Recommend"]))
    assert len(said) == 1
    assert next(iter(said))[:2] == (403, "Forbidden.RAM")
    server.call("DropSearchLib", SearchLibName="here")


KINDS = {kind.__name__: kind for kind, _ in _ACTIONS.values()}
VALUES = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    [
        *("face", "1", "0", "-1", "1" * 19, "50", "51", "true", "null", "a,b", "../x", "x" * 5000),
        *("{}", "[]", '{"gte":1}', '{"intField1":[1]}', '{"title":"x"}', '{"faceGroupIds":"a"}'),
        *('{"strField1":"\\ud800"}', '{"intField1":1e999}', "[" * 2000, '{"a":1,"a":1}', "video"),
        *(
            "data:,",
            "data:image/png;base64,AAAA",
            "file:///etc/passwd",
            "oss://b/k",
            "https://[::1",
        ),
    ]
)


@st.composite
def malformed(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """An action, as a rule with all that it must have, and values of which hardly one is good."""
    kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    fields = msgspec.structs.fields(kind)
    names = [field.encode_name for field in fields]
    must = {field.encode_name: VALUES for field in fields if field.required}
    told = {} if draw(st.integers(0, 9)) == 0 else draw(st.fixed_dictionaries(must))
    known = st.dictionaries(st.sampled_from(names), VALUES, max_size=4)
    strange = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), VALUES, max_size=1)
    return kind.__name__, told | draw(known) | draw(strange)


@settings(max_examples=300, deadline=None)
@given(malformed())
def test_no_malformed_request_is_the_servers_fault(
    server: Server, call: tuple[str, dict[str, str]]
) -> None:
    status, reply = sign(server.stranger, *call).send(server.address)
    assert status in (200, 400, 403, 404)
    assert status == 200 or reply["Code"] != "SignatureDoesNotMatch"
    assert "Traceback" not in json.dumps(reply)


@settings(max_examples=100, deadline=None)
@given(st.text("&=%+?a0é;/ ", min_size=1, max_size=12))
def test_no_malformed_query_string_is_the_servers_fault(server: Server, tail: str) -> None:
    request = sign(server.stranger, "ListSearchLib", {"PageNo": "1"})
    request.target += quote(tail, safe="&=%+?;/")
    status, reply = request.send(server.address)
    assert (status, reply["Code"]) in {(400, "InvalidParameter"), (400, "SignatureDoesNotMatch")}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_no_http_is_refused_and_the_next_call_answered(server: Server, data: bytes) -> None:
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            assert b" 500 " not in connection.recv(4096)[:20]
    server.call("ListSearchLib")


def get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


def test_operators_see_how_it_is(server: Server) -> None:
    assert get(server.address, "/healthz") == (200, "ok\n")
    assert get(server.address, "/readyz") == (200, "ready\n")
    server.call("ListSearchLib")
    server.refusal(sign(server.key, "NoSuchAction", {}))
    status, text = get(server.address, "/metrics")
    assert status == 200
    assert 'facegrep_requests_total{action="ListSearchLib",code="200"}' in text
    assert 'facegrep_requests_total{action="other",code="InvalidAction.NotFound"}' in text
    assert "NoSuchAction" not in text


def test_a_reply_is_sent_at_once(server: Server) -> None:
    # Whose head and body wait for each other has 40 ms in every one, whatever the machine does.
    connection = http.client.HTTPConnection(server.address, timeout=10)
    with contextlib.closing(connection):
        best_s = 1.0
        for _ in range(200):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            best_s = min(best_s, time.perf_counter() - began)
    assert best_s < 0.035


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_replays_that_race_over_four_workers_count_once_each(
    tmp_path: Path,
) -> None:
    store, port = tmp_path / "store", free_port()
    key = make_key(store, "studio")
    with serving(store, "--operations-port", str(port), workers=4) as (address, _):
        requests = [sign(key, "QuerySearchLib", {"SearchLibName": "none"}) for _ in range(125)]
        replays = requests * 8
        random.Random(6).shuffle(replays)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda request: request.send(address)[1]["Code"], replays))
        assert Counter(answers) == {"ResourceNotFound": 125, "SignatureNonceUsed": 875}
        operators = f"127.0.0.1:{port}"
        assert get(operators, "/healthz") == (200, "ok\n")
        counted = 'facegrep_requests_total{action="QuerySearchLib",code="ResourceNotFound"} 125.0'
        assert counted in get(operators, "/metrics")[1]
        assert get(address, "/metrics")[0] == 404
        assert sign(key, "ListSearchLib", {}).send(operators)[0] == 404


def workers_of(pid: int) -> set[int]:
    """The processes that a server started to answer calls."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    }


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    store = tmp_path / "store"
    key = make_key(store, "studio")
    log_says = r"ERROR:facegrep.server:worker \d+ ended with -9; starting another\n"
    with serving(store, workers=2, log_says=log_says) as (address, server):
        before = workers_of(server.pid)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not workers_of(server.pid) - before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(workers_of(server.pid) - {killed}) == 2
        for _ in range(20):
            assert sign(key, "ListSearchLib", {}).send(address)[0] == 200


def test_sigterm_under_load_loses_no_acknowledged_write(tmp_path: Path) -> None:
    store = tmp_path / "store"
    key = make_key(store, "studio")
    acknowledged: list[str] = []
    with serving(store, workers=2) as (address, server):
        begun = threading.Barrier(5)

        def write(writer: int) -> None:
            begun.wait()
            for number in itertools.count():
                name = f"lib{writer}x{number}"
                try:
                    status, _ = sign(key, "CreateSearchLib", {"SearchLibName": name}).send(address)
                except (OSError, http.client.HTTPException):  # it listens no more
                    return
                if status == 200:
                    acknowledged.append(name)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        begun.wait()
        while len(acknowledged) < 20:
            time.sleep(0.01)
        server.terminate()
        for writer in writers:
            writer.join()
        assert server.wait(30) == 0
    with facegrep.open(store) as engine:
        found = {library.name for library in engine.for_account("studio").libraries()}
        assert set(acknowledged) <= found
        assert engine.verify().ok


def run(store: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run the command until it ends by itself."""
    command = [sys.executable, "-m", "facegrep", "serve", "--store", str(store), "--port", "0"]
    ended = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=60, env=os.environ | variables
    )
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def test_it_does_not_start_on_what_it_could_not_serve(tmp_path: Path) -> None:
    store = tmp_path / "store"
    code, said = run(store)
    assert (code, "there is no store" in said, store.exists()) == (1, True, False)
    with facegrep.open(store) as engine:
        Keys(engine, bytes(32)).create("studio")
    code, said = run(store)
    assert (code, "FACEGREP_MASTER_KEY" in said) == (1, True)
    wrong = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    code, said = run(store, FACEGREP_MASTER_KEY=wrong)
    assert (code, "another master key" in said) == (1, True)
    right = "A" * 43 + "="
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = run(store, "--port", port, FACEGREP_MASTER_KEY=right)
    assert (code, "cannot listen on 127.0.0.1" in said) == (1, True)
