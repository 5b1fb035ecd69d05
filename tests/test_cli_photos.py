"""The command's main job on real portraits: add, search, list, delete, the page, the ICE reply."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter
from tests.video_maker import Actor, Scene, encode, film, render, still
from typer.testing import CliRunner, Result

from facegrep.cli._app import app
from facegrep.cli._demo import ADDED

PORTRAITS = Path(__file__).parent / "data" / "portraits"
QUERY = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
MACRON, ARDERN = ADDED[:2]

pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")


def run(store: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["--store", str(store), *map(str, words)])


def run_json(store: Path, *words: str | Path, exit_code: int = 0) -> Any:
    result = run(store, *words, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as people have them: photos in folders, something hidden, something else."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ADDED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PORTRAITS / name, folder / name)
    (folder / "README.md").write_text("not a picture")
    (folder / ".hidden").mkdir()
    shutil.copy(QUERY, folder / ".hidden" / "hidden.jpg")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A store with the library "people"; tests leave it as it is."""
    path = tmp_path_factory.mktemp("cli") / "store"
    here = Path.cwd()
    os.chdir(photos)
    try:
        result = run(path, "add", ".", "--library", "people", "--field", "strField1=portrait")
    finally:
        os.chdir(here)
    assert result.exit_code == 0, result.output
    assert result.stdout == "4 added; 4 faces\n"
    assert "created the library 'people'" in result.stderr
    return path


@pytest.fixture
def own_store(store: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(store, tmp_path / "store"))


def test_a_photo_that_was_not_added_finds_the_person(store: Path) -> None:
    found = run_json(store, "search", QUERY, "-l", "people")
    assert [hit["media_id"] for hit in found["hits"]] == [MACRON]
    assert found["total"] == 1
    assert found["threshold"] <= found["hits"][0]["score"] < 1
    assert found["hits"][0]["face_count"] == 1
    assert set(found["hits"][0]["box"]) == {"x", "y", "width", "height"}
    assert found["query_faces"] == 1
    assert found["provider"].endswith("ExecutionProvider")
    assert 0.99 < found["hits"][0]["probability"] < 1
    assert 0 < found["expected_false_matches"] < 0.01
    assert [photo["quality"]["verdict"] for photo in found["query_photos"]] == ["good"]


def test_a_search_is_a_table_for_people(store: Path) -> None:
    result = run(store, "search", QUERY, "-l", "people")
    assert result.exit_code == 0
    assert MACRON in result.stdout
    assert "1 match with a score of 0.4" in result.stdout
    assert "%" not in result.output
    assert "\x1b" not in result.output
    assert "threshold: the floor of model sface" in result.stdout
    assert "> 0.999" in result.stdout
    assert re.search(r"0\.000\d+ false matches expected in the library", result.stdout)
    assert "ExecutionProvider" in result.stdout


def test_a_search_obeys_filter_threshold_and_limit(store: Path) -> None:
    query: list[str | Path] = ["search", QUERY, "-l", "people"]
    assert run_json(store, *query, "--where", '{"strField1": "other"}')["total"] == 0
    assert run_json(store, *query, "--where", '{"strField1": ["portrait"]}')["total"] == 1
    best = run_json(store, *query, "--threshold", "none", "--limit", "3")
    assert (best["total"], len(best["hits"]), best["threshold"]) == (4, 3, None)
    assert run_json(store, *query, "--threshold", "0.99")["total"] == 0
    both = run_json(store, "search", QUERY, PORTRAITS / MACRON, "-l", "people")
    assert both["hits"][0]["score"] > run_json(store, *query)["hits"][0]["score"]


def test_it_is_said_that_the_largest_face_was_taken_only_where_there_are_others(
    store: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    words = ("-l", "people", "--html", page)
    for pictures in ((QUERY,), (QUERY, PORTRAITS / MACRON)):
        assert "the largest" not in run(store, "search", *pictures, *words).stdout
        assert "the largest" not in page.read_text()
    two = tmp_path / "two.png"
    with Image.open(QUERY) as one, Image.open(PORTRAITS / ARDERN) as other:
        both = Image.new("RGB", (one.width + 400, one.height))
        both.paste(one)
        both.paste(other.convert("RGB").resize((400, 400)), (one.width, 0))
        both.save(two)
    assert "2 faces, the largest taken in the query" in run(store, "search", two, *words).stdout
    several = run(store, "search", two, QUERY, *words).stdout
    assert "3 faces, the largest of each picture taken in the query" in several
    assert "3 faces, the largest of each picture taken" in page.read_text()


def test_a_picture_that_is_not_to_be_trusted_is_said_to_be(store: Path, tmp_path: Path) -> None:
    blurred, page = tmp_path / "blurred.png", tmp_path / "page.html"
    with Image.open(QUERY) as picture:
        picture.convert("RGB").filter(ImageFilter.GaussianBlur(20)).save(blurred)
    result = run(store, "search", blurred, "-l", "people", "--html", page)
    assert "the picture: it is blurred: sharpness 0." in result.stdout
    assert "the picture: it is blurred: sharpness 0." in page.read_text()
    both = run(store, "search", QUERY, blurred, "-l", "people")
    assert "picture 2: it is blurred" in both.stdout


def test_a_picture_without_a_face_is_named(store: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), "gray").save(grey)
    for pictures, which in (([grey], "picture"), ([QUERY, grey], "picture[1]")):
        result = run(store, "search", *pictures, "-l", "people")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"facegrep: {which} '{grey}': no face was found")


