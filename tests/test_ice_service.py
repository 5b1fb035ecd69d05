"""Libraries, indexes and media by the actions of the wire, on a real engine."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import facegrep
from facegrep.ice import IceError, Service

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg"
ARDERN = PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"


def png(color: str) -> str:
    """A picture without a face, as a data: URL."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


WHITE = png("white")
Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("ice") / "store") as engine:
        yield engine


@pytest.fixture
def call(engine: facegrep.Engine) -> Iterator[Call]:
    """Calls an action; after the test no library is left but the one that is always there."""
    service = Service(engine, files=PORTRAITS)

    def call(action: str, **params: str) -> dict[str, Any]:
        reply = service.call(action, params)
        assert engine.wait_for_jobs(timeout_s=60)
        return reply

    yield call
    for library in engine.libraries():
        if library.name != "ims-default-search-lib":
            engine.drop_library(library.name)


@pytest.fixture
def lib(call: Call) -> str:
    """A library with an active face index."""
    call("CreateSearchLib", SearchLibName="lib")
    call("CreateSearchIndex", SearchLibName="lib", IndexType="face")
    return "lib"


def insert(call: Call, media_id: str, url: str = WHITE, library: str = "lib", **more: str) -> str:
    reply = call(
        "InsertMediaToSearchLib",
        SearchLibName=library,
        Input=url,
        MediaId=media_id,
        MediaType="image",
        **more,
    )
    return str(reply["MediaId"])


def total(call: Call, photo: Path, library: str = "lib", **more: str) -> int:
    found = call(
        "SearchMediaByFace",
        SearchLibName=library,
        PersonImageUrl=photo.as_uri(),
        FaceSearchToken="t",
        **more,
    )
    return int(found["Total"])


def jobs(call: Call, media_id: str) -> list[dict[str, str]]:
    listed = call("QueryMediaIndexJob", SearchLibName="lib", MediaId=media_id)["IndexJobInfoList"]
    assert isinstance(listed, list)
    return listed


@contextlib.contextmanager
def refused(status: int, code: str, *words: str) -> Iterator[None]:
    with pytest.raises(IceError) as caught:
        yield
    assert (caught.value.http_status, caught.value.code) == (status, code)
    for word in words:
        assert word in caught.value.message


def test_the_default_library_is_there_with_its_face_index(call: Call) -> None:
    reply = call("QuerySearchLib", SearchLibName="ims-default-search-lib")
    assert reply["Status"] == "normal"
    assert [index["IndexStatus"] for index in reply["IndexInfo"]] == ["Active"]
    assert call("QuerySearchIndex", IndexType="face")["MediaTotal"] == "0"


def test_a_library_is_made_once_and_keeps_its_configuration(call: Call) -> None:
    people = [call("CreateRecognitionLib", Algorithm="face", LibName="a")["LibId"] for _ in "ab"]
    config = f'{{"faceGroupIds": "{people[0]}, {people[1]}"}}'
    call("CreateSearchLib", SearchLibName="IPCamera_7", SearchLibConfig=config)
    with refused(400, "InvalidParameter", '"SearchLibName"', "already"):
        call("CreateSearchLib", SearchLibName="IPCamera_7")
    reply = call("QuerySearchLib", SearchLibName="IPCamera_7")
    assert (reply["SearchLibConfig"], reply["IndexInfo"]) == (config, [])
    call("AlterSearchLib", SearchLibName="IPCamera_7")
    assert call("QuerySearchLib", SearchLibName="IPCamera_7")["SearchLibConfig"] == config
    call("AlterSearchLib", SearchLibName="IPCamera_7", SearchLibConfig="{}")
    assert call("QuerySearchLib", SearchLibName="IPCamera_7")["SearchLibConfig"] == "{}"
    call("DropSearchLib", SearchLibName="IPCamera_7")
    with refused(404, "ResourceNotFound"):
        call("DropSearchLib", SearchLibName="IPCamera_7")


def test_libraries_are_listed_page_by_page(call: Call) -> None:
    names = [f"lib{number}" for number in range(12)]
    for name in names:
        call("CreateSearchLib", SearchLibName=name)
    pages = [call("ListSearchLib", PageNo=str(page), PageSize="5") for page in (1, 2, 3, 4)]
    listed = [lib["SearchLibName"] for page in pages for lib in page["SearchLibInfoList"]]
    assert listed == sorted([*names, "ims-default-search-lib"])
    assert [page["Total"] for page in pages] == [13] * 4
    assert len(call("ListSearchLib")["SearchLibInfoList"]) == 10


