"""What holds for every call: the shape of its reply, what its errors become, any input, threads."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import facegrep
from facegrep.ice import IceError, Service
from facegrep.ice._service import _ACTIONS

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = (PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg").as_uri()
DEFAULT = "ims-default-search-lib"

REQUEST_ID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
INDEX_INFO = [{"IndexType": str, "IndexStatus": str, "IndexReadiness": str}]
LIBRARY = {"SearchLibName": str, "Status": str, "IndexInfo": INDEX_INFO, "SearchLibConfig": str}
JOB = {"GmtSubmit": str, "GmtFinish": str, "IndexType": str, "Status": str}
TRACK_POINT = {"Timestamp": float, "BoxPosition": dict.fromkeys("XYWH", int)}
CLIP = {
    "Score": float,
    "Category": str,
    "OccurrencesInfos": [{"StartTime": float, "EndTime": float, "TrackData": [TRACK_POINT]}],
}
# What each reply adds to RequestId, Success and Code, in the order of a library's life.
SHAPES: dict[str, dict[str, Any]] = {
    "CreateSearchLib": {"SearchLibName": str},
    "CreateSearchIndex": {},
    "AlterSearchIndex": {},
    "QuerySearchIndex": {
        "IndexStatus": str,
        "IndexType": str,
        "MediaTotal": str,
        "SearchLibName": str,
    },
    "AlterSearchLib": {"SearchLibName": str},
    "QuerySearchLib": LIBRARY,
    "ListSearchLib": {"Total": int, "SearchLibInfoList": [LIBRARY]},
    "InsertMediaToSearchLib": {"MediaId": str},
    "UpdateMediaToSearchLib": {"MediaId": str},
    "QueryMediaIndexJob": {"IndexJobInfoList": [JOB]},
    "SearchIndexJobRerun": {"Data": {"MediaIdsNoExist": [str]}},
    "SearchMediaByFace": {"MediaInfoList": [{"MediaId": str}], "Total": int},
    "SearchMediaClipByFace": {"MediaClipList": [CLIP], "Total": int},
    "DeleteMediaFromSearchLib": {"MediaId": str},
    "DropSearchIndex": {},
    "DropSearchLib": {},
}
# Good values for the parameters of all actions: each takes its own and ignores the rest.
GOOD = {
    "SearchLibName": "lib",
    "IndexType": "face",
    "IndexStatus": "Active",
    "SearchLibConfig": '{"faceGroupIds":""}',
    "Input": MACRON,
    "MediaId": "m",
    "MediaIds": "m,gone",
    "MediaType": "image",
    "MsgBody": '{"title":"a"}',
    "PersonImageUrl": MACRON,
    "FaceSearchToken": "t",
}
Call = Callable[..., dict[str, Any]]


def caller(service: Service) -> Call:
    def call(action: str, **changed: str) -> dict[str, Any]:
        reply = service.call(action, GOOD | changed)
        if action == "InsertMediaToSearchLib":
            assert service._context.engine.wait_for_jobs(timeout_s=60)
        return reply

    return call


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("ice") / "store") as engine:
        yield engine


@pytest.fixture
def call(engine: facegrep.Engine) -> Iterator[Call]:
    """Calls an action with `GOOD` parameters but for those given."""
    yield caller(Service(engine, files=PORTRAITS))
    for library in engine.libraries():
        if library.name != DEFAULT:
            engine.drop_library(library.name)


@contextlib.contextmanager
def refused(status: int, code: str, *words: str) -> Iterator[None]:
    with pytest.raises(IceError) as caught:
        yield
    assert (caught.value.http_status, caught.value.code) == (status, code)
    for word in words:
        assert word in caught.value.message


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value)


def test_every_reply_has_the_shape_of_the_contract(call: Call) -> None:
    # Those about recognition have shapes of their own: test_ice_recognition.py.
    assert SHAPES.keys() == {name for name, (kind, _) in _ACTIONS.items() if not kind.is_bare}
    seen = set()
    for action, expected in SHAPES.items():
        reply = call(action)
        assert shape(reply) == {"RequestId": str, "Success": str, "Code": str} | expected, action
        assert (reply["Success"], reply["Code"]) == ("true", "200")
        assert REQUEST_ID.fullmatch(reply["RequestId"])
        seen.add(reply["RequestId"])
    assert len(seen) == len(SHAPES)


def test_an_unknown_action_is_not_found(call: Call) -> None:
    for action in ("SearchMedia", "searchmediabyface", "", "Request", "SearchMediaClip"):
        with refused(404, "InvalidAction.NotFound"):
            call(action)


@pytest.mark.parametrize("action", sorted(SHAPES.keys() - {"CreateSearchLib", "ListSearchLib"}))
def test_an_unknown_library_is_not_found(call: Call, action: str) -> None:
    with refused(404, "ResourceNotFound", "'nowhere'"):
        call(action, SearchLibName="nowhere")


def test_accounts_see_nothing_of_each_other(engine: facegrep.Engine, call: Call) -> None:
    call("CreateSearchLib")
    call("InsertMediaToSearchLib")
    other = caller(Service(engine, account="other"))
    listed = other("ListSearchLib")["SearchLibInfoList"]
    assert [library["SearchLibName"] for library in listed] == [DEFAULT]
    for action in ("QuerySearchLib", "DropSearchLib"):
        with refused(404, "ResourceNotFound"):
            other(action)
    other("CreateSearchLib")
    with refused(404, "ResourceNotFound", "media 'm'"):
        other("DeleteMediaFromSearchLib")
    other("DropSearchLib")
    assert engine.get("lib", "m").media_id == "m"


def test_a_readonly_engine_searches_and_denies_what_would_write(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        caller(Service(engine, files=PORTRAITS))("InsertMediaToSearchLib", SearchLibName=DEFAULT)
    with facegrep.open(tmp_path / "store", readonly=True) as engine:
        call = caller(Service(engine, files=PORTRAITS))
        for page_no in ("1", "2", "1"):
            assert call("SearchMediaByFace", SearchLibName=DEFAULT, PageNo=page_no)["Total"] == 1
        with refused(403, "OperationDenied", "reading"):
            call("InsertMediaToSearchLib", SearchLibName=DEFAULT, MediaId="n")
        with refused(403, "OperationDenied", "reading"):
            call("CreateSearchLib")
    with refused(503, "ServiceUnAvailable"):
        call("SearchMediaByFace", SearchLibName=DEFAULT)


def test_what_is_unexpected_is_an_internal_error_without_detail(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("facegrep.ice._libraries._described", fail)
    failure: BaseException
    for failure, status in (
        (RuntimeError("secret"), 500),
        (MemoryError("secret"), 500),
        (facegrep.ModelError("secret"), 500),
        (facegrep.StoreCorrupt("secret"), 503),
        (facegrep.StoreBusy("secret"), 503),
    ):
        with pytest.raises(IceError) as caught:
            call("QuerySearchLib", SearchLibName=DEFAULT)
        assert caught.value.http_status == status
        assert "secret" not in str(caught.value.to_reply())
        assert caught.value.__cause__ is failure
    failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        call("QuerySearchLib", SearchLibName=DEFAULT)


def test_a_library_of_vectors_is_not_searched_by_picture(
    engine: facegrep.Engine, call: Call
) -> None:
    engine.create_library("vectors", dim=16, threshold=0.5)
    engine.add_vectors("vectors", ["m"], np.ones((1, 16), np.float32))
    engine.create_library("no-threshold", dim=16)
    for name in ("vectors", "no-threshold"):
        with refused(403, "OperationDenied", f"{name!r} holds vectors"):
            call("SearchMediaByFace", SearchLibName=name)


OTHERS = ("CustomFilters", "UtcCreate", "EntityId", "Namespace", "PageNo", "PageSize")
PARAMETERS = st.sampled_from([*GOOD, *OTHERS, "IndexConfig"])
VALUES = st.text(max_size=12) | st.sampled_from(
    [
        *("lib", DEFAULT, "m", "face", "image", "Active", "1", "2", "{}", '{"title":"a"}'),
        *("data:,", "file:///etc/passwd", "\ud800", '{"intField1":1}', '{"gte":1}', "../"),
    ]
)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([*SHAPES, "SearchMedia"]), st.dictionaries(PARAMETERS, VALUES, max_size=5))
def test_any_call_is_answered_or_refused(call: Call, action: str, params: dict[str, str]) -> None:
    try:
        reply = call(action, **{"Input": "data:,", "PersonImageUrl": "data:,"} | params)
    except IceError as error:
        refusal = error
    else:
        assert reply["Success"] == "true"
        return
    assert refusal.http_status in (400, 403, 404), refusal.__cause__
    assert refusal.message.isprintable()


def test_many_threads_call_one_service(call: Call) -> None:
    call("CreateSearchLib")
    call("CreateSearchIndex")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(3):
                media_id = f"{number}-{turn}"
                call("InsertMediaToSearchLib", MediaId=media_id)
                assert call("SearchMediaByFace", FaceSearchToken=str(turn))["Total"] >= 1
                (job,) = call("QueryMediaIndexJob", MediaId=media_id)["IndexJobInfoList"]
                assert job["Status"] == "Success"
                call("DeleteMediaFromSearchLib", MediaId=media_id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert call("SearchMediaByFace")["Total"] == 0
