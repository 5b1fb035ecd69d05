"""SearchMediaByFace on a real engine: what is answered, and what a token keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import facegrep
from facegrep.engine import _libraries
from facegrep.ice import IceError, Service

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = PORTRAITS / "Emmanuel_Macron" / "person_a_1.jpg"
MACRON_LATER = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
ARDERN = PORTRAITS / "Jacinda_Ardern" / "person_b_1.jpg"
NAMES = ("a", "b", "", "é")


class Caller:
    """A service over a counting fetcher; `https://host/NAME` is the portrait of that name."""

    def __init__(self, engine: facegrep.Engine, account: str = "default") -> None:
        self.fetched: list[str] = []
        self.service = Service(engine, account=account, files=PORTRAITS, fetcher=self._fetch)

    def _fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return {"macron": MACRON, "ardern": ARDERN}[url.rpartition("/")[2]].read_bytes()

    def page(self, token: str, page_no: int = 1, **params: str) -> tuple[list[str], int]:
        """MediaIds and Total of a page of the library `crowd`."""
        defaults = {
            "PersonImageUrl": "https://host/macron",
            "FaceSearchToken": token,
            "SearchLibName": "crowd",
            "PageNo": str(page_no),
        }
        reply = self.service.call("SearchMediaByFace", defaults | params)
        return [media["MediaId"] for media in reply["MediaInfoList"]], reply["Total"]

    def refusal(self, **params: str) -> IceError:
        with pytest.raises(IceError) as caught:
            self.page("t", 1, **params)
        return caught.value


def near(face: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Vectors whose cosine with `face` is 0.6 to 0.99."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, face.size))
    noise -= np.outer(noise @ face, face) / (face @ face)
    noise *= np.linalg.norm(face) / np.linalg.norm(noise, axis=1, keepdims=True)
    angle = random.uniform(0.15, 0.92, size=(count, 1))
    vectors: NDArray[np.float64] = np.cos(angle) * face + np.sin(angle) * noise
    return vectors.astype(np.float32)


def crowd_fields(count: int) -> dict[str, list[Any]]:
    return {
        "intField1": [None if i % 7 == 0 else i % 5 for i in range(count)],
        "strField1": [None if i % 11 == 0 else NAMES[i % 4] for i in range(count)],
        "strField2": [NAMES[i % 3] for i in range(count)],
        "utcCreate": [1_761_205_662_000 + i for i in range(count)],
        "mediaType": ["video" if i % 3 == 0 else "image" for i in range(count)],
        "namespace": [None if i % 2 else "name-1" for i in range(count)],
    }


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path_factory.mktemp("ice") / "store") as engine:
        yield engine


@pytest.fixture(scope="module")
def face(engine: facegrep.Engine) -> NDArray[np.float32]:
    return engine.search("ims-default-search-lib", MACRON).embedding


@pytest.fixture
def caller(engine: facegrep.Engine, face: NDArray[np.float32]) -> Iterator[Caller]:
    """A library `crowd` of 100 assets with Macron's face or nearly."""
    engine.create_library("crowd")
    ids = [f"m{i:03}" for i in range(100)]
    engine.add_vectors("crowd", ids, near(face, 100, seed=1), crowd_fields(100))
    yield Caller(engine)
    engine.drop_library("crowd")