def test_media_of_a_library_without_an_index_are_analysed_when_it_comes(call: Call) -> None:
    call("CreateSearchLib", SearchLibName="lib")
    insert(call, "file", MACRON.as_uri())
    data = base64.b64encode(MACRON.read_bytes()).decode()
    insert(call, "data", f"data:image/jpeg;base64,{data}")
    assert jobs(call, "file") == []
    with refused(403, "OperationDenied", "face index"):
        total(call, MACRON)
    with refused(404, "ResourceNotFound", "face index"):
        call("QuerySearchIndex", SearchLibName="lib", IndexType="face")
    call("CreateSearchIndex", SearchLibName="lib", IndexType="face")
    assert total(call, MACRON) == 2
    assert [jobs(call, media_id)[0]["Status"] for media_id in ("file", "data")] == ["Success"] * 2
    assert call("QuerySearchIndex", SearchLibName="lib", IndexType="face")["MediaTotal"] == "2"


def test_switching_the_index_off_erases_and_on_analyses_what_can_be_read(
    call: Call, lib: str
) -> None:
    insert(call, "file", MACRON.as_uri())
    insert(call, "data", WHITE)
    with refused(400, "InvalidParameter", "IndexStatus", "AlterSearchIndex"):
        call("CreateSearchIndex", SearchLibName=lib, IndexType="face", IndexStatus="Deactive")
    with refused(400, "MissingParameter", "IndexStatus"):
        call("AlterSearchIndex", SearchLibName=lib, IndexType="face")
    call("AlterSearchIndex", SearchLibName=lib, IndexType="face", IndexStatus="Deactive")
    index = call("QuerySearchIndex", SearchLibName=lib, IndexType="face")
    assert (index["IndexStatus"], index["MediaTotal"]) == ("Deactive", "0")
    with refused(403, "OperationDenied"):
        total(call, MACRON)
    call("AlterSearchIndex", SearchLibName=lib, IndexType="face", IndexStatus="Active")
    assert total(call, MACRON) == 1
    assert jobs(call, "file")[0]["Status"] == "Success"
    assert jobs(call, "data")[0]["Status"] == "Fail"
    call("AlterSearchIndex", SearchLibName=lib, IndexType="face", IndexConfig="{}")
    call("DropSearchIndex", SearchLibName=lib, IndexType="face")
    assert call("QuerySearchLib", SearchLibName=lib)["IndexInfo"] == []
    for action in ("DropSearchIndex", "AlterSearchIndex", "QuerySearchIndex"):
        with refused(404, "ResourceNotFound", "face index"):
            call(action, SearchLibName=lib, IndexType="face", IndexStatus="Active")


def test_making_the_index_again_alike_changes_nothing(call: Call, lib: str) -> None:
    insert(call, "m", MACRON.as_uri())
    call("CreateSearchIndex", SearchLibName=lib, IndexType="face", IndexStatus="Active")
    assert total(call, MACRON) == 1


