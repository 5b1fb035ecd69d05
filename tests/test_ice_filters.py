"""CustomFilters, UtcCreate, MsgBody and SearchLibConfig: JSON from outside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegrep import InvalidArgumentError
from facegrep.ice._bodies import read_library_config, read_msg_body
from facegrep.ice._filters import read_custom_filters, read_utc_create
from facegrep.ice._json import MAX_JSON_BYTES

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=256)
RANGE = st.tuples(INT64, INT64).map(
    lambda ends: {"gte": min(ends), "lte": max(ends)}
) | st.dictionaries(st.sampled_from(["gte", "lte"]), INT64, min_size=1, max_size=1)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "intField1": INT64 | st.lists(INT64, max_size=64) | RANGE,
        "strField1": TEXT | st.lists(TEXT, max_size=8),
        "strField2": TEXT | st.lists(TEXT, max_size=8),
    },
)
JSON_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["intField1", "strField1", "gte", "lte", "title", "x"]), inner
        )
    ),
    max_leaves=8,
)

# What no filter may be, with a word of the reason that the caller is told.
REFUSED_FILTERS = {
    '{"intField1":true}': "bool",
    '{"intField1":1.5}': "float",
    '{"intField1":1.0}': "float",
    '{"intField1":NaN}': "malformed",
    '{"intField1":-Infinity}': "malformed",
    '{"intField1":1e999}': "range",
    '{"intField1":9223372036854775808}': "9223372036854775807",
    '{"intField1":' + "9" * 40 + "}": "9223372036854775807",
    '{"intField1":' + "9" * 5000 + "}": "range",
    '{"intField1":"12"}': "str",
    '{"intField1":null}': "null",
    '{"intField1":1,"intField1":1}': "2 times",
    '{"intField1":{"gte":1,"gte":2}}': "2 times",
    '{"intField1":{"gte":1,"in":[1]}}': "unknown field `in`",
    '{"intField1":{"gt":1}}': "unknown field `gt`",
    '{"intField1":{}}': "empty",
    '{"intField1":{"gte":13,"lte":12}}': "gte 13 > lte 12",
    '{"intField1":[1,[2]]}': "array",
    '{"intField1":[1,true]}': "bool",
    json.dumps({"intField1": list(range(65))}): "length <= 64",
    '{"strField1":1}': "int",
    '{"strField1":{"gte":"a"}}': "object",
    '{"strField1":"\\ud800"}': "surrogate",
    json.dumps({"strField1": "a" * 257}): "length <= 256",
    '{"strField3":"a"}': "unknown field `strField3`",
    '{"intfield1":1}': "unknown field `intfield1`",
    "[" * 8000 + "]" * 8000: "array",
    '{"intField1":' * 1000 + "1" + "}" * 1000: "",
    '{"strField1":"' + "a" * MAX_JSON_BYTES + '"}': "16384 bytes",
    '{"strField1":"' + "é" * (MAX_JSON_BYTES // 2) + '"}': "16384 bytes",
    "null": "null",
    "[]": "array",
    "12": "int",
    "{": "ends",
    "{}{}": "trailing",
    "{'intField1':1}": "malformed",
    '\ufeff{"intField1":1}': "malformed",
    " ": "",
}


@given(FILTERS, st.sampled_from([None, 2]), st.booleans())
def test_every_filter_of_the_grammar_is_read_as_it_is(
    filters: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    raw = json.dumps(filters, indent=indent, ensure_ascii=ascii_only)
    if len(raw.encode()) <= MAX_JSON_BYTES:
        assert read_custom_filters(raw) == filters


@given(st.text(max_size=60) | JSON_VALUE.map(json.dumps))
def test_any_text_is_a_filter_of_the_grammar_or_refused(raw: str) -> None:
    for read in (read_custom_filters, read_utc_create, read_msg_body, read_library_config):
        try:
            value = read(raw.encode("utf-8", "replace").decode())
        except InvalidArgumentError:
            continue
        assert value is not None
        assert isinstance(json.loads(raw), dict)


@pytest.mark.parametrize(("raw", "reason"), REFUSED_FILTERS.items(), ids=lambda text: text[:32])
def test_a_malformed_filter_is_refused_with_its_reason(raw: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_custom_filters(raw)
    assert reason in str(caught.value)


def test_an_empty_object_is_no_filter_and_an_empty_list_matches_nothing() -> None:
    assert read_custom_filters("{}") == {}
    assert read_custom_filters('{"strField1":[]}') == {"strField1": []}
    assert read_custom_filters('{"strField1":""}') == {"strField1": ""}


def test_a_range_may_have_one_side() -> None:
    assert read_utc_create('{"gte":5}') == {"gte": 5}
    assert read_utc_create('{"lte":-5}') == {"lte": -5}
    assert read_utc_create('{"gte":5,"lte":5}') == {"gte": 5, "lte": 5}


@pytest.mark.parametrize(
    "raw",
    [
        "{}",
        '{"gte":2,"lte":1}',
        "5",
        "[5]",
        '{"gte":"5"}',
        '{"gte":5.0}',
        '{"gte":null}',
        '{"a":5}',
    ],
)
def test_a_malformed_range_of_times_is_refused(raw: str) -> None:
    with pytest.raises(InvalidArgumentError):
        read_utc_create(raw)


def test_a_msg_body_holds_a_title_and_custom_fields() -> None:
    raw = '{"title":"test","customFields":{"intField1":12,"strField1":"abc"}}'
    body = read_msg_body(raw)
    assert body.title == "test"
    assert body.fields() == {"intField1": 12, "strField1": "abc"}
    assert read_msg_body("{}").fields() == {}


@pytest.mark.parametrize(
    "raw",
    [
        '{"customFields":{"intField1":[12]}}',
        '{"customFields":{"intField1":{"gte":1}}}',
        '{"customFields":{"intField1":null}}',
        '{"customFields":{"strField3":"a"}}',
        '{"customFields":[]}',
        '{"title":5}',
        '{"title":"a","title":"b"}',
        '{"Title":"a"}',
        json.dumps({"title": "a" * 257}),
    ],
)
def test_a_malformed_msg_body_is_refused(raw: str) -> None:
    with pytest.raises(InvalidArgumentError):
        read_msg_body(raw)


def test_a_library_names_up_to_three_groups_of_faces() -> None:
    for raw, ids in (
        ("{}", ()),
        ('{"faceGroupIds":""}', ()),
        ('{"faceGroupIds":"a"}', ("a",)),
        ('{"faceGroupIds": " a,b, c"}', ("a", "b", "c")),
    ):
        config = read_library_config(raw)
        assert (config.raw, config.recognition) == (raw, ids)
    for raw in (
        '{"faceGroupIds":"a,b,c,d"}',
        '{"faceGroupIds":"a,,b"}',
        '{"faceGroupIds":"a,b, a"}',
        '{"faceGroupIds":["a"]}',
        '{"faceGroupIds":"a\\u0000"}',
    ):
        with pytest.raises(InvalidArgumentError):
            read_library_config(raw)
