"""What names and arguments every door refuses, by name, having changed nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import facegrep
from facegrep._names import check_library_name, check_name
from facegrep.engine import DEFAULT_LIBRARY

NO_NAMES: list[Any] = [
    "",
    "a\x00b",
    "tab\t",
    "line\n",
    "\x7f",
    "\x85",
    "\u2028",
    "\u200e",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u061c",
    "\ud800",
    "x" * 513,
    "é" * 257,
    None,
    7,
    b"bytes",
]
GOOD_NAMES = [
    "a",
    " ",
    "x" * 512,
    "é" * 256,
    "e\u0301",  # not the same as "é", and not made into it
    "中文",
    "..hidden",
    "a.b",
    "🙂",
    "'; DROP TABLE media; --",
    "%s {0} $HOME",
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("names") / "store") as engine:
        engine.create_library("lib", dim=2, threshold=0.5)
        engine.add_vectors("lib", ["m"], [[1, 2]])
        yield engine


@pytest.mark.parametrize("name", [*NO_NAMES, "a/b", "../a", "..", ".", "a\\b"])
def test_what_is_no_library_name_is_refused_everywhere(engine: facegrep.Engine, name: Any) -> None:
    before = engine.libraries()
    calls: list[Callable[[], object]] = [
        lambda: engine.create_library(name, dim=2),
        lambda: engine.library(name),
        lambda: engine.drop_library(name),
        lambda: engine.set_threshold(name, 0.5),
        lambda: engine.set_config(name, ""),
        lambda: engine.set_face_index(name, None),
        lambda: engine.add(name, media_id="x", source=b""),
        lambda: engine.add_many(name, []),
        lambda: engine.add_vectors(name, ["x"], [[1, 2]]),
        lambda: engine.update(name, "m"),
        lambda: engine.delete(name, media_ids=["m"]),
        lambda: engine.get(name, "m"),
        lambda: engine.media(name),
        lambda: engine.search(name, vector=[1, 2]),
        lambda: engine.answers.get(name, "token"),
    ]
    for call in calls:
        with pytest.raises(facegrep.InvalidArgumentError) as caught:
            call()
        assert not isinstance(caught.value, facegrep.NotFoundError)
    assert engine.libraries() == before


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_media_id_is_refused_everywhere(engine: facegrep.Engine, name: Any) -> None:
    before = engine.media("lib")
    calls: list[Callable[[], object]] = [
        lambda: engine.add("ims-default-search-lib", media_id=name, source=b""),
        lambda: engine.add_vectors("lib", [name], [[1, 2]]),
        lambda: engine.update("lib", name, title="x"),
        lambda: engine.delete("lib", media_ids=["m", name]),
        lambda: engine.get("lib", name),
    ]
    if name is not None:
        calls.append(lambda: engine.media("lib", after=name))
    for call in calls:
        with pytest.raises(facegrep.InvalidArgumentError, match=r"media_id|after"):
            call()
    result = engine.add_many(
        "ims-default-search-lib", [{"media_id": name, "source": b""}], on_error="collect"
    )
    assert len(result.errors) == 1
    assert engine.media("lib") == before


@pytest.mark.parametrize("name", [*GOOD_NAMES, "a/b", "../../etc/passwd", "C:\\x", ".", ".."])
def test_ids_are_data_compared_bytewise_as_given(engine: facegrep.Engine, name: str) -> None:
    engine.add_vectors("lib", [name], [[1, 2]], {"namespace": [name], "strField1": [name]})
    found = engine.search("lib", vector=[1, 2], where={"namespace": name, "strField1": name})
    assert found.media_ids == [name]
    assert engine.get("lib", name).media_id == name
    assert engine.delete("lib", media_ids=[name]) == 1


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_library_and_account_names_are_data(engine: facegrep.Engine, name: str) -> None:
    account = engine.for_account(name)
    library = account.create_library(name, dim=2, config=name)
    assert library in account.libraries()
    assert library.config == name
    account.drop_library(name)
    with pytest.raises(facegrep.NotFoundError) as caught:
        account.library(name)
    assert (caught.value.kind, caught.value.name) == ("library", name)


@given(st.text(max_size=600))
def test_a_name_is_taken_as_it_is_or_refused(name: str) -> None:
    try:
        assert check_name(name, "name") == name
    except facegrep.InvalidArgumentError:
        return
    assert 0 < len(name.encode()) <= 512
    assert all(ord(character) >= 32 for character in name)
    try:
        check_library_name(name)
    except facegrep.InvalidArgumentError:
        assert "/" in name or "\\" in name or name in (".", "..")


@pytest.mark.parametrize(
    "value",
    [
        -1.01,
        1.01,
        float("nan"),
        float("inf"),
        True,
        "0.5",
        [],
        2**70,
        10**310,
        np.array([0.5, 0.6]),
    ],
)
def test_a_threshold_is_a_cosine(engine: facegrep.Engine, value: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: engine.create_library("new", dim=2, threshold=value),
        lambda: engine.set_threshold("lib", value),
        lambda: engine.search("lib", vector=[1, 2], threshold=value),
    ]
    for call in calls:
        with pytest.raises(facegrep.InvalidArgumentError, match="threshold"):
            call()
    assert engine.library("lib").threshold == 0.5


def test_the_arguments_of_a_search_are_checked(engine: facegrep.Engine) -> None:
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({}, "a picture, a vector or an entity"),
        ({"picture": b"x", "vector": [1, 2]}, "one of the three"),
        ({"vector": [1, 2, 3]}, r"takes shape \(2,\)"),
        ({"vector": [[1, 2]]}, "shape"),
        ({"vector": [0, 0]}, "zero"),
        ({"vector": [float("nan"), 0]}, "finite|NaN"),
        ({"vector": ["a", "b"]}, "real"),
        ({"vector": [1, 2], "limit": -1}, "limit"),
        ({"vector": [1, 2], "offset": -1}, "offset"),
        ({"vector": [1, 2], "limit": True}, "limit"),
        ({"vector": [1, 2], "limit": 2**70}, "limit"),
        ({"vector": [1, 2], "where": {"title": "x"}}, "title"),
        ({"vector": [1, 2], "where": {"utcCreate": {"gte": 2, "lte": 1}}}, "gte"),
        ({"vector": [1, 2], "where": {"intField1": {}}}, "intField1"),
        ({"vector": [1, 2], "where": []}, "mapping"),
        ({"picture": b"x"}, "vectors without a model"),
    ]
    for arguments, words in wrongs:
        with pytest.raises(facegrep.InvalidArgumentError, match=words):
            engine.search("lib", **arguments)


def test_the_arguments_of_a_library_are_checked(engine: facegrep.Engine) -> None:
    wrongs: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"dim": 0}, facegrep.InvalidArgumentError, "dim"),
        ({"dim": 4097}, facegrep.InvalidArgumentError, "dim"),
        ({"dim": True}, facegrep.InvalidArgumentError, "dim"),
        ({"dim": 64.0}, facegrep.InvalidArgumentError, "dim"),
        ({"model": "sface", "dim": 64}, facegrep.ModelMismatchError, "128"),
        ({"model": "yunet"}, facegrep.InvalidArgumentError, "yunet"),
        ({"model": "none such"}, facegrep.ModelError, "none such"),
        ({"model": ""}, facegrep.InvalidArgumentError, "model"),
        ({"model": 5}, facegrep.InvalidArgumentError, "model"),
        ({"dim": 2, "face_index": "on"}, facegrep.InvalidArgumentError, "face index"),
        ({"dim": 2, "config": 7}, facegrep.InvalidArgumentError, "config"),
    ]
    for arguments, kind, words in wrongs:
        with pytest.raises(kind, match=words):
            engine.create_library("new", **arguments)
    with pytest.raises(facegrep.AlreadyExistsError, match="'lib'"):
        engine.create_library("lib", dim=2)
    assert "new" not in [library.name for library in engine.libraries()]


def test_arguments_of_other_types_are_refused_as_what_they_are(engine: facegrep.Engine) -> None:
    media_id, fields, source = {"media_id": "n"}, "fields", b"x"
    wrongs: list[tuple[Callable[[], object], str]] = [
        (lambda: engine.delete("lib", 5), "media_ids"),  # type: ignore[arg-type]
        (lambda: engine.delete("lib", "m"), "media_ids"),
        (lambda: engine.delete("lib", b"m"), "media_ids"),  # type: ignore[arg-type]
        (lambda: engine.delete("lib", ["m", 5]), r"media_ids\[1\]"),  # type: ignore[list-item]
        (lambda: engine.media("lib", limit=2**70), "limit"),
        (lambda: engine.update("lib", "m", fields=5), fields),  # type: ignore[arg-type]
        (lambda: engine.update("lib", "m", fields=["intField1"]), fields),  # type: ignore[arg-type]
        (lambda: engine.add(DEFAULT_LIBRARY, **media_id, source=source, fields=5), fields),  # type: ignore[arg-type]
    ]
    for call, words in wrongs:
        with pytest.raises(facegrep.InvalidArgumentError, match=words):
            call()
    items = [{**media_id, "source": source, "fields": value} for value in (5, ["intField1"])]
    left_out = engine.add_many(DEFAULT_LIBRARY, items, on_error="collect").errors
    assert [str(error).partition(":")[0] for _, error in left_out] == [fields, fields]
    assert engine.library("lib").media_count == 1


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


@pytest.mark.parametrize(
    "wrong", [10**5000, Unspeakable(), np.zeros(3)], ids=["int", "class", "array"]
)
def test_what_has_no_repr_or_no_truth_is_refused_all_the_same(
    engine: facegrep.Engine, wrong: Any
) -> None:
    """Python writes no int of more than 4300 digits."""
    calls: dict[str, Callable[[], object]] = {
        "dim": lambda: engine.create_library("n", dim=wrong),
        "threshold": lambda: engine.set_threshold("lib", wrong),
        "face index": lambda: engine.set_face_index("lib", wrong),
        "limit": lambda: engine.search("lib", vector=[1, 2], limit=wrong),
        "where": lambda: engine.search("lib", vector=[1, 2], where={"strField1": wrong}),
        "media_type": lambda: engine.add(
            DEFAULT_LIBRARY, media_id="n", source=b"", media_type=wrong
        ),
        "on_error": lambda: engine.add_many(DEFAULT_LIBRARY, [], on_error=wrong),
        "path": lambda: facegrep.open(wrong),
    }
    for words, call in calls.items():
        with pytest.raises(facegrep.InvalidArgumentError, match=words):
            call()


@pytest.mark.parametrize("wrong", [None, 5, np.array("m")], ids=repr)
def test_what_is_no_sequence_is_refused_by_its_name(engine: facegrep.Engine, wrong: Any) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match="items"):
        engine.add_many(DEFAULT_LIBRARY, wrong)
    with pytest.raises(facegrep.InvalidArgumentError, match="media_ids"):
        engine.delete("lib", wrong)
    with pytest.raises(facegrep.InvalidArgumentError, match="media_ids"):
        engine.add_vectors("lib", wrong, [[1, 2]])


def test_a_length_may_be_an_integer_of_numpy(engine: facegrep.Engine) -> None:
    assert engine.create_library("numpy", dim=np.int64(3)).dim == 3  # type: ignore[arg-type]
    engine.drop_library("numpy")


@pytest.mark.parametrize("path", [5, None, b"store", "a\0b"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match="path"):
        facegrep.open(path)


def test_a_library_of_vectors_asks_for_a_threshold(engine: facegrep.Engine) -> None:
    engine.create_library("bare", dim=2)
    engine.add_vectors("bare", ["m"], [[1, 2]])
    with pytest.raises(facegrep.InvalidArgumentError, match="set_threshold"):
        engine.search("bare", vector=[1, 2])
    assert engine.search("bare", vector=[1, 2], threshold=0.9).threshold_reason == "asked for"
    assert engine.search("bare", vector=[1, 2], threshold=None).total == 1
    engine.set_threshold("bare", 0.25)
    result = engine.search("bare", vector=[1, 2])
    assert (result.threshold, result.provider, result.query_faces) == (0.25, None, 0)
    assert result.threshold_reason == "set for library 'bare'"
    engine.set_threshold("bare", None)
    assert engine.library("bare").threshold is None


@pytest.mark.parametrize(
    "option",
    [
        {"device": "tpu"},
        {"device": np.zeros(2)},
        {"precision": "fp16"},
        {"precision": "int8", "device": "cuda"},
    ],
)
def test_a_device_or_precision_that_cannot_be_is_refused_before_a_store_is_made(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match=next(iter(option))):
        facegrep.open(tmp_path / "store", **option)
    assert not (tmp_path / "store").exists()


def test_int64_ends_are_values(engine: facegrep.Engine) -> None:
    ends = [-(2**63), 2**63 - 1]
    engine.add_vectors(
        "lib", ["low", "high"], [[1, 2], [1, 2]], {"intField1": ends, "utcCreate": ends}
    )
    for media_id, value in zip(("low", "high"), ends, strict=True):
        where = {"intField1": np.int64(value), "utcCreate": {"gte": value, "lte": value}}
        assert engine.search("lib", vector=[1, 2], where=where).media_ids == [media_id]
        assert engine.get("lib", media_id).fields == {"intField1": value}
    assert engine.delete("lib", media_ids=["low", "high"]) == 2