def test_a_picture_must_be_said_to_be_one_since_video_is_the_default(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    for media_type in ({}, {"MediaType": ""}, {"MediaType": "video"}, {"MediaType": "audio"}):
        with refused(400, "InvalidParameter", '"MediaType"', "image"):
            call("InsertMediaToSearchLib", SearchLibName=lib, Input=WHITE, **media_type)
    assert engine.media(lib) == []


def test_a_cameras_pictures_are_refused_and_not_left_out_in_silence(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    images = {"SearchLibName": lib, "Input": WHITE, "ImagesInput": '{"images":["oss://b/a.jpg"]}'}
    for media_type in ("image", "video"):
        with refused(400, "InvalidParameter", '"ImagesInput"'):
            call("InsertMediaToSearchLib", **images, MediaType=media_type)
    assert engine.media(lib) == []


def test_an_inserted_picture_keeps_what_was_told_of_it(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    before = time.time_ns() // 10**6
    body = '{"title":"Élysée","customFields":{"intField1":12,"strField1":"abc","strField2":""}}'
    media_id = insert(call, "", MACRON.as_uri(), MsgBody=body, Namespace="name-1")
    assert re.fullmatch(r"[0-9a-f]{32}", media_id)
    media = engine.get(lib, media_id)
    assert media.title == "Élysée"
    assert media.fields == {"intField1": 12, "strField1": "abc", "strField2": ""}
    assert (media.namespace, media.media_type) == ("name-1", "image")
    assert media.source == str(MACRON.resolve())
    assert before <= media.utc_create_ms <= time.time_ns() // 10**6
    found = {"Namespace": "name-1", "CustomFilters": '{"intField1":[12],"strField2":""}'}
    assert total(call, MACRON, **found) == 1
    assert total(call, MACRON, **found, UtcCreate=f'{{"lte":{before - 1}}}') == 0
    assert total(call, ARDERN) == 0


def test_of_a_data_url_nothing_is_kept_and_of_a_fetched_one_its_url(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    insert(call, "data")
    assert engine.get(lib, "data").source is None
    service = Service(engine, fetcher=lambda _: MACRON.read_bytes())
    url = "oss://bucket/macron.jpg"
    insert(lambda action, **params: service.call(action, params), "fetched", url)
    assert engine.wait_for_jobs(timeout_s=60)
    assert engine.get(lib, "fetched").source == url
    assert total(call, MACRON) == 1
    index = {"SearchLibName": lib, "IndexType": "face"}
    for switch, found in ((service, 1), (Service(engine), 0)):  # with a fetcher, and without
        for status in ("Deactive", "Active"):
            switch.call("AlterSearchIndex", index | {"IndexStatus": status})
        assert total(call, MACRON) == found
        assert jobs(call, "fetched")[0]["Status"] == ("Success" if found else "Fail")


def test_the_same_insert_again_changes_nothing_and_another_is_refused(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    insert(call, "m")
    stored = engine.get(lib, "m")
    assert insert(call, "m") == "m"
    assert engine.get(lib, "m") == stored
    for changed in ({"url": png("red")}, {"Namespace": "a"}):
        with refused(400, "InvalidParameter", '"MediaId"', "already"):
            insert(call, "m", **changed)
    assert engine.get(lib, "m") == stored


@pytest.mark.usefixtures("lib")
def test_a_picture_without_a_face_is_stored_and_its_job_succeeds(call: Call) -> None:
    insert(call, "m")
    (job,) = jobs(call, "m")
    assert (job["Status"], job["IndexType"]) == ("Success", "face")
    for key in ("GmtSubmit", "GmtFinish"):
        moment = time.strptime(job[key], "%Y-%m-%d %H:%M:%S")
        assert abs(time.mktime(moment) - time.mktime(time.gmtime())) < 60


def test_what_is_no_picture_is_refused_and_nothing_is_stored(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    for url in (
        "data:,no picture",
        "data:",
        "https://host/a.jpg",
        Path(__file__).as_uri(),
        (PORTRAITS / "README.md").as_uri(),
        (PORTRAITS / "missing.jpg").as_uri(),
    ):
        with refused(400, "InvalidParameter", 'parameter "Input" is not valid. '):
            insert(call, "m", url)
    assert engine.media(lib) == []


def test_an_update_changes_the_title_and_nothing_else(
    call: Call, lib: str, engine: facegrep.Engine
) -> None:
    insert(call, "m", MsgBody='{"title":"a","customFields":{"intField1":1}}', Namespace="n")
    update = {"SearchLibName": lib, "MediaId": "m"}
    assert call("UpdateMediaToSearchLib", **update, MsgBody='{"title":"b"}')["MediaId"] == "m"
    call("UpdateMediaToSearchLib", **update, MsgBody='{"title":"c"}', Namespace="n")
    call("UpdateMediaToSearchLib", **update, MsgBody="{}")
    with refused(400, "InvalidParameter", '"MsgBody"', "customFields cannot be modified"):
        call(
            "UpdateMediaToSearchLib",
            **update,
            MsgBody='{"title":"d","customFields":{"intField1":1}}',
        )
    with refused(404, "ResourceNotFound", "'m'", "'other'"):
        call("UpdateMediaToSearchLib", **update, MsgBody='{"title":"d"}', Namespace="other")
    media = engine.get(lib, "m")
    assert (media.title, media.fields, media.namespace) == ("c", {"intField1": 1}, "n")


def test_a_delete_takes_one_asset_of_the_right_namespace(call: Call, lib: str) -> None:
    insert(call, "../m", MACRON.as_uri(), Namespace="n")
    insert(call, "other", MACRON.as_uri())
    delete = {"SearchLibName": lib, "MediaId": "../m"}
    with refused(404, "ResourceNotFound"):
        call("DeleteMediaFromSearchLib", **delete, Namespace="other")
    assert total(call, MACRON) == 2
    call("DeleteMediaFromSearchLib", **delete, Namespace="n")
    assert total(call, MACRON) == 1
    for action in (
        "DeleteMediaFromSearchLib",
        "QueryMediaIndexJob",
        "UpdateMediaToSearchLib",
    ):
        with refused(404, "ResourceNotFound", "media '../m'"):
            call(action, **delete, MsgBody="{}")
