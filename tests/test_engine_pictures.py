"""The main job on real photos: put them in, show a face, get those that contain the person."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import facegrep
from facegrep.engine import Item, SearchResult, _group
from facegrep.store import Store

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg"
MACRON_LATER = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
ARDERN = PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"
OBAMA = PORTRAITS / "Barack_Obama" / "impostor_1.jpg"
PHOTOS = sorted(PORTRAITS.rglob("*.jpg"))
DEFAULT = "ims-default-search-lib"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    """One engine for all, since its models take a second to load."""
    with facegrep.open(tmp_path_factory.mktemp("pictures") / "store", device="cpu") as engine:
        yield engine


@pytest.fixture
def engine(opened: facegrep.Engine) -> Iterator[facegrep.Engine]:
    opened.create_library("lib")
    yield opened
    opened.drop_library("lib")


def empty_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "white").save(file, "PNG")
    return file.getvalue()


def found(engine: facegrep.Engine, picture: Any, **options: Any) -> SearchResult:
    return engine.search("lib", picture, **options)


def test_the_photos_of_a_person_are_found_and_no_others(engine: facegrep.Engine) -> None:
    for photo in PHOTOS:
        if photo != MACRON:
            engine.add("lib", media_id=photo.name, source=photo)
    result = found(engine, MACRON)
    assert result.media_ids == [MACRON_LATER.name]
    assert (result.total, result.query_faces, result.threshold) == (1, 1, 0.42)
    assert result.threshold_reason == "the floor of model sface-2021dec"
    assert (result.model, result.provider) == ("sface-2021dec", "CPUExecutionProvider")
    hit = result[0]
    face = engine.get("lib", hit.media_id).faces[0]
    assert hit.box == face.box
    assert hit.box is not None
    with Image.open(MACRON_LATER) as picture:
        assert 0 <= hit.box.x < hit.box.x + hit.box.width <= picture.width
        assert 0 <= hit.box.y < hit.box.y + hit.box.height <= picture.height
    assert len(found(engine, MACRON, threshold=None, limit=5)) == 5
    assert found(engine, MACRON, threshold=0.99).total == 0


def test_every_kind_of_source_gives_the_same_faces(engine: facegrep.Engine) -> None:
    with Image.open(MACRON) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    sources: dict[str, Any] = {
        "path": MACRON,
        "text": str(MACRON),
        "bytes": MACRON.read_bytes(),
        "file": io.BytesIO(MACRON.read_bytes()),
        "array": pixels,
    }
    for name, source in sources.items():
        assert engine.add("lib", media_id=name, source=source).added
    faces = {name: engine.get("lib", name, vectors=True).faces for name in sources}
    for some in faces.values():
        assert some == faces["path"]
        assert some[0].code is not None
        np.testing.assert_array_equal(some[0].code, faces["path"][0].code)
        assert some[0].precision == "fp32"
    kept = {name: engine.get("lib", name).source for name in sources}
    path = str(MACRON.absolute())
    assert kept == {"path": path, "text": path, "bytes": None, "file": None, "array": None}
    for source in sources.values():
        if isinstance(source, io.BytesIO):
            source.seek(0)
        assert found(engine, source).total == len(sources)


def test_what_an_asset_was_told_is_kept(engine: facegrep.Engine) -> None:
    added = engine.add(
        "lib",
        media_id="a/../b.jpg",
        source=MACRON.read_bytes(),
        namespace="ns",
        fields={"intField1": 5, "strField1": None, "strField2": ""},
        utc_create_ms=-7,
        title="A title\nof two lines",
        origin="https://host/macron.jpg",
    )
    media = engine.get("lib", "a/../b.jpg")
    assert media.fields == {"intField1": 5, "strField2": ""}
    assert (media.namespace, media.utc_create_ms, media.media_type) == ("ns", -7, "image")
    assert (media.title, media.source) == ("A title\nof two lines", "https://host/macron.jpg")
    assert media.faces == added.faces
    assert media.job is not None
    assert media.job.status == "Success"
    assert media.job.finish_ms is not None
    assert media.job.submit_ms <= media.job.finish_ms
    where = {"namespace": "ns", "intField1": 5, "strField2": "", "utcCreate": {"lte": 0}}
    assert found(engine, MACRON, where=where).total == 1
    assert found(engine, MACRON, where={"strField1": ""}).total == 0


def test_the_same_again_is_a_no_op_that_says_so(engine: facegrep.Engine) -> None:
    first = engine.add("lib", media_id="m", source=MACRON, fields={"intField1": 1})
    stored = engine.get("lib", "m")
    again = engine.add("lib", media_id="m", source=MACRON, fields={"intField1": 1}, title="other")
    assert (first.added, again.added, again.analysed) == (True, False, True)
    assert again.faces == first.faces
    same: dict[str, Any] = {"source": MACRON, "fields": {"intField1": 1}}
    others: list[dict[str, Any]] = [
        {"source": MACRON_LATER},
        {"fields": {"intField1": 2}},
        {"namespace": "ns"},
        {"utc_create_ms": 5},
    ]
    for other in others:
        with pytest.raises(facegrep.AlreadyExistsError, match="'m' exists already"):
            engine.add("lib", media_id="m", **(same | other))
    assert engine.get("lib", "m") == stored
    assert engine.delete("lib", media_ids=["m"]) == 1
    assert engine.add("lib", media_id="m", source=MACRON_LATER).added


def test_results_name_the_provider_that_ran_and_none_where_nothing_did(
    engine: facegrep.Engine,
) -> None:
    ran = engine._shared.analyzer("sface-2021dec")._embedder._network._session.get_providers()[0]
    same: dict[str, Any] = {"media_id": "m", "source": MACRON.read_bytes()}
    assert engine.add("lib", **same).provider == found(engine, MACRON).provider == ran
    assert engine.add("lib", **same).provider is None  # it was there already
    assert engine.add_many("lib", [same]).provider is None
    assert engine.add_many("lib", [same, {**same, "media_id": "n"}]).provider == ran
    assert engine.set_face_index("lib", None).provider is None
    waiting = {**same, "media_id": "o"}
    assert engine.add("lib", **waiting).provider is None
    assert engine.set_face_index("lib", "active").provider == ran
    assert engine.set_face_index("lib", "active").provider is None
    assert found(engine, None, vector=np.ones(128)).provider is None


def test_an_asset_whose_analysis_failed_is_not_said_to_be_analysed(engine: facegrep.Engine) -> None:
    content = MACRON.read_bytes()
    assert engine.add("lib", media_id="m", source=content).analysed
    assert engine.add("lib", media_id="m", source=content).analysed
    engine.set_face_index("lib", "deactive")
    assert not engine.add("lib", media_id="m", source=content).analysed
    assert engine.set_face_index("lib", "active").failed  # its bytes were not kept
    again = engine.add("lib", media_id="m", source=content)
    assert (again.added, again.analysed, again.faces) == (False, False, ())


def test_a_picture_without_a_face_is_stored_with_none(engine: facegrep.Engine) -> None:
    added = engine.add("lib", media_id="white", source=empty_png())
    assert (added.added, added.faces, added.analysed) == (True, (), True)
    media = engine.get("lib", "white")
    assert media.job is not None
    assert (media.faces, media.job.status) == ((), "Success")
    assert found(engine, MACRON, threshold=-1.0).total == 0
    with pytest.raises(facegrep.NoFaceError, match="face"):
        found(engine, empty_png())
    with pytest.raises(facegrep.NoFaceError, match=r"picture\[1\]"):
        found(engine, [MACRON, empty_png()])


def test_a_small_face_is_refused_and_said(engine: facegrep.Engine) -> None:
    with Image.open(MACRON) as picture:
        small = picture.convert("RGB").resize((picture.width // 5, picture.height // 5))
    canvas = Image.new("RGB", (400, 300), "gray")
    canvas.paste(small, (100, 80))
    added = engine.add("lib", media_id="small", source=np.asarray(canvas))
    assert added.faces == ()
    assert any("px" in refused.reason for refused in added.refused)


@pytest.mark.parametrize(
    "source",
    [b"", b"no picture", MACRON.read_bytes()[:2000], Path(__file__), PORTRAITS / "missing.jpg", 7],
    ids=["empty", "text", "truncated", "renamed", "missing", "number"],
)
@pytest.mark.parametrize("status", ["active", None])
def test_a_bad_picture_is_an_error_and_nothing_is_stored(
    engine: facegrep.Engine, source: Any, status: Any
) -> None:
    engine.set_face_index("lib", status)
    with pytest.raises(facegrep.PictureError):
        engine.add("lib", media_id="m", source=source)
    assert engine.media("lib") == []


def test_pictures_and_videos_are_added_and_nothing_else(engine: facegrep.Engine) -> None:
    for media_type in ("audio", "gif", ""):
        with pytest.raises(facegrep.InvalidArgumentError, match="media_type"):
            engine.add("lib", media_id="m", source=MACRON, media_type=media_type)  # type: ignore[arg-type]


def test_photos_of_one_person_are_fused_by_their_quality(engine: facegrep.Engine) -> None:
    engine.add("lib", media_id="m", source=MACRON)
    engine.add("lib", media_id="n", source=MACRON_LATER)
    one, other = found(engine, MACRON), found(engine, MACRON_LATER)
    both = found(engine, [MACRON, MACRON_LATER])
    quality = {}
    for media_id in "mn":
        face = engine.get("lib", media_id).faces[0]
        assert face.score is not None
        assert face.box is not None
        side = np.sqrt(face.box.width * face.box.height)
        quality[media_id] = face.score * min(side / 112, 1)
    mean = quality["m"] * one.embedding + quality["n"] * other.embedding
    np.testing.assert_allclose(both.embedding, mean / np.linalg.norm(mean), atol=1e-6)
    assert both.query_faces == 2
    assert both.query_boxes == (*one.query_boxes, *other.query_boxes)
    assert both.page(0, 1).query_boxes == both.query_boxes
    assert one.query_boxes == (engine.get("lib", "m").faces[0].box,)
    assert found(engine, None, vector=one.embedding).query_boxes == ()
    assert min(both.scores) > min(one.scores)
    np.testing.assert_array_equal(found(engine, [MACRON]).embedding, one.embedding)
    with pytest.raises(facegrep.InvalidArgumentError, match="empty"):
        found(engine, [])


def test_a_library_of_vectors_takes_no_pictures(engine: facegrep.Engine) -> None:
    engine.create_library("vectors", dim=128, threshold=0.5)
    for call in (
        lambda: engine.add("vectors", media_id="m", source=MACRON),
        lambda: engine.add_many("vectors", [{"media_id": "m", "source": MACRON}]),
        lambda: engine.search("vectors", MACRON),
    ):
        with pytest.raises(facegrep.ModelMismatchError, match="without a model"):
            call()
    engine.drop_library("vectors")


def test_many_pictures_are_added_as_one_by_one(engine: facegrep.Engine) -> None:
    engine.create_library("single")
    for photo in PHOTOS:
        engine.add("single", media_id=photo.name, source=photo, fields={"intField1": 1})
    items = [
        {"media_id": photo.name, "source": photo, "fields": {"intField1": 1}} for photo in PHOTOS
    ]
    seen: list[Any] = []
    result = engine.add_many("lib", items, progress=lambda *step: seen.append(step))
    assert (result.added, result.unchanged, result.faces) == (len(PHOTOS), 0, len(PHOTOS))
    assert seen[-1] == (len(PHOTOS), len(PHOTOS))
    for photo in PHOTOS:
        one = engine.get("single", photo.name, vectors=True)
        many = engine.get("lib", photo.name, vectors=True)
        assert (one.faces, one.fields, one.source) == (many.faces, many.fields, many.source)
        np.testing.assert_array_equal(one.faces[0].code, many.faces[0].code)
    engine.drop_library("single")
    again = engine.add_many("lib", iter(items), progress=lambda *step: seen.append(step))
    assert (again.added, again.unchanged, again.faces) == (0, len(PHOTOS), 0)
    assert seen[-1] == (len(PHOTOS), None)


BAD_ITEMS: list[Any] = [
    {"media_id": "truncated", "source": MACRON.read_bytes()[:3000]},
    {"media_id": "a\nb", "source": MACRON},
    {"media_id": "taken", "source": ARDERN},
    {"media_id": "video", "source": MACRON, "media_type": "video"},
    {"media_id": "field", "source": MACRON, "fields": {"intField1": "x"}},
    {"media_id": "no source"},
    {"media_id": "more", "source": MACRON, "vector": 1},
    "not an item",
]


def test_bad_items_are_left_out_and_returned_in_order(engine: facegrep.Engine) -> None:
    engine.add("lib", media_id="taken", source=MACRON)
    items: list[Any] = [Item(media_id="first", source=OBAMA)]
    for number, bad in enumerate(BAD_ITEMS):
        items += [bad, {"media_id": f"good{number}", "source": OBAMA}]
    items.append({"media_id": "first", "source": MACRON})  # taken by the first of this call
    result = engine.add_many("lib", items, on_error="collect")
    assert result.added == 1 + len(BAD_ITEMS)
    assert [media_id for media_id, _ in result.errors] == [
        "truncated",
        "a\nb",
        "taken",
        "video",
        "field",
        "no source",
        "more",
        "",
        "first",
    ]
    kinds = [type(error) for _, error in result.errors]
    assert (kinds[0], kinds[2]) == (facegrep.PictureError, facegrep.AlreadyExistsError)
    assert all(isinstance(error, facegrep.InvalidArgumentError) for _, error in result.errors)
    assert engine.library("lib").media_count == 2 + len(BAD_ITEMS)


@pytest.mark.parametrize("bad", BAD_ITEMS[:3])
def test_the_first_bad_item_raises_and_what_came_before_it_is_stored(
    engine: facegrep.Engine, bad: Any
) -> None:
    engine.add("lib", media_id="taken", source=MACRON)
    items = [
        {"media_id": "before", "source": OBAMA},
        bad,
        {"media_id": "after", "source": OBAMA},
    ]
    with pytest.raises(facegrep.InvalidArgumentError) as caught:
        engine.add_many("lib", items)
    assert caught.value.__notes__ == ["1 assets of this call are durable"]
    assert caught.value.acknowledged == 1
    assert {media.media_id for media in engine.media("lib")} == {"before", "taken"}


def test_an_asset_deleted_while_it_is_added_again_does_not_stop_the_others(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.add("lib", media_id="again", source=MACRON)
    add = Store.add

    def delete_first(self: Store, *arguments: Any, **options: Any) -> Any:
        engine.delete("lib", ["again"])
        return add(self, *arguments, **options)

    monkeypatch.setattr(Store, "add", delete_first)
    items = [{"media_id": name, "source": MACRON} for name in ("again", "new")]
    result = engine.add_many("lib", items, on_error="collect")
    assert [(name, type(error)) for name, error in result.errors] == [
        ("again", facegrep.OperationDeniedError)
    ]
    assert [media.media_id for media in engine.media("lib")] == ["new"]


def test_an_iterator_that_fails_stops_the_call(engine: facegrep.Engine) -> None:
    def items() -> Iterator[dict[str, Any]]:
        yield {"media_id": "m", "source": MACRON}
        raise RuntimeError("of the caller's")

    with pytest.raises(RuntimeError, match="of the caller's"):
        engine.add_many("lib", items(), on_error="collect")
    assert threading.active_count() < 20


def test_without_an_active_index_pictures_wait_and_are_analysed_when_it_comes(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    engine.set_face_index("lib", None)
    copy = tmp_path / "copy.jpg"
    shutil.copy(MACRON, copy)
    with Image.open(MACRON) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    added = [
        engine.add("lib", media_id="path", source=copy),
        engine.add("lib", media_id="bytes", source=MACRON.read_bytes()),
        engine.add("lib", media_id="file", source=io.BytesIO(MACRON.read_bytes())),
        engine.add("lib", media_id="array", source=pixels),
    ]
    result = engine.add_many("lib", [{"media_id": "many", "source": MACRON.read_bytes()}])
    assert (result.added, result.faces) == (1, 0)
    assert not any(one.analysed or one.faces for one in added)
    assert engine.get("lib", "path").job is None
    assert not engine.add("lib", media_id="bytes", source=MACRON.read_bytes()).added
    with pytest.raises(facegrep.OperationDeniedError):
        found(engine, MACRON)
    report = engine.set_face_index("lib", "active")
    assert (report.analysed, report.faces, report.failed) == (5, 5, ())
    assert found(engine, MACRON).total == 5
    with engine._shared.store.catalog.read() as connection:  # nothing waits any more
        assert connection.execute("SELECT count(*) FROM pending_input").fetchone() == (0,)

    assert engine.set_face_index("lib", "deactive").erased == 5
    copy.write_bytes(OBAMA.read_bytes())
    engine.add("lib", media_id="url", source=MACRON.read_bytes(), origin="https://host/m")
    engine.add("lib", media_id="other", source=MACRON)
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return MACRON.read_bytes()

    report = engine.set_face_index("lib", "active", fetch=fetch)
    assert report.analysed == 2
    assert fetched == []  # its content was kept, as it was not analysed yet
    reasons = dict(report.failed)
    assert reasons.keys() == {"path", "bytes", "file", "array", "many"}
    assert "changed" in reasons["path"]
    assert "not kept" in reasons["bytes"]
    assert found(engine, MACRON).total == 2
    engine.set_face_index("lib", "deactive")
    assert engine.set_face_index("lib", "active", fetch=fetch).analysed == 2
    assert fetched == ["https://host/m"]


def test_a_source_that_cannot_be_fetched_does_not_stop_the_others(
    engine: facegrep.Engine,
) -> None:
    for name in ("down", "text", "refused"):
        origin = f"https://host/{name}"
        engine.add("lib", media_id=name, source=MACRON.read_bytes(), origin=origin)
    engine.add("lib", media_id="path", source=MACRON)
    engine.set_face_index("lib", "deactive")

    def fetch(url: str) -> Any:
        if url.endswith("down"):
            raise OSError("host is down")
        if url.endswith("refused"):
            raise facegrep.PictureError("not there: 404", reason="not there")
        return str(MACRON)  # of the wrong type, and a file that is there

    report = engine.set_face_index("lib", "active", fetch=fetch)
    assert (report.analysed, found(engine, MACRON).media_ids) == (1, ["path"])
    assert dict(report.failed) == {
        "down": "its source could not be fetched",
        "text": "fetch gave str for its source, not bytes",
        "refused": "not there",
    }
    job = engine.get("lib", "down").job
    assert job is not None
    assert (job.status, job.error) == ("Fail", "its source could not be fetched")


def test_what_waits_for_its_analysis_is_committed_in_bounded_groups(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group, "GROUP_S", 1e9)
    monkeypatch.setattr(_group, "GROUP_BYTES", 3 * 32 * 32 * 3)
    engine.set_face_index("lib", None)
    items = (
        {"media_id": f"{number}", "source": np.full((32, 32, 3), number, dtype=np.uint8)}
        for number in range(10)
    )
    done: list[int] = []
    engine.add_many("lib", items, progress=lambda count, _: done.append(count))
    assert done == [3, 6, 9, 10]


def test_an_interrupted_activation_is_taken_up(
    engine: facegrep.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.set_face_index("lib", None)
    items = [{"media_id": f"m{i}", "source": MACRON} for i in range(5)]
    engine.add_many("lib", items)
    analyzer = engine._shared.analyzer("sface-2021dec")
    with monkeypatch.context() as patch:

        def fail(_: object) -> None:
            raise facegrep.ModelError("out of memory")

        patch.setattr(analyzer, "analyze", fail)
        with pytest.raises(facegrep.ModelError):
            engine.set_face_index("lib", "active")
    assert engine.library("lib").face_index == "active"
    assert engine.set_face_index("lib", "active").analysed == 5
    assert found(engine, MACRON).total == 5


def test_many_threads_add_and_search_at_once(engine: facegrep.Engine) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(3):
                engine.add("lib", media_id=f"{number}-{turn}", source=PHOTOS[number])
                assert found(engine, PHOTOS[number], limit=100).total >= turn + 1
                engine.add("lib", media_id="shared", source=MACRON)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert engine.library("lib").media_count == 13
    assert len(engine._shared._analyzers) == 1


def test_the_models_are_loaded_when_a_picture_is_first_looked_at(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        engine.add_vectors(DEFAULT, ["m"], np.ones((1, 128)))
        assert engine.search(DEFAULT, vector=np.ones(128)).threshold == 0.42
        assert engine._shared._analyzers == {}