def test_the_page_has_the_query_and_every_match(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ("-l", "people", "--threshold", "-1", "--limit", "1", "--html", page)
    result = run(store, "search", QUERY, *words)
    assert result.exit_code == 0
    assert f"wrote {page}" in result.stderr
    text = page.read_text()
    assert text.count('class="match"') == 4
    assert text.count('class="mark"') == 5
    assert "4 files match this face" in text
    assert text.count('<span class="chance">p ') == 4
    assert "false matches expected in the library" in text


def test_a_page_says_by_what_it_was_filtered(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    filtered = ("-l", "people", "--where", '{"strField1": "other"}', "--html", page)
    run(store, "search", QUERY, *filtered)
    assert "only where</bdi> <b><bdi>{&quot;strField1&quot;: &quot;other&quot;}" in page.read_text()


def test_a_source_that_changed_or_went_is_a_note_on_the_page(
    photos: Path, store: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    kept = tmp_path / "kept"
    shutil.move(photos / MACRON, kept)
    shutil.copy(QUERY, photos / ARDERN)
    try:
        run(store, "search", QUERY, "-l", "people", "--threshold", "-1", "--html", page)
    finally:
        shutil.move(kept, photos / MACRON)
        shutil.copy(PORTRAITS / ARDERN, photos / ARDERN)
    text = page.read_text()
    assert "This photo cannot be shown: no such file or directory." in text
    assert "This file has changed since it was added." in text
    assert text.count('class="mark"') == 3


def test_call_prints_the_ice_reply(store: Path) -> None:
    search = ["SearchMediaByFace", "SearchLibName=people", "FaceSearchToken=t"]
    result = run(store, "call", *search, f"PersonImageUrl=@{QUERY}")
    assert result.exit_code == 0, result.output
    reply = json.loads(result.stdout)
    assert reply.pop("RequestId")
    expected = {
        "Success": "true",
        "Code": "200",
        "MediaInfoList": [{"MediaId": MACRON}],
        "Total": 1,
    }
    assert reply == expected
    by_file = run(store, "call", *search, f"PersonImageUrl={QUERY.as_uri()}", "--files", PORTRAITS)
    assert json.loads(by_file.stdout)["MediaInfoList"] == [{"MediaId": MACRON}]


def test_call_prints_an_error_reply_and_says_so_by_its_exit_code(
    store: Path, tmp_path: Path
) -> None:
    result = run(
        store,
        "call",
        "SearchMediaByFace",
        "SearchLibName=people",
        "FaceSearchToken=t",
        f"PersonImageUrl={(PORTRAITS / ARDERN).as_uri()}",
        "--files",
        tmp_path,
    )
    assert result.exit_code == 1
    reply = json.loads(result.stdout)
    assert reply["Code"] == "InvalidParameter"
    assert "PersonImageUrl" in reply["Message"]


def test_call_reads_values_from_files(store: Path, tmp_path: Path) -> None:
    (tmp_path / "filters.json").write_text('{"strField1": "other"}\n')
    result = run(
        store,
        "call",
        "SearchMediaByFace",
        "SearchLibName=people",
        f"PersonImageUrl=@{QUERY}",
        f"CustomFilters=@{tmp_path / 'filters.json'}",
        "FaceSearchToken=@@t",
    )
    assert json.loads(result.stdout)["Total"] == 0


def test_what_is_stored_can_be_listed(store: Path) -> None:
    by_name = {library["name"]: library for library in run_json(store, "libraries")}
    assert by_name["people"]["media_count"] == by_name["people"]["face_count"] == 4
    assert "people" in run(store, "libraries").stdout
    media = run_json(store, "media", "-l", "people")
    assert [asset["media_id"] for asset in media] == sorted(ADDED)
    assert media[0]["fields"] == {"strField1": "portrait"}
    assert media[0]["faces"][0]["box"]["width"] > 20
    assert [a["media_id"] for a in run_json(store, "media", MACRON, "-l", "people")] == [MACRON]
    page = run(store, "media", "-l", "people", "--limit", "3")
    assert "3 of 4; for more: --after" in page.stderr
    rest = run_json(store, "media", "-l", "people", "--after", sorted(ADDED)[2])
    assert [asset["media_id"] for asset in rest] == sorted(ADDED)[3:]


def test_adding_again_changes_nothing_and_bad_files_are_left_out_by_name(
    own_store: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.jpg").touch()
    (bad / "\x1b[2J.png").write_bytes(b"not a picture")
    shutil.copy(QUERY, bad / "good.jpg")
    monkeypatch.chdir(photos)
    shared = ["--library", "people", "--field", "strField1=portrait"]
    result = run(own_store, "add", ".", bad, "absent.jpg", *shared)
    assert result.exit_code == 1
    assert "1 added, 4 already there; 1 face\n" in result.stdout
    for name in ("empty.jpg", "\\x1b[2J.png", "absent.jpg"):
        assert name in result.stdout
    assert "\x1b" not in result.output
    again = run_json(own_store, "add", ".", bad, *shared, exit_code=1)
    assert (again["added"], again["unchanged"], len(again["failed"])) == (0, 5, 2)
    assert again["failed"][0].keys() == {"path", "error"}
    assert again["provider"] is None  # nothing was analysed


def test_deleted_media_are_gone_and_unknown_ids_are_told(own_store: Path) -> None:
    result = run(own_store, "delete", MACRON, "none.jpg", "-l", "people")
    assert result.exit_code == 1
    assert "1 deleted" in result.stderr
    assert "1 of these ids was not in 'people'" in result.stderr
    assert run_json(own_store, "search", QUERY, "-l", "people")["total"] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["search", str(QUERY), "-l", "none"],
            "library 'none' does not exist; see `facegrep libraries`",
        ),
        (["search", "absent.jpg", "-l", "people"], "absent.jpg"),
        (["search", str(QUERY), "-l", "people", "--where", '{"colour": 1}'], "colour"),
        (
            ["search", str(QUERY), "-l", "people", "--html", "/no/such/folder/a.html"],
            "cannot write",
        ),
        (
            ["media", "none.jpg", "-l", "people"],
            "media 'none.jpg' does not exist; see `facegrep media`",
        ),
        (["delete", "x", "-l", "none"], "library 'none' does not exist"),
    ],
    ids=range(6),
)
def test_a_users_error_is_one_line_and_exit_code_1(
    store: Path, words: list[str], complaint: str
) -> None:
    result = run(store, *words)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("facegrep: ")]
    assert len(errors) == 1
    assert complaint in errors[0]
    assert "Traceback" not in result.output


