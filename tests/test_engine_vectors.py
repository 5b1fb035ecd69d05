"""Libraries of vectors: what is added is what is found, and bad input changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facegrep
from facegrep import _core
from facegrep.engine import _vector_rows
from facegrep.store import _segments, _vectors

DIM = 16


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=0.3)
        yield engine


def fields_of(count: int) -> dict[str, list[Any]]:
    return {
        "intField1": [None if i % 7 == 0 else i % 5 for i in range(count)],
        "strField1": [None if i % 3 == 0 else "ab"[i % 2] for i in range(count)],
        "strField2": ["", "é"] * (count // 2),
        "utcCreate": [1000 + i for i in range(count)],
        "mediaType": ["video", "image", "audio", "image"] * (count // 4),
        "namespace": [None if i % 2 else "name-1" for i in range(count)],
    }


@pytest.mark.parametrize("reopened", [False, True])
def test_the_engine_answers_as_a_face_index_of_the_same_rows(
    engine: facegrep.Engine, tmp_path: Path, reopened: bool
) -> None:
    random = np.random.default_rng(9)
    count = 2000
    vectors = random.normal(size=(count, DIM)).astype(np.float32)
    assets = random.permutation(np.arange(count) % 1300)  # rows of an asset far apart
    ids = [f"中/{asset}" for asset in assets]
    fields = {name: [values[asset] for asset in assets] for name, values in fields_of(1400).items()}
    oracle = facegrep.FaceIndex(DIM)
    oracle.add(ids, vectors, fields)
    result = engine.add_vectors("lib", ids, vectors, fields)
    assert (result.added, result.unchanged, result.faces) == (1300, 0, count)
    gone = sorted(set(ids))[::10]
    assert engine.delete("lib", media_ids=[*gone, "unknown", gone[0]]) == len(gone)
    oracle.remove(gone)
    if reopened:
        engine.close()
        engine = facegrep.open(tmp_path / "store")
    wheres: list[dict[str, Any] | None] = [
        None,
        {"intField1": {"gte": 2}},
        {"strField1": "a", "namespace": "name-1"},
        {"utcCreate": {"gte": 1100, "lte": 1500}, "mediaType": ["video", "audio"]},
        {"strField2": ""},
        {"intField1": []},
    ]
    for number in range(20):
        query = vectors[number] + random.normal(size=DIM) * 0.3
        for where in wheres:
            expected = oracle.search(query, threshold=0.3, where=where, limit=5, offset=number % 3)
            found = engine.search("lib", vector=query, where=where, limit=5, offset=number % 3)
            assert found.total == expected.total
            assert found.media_ids == expected.media_ids
            np.testing.assert_array_equal(found.scores, expected.scores)
            best = engine.search("lib", vector=query, where=where, threshold=None, limit=3)
            assert best.media_ids == oracle.search(query, where=where, limit=3).media_ids
    if reopened:
        engine.close()


def test_rows_of_one_asset_are_its_faces_in_their_order(engine: facegrep.Engine) -> None:
    vectors = np.random.default_rng(1).normal(size=(4, DIM)).astype(np.float32)
    engine.add_vectors("lib", ["a", "b", "a", "a"], vectors)
    codes = facegrep._core.quantize(vectors)
    faces = engine.get("lib", "a", vectors=True).faces
    assert [face.face_no for face in faces] == [0, 1, 2]
    for face, row in zip(faces, (0, 2, 3), strict=True):
        assert face.code is not None
        np.testing.assert_array_equal(face.code, codes[row])
        assert (face.box, face.score, face.precision) == (None, None, None)
    listed = engine.media("lib", vectors=True)[0].faces
    np.testing.assert_array_equal([face.code for face in listed], codes[[0, 2, 3]])
    assert engine.media("lib")[0].faces[0].code is None
    hit = engine.search("lib", vector=vectors[2])[0]
    assert (hit.media_id, hit.face_count, hit.box) == ("a", 3, None)


def test_what_has_no_time_and_no_type_is_an_image_of_now(engine: facegrep.Engine) -> None:
    before = time.time_ns() // 10**6
    engine.add_vectors("lib", ["a", "b"], np.ones((2, DIM)), {"utcCreate": [None, 5]})
    a, b = engine.media("lib")
    assert before <= a.utc_create_ms <= time.time_ns() // 10**6
    assert (b.utc_create_ms, a.media_type, a.namespace, a.fields) == (5, "image", None, {})
    assert a.job is not None
    assert a.job.status == "Success"
    where = {"utcCreate": {"gte": before}, "mediaType": "image"}
    assert engine.search("lib", vector=np.ones(DIM), where=where).media_ids == ["a"]


def test_repeating_what_is_stored_changes_nothing(engine: facegrep.Engine) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, DIM))
    ids = [f"m{i % 30}" for i in range(40)]
    fields = {"strField1": [f"s{i % 30}" for i in range(40)]}
    engine.add_vectors("lib", ids, vectors, fields)
    before = engine.media("lib"), engine.library("lib")
    again = engine.add_vectors("lib", ids, vectors, fields)
    assert (again.added, again.unchanged, again.faces) == (0, 30, 0)
    more = engine.add_vectors(
        "lib",
        ["new", *ids],
        np.concatenate([vectors[:1], vectors]),
        {"strField1": ["x", *fields["strField1"]]},
    )
    assert (more.added, more.unchanged, more.faces) == (1, 30, 1)
    engine.delete("lib", media_ids=["new"])
    assert (engine.media("lib"), engine.library("lib")) == before


@pytest.mark.parametrize(
    ("vectors", "fields", "word"),
    [
        (np.full((1, DIM), 2.0) * np.arange(1, DIM + 1), {}, "content"),
        (np.ones((2, DIM)), {}, "content"),
        (np.ones((1, DIM)), {"intField1": 8}, "int field1"),
        (np.ones((1, DIM)), {"namespace": "other"}, "namespace"),
        (np.ones((1, DIM)), {"mediaType": "video"}, "media type"),
        (np.ones((1, DIM)), {"utcCreate": 1}, "time of creation"),
    ],
)
def test_an_id_that_is_taken_by_something_else_is_refused_and_nothing_is_added(
    engine: facegrep.Engine, vectors: Any, fields: dict[str, Any], word: str
) -> None:
    engine.add_vectors("lib", ["taken"], np.ones((1, DIM)), {"intField1": [7]})
    before = engine.media("lib")
    ids = ["new"] + ["taken"] * len(vectors)
    columns: dict[str, Any] = {
        name: [None] + [value] * len(vectors) for name, value in fields.items()
    }
    columns.setdefault("intField1", [7] * len(ids))
    rows = np.concatenate([np.ones((1, DIM)), vectors])
    with pytest.raises(facegrep.AlreadyExistsError, match=f"'taken'.*{word}"):
        engine.add_vectors("lib", ids, rows, columns)
    assert engine.media("lib") == before
    assert engine.delete("lib", media_ids=["taken"]) == 1
    assert engine.add_vectors("lib", ids, rows, columns).added == 2  # the id is free again


def test_bad_rows_are_refused_with_their_number_and_nothing_is_added(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_vector_rows, "CHUNK_ROWS", 16)
    good = np.ones((100, DIM), dtype=np.float64)
    ids = [f"m{i}" for i in range(100)]
    for value in (np.nan, np.inf, -np.inf, 1e39, 0.0, 1e-38):
        bad = good.copy()
        bad[70] = value
        with pytest.raises(facegrep.InvalidArgumentError, match="row 70"):
            engine.add_vectors("lib", ids, bad)
    cases: list[tuple[Any, Any, Any, str]] = [
        (ids[:99], good, None, "shape"),
        (ids, good[:, 0], None, "shape"),
        (ids, good[:, :8], None, "16 numbers a row, got 8"),
        (ids, good.astype(complex), None, "real"),
        (ids, np.full((100, DIM), "a"), None, "real"),
        (ids, [[1.0] * DIM] * 99 + [[1.0]], None, "vectors.*numbers"),
        ("m" * 100, good, None, "str"),
        (None, good, None, "media_ids"),
        ([*ids[:99], "a\nb"], good, None, r"media_ids\[99\]"),
        ([*ids[:99], 7], good, None, r"media_ids\[99\].*int"),
        (ids, good, {"intField2": [1] * 100}, "intField2"),
        (ids, good, {"intField1": [1] * 99}, "99"),
        (ids, good, {"intField1": [1] * 99 + [True]}, "intField1.*bool"),
        (ids, good, {"intField1": [1] * 99 + [2**63]}, "64 bits"),
        (ids, good, {"intField1": [1] * 99 + [1.5]}, "float"),
        (ids, good, {"strField1": ["a"] * 99 + [1]}, "strField1"),
        (ids, good, {"strField1": ["a"] * 99 + ["\ud800"]}, "surrogates"),
        (ids, good, {"namespace": ["a"] * 99 + [""]}, "namespace"),
        (ids, good, {"mediaType": ["image"] * 99 + ["gif"]}, "gif"),
        (ids, good, {"mediaType": ["image"] * 99 + [np.arange(2)]}, "mediaType"),
        (ids, good, {"utcCreate": "now" * 50}, "utcCreate"),
        (ids, good, {"utcCreate": np.array(5)}, "utcCreate"),
        (ids, good, {"utcCreate": np.zeros((100, 1), dtype=np.int64)}, "utcCreate"),
        (ids, good, [1], "mapping"),
        (["m0", *ids[:99]], good, {"intField1": list(range(100))}, "rows 0 and 1.*'m0'"),
    ]
    for media_ids, vectors, fields, words in cases:
        with pytest.raises(facegrep.InvalidArgumentError, match=words):
            engine.add_vectors("lib", media_ids, vectors, fields)
    assert engine.media("lib") == []
    assert engine.add_vectors("lib", [], np.empty((0, DIM))).added == 0


def test_commits_are_bounded_keep_assets_whole_and_report_progress(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_vector_rows, "CHUNK_ROWS", 10)
    ids = [f"m{i % 13}" for i in range(39)] + ["large"] * 25
    vectors = np.random.default_rng(2).normal(size=(len(ids), DIM))
    seen: list[tuple[int, int | None]] = []
    result = engine.add_vectors(
        "lib", ids, vectors, progress=lambda done, total: seen.append((done, total))
    )
    assert (result.added, result.faces) == (14, 64)
    assert seen == [(9, 64), (18, 64), (27, 64), (36, 64), (39, 64), (64, 64)]
    assert {asset.media_id: len(asset.faces) for asset in engine.media("lib")} == {
        **{f"m{i}": 3 for i in range(13)},
        "large": 25,
    }


def test_a_memory_map_is_read_in_pieces(engine: facegrep.Engine, tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(9000, DIM))
    mapped[:] = np.random.default_rng(3).normal(size=mapped.shape)
    assert engine.add_vectors("lib", [str(i) for i in range(9000)], mapped).added == 9000
    assert engine.search("lib", vector=mapped[8999])[0].media_id == "8999"


def test_a_full_segment_is_followed_by_another(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("facegrep.store._vectors.CAPACITY_BYTES", 100 * DIM)
    vectors = np.random.default_rng(4).normal(size=(500, DIM)).astype(np.float32)
    for first in range(0, 500, 70):
        rows = vectors[first : first + 70]
        engine.add_vectors("lib", [str(first + i) for i in range(len(rows))], rows)
    assert len(list((tmp_path / "store" / "v").iterdir())) == 7
    engine.close()
    with facegrep.open(tmp_path / "store") as again:
        for row in range(0, 500, 61):
            assert again.search("lib", vector=vectors[row])[0].media_id == str(row)


def test_an_update_changes_what_filters_see_and_nothing_else(engine: facegrep.Engine) -> None:
    fields: dict[str, list[Any]] = {
        "intField1": [1, 2],
        "strField1": ["a", "b"],
        "utcCreate": [5, 6],
    }
    engine.add_vectors("lib", ["m", "n"], np.eye(DIM)[:2], fields)
    before = engine.get("lib", "m", vectors=True)
    engine.update("lib", "m", fields={"intField1": None, "strField2": "x"}, namespace="ns")
    engine.update("lib", "m", title="T")
    after = engine.get("lib", "m", vectors=True)
    assert after.fields == {"strField1": "a", "strField2": "x"}
    assert (after.namespace, after.title, after.utc_create_ms) == ("ns", "T", 5)
    assert (after.faces, after.content_sha256) == (before.faces, before.content_sha256)

    def found(where: dict[str, Any]) -> list[str]:
        return engine.search("lib", vector=np.ones(DIM), threshold=-1, where=where).media_ids

    assert found({"intField1": 1}) == []
    assert found({"strField2": "x", "namespace": "ns", "utcCreate": 5}) == ["m"]
    assert found({}) == ["m", "n"]
    engine.update("lib", "m", namespace=None, title=None, fields={})
    assert (engine.get("lib", "m").namespace, engine.get("lib", "m").title) == (None, None)
    with pytest.raises(facegrep.NotFoundError) as caught:
        engine.update("lib", "gone", title="x")
    assert (caught.value.kind, caught.value.name) == ("media", "gone")
    wrongs: list[dict[str, Any]] = [
        {"title": 5},
        {"fields": {"utcCreate": 5}},
        {"fields": {"intField1": "a"}},
        {"namespace": "a\tb"},
    ]
    for wrong in wrongs:
        with pytest.raises(facegrep.InvalidArgumentError):
            engine.update("lib", "m", **wrong)


def test_media_are_listed_by_id_bytewise_page_by_page(engine: facegrep.Engine) -> None:
    ids = ["b", "a", "A", "é", "中", "a/b", "a..", " ", "~", "z" * 500]
    engine.add_vectors("lib", ids, np.ones((len(ids), DIM)))
    listed: list[str] = []
    while page := engine.media("lib", after=listed[-1] if listed else None, limit=3):
        listed += [asset.media_id for asset in page]
    assert listed == sorted(ids, key=str.encode)
    assert engine.media("lib", limit=0) == []
    with pytest.raises(facegrep.InvalidArgumentError):
        engine.media("lib", limit=-1)


def test_a_page_of_media_reads_each_block_of_vectors_once(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(4)
    asset_of_row = random.permutation(np.arange(900) % 300)  # three faces each, in no order
    vectors = random.normal(size=(900, DIM)).astype(np.float32)
    monkeypatch.setattr(_vectors, "CAPACITY_BYTES", 300 * DIM)  # three segments at least
    for part in np.array_split(np.argsort(asset_of_row, kind="stable"), 10):
        engine.add_vectors("lib", [f"m{asset:03}" for asset in asset_of_row[part]], vectors[part])
    one_by_one = [engine.get("lib", f"m{asset:03}", vectors=True) for asset in range(300)]
    blocks = []
    read_block = _segments.read_block

    def counted(descriptor: int, segment: _segments.Segment, number: int, block: Any) -> Any:
        blocks.append((segment.file_name, number))
        return read_block(descriptor, segment, number, block)

    monkeypatch.setattr(_segments, "read_block", counted)
    together = engine.media("lib", limit=300, vectors=True)
    assert len(blocks) == len(set(blocks)) >= 3
    for one, same in zip(one_by_one, together, strict=True):
        assert one.media_id == same.media_id
        codes = np.array([face.code for face in one.faces])
        assert np.array_equal(codes, np.array([face.code for face in same.faces]))
        assert np.array_equal(codes, _core.quantize(vectors[asset_of_row == int(one.media_id[1:])]))
    assert engine.media("lib", after="m299", vectors=True) == []


def test_vectors_need_an_active_face_index_and_are_erased_with_it(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    vectors = np.random.default_rng(6).normal(size=(50, DIM)).astype(np.float32)
    engine.add_vectors("lib", [str(i) for i in range(50)], vectors)
    (path,) = (tmp_path / "store" / "v").iterdir()
    code = facegrep._core.quantize(vectors[:1]).tobytes()
    assert code in path.read_bytes()
    with path.open("rb") as kept:
        report = engine.set_face_index("lib", "deactive")
        assert report.erased == 50
        kept.seek(0)
        assert set(kept.read()) == {0}  # overwritten, not only removed
    assert not path.exists()
    library = engine.library("lib")
    assert (library.face_index, library.media_count, library.face_count) == ("deactive", 50, 0)
    assert engine.get("lib", "7", vectors=True).faces == ()
    with pytest.raises(facegrep.OperationDeniedError, match="set_face_index"):
        engine.search("lib", vector=vectors[0])
    with pytest.raises(facegrep.OperationDeniedError):
        engine.add_vectors("lib", ["x"], vectors[:1])
    report = engine.set_face_index("lib", "active")
    assert (report.analysed, len(report.failed)) == (0, 50)
    job = engine.get("lib", "7").job
    assert job is not None
    assert job.status == "Fail"
    assert job.error is not None
    assert "vectors" in job.error
    assert engine.search("lib", vector=vectors[0]).total == 0
    assert engine.set_face_index("lib", "active").failed == ()  # they are not tried again
    engine.add_vectors("lib", ["x"], vectors[:1])
    assert engine.search("lib", vector=vectors[0]).media_ids == ["x"]


def test_vectors_of_another_model_are_refused(engine: facegrep.Engine) -> None:
    engine.create_library("faces")
    vectors = np.ones((1, 128))
    with pytest.raises(facegrep.ModelMismatchError, match=r"sface-2021dec.*mobilefacenet512"):
        engine.add_vectors("faces", ["m"], vectors, model="mobilefacenet512")
    with pytest.raises(facegrep.ModelMismatchError, match="128 numbers a row, got 512"):
        engine.add_vectors("faces", ["m"], np.ones((1, 512)))
    with pytest.raises(facegrep.ModelMismatchError, match="no model"):
        engine.add_vectors("lib", ["m"], np.ones((1, DIM)), model="sface")
    for model in ("sface", "sface-2021dec", None):
        engine.add_vectors("faces", ["m"], vectors, model=model)
    assert engine.library("faces").media_count == 1


@pytest.mark.parametrize("assets", [1, 31, 32, 33, 64, 65])
def test_rows_inserted_many_at_a_time_are_those_that_were_given(
    engine: facegrep.Engine, assets: int
) -> None:
    chance = np.random.default_rng(assets)
    ids = [f"{number}'{chance.integers(10**9)}" for number in range(assets)]
    rows = chance.normal(size=(2 * assets, DIM)).astype(np.float32)
    fields: dict[str, list[Any]] = {
        "intField1": [None if n % 3 else n for n in range(assets)] * 2,
        "strField1": [f"'{n}" for n in range(assets)] * 2,
        "utcCreate": [None if n % 2 else n for n in range(assets)] * 2,
        "mediaType": [None if n % 2 else "video" for n in range(assets)] * 2,
    }
    assert engine.add_vectors("lib", ids * 2, rows, fields).added == assets
    codes = facegrep._core.quantize(rows)
    for number, media_id in enumerate(ids):
        media = engine.get("lib", media_id, vectors=True)
        assert media.fields.get("intField1") == fields["intField1"][number]
        assert media.fields["strField1"] == f"'{number}"
        assert media.media_type == ("image" if number % 2 else "video")
        assert number % 2 or media.utc_create_ms == number
        found = np.array([face.code for face in media.faces])
        np.testing.assert_array_equal(found, codes[[number, number + assets]])
    assert engine.verify("lib").ok
    backwards = rows.reshape(2, assets, DIM)[:, ::-1].reshape(rows.shape)
    turned = {name: values[:assets][::-1] * 2 for name, values in fields.items()}
    again = engine.add_vectors("lib", ids[::-1] * 2, backwards, turned)
    assert (again.added, again.unchanged) == (0, assets)
