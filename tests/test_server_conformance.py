"""The vendor's own client, sync and async, calls every action on a running server."""

from __future__ import annotations

import base64
import http.server
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from PIL import Image
from tests import vendor_client
from tests.serving import make_key, serving

import facegrep
from facegrep.ice import _requests
from facegrep.ice._service import _ACTIONS
from facegrep.keys import Keys

PORTRAITS = Path(__file__).parent / "data" / "portraits"

Call = Callable[..., dict[str, Any]]


def picture(name: str) -> str:
    """A portrait as a ``data:`` URL that fits into a query string."""
    with Image.open(PORTRAITS / name) as image:
        image.thumbnail((400, 400))
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


MACRON = picture("Emmanuel_Macron/person_a_1.jpg")
MACRON_LATER = picture("Emmanuel_Macron/person_a_2.jpg")
ARDERN = picture("Jacinda_Ardern/person_b_1.jpg")


class Pictures(http.server.SimpleHTTPRequestHandler):
    """The portraits; ``/slow`` never comes, ``/private`` leads where nobody may go."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, directory=str(PORTRAITS), **options)

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(8)
        elif self.path == "/private":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    """Where the portraits are served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Served(NamedTuple):
    """A server of two workers, a client of it, and what that sent with success."""

    store: Path
    address: str
    client: Any
    accepted: set[tuple[str, str]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, pictures: str) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("conformance") / "store"
    key = make_key(store, "studio")
    options = ["--allow-http", "--allow-fetch", pictures, "--oss-root", str(PORTRAITS.parent)]
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(store, *options, workers=2) as (address, _),
    ):
        vendor_client.without_proxies(patch)
        yield Served(store, address, vendor_client.client(address, key.id, key.secret), set())


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, served: Served) -> Call:
    def call(action: str, **fields: Any) -> dict[str, Any]:
        asynchronous = request.param == "async"
        reply = vendor_client.call(served.client, action, asynchronous=asynchronous, **fields)
        assert len(reply["RequestId"]) == 36
        if "Recognition" not in action:
            assert (reply["Success"], reply["Code"]) == ("true", "200")
        served.accepted.update((action, field) for field in fields)
        return reply

    return call


def require_success(call: Call, library: str, media_id: str) -> None:
    """Ask for the job until it is over, as the vendor's page tells."""
    ends = time.monotonic() + 120
    while True:
        (job,) = call("QueryMediaIndexJob", search_lib_name=library, media_id=media_id)[
            "IndexJobInfoList"
        ]
        if job["Status"] != "Running" or time.monotonic() > ends:
            break
        time.sleep(0.1)
    assert (job["IndexType"], job["Status"]) == ("face", "Success")


def insert(call: Call, library: str, media_id: str, url: str) -> None:
    """Put a picture into a library, and wait for its analysis."""
    fields = {"search_lib_name": library, "media_id": media_id, "input": url}
    call("InsertMediaToSearchLib", media_type="image", **fields)
    require_success(call, library, media_id)