def every_page(caller: Caller, token: str, size: int, **params: str) -> list[str]:
    ids, total = caller.page(token, 1, PageSize=str(size), **params)
    for page_no in range(2, -(-total // size) + 1):
        ids += caller.page(token, page_no, PageSize=str(size), **params)[0]
    return ids


def test_the_media_of_the_person_are_found_and_no_others(engine: facegrep.Engine) -> None:
    service = Service(engine, files=PORTRAITS)
    service.call("CreateSearchLib", {"SearchLibName": "portraits"})
    service.call("CreateSearchIndex", {"SearchLibName": "portraits", "IndexType": "face"})
    photos = [path for path in sorted(PORTRAITS.rglob("*.jpg")) if path != MACRON]
    for photo in photos:
        params = {
            "SearchLibName": "portraits",
            "Input": photo.as_uri(),
            "MediaId": photo.stem,
            "MediaType": "image",
        }
        assert service.call("InsertMediaToSearchLib", params)["MediaId"] == photo.stem
    assert engine.wait_for_jobs(timeout_s=60)
    reply = service.call(
        "SearchMediaByFace",
        {
            "PersonImageUrl": MACRON.as_uri(),
            "FaceSearchToken": "zxtest-huangxuan-2023-3-7-V1",
            "SearchLibName": "portraits",
        },
    )
    assert reply.keys() == {"RequestId", "Success", "Code", "MediaInfoList", "Total"}
    assert (reply["Success"], reply["Code"], reply["Total"]) == ("true", "200", 1)
    assert reply["MediaInfoList"] == [{"MediaId": MACRON_LATER.stem}]
    assert json.loads(json.dumps(reply)) == reply


def test_pages_are_the_engines_answer_in_order(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    expected = engine.search("crowd", vector=face, limit=100).media_ids
    assert len(expected) == 100
    assert caller.page("t")[0] == expected[:10]
    assert every_page(caller, "t", 7) == expected
    assert every_page(caller, "t", 50) == expected


@pytest.mark.parametrize(
    ("params", "matches"),
    [
        ({"MediaType": "video"}, lambda row: row["mediaType"] == "video"),
        ({"MediaType": "image"}, lambda row: row["mediaType"] == "image"),
        ({"Namespace": "name-1"}, lambda row: row["namespace"] == "name-1"),
        ({"Namespace": "name-2"}, lambda _: False),
        ({"CustomFilters": '{"intField1":3}'}, lambda row: row["intField1"] == 3),
        ({"CustomFilters": '{"intField1":[3,4]}'}, lambda row: row["intField1"] in (3, 4)),
        (
            {"CustomFilters": '{"intField1":{"gte":1,"lte":2}}'},
            lambda row: row["intField1"] in (1, 2),
        ),
        (
            {"CustomFilters": '{"intField1":{"gte":3}}'},
            lambda row: row["intField1"] in (3, 4),
        ),
        ({"CustomFilters": '{"strField1":""}'}, lambda row: row["strField1"] == ""),
        (
            {"CustomFilters": '{"strField1":["é","b"],"strField2":"a"}'},
            lambda row: row["strField1"] in ("é", "b") and row["strField2"] == "a",
        ),
        ({"CustomFilters": '{"strField2":[]}'}, lambda _: False),
        ({"CustomFilters": "{}"}, lambda _: True),
        (
            {"UtcCreate": '{"gte":1761205662010,"lte":1761205662020}'},
            lambda row: 10 <= row["utcCreate"] - 1_761_205_662_000 <= 20,
        ),
        ({"UtcCreate": '{"lte":1761205662005}'}, lambda row: row["utcCreate"] <= 1761205662005),
        ({"EntityId": "2d3bf1e35a1e42b5ab338d701efa****"}, lambda _: False),
        ({"EntityId": "", "Namespace": ""}, lambda _: True),
        (
            {
                "MediaType": "image",
                "Namespace": "name-1",
                "CustomFilters": '{"intField1":{"lte":2}}',
                "UtcCreate": '{"gte":1761205662050}',
            },
            lambda row: (
                row["mediaType"] == "image"
                and row["namespace"] == "name-1"
                and row["intField1"] in (0, 1, 2)
                and row["utcCreate"] >= 1761205662050
            ),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_filter_keeps_exactly_the_media_that_it_describes(
    caller: Caller,
    params: dict[str, str],
    matches: Callable[[dict[str, Any]], bool],
) -> None:
    columns = crowd_fields(100)
    rows = [{name: values[i] for name, values in columns.items()} for i in range(100)]
    expected = {f"m{i:03}" for i, row in enumerate(rows) if matches(row)}
    ids = every_page(caller, "t", 50, **params)
    assert set(ids) == expected
    assert len(ids) == caller.page("t", 1, **params)[1] == len(expected)


def test_a_frozen_answer_yields_every_match_once_while_others_write(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    frozen = engine.search("crowd", vector=face, limit=100).media_ids
    deleted = set(frozen[::9])
    stop = threading.Event()

    def write() -> None:
        for number in range(500):
            if stop.is_set():
                break
            engine.add_vectors("crowd", [f"n{number:03}"], near(face, 1, seed=number))
            if number < len(deleted):
                engine.delete("crowd", media_ids=[sorted(deleted)[number]])

    ids, total = caller.page("t", 1, PageSize="5")
    assert total == 100
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for page_no in range(2, 21):
            page, total = caller.page("t", page_no, PageSize="5")
            assert 100 - len(deleted) <= total <= 100
            ids += page
    finally:
        stop.set()
        writer.join()
    assert len(ids) == len(set(ids))
    assert not [media_id for media_id in ids if media_id.startswith("n")]
    assert set(frozen) - deleted <= set(ids)
    assert ids == [media_id for media_id in frozen if media_id in set(ids)]


def test_deleted_media_leave_a_short_page_and_a_smaller_total(
    caller: Caller, engine: facegrep.Engine
) -> None:
    first, _ = caller.page("t", 1)
    second, _ = caller.page("t", 2)
    engine.delete("crowd", media_ids=[first[0], second[3], second[4]])
    assert caller.page("t", 2) == ([*second[:3], *second[5:]], 97)


def test_page_1_answers_from_what_is_there_now_and_freezes_it(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    _, total = caller.page("t", 1)
    engine.add_vectors("crowd", ["new"], face[np.newaxis])
    assert caller.page("t", 2)[1] == total
    assert caller.page("other", 2)[1] == total + 1
    ids, now = caller.page("t", 1)
    assert (ids[0], now) == ("new", total + 1)
    assert caller.page("t", 2)[1] == total + 1


def test_a_token_seen_first_on_a_later_page_is_answered_and_frozen(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    third, total = caller.page("t", 3)
    assert (len(third), total) == (10, 100)
    engine.add_vectors("crowd", ["new"], face[np.newaxis])
    engine.delete("crowd", media_ids=[third[0]])
    assert caller.page("t", 3) == (third[1:], 99)


def test_the_token_with_another_condition_is_a_new_answer(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    conditions = [
        {},
        {"Namespace": "name-1"},
        {"MediaType": "image"},
        {"CustomFilters": '{"intField1":1}'},
        {"UtcCreate": '{"gte":1761205662050}'},
        {"EntityId": "nobody"},
        {"PersonImageUrl": MACRON.as_uri()},
    ]
    for number, params in enumerate(conditions):
        _, total = caller.page("t", 1, **params)
        assert caller.page("t", 2, **params)[1] == total
        assert caller.page("t", 2, **params, PageSize="50")[1] == total
        # An asset that comes now is in the next condition's answer, though it asks for page 2.
        fields: dict[str, list[int | str | None]] = {"namespace": ["name-1"], "intField1": [1]}
        engine.add_vectors("crowd", [f"new{number}"], face[np.newaxis], fields)
        assert caller.page("t", 2, **params)[1] == total
    assert caller.page("t", 2)[1] == 100 + len(conditions)


def test_another_spelling_of_the_condition_is_the_same_answer(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    spelled = {"CustomFilters": '{"intField1":[1,3],"strField2":"a"}', "UtcCreate": '{"gte":1}'}
    again = {
        "CustomFilters": ' {"strField2":"\\u0061", "intField1": [3, 1, 1]}',
        "UtcCreate": '{ "gte" : 1 }',
        "Namespace": "",
    }
    _, total = caller.page("t", 1, **spelled)
    engine.add_vectors("crowd", ["new"], face[np.newaxis], {"intField1": [1], "strField2": ["a"]})
    assert caller.page("t", 2, **again)[1] == total
    assert caller.page("t", 1, **again)[1] == total + 1


def test_a_page_beyond_the_end_is_empty_with_the_true_total(caller: Caller) -> None:
    caller.page("t", 1)
    for page_no in (11, 12, 10**6, 10**18 - 1):
        for token in ("t", f"unknown {page_no}"):
            assert caller.page(token, page_no) == ([], 100)
            assert caller.page(token, page_no, PageSize="50") == ([], 100)


def test_a_picture_is_fetched_once_while_its_token_lives(caller: Caller) -> None:
    for page_no in (1, 2, 1):
        caller.page("t", page_no)
    caller.page("t", 1, Namespace="name-1")
    assert caller.fetched == ["https://host/macron"]
    caller.page("t", 1, PersonImageUrl="https://host/ardern")
    assert caller.fetched == ["https://host/macron", "https://host/ardern"]


def test_another_token_sees_the_picture_that_is_there_now(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    photo = tmp_path / "person.jpg"
    service = Service(engine, files=tmp_path)
    engine.create_library("two")
    for person in (MACRON, ARDERN):
        engine.add("two", media_id=person.stem, source=person)

    def found(token: str) -> list[str]:
        params = {"SearchLibName": "two", "PersonImageUrl": photo.as_uri()}
        reply = service.call("SearchMediaByFace", {**params, "FaceSearchToken": token})
        return [media["MediaId"] for media in reply["MediaInfoList"]]

    photo.write_bytes(MACRON.read_bytes())
    assert found("before") == [MACRON.stem]
    photo.write_bytes(ARDERN.read_bytes())
    assert found("after") == [ARDERN.stem]
    assert found("before") == [MACRON.stem]  # while the token lives
    engine.drop_library("two")


def test_a_token_opens_no_picture_that_this_service_may_not_read(
    caller: Caller, engine: facegrep.Engine, tmp_path: Path
) -> None:
    for url in ("https://host/macron", MACRON.as_uri()):
        assert caller.page("t", 1, PersonImageUrl=url)[1] == 100
        elsewhere = Caller(engine)
        elsewhere.service = Service(engine, files=tmp_path)
        for page_no in ("1", "2"):
            error = elsewhere.refusal(PersonImageUrl=url, PageNo=page_no)
            assert (error.http_status, error.code) == (400, "InvalidParameter")
            assert '"PersonImageUrl"' in error.message
        assert caller.page("t", 2, PersonImageUrl=url)[1] == 100


def test_tokens_belong_to_their_library_and_account(
    caller: Caller, engine: facegrep.Engine, face: NDArray[np.float32]
) -> None:
    other = Caller(engine, account="other")
    with pytest.raises(IceError, match="404 ResourceNotFound"):
        other.page("t")
    other.service.call("CreateSearchLib", {"SearchLibName": "crowd"})
    other.service.call("CreateSearchIndex", {"SearchLibName": "crowd", "IndexType": "face"})
    _, total = caller.page("t", 1)
    assert other.page("t", 2) == ([], 0)
    assert caller.page("t", 2)[1] == total
    engine.drop_library("crowd")
    engine.create_library("crowd")
    engine.add_vectors("crowd", ["only"], face[np.newaxis])
    assert caller.page("t", 2) == ([], 1)
    other.service.call("DropSearchLib", {"SearchLibName": "crowd"})


def test_a_token_outlives_the_engine(tmp_path: Path, face: NDArray[np.float32]) -> None:
    for reopened in (False, True):
        with facegrep.open(tmp_path / "store") as engine:
            caller = Caller(engine)
            if not reopened:
                engine.create_library("crowd")
                engine.add_vectors("crowd", [f"m{i:02}" for i in range(30)], near(face, 30, seed=1))
                expected = every_page(caller, "t", 10)
            else:
                engine.add_vectors("crowd", ["new"], face[np.newaxis])
                assert [caller.page("t", page_no)[0] for page_no in (2, 3)] == [
                    expected[10:20],
                    expected[20:],
                ]
            assert caller.fetched == ([] if reopened else ["https://host/macron"])


def test_no_search_or_insert_counts_what_has_expired(
    engine: facegrep.Engine, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(*_: object) -> None:
        pytest.fail("every asset was looked at")

    engine.set_retention("crowd", 10**9)
    first = caller.page("kept")
    with monkeypatch.context() as patch:
        patch.setattr(_libraries, "count_expired", count)
        assert caller.page("kept") == first
        assert caller.page("kept", 2)[1] == first[1]
        insert = {"SearchLibName": "crowd", "MediaId": "new", "Input": "https://host/ardern"}
        caller.service.call("InsertMediaToSearchLib", {**insert, "MediaType": "image"})
        assert engine.library("crowd", exact_counts=False).ttl_ms == 10**9
    assert engine.library("crowd") == engine.library("crowd", exact_counts=False)


def test_a_search_without_an_active_face_index_is_denied_even_for_a_token(
    caller: Caller, engine: facegrep.Engine
) -> None:
    caller.page("t")
    for status in ("deactive", None):
        engine.set_face_index("crowd", status)
        for page_no in ("1", "2"):
            error = caller.refusal(PageNo=page_no)
            assert (error.http_status, error.code) == (403, "OperationDenied")


def test_what_is_no_usable_picture_is_refused_by_the_parameters_name(
    caller: Caller, tmp_path: Path, engine: facegrep.Engine
) -> None:
    from PIL import Image

    Image.new("RGB", (200, 200), "white").save(tmp_path / "blank.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(MACRON.read_bytes()[:5000])
    caller.service = Service(engine, files=tmp_path)
    for url in (
        *((tmp_path / name).as_uri() for name in ("blank.png", "empty.jpg", "text.jpg", "cut.jpg")),
        (tmp_path / "missing.jpg").as_uri(),
        MACRON.as_uri(),
        "https://host/macron",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,!",
        "data:",
        "photo.jpg",
    ):
        error = caller.refusal(PersonImageUrl=url)
        assert (error.http_status, error.code) == (400, "InvalidParameter")
        assert error.message.startswith('The specified parameter "PersonImageUrl" is not valid. ')
        assert str(tmp_path) not in error.message
    assert caller.refusal(PersonImageUrl=(tmp_path / "blank.png").as_uri()).message.count("face")


def test_in_a_large_library_a_match_needs_a_higher_score(
    engine: facegrep.Engine, caller: Caller, face: NDArray[np.float32]
) -> None:
    random = np.random.default_rng(3)
    strangers = random.normal(size=(4000, face.size)).astype(np.float32)
    likeness = (strangers @ face) / np.linalg.norm(strangers, axis=1) / np.linalg.norm(face)
    # Not over the floor of 0.42, but for some that 4,000 faces put in doubt: the last three.
    assert likeness.max() < 0.42
    across = strangers[-3:] - np.outer(strangers[-3:] @ face, face) / (face @ face)
    across *= np.linalg.norm(face) / np.linalg.norm(across, axis=1, keepdims=True)
    strangers[-3:] = 0.43 * face + np.sqrt(1 - 0.43**2) * across
    ids = [f"stranger-{row}" for row in range(4000)]
    engine.add_vectors("crowd", ids, strangers)
    large, total = caller.page("large", 1, PageSize="10")
    assert total == 100
    engine.delete("crowd", media_ids=ids[:-3])
    small, more = caller.page("small", 1, PageSize="10")
    assert (small, more) == (large, 103)
    # A token keeps the answer that it had.
    assert caller.page("large", 2, PageSize="10")[1] == 100
    reply = caller.service.call(
        "SearchMediaByFace",
        {"PersonImageUrl": "https://host/macron", "FaceSearchToken": "t", "SearchLibName": "crowd"},
    )
    assert set(reply["MediaInfoList"][0]) == {"MediaId"}
    assert set(reply) == {"RequestId", "Success", "Code", "MediaInfoList", "Total"}