def test_reading_a_store_that_is_not_there_does_not_make_one(tmp_path: Path) -> None:
    for words in (["search", str(QUERY)], ["libraries"], ["media"], ["doctor"]):
        result = run(tmp_path / "store", *words)
        assert result.exit_code == (0 if words == ["doctor"] else 1)
        assert "facegrep: " in result.stderr or words == ["doctor"]
        assert not (tmp_path / "store").exists()
    assert "`facegrep add` makes one" in run(tmp_path / "store", "media").stderr


def test_an_interrupted_add_keeps_what_was_added_and_says_so(
    own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facegrep import Engine

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "add_many", interrupted)
    result = run(own_store, "add", QUERY, "-l", "people")
    assert result.exit_code == 130
    assert result.stderr == (
        "interrupted; what was added is kept, and the same command adds the rest\n"
    )
    assert run_json(own_store, "search", QUERY, "-l", "people")["total"] == 1


def test_deleting_from_a_store_that_is_not_there_does_not_make_one(tmp_path: Path) -> None:
    result = run(tmp_path / "store", "delete", "a.jpg")
    assert result.exit_code == 1
    assert "there is no store at" in result.stderr
    assert not (tmp_path / "store").exists()


def test_an_empty_file_is_no_value(store: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    url = f"PersonImageUrl=@{tmp_path / 'empty.jpg'}"
    result = run(store, "call", "SearchMediaByFace", "FaceSearchToken=t", url)
    assert result.exit_code == 2
    assert "is empty" in " ".join(result.stderr.replace("│", " ").split())


def test_adding_nothing_makes_no_store(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "store", "add", tmp_path / "absent.jpg", tmp_path / "empty")
    assert result.exit_code == 1
    assert "no such file or directory" in result.stdout
    assert "a folder without pictures" in result.stdout
    assert not (tmp_path / "store").exists()


def test_a_file_name_that_is_not_text_is_left_out_and_shown(
    own_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(QUERY, os.fsdecode(os.fsencode(tmp_path / "photos") + b"/\xff.jpg"))
    result = run_json(own_store, "add", tmp_path / "photos", exit_code=1)
    assert result["failed"][0]["path"].endswith("photos/\udcff.jpg")
    result = run(own_store, "add", tmp_path / "photos")
    assert "photos/\\udcff.jpg" in "".join(result.stdout.split())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a folder with a film, a photo and a broken film; its library is "mixed"."""
    pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")
    folder = tmp_path_factory.mktemp("films") / "holiday"
    folder.mkdir()
    board = Scene(1.0, [], 2)
    person = Scene(1.0, [Actor(PORTRAITS / MACRON, still())], 1)
    (folder / "talk.mp4").write_bytes(film(board, person, width=320, height=180))
    (folder / "broken.mov").write_bytes(b"not a video")
    shutil.copy(PORTRAITS / ARDERN, folder / "ardern.jpg")
    store = folder.with_name("store")
    added = run_json(store, "add", folder, "-l", "mixed", exit_code=1)
    assert (added["added"], added["faces"]) == (2, 2)
    (failed,) = added["failed"]
    assert failed["path"] == str(folder / "broken.mov")
    assert "JPEG" not in failed["error"]
    return store


def test_a_folder_of_photos_and_videos_is_added_whole(films: Path) -> None:
    found = run_json(films, "search", QUERY, "-l", "mixed")
    assert [Path(hit["media_id"]).name for hit in found["hits"]] == ["talk.mp4"]
    assert "clips" not in found["hits"][0]


def test_a_video_that_is_cut_off_is_added_as_far_as_it_goes_and_listed(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")
    whole = encode(render([Scene(2.0, [], 2)], 160, 90), kind="matroska")
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    shown = run(tmp_path / "store", "add", tmp_path / "cut.mkv")
    assert shown.exit_code == 0, shown.output
    assert "1 added; 0 faces" in shown.output
    assert "as far as it goes" in shown.output
    assert "of 2.0 s" in shown.output
    (path,) = (tmp_path / "cut.mkv").rename(tmp_path / "again.mkv").parent.glob("*.mkv")
    added = run_json(tmp_path / "store", "add", path)
    ((listed, why),) = (one.values() for one in added["truncated"])
    assert listed == str(path)
    assert why.startswith("ends at")


def test_a_search_says_when_somebody_is_seen(films: Path) -> None:
    everybody = ("search", QUERY, "-l", "mixed", "--threshold", "-1", "--clips")
    talk, photo = run_json(films, *everybody)["hits"]
    (clip,) = talk["clips"]
    (seen,) = clip["occurrences"]
    assert abs(seen["start_ms"] - 1000) <= 500
    assert abs(seen["end_ms"] - 2000) <= 500
    assert seen["start_ms"] <= seen["boxes"][0]["time_ms"] <= clip["time_ms"] + 1000
    assert set(seen["boxes"][0]) == {"time_ms", "x", "y", "width", "height"}
    (clip,) = photo["clips"]
    assert [(one["start_ms"], one["end_ms"]) for one in clip["occurrences"]] == [(0, 0)]
    table = run(films, *everybody).stdout
    assert "seen in 1 video" in table
    assert "0:01.0-0:02.0" in table


def test_the_page_shows_a_video_by_the_face_and_when_it_is_seen(
    films: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    search = ("search", QUERY, "-l", "mixed", "--html", page)
    assert run(films, *search).exit_code == 0
    text = page.read_text()
    assert text.count('class="when"') == 1
    assert text.count('class="mark"') == 2
    assert "0:01.0\u20130:02.0 of 0:02.0" in text
    film_path = films.with_name("holiday") / "talk.mp4"
    content = film_path.read_bytes()
    try:
        film_path.write_bytes(content[:-10])
        run(films, *search)
        assert "This file has changed since it was added." in page.read_text()
        film_path.unlink()
        run(films, *search)
        text = page.read_text()
        assert "This video cannot be shown: no such file or directory." in text
        assert text.count('class="when"') == 1
    finally:
        film_path.write_bytes(content)


def test_the_page_of_people_shows_a_face_of_a_video_and_when_it_is_seen(
    films: Path, tmp_path: Path
) -> None:
    page = tmp_path / "people.html"
    shown = run(films, "people", "-l", "mixed", "--min-faces", "1", "--html", page)
    assert shown.exit_code == 0, shown.output
    text = page.read_text()
    assert text.count('class="face"') == text.count('<li class="match">') == 2
    assert text.count('class="when"') == 1
    assert "0:01.0\u20130:02.0 of 0:02.0" in text


def test_an_insert_from_the_command_line_is_analysed_when_it_ends(tmp_path: Path) -> None:
    url = (PORTRAITS / MACRON).as_uri()
    words = ("MediaId=m", f"Input={url}", "MediaType=image")
    files = ("--files", PORTRAITS)
    reply = run(tmp_path / "store", "call", "InsertMediaToSearchLib", *words, *files)
    assert reply.exit_code == 0, reply.output
    found = run_json(tmp_path / "store", "search", QUERY)
    assert [hit["media_id"] for hit in found["hits"]] == ["m"]