def test_the_vendors_flow_finds_a_person(call: Call, request: pytest.FixtureRequest) -> None:
    library = "flow" + request.node.callspec.params["call"]
    assert call("CreateSearchLib", search_lib_name=library)["SearchLibName"] == library
    call(
        "CreateSearchIndex",
        search_lib_name=library,
        index_type="face",
        index_status="Active",
        index_config="{}",
    )
    for media_id, url, number in (("m/1 é", MACRON, 1), ("m+2", MACRON_LATER, 2), ("a", ARDERN, 3)):
        inserted = call(
            "InsertMediaToSearchLib",
            search_lib_name=library,
            input=url,
            media_id=media_id,
            media_type="image",
            namespace="press & more",
            msg_body=f'{{"title":"~*","customFields":{{"intField1":{number},"strField1":"x y"}}}}',
        )
        assert inserted["MediaId"] == media_id
        require_success(call, library, media_id)

    def search(**fields: Any) -> tuple[list[str], int]:
        reply = call(
            "SearchMediaByFace",
            search_lib_name=library,
            person_image_url=MACRON,
            face_search_token="token: a/b?c*~",
            **fields,
        )
        return [one["MediaId"] for one in reply["MediaInfoList"]], reply["Total"]

    assert search() == (["m/1 é", "m+2"], 2)
    assert search(page_size=1) == (["m/1 é"], 2)
    assert search(page_size=1, page_no=2) == (["m+2"], 2)
    narrow = {
        "media_type": "image",
        "namespace": "press & more",
        "custom_filters": '{"intField1":{"gte":2,"lte":9},"strField1":["x y","*"]}',
        "utc_create": '{"gte":1}',
        "entity_id": "",
        "page_no": 1,
        "page_size": 50,
    }
    assert search(**narrow) == (["m+2"], 1)
    assert search(entity_id="nobody") == ([], 0)
    clips = call(
        "SearchMediaClipByFace",
        search_lib_name=library,
        media_id="m+2",
        face_search_token="token: a/b?c*~",
        page_no=1,
        page_size=50,
    )
    (clip,) = clips["MediaClipList"]
    (occurrence,) = clip["OccurrencesInfos"]
    assert (clips["Total"], occurrence["StartTime"], occurrence["EndTime"]) == (1, 0, 0)
    assert clip["Score"] > 0.9
    rerun = call(
        "SearchIndexJobRerun",
        search_lib_name=library,
        media_ids="m+2,absent",
        task="face",
        namespace="press & more",
    )
    assert rerun["Data"]["MediaIdsNoExist"] == ["absent"]
    call(
        "UpdateMediaToSearchLib",
        search_lib_name=library,
        media_id="m+2",
        msg_body='{"title":"new"}',
        namespace="press & more",
    )
    call(
        "DeleteMediaFromSearchLib",
        search_lib_name=library,
        media_id="m/1 é",
        namespace="press & more",
        msg_body="{}",
    )
    assert search() == (["m+2"], 1)
    call("AlterSearchLib", search_lib_name=library, search_lib_config="{}")
    assert call("QuerySearchLib", search_lib_name=library)["Status"] == "normal"
    assert library in {
        one["SearchLibName"]
        for one in call("ListSearchLib", page_no=1, page_size=50)["SearchLibInfoList"]
    }
    index = call("QuerySearchIndex", search_lib_name=library, index_type="face")
    assert (index["IndexStatus"], index["MediaTotal"]) == ("Active", "2")
    call("AlterSearchIndex", search_lib_name=library, index_type="face", index_config="{}")
    call("AlterSearchIndex", search_lib_name=library, index_type="face", index_status="Deactive")
    call("DropSearchIndex", search_lib_name=library, index_type="face")
    call("DropSearchLib", search_lib_name=library)


def test_pictures_come_from_the_network_and_from_oss(
    call: Call, pictures: str, request: pytest.FixtureRequest
) -> None:
    library = "fetched" + request.node.callspec.params["call"]
    call("CreateSearchLib", search_lib_name=library)
    call("CreateSearchIndex", search_lib_name=library, index_type="face")
    for media_id, url in (
        ("macron", f"http://{pictures}/Emmanuel_Macron/person_a_1.jpg"),
        ("ardern", "oss://portraits/Jacinda_Ardern/person_b_1.jpg"),
    ):
        insert(call, library, media_id, url)
    for url, media_id in (
        (f"http://{pictures}/Emmanuel_Macron/person_a_2.jpg", "macron"),
        ("oss://portraits/Jacinda_Ardern/person_b_2.jpg", "ardern"),
    ):
        found = call(
            "SearchMediaByFace",
            search_lib_name=library,
            person_image_url=url,
            face_search_token=media_id,
        )
        assert [one["MediaId"] for one in found["MediaInfoList"]] == [media_id]
    call("DropSearchLib", search_lib_name=library)


@pytest.mark.parametrize("path", ["none.jpg", "README.md", "private", "slow", ""])
def test_a_picture_that_does_not_come_is_said_before_the_client_gives_up(
    call: Call, pictures: str, path: str
) -> None:
    with pytest.raises(vendor_client.exceptions().ClientException) as caught:
        call(
            "SearchMediaByFace", person_image_url=f"http://{pictures}/{path}", face_search_token="t"
        )
    assert (caught.value.status_code, caught.value.code) == (400, "InvalidParameter")
    assert '"PersonImageUrl" is not valid. Cannot be fetched' in caught.value.message


