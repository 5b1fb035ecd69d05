"""Every parameter of every action, good and bad, before anything is done with it."""

from __future__ import annotations

import contextlib
import re
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegrep.ice import IceError
from facegrep.ice import _requests as requests
from facegrep.ice._requests import read_request
from facegrep.ice._service import _ACTIONS

FUZZ_TARGET = runpy.run_path(str(Path(__file__).parent / "fuzz" / "ice_requests_fuzz.py"))
ACTIONS = [kind for kind, _ in _ACTIONS.values()]
# What makes each mandatory parameter good.
GOOD = {
    "PersonImageUrl": "data:,x",
    "FaceSearchToken": "zxtest-huangxuan-2023-3-7-V1",
    "SearchLibName": "test1",
    "IndexType": "face",
    "Input": "data:,x",
    "MediaId": "411bed50018971edb60b0764a0ec6abc",
    "MediaIds": "411bed50018971edb60b0764a0ec6abc,b",
    "MsgBody": '{"title":"test"}',
    "Algorithm": "face",
    "LibName": "people",
    "LibId": "2d3bf1e35a1e42b5ab338d701efa1234",
    "EntityId": "2d3bf1e35a1e42b5ab338d701efa1234",
    "EntityName": "somebody",
    "SampleId": "2d3bf1e35a1e42b5ab338d701efa1234",
    "ImageUrl": "data:,x",
    "PageNumber": "1",
    "PageSize": "10",
}
NAMES = ("", "a", "a" * 512, "a/b", "ims-default-search-lib", "ünï中文😀", "a b", "...", "a'b\"c%")
BAD_NAMES = (
    "a" * 513,
    "中" * 171,
    "a\0",
    "a\n",
    "\x7f",
    "\x85",
    "a\u202eb",
    "\u2066",
    "\u200e",
    "\u2028",
)
BAD_PATHS = ("../a", "a/..", "a\\..\\b", "..")
NUMBERS = (
    "0",
    "-1",
    "+1",
    "1.0",
    "1e3",
    " 1",
    "1 ",
    "abc",
    "\uff11",
    "1_0",
    "0x1",
    "9" * 40,
    "½",
    "1\n",
)
FILTERS = ("{", "[]", "null", '{"intField1":true}', '{"a":1}', "[" * 9000, "{}" + " " * 16384)

# Parameter -> values that each action having it accepts, and values that each refuses.
ACCEPTED: dict[str, tuple[str, ...]] = {
    "PersonImageUrl": ("data:,x", "https://a/b+c?d=e", "file:///a", "oss://b/k", "anything"),
    "Input": ("data:,x", "oss://bucket/path", "http://a/b"),
    "FaceSearchToken": tuple(name for name in NAMES if name),
    "MediaId": ("a", "a" * 512, "../photos/a b.jpg", "中/😀"),
    "Namespace": NAMES,
    "EntityId": (*NAMES, "2d3bf1e35a1e42b5ab338d701efa****"),
    "MediaType": ("image", "video", ""),
    "MediaIds": ("a", "a,b", "a, b", "../photos/a b.jpg"),
    "Task": ("", "face", "aiLabel,face", "face, mm"),
    "CustomFilters": ("", "{}", '{"intField1":[]}', '{"intField1":{"gte":1},"strField1":"中"}'),
    "UtcCreate": ("", '{"gte":1761205662998,"lte":1771205662998}', '{"lte":0}'),
    "PageNo": ("", "1", "01", "999999999999999999"),
    "PageSize": ("", "1", "50", "010"),
    "IndexType": ("face",),
    "IndexStatus": ("", "Active", "Deactive"),
    "IndexConfig": ("", "{}"),
    "MsgBody": ("{}", '{"customFields":{"intField1":-9223372036854775808}}'),
    "SearchLibConfig": ("", "{}", '{"faceGroupIds":"id1,id2"}'),
    "Algorithm": ("face",),
    "LibName": ("people", "中" * 21, "a/b", "../a"),
    "LibDescription": ("", "a\nb", "中" * 42),
    "LibId": ("a", "a,b", "2d3bf1e35a1e42b5ab338d701efa****"),
    "EntityName": ("a", "é" * 32, "Jacinda O'Neill"),
    "EntityInfo": ("", "{}", '{"a":{"b":[1,null]}}'),
    "SampleId": ("a", "2d3bf1e35a1e42b5ab338d701efa****"),
    "ImageUrl": ("data:,x", "oss://bucket/path", "http://a/b"),
    "PageNumber": ("1", "01", "999999999999999999"),
    "ImagesInput": ("", '{"images":[]}', '{"images":["oss://bucket/a.jpg","http://a/b"]}'),
}
REFUSED: dict[str, tuple[str, ...]] = {
    "PersonImageUrl": ("https://a/" + "b" * 4096, "https://a b", "file:///a\n", "\u202ehttps://a"),
    "Input": ("oss://bucket/\0",),
    "FaceSearchToken": BAD_NAMES + BAD_PATHS,
    "MediaId": BAD_NAMES,
    "MediaIds": (*BAD_NAMES, "a,", ",", "a,,b", ",".join("a" * 101)),
    "Task": ("mm", "aiLabel", "faces", "face,", "Face"),
    "Namespace": BAD_NAMES + BAD_PATHS,
    "EntityId": BAD_NAMES + BAD_PATHS,
    "MediaType": ("audio", "Image", "images", " image", "image,video"),
    "CustomFilters": FILTERS,
    "UtcCreate": (*FILTERS, "{}", '{"gte":2,"lte":1}', '{"gte":1,"gte":1}', "1761205662998"),
    "PageNo": NUMBERS,
    "PageSize": (*NUMBERS, "51", "00"),
    "IndexType": ("mm", "aiLabel", "Face", "faces", "face,mm"),
    "IndexStatus": ("active", "On"),
    "IndexConfig": ("{", '{"a":1}', "[]"),
    "MsgBody": ("{", '{"a":1}', '{"title":1}', "null", "title", '{"title":"\\u0000"}'),
    "SearchLibConfig": ("{", "[]", "{}" + " " * 9999, '{"a":1}', '{"faceGroupIds":"a,b,c,d"}'),
    "Algorithm": ("Face", "landmark", "object", "logo", "label", "face,logo"),
    "LibName": (*BAD_NAMES, "a" * 65, "中" * 22),
    "LibDescription": ("a" * 129, "中" * 43, "a\0"),
    "LibId": BAD_NAMES + BAD_PATHS,
    "EntityName": (*BAD_NAMES, "a" * 65, "中" * 22),
    "EntityInfo": ("{", "[]", "null", "text", '{"a":1,"a":2}', '{"a":"' + "b" * 250 + '"}'),
    "SampleId": BAD_NAMES + BAD_PATHS,
    "ImageUrl": ("https://a/" + "b" * 4096, "https://a b", "file:///a\n"),
    "PageNumber": NUMBERS,
    "ImagesInput": ("{", "{}", "[]", '{"images":"oss://a"}', '{"images":[1]}'),
}


