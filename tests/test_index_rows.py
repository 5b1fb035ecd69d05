"""What goes into a FaceIndex, comes out, and is refused. Twin: cpp/quantize_test.cpp."""

from __future__ import annotations

import copy
import enum
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import facegrep
from facegrep import _core

DIM = 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def vectors(rng: np.random.Generator, count: int, dim: int = DIM) -> NDArray[np.float32]:
    return rng.standard_normal((count, dim)).astype(np.float32)


def state(index: facegrep.FaceIndex) -> tuple[object, ...]:
    """All that a caller can see of an index that holds at most 100 assets."""
    everything = index.search(np.ones(index.dim), limit=100)
    assert isinstance(everything, facegrep.SearchResult)
    return (
        len(index),
        index.media_count,
        everything.media_ids,
        everything.scores.tobytes(),
        index.codes(everything.media_ids).tobytes(),
    )


def test_codes_are_the_definition_of_the_template(rng: np.random.Generator) -> None:
    for dim in (1, 2, 127, 128, 512, 4096):
        x = vectors(rng, 20, dim)
        index = facegrep.FaceIndex(dim)
        index.add([f"{i}" for i in range(20)], x)
        scale = np.float32(127) / np.abs(x).max(axis=1, keepdims=True)
        expected = np.rint(x * scale).astype(np.int8)
        np.testing.assert_array_equal(index.codes([f"{i}" for i in range(20)]), expected)
        np.testing.assert_array_equal(_core.quantize(x), expected)


def test_rows_of_one_asset_come_in_any_order_and_stay_in_theirs(rng: np.random.Generator) -> None:
    x = vectors(rng, 5)
    index = facegrep.FaceIndex(DIM)
    assert index.add(["b", "a", "b", "a", "b"], x, {"intField1": [1, None, 1, None, 1]}) == 5
    np.testing.assert_array_equal(index.codes(["b"]), _core.quantize(x[[0, 2, 4]]))
    np.testing.assert_array_equal(index.codes(["a", "b"]), _core.quantize(x[[1, 3, 0, 2, 4]]))
    assert (len(index), index.media_count) == (5, 2)


@pytest.mark.parametrize(
    ("media_ids", "fields", "complaint"),
    [
        (["a", "a"], {"intField1": [1, 2]}, "rows 0 and 1"),
        (["a", "a"], {"strField1": ["x", None]}, "rows 0 and 1"),
        (["a"], {}, "expected 2 ids"),
        (["a", ""], {}, "empty"),
        (["a", "b\n"], {}, "control character at byte 1"),
        (["a", "b\x85"], {}, "control character"),
        (["a", "\ud800"], {}, "surrogate"),
        (["a", b"b"], {}, "expected str, got bytes"),
        ("ab", {}, "got one string"),
        (["a", "b"], {"intField2": [1, 2]}, "unknown field 'intField2'"),
        (["a", "b"], {"intField1": [1]}, "expected 2 values"),
        (["a", "b"], {"intField1": [1, True]}, "expected int, got bool"),
        ({"a", "b"}, {}, "media_ids: expected a sequence, got a set"),
        (7, {}, "media_ids: expected a sequence, got int"),
        (
            ["a" + "é" * 60] * 2,
            {"intField1": [1, 2]},
            "rows 0 and 1",
        ),  # quotes half of an é
        (["a", "b"], {"intField1": [1, 2**63]}, "entry 1: expected an integer of 64 bits"),
        (["a", "b"], {"intField1": {1, 2}}, "expected a sequence, got a set"),
        (
            ["a", "b"],
            {"utcCreate": np.array([1, 2], "datetime64[ns]")},
            "int, got numpy.datetime64",
        ),
        (["a", "b"], {"intField1": [1, 1.0]}, "expected int, got float"),
        (["a", "b"], {"strField1": ["x", 3]}, "entry 1: expected str, got int"),
        (["a", "b"], {"strField1": "xy"}, "got one string"),
        (["a", "b"], 5, "expected a mapping"),
        (["kept", "b"], {}, "other faces"),
    ],
)
def test_a_refused_add_says_why_and_changes_nothing(
    rng: np.random.Generator, media_ids: Any, fields: Any, complaint: str
) -> None:
    index = facegrep.FaceIndex(DIM)
    index.add(["kept"], vectors(rng, 1))
    before = state(index)
    with pytest.raises(facegrep.InvalidArgumentError, match=complaint):
        index.add(media_ids, vectors(rng, 2), fields)
    assert state(index) == before


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ([[1.0, np.nan, 0, 0, 0]], "row 0 has NaN"),
        ([[1, 0, 0, 0, 0], [np.inf, 0, 0, 0, 0]], "row 1 has NaN or infinity"),
        ([[1e300, 0, 0, 0, 0]], "row 0 has NaN or infinity"),
        ([[0, 0, 0, 0, 0]], "row 0 is all zero"),
        ([[1e-39, 0, 0, 0, 0]], "too close to zero"),
        ([[1j, 0, 0, 0, 0]], "real numbers, got dtype complex128"),
        ([["1", "0", "0", "0", "0"]], "real numbers"),
        ([[1, 0], [1]], "array of numbers"),
        ([[1.0, 0]], r"expected shape \(n, 5\)"),
        ([1.0, 0, 0, 0, 0], r"expected shape \(n, 5\)"),
    ],
)
def test_a_vector_without_a_direction_is_refused_by_row(bad: Any, complaint: str) -> None:
    index = facegrep.FaceIndex(DIM)
    ids = [f"{i}" for i in range(len(bad))]
    with pytest.raises(facegrep.InvalidArgumentError, match=complaint):
        index.add(ids, bad)
    assert (len(index), index.media_count) == (0, 0)