def test_a_known_person_is_found_by_name(call: Call, request: pytest.FixtureRequest) -> None:
    library = "known" + request.node.callspec.params["call"]
    face = {"algorithm": "face"}
    pages = {"page_number": 1, "page_size": 10}
    lib_id = call("CreateRecognitionLib", lib_name="people é", lib_description="d", **face)["LibId"]
    known = call("ListRecognitionLibs", **face, **pages)["Libs"]["Lib"]
    assert lib_id in [one["LibId"] for one in known]
    asked = call("ListRecognitionLibs", lib_id=f"{lib_id},absent", **face, **pages)
    assert asked["TotalCount"] == 1
    of_lib = {**face, "lib_id": lib_id}
    entity = call("CreateRecognitionEntity", entity_name="Macron", entity_info="{}", **of_lib)
    of_entity = {**of_lib, "entity_id": entity["EntityId"]}
    sample = call("CreateRecognitionSample", image_url=MACRON_LATER, **of_entity)
    listed = call("ListRecognitionEntities", **of_lib, **pages)["Entities"]["Entity"]
    assert [one["EntityName"] for one in listed] == ["Macron"]
    by_name = {**of_lib, "entity_id": "ANY", "entity_name": "Macron"}
    for asked in (of_entity, by_name):
        samples = call("ListRecognitionSamples", **asked, **pages)["Samples"]["Sample"]
        assert [one["SampleId"] for one in samples] == [sample["SampleId"]]
    config = f'{{"faceGroupIds":"{lib_id}"}}'
    call("CreateSearchLib", search_lib_name=library, search_lib_config=config)
    call("CreateSearchIndex", search_lib_name=library, index_type="face")
    for media_id, url in (("macron", MACRON), ("ardern", ARDERN)):
        insert(call, library, media_id, url)
    found = call(
        "SearchMediaByFace",
        search_lib_name=library,
        person_image_url=MACRON,
        face_search_token="t",
        entity_id=entity["EntityId"],
    )
    assert [one["MediaId"] for one in found["MediaInfoList"]] == ["macron"]
    (clip,) = call(
        "SearchMediaClipByFace",
        search_lib_name=library,
        media_id="macron",
        face_search_token="t",
        entity_id=entity["EntityId"],
    )["MediaClipList"]
    assert (clip["LabelName"], clip["Category"]) == ("Macron", "custom")
    call("DeleteRecognitionSample", sample_id=sample["SampleId"], **of_entity)
    call("DeleteRecognitionEntity", **of_entity)
    call("DeleteRecognitionLib", **of_lib)
    call("DropSearchLib", search_lib_name=library)


SEARCH = {"person_image_url": MACRON, "face_search_token": "t"}
BAD: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("SearchMediaByFace", {}, 400, "MissingParameter", '"PersonImageUrl"'),
    (
        "SearchMediaByFace",
        {**SEARCH, "page_no": "abc"},
        400,
        "InvalidParameter",
        '"PageNo"',
    ),
    (
        "SearchMediaByFace",
        {**SEARCH, "page_size": 51},
        400,
        "InvalidParameter",
        '"PageSize"',
    ),
    (
        "SearchMediaByFace",
        {
            "person_image_url": MACRON,
            "face_search_token": "t",
            "custom_filters": {"strField1": "x"},
        },
        400,
        "InvalidParameter",
        "CustomFilters.strField1",
    ),
    (
        "SearchMediaByFace",
        {"person_image_url": "file:///etc/passwd", "face_search_token": "t"},
        400,
        "InvalidParameter",
        '"PersonImageUrl"',
    ),
    (
        "SearchMediaByFace",
        {"person_image_url": "https://localhost/x.jpg", "face_search_token": "t"},
        400,
        "InvalidParameter",
        '"PersonImageUrl"',
    ),
    ("QuerySearchLib", {"search_lib_name": "none"}, 404, "ResourceNotFound", "'none'"),
    ("CreateSearchLib", {"search_lib_name": "a-b"}, 400, "InvalidParameter", '"SearchLibName"'),
    ("InsertMediaToSearchLib", {"input": "data:,"}, 400, "InvalidParameter", ""),
    ("DeleteMediaFromSearchLib", {"media_id": "none"}, 404, "ResourceNotFound", "'none'"),
    ("SearchMedia", {}, 404, "InvalidAction.NotFound", "not found"),
]


