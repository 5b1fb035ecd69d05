"""Recognition libraries by the actions of the wire, and EntityId in a search."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import facegrep
from facegrep.ice import IceError, Service

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg"
MACRON_LATER = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
ARDERN = PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"
ARDERN_LATER = PORTRAITS / "Jacinda_Ardern" / "person_b_2.jpg"
OBAMA = PORTRAITS / "Barack_Obama" / "impostor_1.jpg"

Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("ice") / "store") as engine:
        yield engine


@pytest.fixture
def call(engine: facegrep.Engine) -> Iterator[Call]:
    """Calls an action; those about recognition take Algorithm, and the lists a page, by default."""
    service = Service(engine, files=PORTRAITS)

    def call(action: str, **params: str) -> dict[str, Any]:
        defaults = {"Algorithm": "face"} if "Recognition" in action else {}
        if action.startswith("ListRecognition"):
            defaults |= {"PageNumber": "1", "PageSize": "50"}
        return service.call(action, defaults | params)

    yield call
    for known in engine.recognition_libraries():
        engine.delete_recognition_library(known.recognition_id)
    for library in engine.libraries():
        if library.name != "ims-default-search-lib":
            engine.drop_library(library.name)


def refusal(call: Call, action: str, **params: str) -> tuple[int, str, str]:
    with pytest.raises(IceError) as caught:
        call(action, **params)
    return caught.value.http_status, caught.value.code, caught.value.message


def person(call: Call, lib_id: str, name: str, *photos: Path) -> str:
    entity: str = call("CreateRecognitionEntity", LibId=lib_id, EntityName=name)["EntityId"]
    for photo in photos:
        call("CreateRecognitionSample", LibId=lib_id, EntityId=entity, ImageUrl=photo.as_uri())
    return entity


@pytest.fixture
def lib_id(call: Call) -> str:
    return str(call("CreateRecognitionLib", LibName="people")["LibId"])


def test_replies_have_their_own_shape_and_neither_success_nor_code(call: Call) -> None:
    made = call("CreateRecognitionLib", LibName="people", LibDescription="of the press")
    assert made.keys() == {"RequestId", "LibId"}
    lib_id = made["LibId"]
    made = call(
        "CreateRecognitionEntity",
        LibId=lib_id,
        EntityName="Emmanuel Macron",
        EntityInfo='{"role": "president"}',
    )
    assert made.keys() == {"RequestId", "EntityId"}
    entity = made["EntityId"]
    made = call(
        "CreateRecognitionSample",
        LibId=lib_id,
        EntityId=entity,
        ImageUrl=MACRON.as_uri(),
        LabelPrompt="ignored",
    )
    assert made.keys() == {"RequestId", "SampleId"}
    libs = call("ListRecognitionLibs")
    del libs["RequestId"]
    assert libs == {
        "Libs": {"Lib": [{"LibId": lib_id, "LibName": "people", "LibDescription": "of the press"}]},
        "PageNumber": 1,
        "PageSize": 50,
        "TotalCount": 1,
    }
    entities = call("ListRecognitionEntities", LibId=lib_id, PageSize="7")
    del entities["RequestId"]
    described = {
        "EntityId": entity,
        "EntityName": "Emmanuel Macron",
        "EntityInfo": '{"role": "president"}',
    }
    assert entities == {
        "Entities": {"Entity": [described]},
        "PageNumber": 1,
        "PageSize": 7,
        "TotalCount": 1,
    }
    samples = call("ListRecognitionSamples", LibId=lib_id, EntityId=entity, PageNumber="2")
    assert samples["Samples"] == {"Sample": []}
    assert (samples["PageNumber"], samples["PageSize"], samples["TotalCount"]) == (2, 50, 1)
    samples = call("ListRecognitionSamples", LibId=lib_id, EntityId=entity)
    described = {
        "SampleId": made["SampleId"],
        "EntityId": entity,
        "LibId": lib_id,
        "ImageUrl": MACRON.as_uri(),
    }
    assert samples["Samples"] == {"Sample": [described]}
    for action, more in (
        ("DeleteRecognitionSample", {"EntityId": entity, "SampleId": made["SampleId"]}),
        ("DeleteRecognitionEntity", {"EntityId": entity}),
        ("DeleteRecognitionLib", {}),
    ):
        assert call(action, LibId=lib_id, **more).keys() == {"RequestId"}
        status, code, _ = refusal(call, action, LibId=lib_id, **more)
        assert (status, code) == (404, "ResourceNotFound")
    assert call("ListRecognitionLibs")["TotalCount"] == 0


def test_pages_are_disjoint_and_complete_in_the_order_of_making(call: Call, lib_id: str) -> None:
    made = [person(call, lib_id, f"name {number % 3}") for number in range(11)]
    for size in (1, 4, 50):
        found = []
        for page in range(1, -(-11 // size) + 1):
            reply = call(
                "ListRecognitionEntities",
                LibId=lib_id,
                PageNumber=str(page),
                PageSize=str(size),
            )
            assert reply["TotalCount"] == 11
            found += [one["EntityId"] for one in reply["Entities"]["Entity"]]
        assert found == made


def test_libraries_are_listed_by_their_ids_too(call: Call) -> None:
    ids = [call("CreateRecognitionLib", LibName="same name")["LibId"] for _ in range(3)]

    def listed(wanted: str) -> list[str]:
        reply = call("ListRecognitionLibs", LibId=wanted)
        found = [one["LibId"] for one in reply["Libs"]["Lib"]]
        assert reply["TotalCount"] == len(found)
        return found

    assert listed(f"{ids[2]},{ids[0]}") == [ids[0], ids[2]]
    assert listed(f"unknown, {ids[1]}") == [ids[1]]
    assert listed("unknown") == []
    assert listed("") == ids


def test_any_lists_the_samples_of_everybody_of_a_name(call: Call, lib_id: str) -> None:
    one = person(call, lib_id, "the same", MACRON)
    two = person(call, lib_id, "the same", ARDERN, ARDERN_LATER)
    person(call, lib_id, "another", OBAMA)
    found = call("ListRecognitionSamples", LibId=lib_id, EntityId="ANY", EntityName="the same")
    assert [each["EntityId"] for each in found["Samples"]["Sample"]] == [one, two, two]
    assert found["TotalCount"] == 3
    none = call("ListRecognitionSamples", LibId=lib_id, EntityId="ANY", EntityName="The same")
    assert none["TotalCount"] == 0
    missing = refusal(call, "ListRecognitionSamples", LibId=lib_id, EntityId="ANY")
    assert missing[:2] == (400, "MissingParameter")
    assert "EntityName" in missing[2]


def test_the_same_sample_again_is_no_change(call: Call, lib_id: str) -> None:
    entity = person(call, lib_id, "him", MACRON)
    params = {"LibId": lib_id, "EntityId": entity, "ImageUrl": MACRON.as_uri()}
    first = call("CreateRecognitionSample", **params)["SampleId"]
    assert call("CreateRecognitionSample", **params)["SampleId"] == first
    data = "data:image/jpeg;base64," + base64.b64encode(MACRON.read_bytes()).decode()
    assert call("CreateRecognitionSample", **params | {"ImageUrl": data})["SampleId"] == first


def without_a_face() -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


LONG = "é" * 33
REFUSED: list[tuple[str, str, dict[str, str]]] = [
    ("CreateRecognitionLib", "Algorithm", {"Algorithm": ""}),
    ("CreateRecognitionLib", "Algorithm", {"Algorithm": "Face"}),
    ("CreateRecognitionLib", "Algorithm", {"Algorithm": "logo"}),
    ("CreateRecognitionLib", "LibName", {"LibName": ""}),
    ("CreateRecognitionLib", "LibName", {"LibName": LONG}),
    ("CreateRecognitionLib", "LibName", {"LibName": "a\nb"}),
    ("CreateRecognitionLib", "LibName", {"libName": "x"}),
    ("CreateRecognitionLib", "LibDescription", {"LibDescription": "x" * 129}),
    ("CreateRecognitionLib", "LibDescription", {"LibDescription": "a\x00b"}),
    ("ListRecognitionLibs", "PageNumber", {"PageNumber": ""}),
    ("ListRecognitionLibs", "PageNumber", {"PageNumber": "0"}),
    ("ListRecognitionLibs", "PageSize", {"PageSize": ""}),
    ("ListRecognitionLibs", "PageSize", {"PageSize": "51"}),
    ("ListRecognitionLibs", "PageSize", {"PageSize": "-1"}),
    ("ListRecognitionLibs", "LibId", {"LibId": "a,,b"}),
    ("ListRecognitionLibs", "LibId", {"LibId": ",".join("a" * 101)}),
    ("CreateRecognitionEntity", "EntityName", {"EntityName": LONG}),
    ("CreateRecognitionEntity", "EntityName", {"EntityName": "a\u202eb"}),
    ("CreateRecognitionEntity", "EntityInfo", {"EntityInfo": "{"}),
    ("CreateRecognitionEntity", "EntityInfo", {"EntityInfo": "[]"}),
    ("CreateRecognitionEntity", "EntityInfo", {"EntityInfo": '{"a": 1, "a": 2}'}),
    ("CreateRecognitionEntity", "EntityInfo", {"EntityInfo": '{"a": "' + "x" * 250 + '"}'}),
    ("CreateRecognitionEntity", "EntityInfo", {"EntityInfo": '{"a":' * 51}),
    ("CreateRecognitionEntity", "LibId", {"LibId": ""}),
    ("CreateRecognitionSample", "ImageUrl", {"ImageUrl": ""}),
    ("CreateRecognitionSample", "ImageUrl", {"ImageUrl": "https://example.com/a.jpg"}),
    ("CreateRecognitionSample", "ImageUrl", {"ImageUrl": "file:///etc/passwd"}),
    ("CreateRecognitionSample", "ImageUrl", {"ImageUrl": without_a_face()}),
    ("CreateRecognitionSample", "EntityId", {"EntityId": ""}),
    ("ListRecognitionSamples", "EntityId", {"EntityId": ""}),
    ("DeleteRecognitionSample", "SampleId", {"SampleId": ""}),
]


@pytest.mark.parametrize(("action", "parameter", "params"), REFUSED)
def test_what_is_wrong_is_named(
    call: Call,
    engine: facegrep.Engine,
    lib_id: str,
    action: str,
    parameter: str,
    params: dict[str, str],
) -> None:
    entity = person(call, lib_id, "somebody")
    good = {
        "LibName": "x",
        "LibId": lib_id,
        "EntityId": entity,
        "EntityName": "x",
        "ImageUrl": MACRON.as_uri(),
        "SampleId": "x",
    }
    head = engine.audit()[-1]
    status, code, message = refusal(call, action, **good | params)
    assert status == 400
    missing = params.get(parameter) == ""
    assert code == ("MissingParameter" if missing else "InvalidParameter")
    assert f'"{parameter}"' in message
    assert engine.audit()[-1] == head


@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("DeleteRecognitionLib", "recognition library"),
        ("CreateRecognitionEntity", "recognition library"),
        ("ListRecognitionEntities", "recognition library"),
        ("CreateRecognitionSample", "recognition library"),
        ("ListRecognitionSamples", "recognition library"),
        ("DeleteRecognitionEntity", "recognition library"),
        ("DeleteRecognitionSample", "recognition library"),
    ],
)
def test_what_is_not_there_is_404(call: Call, lib_id: str, action: str, what: str) -> None:
    params = {"EntityId": "x", "EntityName": "x", "ImageUrl": MACRON.as_uri(), "SampleId": "x"}
    status, code, message = refusal(call, action, LibId="unknown", **params)
    assert (status, code) == (404, "ResourceNotFound")
    assert what in message
    if action not in ("DeleteRecognitionLib", "CreateRecognitionEntity", "ListRecognitionEntities"):
        status, code, message = refusal(call, action, LibId=lib_id, **params)
        assert (status, code) == (404, "ResourceNotFound")
        assert "entity" in message


TEXT = st.text(max_size=40)


@settings(max_examples=60, deadline=None)
@given(
    action=st.sampled_from(
        [
            f"{verb}Recognition{what}"
            for what in ("Lib", "Entity", "Sample")
            for verb in ("Create", "Delete")
        ]
        + [f"ListRecognition{what}" for what in ("Libs", "Entities", "Samples")]
    ),
    params=st.dictionaries(
        st.sampled_from(
            [
                "Algorithm",
                "LibId",
                "LibName",
                "LibDescription",
                "EntityId",
                "EntityName",
                "EntityInfo",
                "SampleId",
                "ImageUrl",
                "PageNumber",
                "PageSize",
                "OwnerAccount",
            ]
        ),
        TEXT | st.sampled_from(["face", "ANY", "1", "50", "{}", "a,b"]),
    ),
)
def test_no_parameters_raise_anything_but_an_ice_error(
    engine: facegrep.Engine, action: str, params: dict[str, str]
) -> None:
    with contextlib.suppress(IceError):
        reply = Service(engine).call(action, {"Algorithm": "face"} | params)
        assert not {"Success", "Code"} & reply.keys()


@pytest.fixture
def press(call: Call, lib_id: str, engine: facegrep.Engine) -> dict[str, str]:
    """Two people, and a search library of photos of three that lists them."""
    him = person(call, lib_id, "Emmanuel Macron", MACRON_LATER)
    her = person(call, lib_id, "Jacinda Ardern", ARDERN_LATER)
    config = f'{{"faceGroupIds":"{lib_id}"}}'
    call("CreateSearchLib", SearchLibName="press", SearchLibConfig=config)
    call("CreateSearchIndex", SearchLibName="press", IndexType="face")
    for photo in (MACRON, ARDERN, OBAMA):
        call(
            "InsertMediaToSearchLib",
            SearchLibName="press",
            Input=photo.as_uri(),
            MediaId=photo.parent.name,
            MediaType="image",
        )
    assert engine.wait_for_jobs(timeout_s=60)
    return {"him": him, "her": her}


def search(call: Call, photo: Path, token: str = "t", **more: str) -> tuple[list[str], int]:
    reply = call(
        "SearchMediaByFace",
        SearchLibName="press",
        PersonImageUrl=photo.as_uri(),
        FaceSearchToken=token,
        **more,
    )
    return [media["MediaId"] for media in reply["MediaInfoList"]], reply["Total"]


def test_an_entity_id_leaves_the_media_where_that_person_is_recognised(
    call: Call, press: dict[str, str]
) -> None:
    him, her = press["him"], press["her"]
    assert search(call, MACRON_LATER) == (["Emmanuel_Macron"], 1)
    assert search(call, MACRON_LATER, EntityId=him) == (["Emmanuel_Macron"], 1)
    assert search(call, MACRON_LATER, EntityId=her) == ([], 0)
    assert search(call, ARDERN_LATER, EntityId=her) == (["Jacinda_Ardern"], 1)
    assert search(call, MACRON_LATER, EntityId="unknown") == ([], 0)
    assert search(call, MACRON_LATER, EntityId="") == (["Emmanuel_Macron"], 1)


def test_a_page_is_of_its_own_entity_and_stays_when_people_go(
    call: Call, press: dict[str, str], lib_id: str
) -> None:
    him = press["him"]
    assert search(call, MACRON_LATER, EntityId=him)[1] == 1
    call("DeleteRecognitionEntity", LibId=lib_id, EntityId=him)
    assert search(call, MACRON_LATER, EntityId=him, PageNo="2", PageSize="1") == ([], 1)
    assert search(call, MACRON_LATER, PageNo="2", PageSize="1") == ([], 1)
    assert search(call, MACRON_LATER, EntityId=him, PageNo="2", PageSize="1") == ([], 0)
    assert search(call, MACRON_LATER, EntityId=him) == ([], 0)


def test_the_configuration_says_whose_faces_count(
    call: Call, engine: facegrep.Engine, press: dict[str, str], lib_id: str
) -> None:
    assert engine.library("press").recognition == (lib_id,)
    shown = call("QuerySearchLib", SearchLibName="press")["SearchLibConfig"]
    assert shown == f'{{"faceGroupIds":"{lib_id}"}}'
    call("AlterSearchLib", SearchLibName="press", SearchLibConfig="{}")
    assert engine.library("press").recognition == ()
    assert search(call, MACRON_LATER, EntityId=press["him"]) == ([], 0)
    call("AlterSearchLib", SearchLibName="press")  # without a configuration nothing changes
    config = f'{{"faceGroupIds":" {lib_id} "}}'
    call("AlterSearchLib", SearchLibName="press", SearchLibConfig=config)
    assert search(call, MACRON_LATER, EntityId=press["him"]) == (["Emmanuel_Macron"], 1)


def test_a_configuration_that_names_an_unknown_library_is_404(
    call: Call, engine: facegrep.Engine
) -> None:
    config = '{"faceGroupIds":"unknown"}'
    status, code, message = refusal(
        call, "CreateSearchLib", SearchLibName="new", SearchLibConfig=config
    )
    assert (status, code) == (404, "ResourceNotFound")
    assert "unknown" in message
    assert "new" not in [library.name for library in engine.libraries()]