def test_the_binding_refuses_what_it_would_have_to_convert(rng: np.random.Generator) -> None:
    index = facegrep.FaceIndex(DIM)._core
    x = vectors(rng, 4)
    with pytest.raises(facegrep.InvalidArgumentError, match="expected dtype float32, got float64"):
        index.add(["a"] * 4, x.astype(np.float64), {})
    with pytest.raises(facegrep.InvalidArgumentError, match="ascontiguousarray"):
        index.add(["a"] * 2, x[::2], {})
    with pytest.raises(facegrep.InvalidArgumentError, match="expected 5 columns, got 4"):
        index.add(["a"] * 4, np.ascontiguousarray(x[:, :4]), {})
    with pytest.raises(facegrep.InvalidArgumentError, match="expected 2 dimensions"):
        index.add(["a"], x[0], {})
    with pytest.raises(facegrep.InvalidArgumentError, match="expected dtype int8"):
        index.add_codes(["a"] * 4, x, {}, np.zeros(4, np.int64))  # type: ignore[arg-type]
    with pytest.raises(facegrep.InvalidArgumentError, match="keys: expected int64"):
        index.add_codes(["a"] * 4, _core.quantize(x), {}, np.zeros(4))  # type: ignore[arg-type]


def test_the_same_asset_again_is_a_no_op_and_another_is_an_error(rng: np.random.Generator) -> None:
    x = vectors(rng, 3)
    fields = {"strField1": ["x", "x", None]}
    index = facegrep.FaceIndex(DIM)
    assert index.add(["a", "a", "b"], x, fields) == 3
    before = state(index)
    assert index.add(["b", "a", "a"], x[[2, 0, 1]], {"strField1": [None, "x", "x"]}) == 0
    assert index.add(["a", "a", "c"], x, fields) == 1
    index.remove(["c"])
    for ids, rows, strings in (
        (["a"], [0], ["x"]),
        (["a", "a"], [1, 0], ["x", "x"]),
        (["a", "a"], [0, 1], ["y", "y"]),
        (["a", "a"], [0, 1], [None, None]),
    ):
        with pytest.raises(facegrep.AlreadyExistsError, match="remove it first"):
            index.add([*ids, "d"], x[[*rows, 2]], {"strField1": [*strings, None]})
    assert state(index) == before