def parameters(action: type[requests.Request]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(action)}


def minimal(action: type[requests.Request]) -> dict[str, str]:
    return {name: GOOD[name] for name, field in parameters(action).items() if field.required}


EVERY_PARAMETER = [(action, name) for action in ACTIONS for name in parameters(action)]


def snake_case(name: str) -> str:
    return re.sub(r"\B([A-Z])", r"_\1", name).lower()


def refusal(action: type[requests.Request], params: object) -> IceError:
    with pytest.raises(IceError) as caught:
        read_request(action, params)
    return caught.value


def test_every_parameter_of_the_contract_is_read() -> None:
    assert {action.__name__: " ".join(parameters(action)) for action in ACTIONS} == {
        "SearchMediaByFace": "PersonImageUrl FaceSearchToken SearchLibName MediaType Namespace "
        "CustomFilters UtcCreate EntityId PageNo PageSize",
        "SearchMediaClipByFace": "MediaId FaceSearchToken SearchLibName EntityId PageNo PageSize",
        "CreateSearchLib": "SearchLibName SearchLibConfig",
        "AlterSearchLib": "SearchLibName SearchLibConfig",
        "QuerySearchLib": "SearchLibName",
        "DropSearchLib": "SearchLibName",
        "ListSearchLib": "PageNo PageSize",
        "CreateSearchIndex": "IndexType SearchLibName IndexStatus IndexConfig",
        "AlterSearchIndex": "IndexType SearchLibName IndexStatus IndexConfig",
        "QuerySearchIndex": "IndexType SearchLibName",
        "DropSearchIndex": "IndexType SearchLibName",
        "InsertMediaToSearchLib": "Input SearchLibName MediaId MediaType MsgBody Namespace "
        "ImagesInput",
        "UpdateMediaToSearchLib": "MediaId MsgBody SearchLibName Namespace",
        "DeleteMediaFromSearchLib": "MediaId SearchLibName MsgBody Namespace",
        "QueryMediaIndexJob": "MediaId SearchLibName",
        "SearchIndexJobRerun": "MediaIds Task SearchLibName Namespace",
        "CreateRecognitionLib": "Algorithm LibName LibDescription",
        "ListRecognitionLibs": "Algorithm PageNumber PageSize LibId",
        "DeleteRecognitionLib": "Algorithm LibId",
        "CreateRecognitionEntity": "Algorithm LibId EntityName EntityInfo",
        "ListRecognitionEntities": "Algorithm PageNumber PageSize LibId",
        "DeleteRecognitionEntity": "Algorithm LibId EntityId",
        "CreateRecognitionSample": "Algorithm LibId EntityId ImageUrl",
        "ListRecognitionSamples": "Algorithm PageNumber PageSize LibId EntityId EntityName",
        "DeleteRecognitionSample": "Algorithm LibId EntityId SampleId",
    }


def test_what_is_not_given_has_the_vendors_defaults() -> None:
    search = read_request(requests.SearchMediaByFace, minimal(requests.SearchMediaByFace))
    assert search.search_lib_name == "ims-default-search-lib"
    assert (search.page_no, search.page_size) == (1, 10)
    assert (search.media_type, search.namespace, search.entity_id) == (None, None, None)
    insert = read_request(requests.InsertMediaToSearchLib, {"Input": "data:,x"})
    assert insert.media_type == "video"
    assert insert.media_id is None