@pytest.mark.parametrize(("action", "fields", "status", "code", "said"), BAD)
def test_what_is_wrong_reaches_the_caller_as_the_clients_own_exception(
    call: Call, action: str, fields: dict[str, Any], status: int, code: str, said: str
) -> None:
    with pytest.raises(vendor_client.exceptions().ClientException) as caught:
        call(action, **fields)
    error = caught.value
    assert (error.status_code, error.code) == (status, code)
    assert said in error.message
    assert error.data["HostId"].startswith("127.0.0.1:")
    assert error.data["Recommend"]
    assert error.data["RequestId"] in error.message


KINDS = [kind for kind, _ in _ACTIONS.values()]
GOOD: dict[str, object] = {
    "algorithm": "face",
    "index_type": "face",
    "page_number": 1,
    "page_size": 1,
    "msg_body": "{}",
    "input": MACRON,
    "image_url": MACRON,
    "person_image_url": MACRON,
}
WRONG = {"lib_description": "x" * 129}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_parameter_that_is_bad_or_missing_is_named(
    call: Call, kind: type[_requests.Request]
) -> None:
    """Bad is a control character; the one parameter that takes it has a limit."""
    fields = msgspec.structs.fields(kind)
    good = {field.name: GOOD.get(field.name, "x") for field in fields if field.required}
    for field in fields:
        tries: list[tuple[dict[str, object], str]] = [
            ({**good, field.name: WRONG.get(field.name, "\x01")}, "InvalidParameter")
        ]
        if field.required:
            tries.append(({**good, field.name: ""}, "MissingParameter"))
            without = {name: value for name, value in good.items() if name != field.name}
            tries.append((without, "MissingParameter"))
        for sent, code in tries:
            with pytest.raises(vendor_client.exceptions().ClientException) as caught:
                call(kind.__name__, **sent)
            assert (caught.value.status_code, caught.value.code) == (400, code)
            assert f'"{field.encode_name}"' in caught.value.message


@pytest.mark.parametrize(
    ("action", "fields", "named"),
    [
        ("InsertMediaToSearchLib", {"media_type": "image"}, "Input"),
        ("InsertMediaToSearchLib", {"media_type": "video"}, "Input"),
        (
            "InsertMediaToSearchLib",
            {"media_type": "video", "images_input": '{"images":["http://127.0.0.1:1/a.jpg"]}'},
            "ImagesInput",
        ),
        ("SearchMediaByFace", {"face_search_token": "t"}, "PersonImageUrl"),
    ],
)
def test_a_refused_url_is_said_of_the_parameter_that_brought_it(
    call: Call, action: str, fields: dict[str, str], named: str
) -> None:
    url = "person_image_url" if action == "SearchMediaByFace" else "input"
    with pytest.raises(vendor_client.exceptions().ClientException) as caught:
        call(action, **fields, **{url: "http://127.0.0.1:1/a.jpg"})
    assert (caught.value.status_code, caught.value.code) == (400, "InvalidParameter")
    assert f'"{named}" is not valid' in caught.value.message
    assert "127.0.0.1:1" not in caught.value.message


@pytest.mark.parametrize("asynchronous", [False, True])
def test_temporary_credentials_are_let_in_with_their_token(
    served: Served, asynchronous: bool
) -> None:
    with facegrep.open(served.store) as engine:
        key = Keys(engine).create("guest", sealed=False, lifetime_ms=60_000)
    client = vendor_client.client(served.address, key.id, key.secret, key.security_token)
    reply = vendor_client.call(client, "ListSearchLib", asynchronous=asynchronous)
    assert reply["Total"] == 1
    without = vendor_client.client(served.address, key.id, key.secret)
    with pytest.raises(vendor_client.exceptions().ClientException) as caught:
        vendor_client.call(without, "ListSearchLib", asynchronous=asynchronous)
    assert caught.value.code == "InvalidSecurityToken"


def test_every_parameter_of_every_action_was_accepted(served: Served) -> None:
    if len(served.accepted) < 30:
        pytest.skip("alone: the other tests of this file send them")
    known = {
        (kind.__name__, field.name) for kind in KINDS for field in msgspec.structs.fields(kind)
    }
    assert known - served.accepted == {("InsertMediaToSearchLib", "images_input")}  # never taken