def test_a_removed_asset_is_gone_and_its_id_is_free(rng: np.random.Generator) -> None:
    x = vectors(rng, 3)
    index = facegrep.FaceIndex(DIM)
    index.add(["a", "b", "a"], x)
    assert index.remove(["a", "nobody", "a"]) == 1
    assert (len(index), index.media_count) == (1, 1)
    assert index.search(x[0], threshold=-1.0).media_ids == ["b"]
    with pytest.raises(facegrep.NotFoundError, match="media 'a' does not exist"):
        index.codes(["b", "a"])
    index.add(["a"], x[1:2])
    np.testing.assert_array_equal(index.codes(["a"]), _core.quantize(x[1:2]))


def test_keys_given_with_codes_come_back_with_the_matches(rng: np.random.Generator) -> None:
    codes = _core.quantize(vectors(rng, 3))
    core = _core.FaceIndex(DIM)
    core.add_codes(["a", "b", "a"], codes, {}, np.array([7, -1, 7]))
    (result,) = core.search(codes[1:2].astype(np.float32), -1.0, 9, 0, [], 1)
    assert (result.media_ids(0, 9), result.keys.tolist()) == (["b", "a"], [-1, 7])
    with pytest.raises(facegrep.InvalidArgumentError, match="rows 0 and 1"):
        core.add_codes(["c", "c"], codes[:2], {}, np.array([1, 2]))


def test_removing_most_assets_gives_the_memory_back_and_keeps_the_rest(
    rng: np.random.Generator,
) -> None:
    x = vectors(rng, 20_000, 64)
    ids = [f"m{i // 2}" for i in range(len(x))]
    index = facegrep.FaceIndex(64)
    index.add(ids, x, {"strField1": ids, "utcCreate": [i // 2 for i in range(len(x))]})
    full = index.nbytes
    kept = [f"m{i}" for i in range(0, 10_000, 10)]
    assert index.remove([i for i in sorted({*ids}) if i not in {*kept}]) == 9_000
    assert index.nbytes < full / 4
    assert (len(index), index.media_count) == (2_000, 1_000)
    assert index.search(x[0], threshold=-1.0).total == 1_000
    assert index.search(x[20], limit=1, where={"strField1": "m10", "utcCreate": 10}).total == 1
    np.testing.assert_array_equal(index.codes(["m9990"]), _core.quantize(x[19_980:19_982]))


def test_nbytes_counts_a_code_and_a_few_numbers_a_face(rng: np.random.Generator) -> None:
    index = facegrep.FaceIndex(128)
    x = vectors(rng, 10_000, 128)
    index.add([f"m{i // 2}" for i in range(len(x))], x)
    assert 1.5 * 128 * len(x) <= index.nbytes <= (1.6 * 128 + 40) * len(x)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_index_is_not_copied_by_halves(duplicate: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"a FaceIndex cannot be copied or pickled.*facegrep\.open"):
        duplicate(facegrep.FaceIndex(2))


def test_a_str_that_says_something_else_of_itself_is_what_it_holds() -> None:
    class Kind(str, enum.Enum):  # noqa: UP042 - a StrEnum has the str() of its value
        IMAGE = "image"

    index = facegrep.FaceIndex(1)
    index.add([Kind.IMAGE], [[1.0]], {"mediaType": [Kind.IMAGE]})
    assert str(Kind.IMAGE) != "image"
    for mode in (Kind.IMAGE, [Kind.IMAGE]):
        assert index.search([1.0], where={"mediaType": mode}).media_ids == ["image"]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_unicode_but_control_characters_is_an_id(media_id: str) -> None:
    index = facegrep.FaceIndex(1)
    index.add([media_id], [[1.0]])
    assert index.search([1.0]).media_ids == [media_id]
    assert index.remove([media_id]) == 1


@pytest.mark.parametrize("dim", [0, -1, 4097, True, 2.5])
def test_a_dim_beyond_1_to_4096_is_refused(dim: Any) -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match="dim"):
        facegrep.FaceIndex(dim)