@pytest.mark.parametrize(("action", "name"), EVERY_PARAMETER)
def test_a_mandatory_parameter_is_missed_and_an_empty_optional_one_is_absent(
    action: type[requests.Request], name: str
) -> None:
    params = minimal(action)
    absent = {other: value for other, value in params.items() if other != name}
    if name not in params:
        assert read_request(action, absent | {name: ""}) == read_request(action, absent)
        return
    for given_params in (absent, absent | {name: ""}):
        error = refusal(action, given_params)
        assert (error.http_status, error.code) == (400, "MissingParameter")
        assert error.message == (
            f'The input parameter "{name}" that is mandatory for processing this request '
            "is not supplied."
        )


@pytest.mark.parametrize(("action", "name"), EVERY_PARAMETER)
def test_every_parameter_takes_what_is_good_and_refuses_the_rest_by_name(
    action: type[requests.Request], name: str
) -> None:
    good, bad = ACCEPTED.get(name, ()), REFUSED.get(name, ())
    if name == "SearchLibName":
        if action is requests.CreateSearchLib:
            good = ("a", "Test1", "IPCamera_7", "a" * 128, "ims-default-search-lib")
            bad = ("a-b", "a b", "ü", "a" * 129, "IPCamera_", "\uff11", "a\n", *BAD_PATHS)
        else:
            good = tuple(name for name in NAMES if name and "/" not in name)
            bad = BAD_NAMES + BAD_PATHS
    assert good
    assert bad
    for value in good:
        if value or not parameters(action)[name].required:
            read_request(action, minimal(action) | {name: value})
    for value in bad:
        error = refusal(action, minimal(action) | {name: value})
        assert (error.http_status, error.code) == (400, "InvalidParameter")
        text = error.message
        assert re.fullmatch(rf'The specified parameter "{name}" is not valid\. .+\.', text), value
        assert text.isprintable()
        assert len(text) < 400


@pytest.mark.parametrize(("action", "name"), EVERY_PARAMETER)
def test_values_are_strings_and_names_are_spelled_as_they_are(
    action: type[requests.Request], name: str
) -> None:
    for value in (1, None, True, b"a", ["a"], {"intField1": 1}):
        error = refusal(action, minimal(action) | {name: value})
        assert (error.http_status, error.code) == (400, "InvalidParameter")
        assert f'"{name}"' in error.message
    assert "Unicode" in refusal(action, minimal(action) | {name: "a\ud800"}).message
    spellings = (name.lower(), name[0].lower() + name[1:], snake_case(name))
    for key in (f"{name}.intField1.1", f"{name}.strField1", f"{name}.1", *spellings):
        assert f'"{name}"' in refusal(action, minimal(action) | {key: "1"}).message


def test_unknown_names_are_ignored_and_no_mapping_is_refused() -> None:
    params: dict[Any, str] = {"SearchLibName": "a", "RegionId": "x", "Lib": "b", 5: "c"}
    assert read_request(requests.QuerySearchLib, params).search_lib_name == "a"
    not_mappings: tuple[object, ...] = (None, [], "SearchLibName=a")
    for wrong in not_mappings:
        assert refusal(requests.QuerySearchLib, wrong).http_status == 400


def test_what_is_missing_is_told_before_what_is_wrong() -> None:
    wrong = {"PersonImageUrl": "data:,x", "PageNo": "abc", "FaceSearchToken": ""}
    assert refusal(requests.SearchMediaByFace, wrong).code == "MissingParameter"


@given(st.sampled_from(EVERY_PARAMETER), st.text(max_size=40))
def test_any_text_in_any_parameter_is_read_or_refused(
    parameter: tuple[type[requests.Request], str], raw: str
) -> None:
    action, name = parameter
    with contextlib.suppress(IceError):
        read_request(action, minimal(action) | {name: raw})
        return
    error = refusal(action, minimal(action) | {name: raw})
    assert error.http_status == 400
    assert f'"{name}"' in error.message
    assert error.message.isprintable()


@given(st.sampled_from(EVERY_PARAMETER), st.binary(max_size=60))
def test_any_bytes_in_a_query_string_are_read_or_refused(
    parameter: tuple[type[requests.Request], str], raw: bytes
) -> None:
    action, name = parameter
    query = urlencode(minimal(action) | {name: raw}).encode()
    FUZZ_TARGET["fuzz_one"](bytes([ACTIONS.index(action)]) + query)


def test_an_error_reply_has_the_five_keys_of_the_gateway() -> None:
    error = refusal(requests.QuerySearchLib, {})
    reply = error.to_reply()
    assert list(reply) == ["RequestId", "HostId", "Code", "Message", "Recommend"]
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", reply["RequestId"])
    assert reply == error.to_reply()
    assert (reply["Code"], reply["Message"]) == (error.code, error.message)
    assert error.to_reply(host_id="ice.example")["HostId"] == "ice.example"
    assert str(error) == f"400 MissingParameter: {error.message}"
