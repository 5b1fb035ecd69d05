"""The page of a search shows what it should in a real browser, whatever the names on it are."""

from __future__ import annotations

import dataclasses
import html
import html.parser
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegrep import FacegrepError
from facegrep.cli._output import printable
from facegrep.cli._page import Faces, Photo, Search, Timeline, clock, write_page
from facegrep.cli._thumbnail import FACE_SIDE_PX, PHOTO_SIDE_PX, thumbnail
from facegrep.media import read_picture

PORTRAITS = Path(__file__).parent / "data" / "portraits"
MACRON = PORTRAITS / "Emmanuel_Macron" / "person_a_2.jpg"
MACRON_BOX = (195.0, 190.0, 290.0, 370.0)
MARK_RGB = (0xFF, 0x5A, 0x1F)
HOSTILE = "a/<img src=x onerror=document.title='owned'>\"'&\u202egpj.\x1b[2J.jpg"

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here (Debian: apt-get install chromium)"
)


def photo(name: str, score: float | None) -> Photo:
    return Photo(name, thumbnail(read_picture(MACRON).pixels, MACRON_BOX), score)


def a_search() -> Search:
    gone = Photo("gone.jpg", None, 0.44, "This photo cannot be shown: <no such file>.")
    matches = [photo(HOSTILE, 0.91), photo("b.jpg", 0.5), gone]
    return Search(HOSTILE, 3, [photo("query.jpg", None)], iter(matches), 0.42, [("model", "m")])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    write_page(path, [a_search()], made="Made by a test.")
    return path


def browse(page: Path, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@needs_chromium
def test_a_browser_shows_the_marked_face_and_obeys_the_policy(page: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    run = browse(page, tmp_path, f"--screenshot={shot}", "--window-size=1280,800")
    assert "Content Security Policy" not in run.stderr
    pixels = read_picture(shot).pixels.astype(int)
    marked = (abs(pixels - MARK_RGB).max(axis=2) <= 24).sum()
    assert marked > 2_000, "the boxes around three faces, and the scales of three scores"
    paper = (pixels == (0xF6, 0xF5, 0xF2)).all(axis=2).mean()
    assert 0.2 < paper < 0.8, "the style sheet is applied, and not all of the page is empty"


@needs_chromium
def test_every_image_is_there_and_no_name_runs_as_a_script(page: Path, tmp_path: Path) -> None:
    # The policy forbids scripts, so a copy without it is looked into: what is escaped only by the
    # policy would run there.
    probe = tmp_path / "probe.html"
    without_policy = re.sub(
        r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text()
    )
    script = (
        "<script>onload = () => { const images = [...document.images]; document.body.innerHTML ="
        " `seen ${images.length} of ${images.filter(i => i.naturalWidth > 0).length} whole,"
        " ${document.querySelectorAll('.match .mark rect').length} marked,"
        " ${document.querySelectorAll('.match').length} matches, ${document.title}`; }</script>"
    )
    probe.write_text(without_policy.replace("</body>", f"{script}</body>"))
    run = browse(probe, tmp_path, "--dump-dom", "--virtual-time-budget=3000")
    assert "seen 5 of 5 whole, 2 marked, 3 matches, facegrep: people in photos" in run.stdout


def test_the_page_is_one_file_that_asks_for_nothing(page: Path) -> None:
    text = page.read_text()
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text
    for outside in ("http://", "https://", "//", "url(", "@import", "<script", "<link", "href"):
        assert outside not in re.sub(r"base64,[^\"]*", "", text), outside


def test_every_name_is_on_the_page_as_text(page: Path) -> None:
    text = page.read_text()
    assert "&lt;img src=x onerror=document.title=" in text
    assert "\\u202egpj.\\x1b[2J.jpg" in text
    assert "0.910" in text
    assert "3 files match this face" in text
    assert "This photo cannot be shown: &lt;no such file&gt;." in text
    assert "%" not in re.sub(r"<style>.*?</style>|base64,[^\"]*", "", text, flags=re.DOTALL)


@given(st.text(st.sampled_from("<>\"'&/=;!-a \0\u202e\ud800") | st.characters(), min_size=1))
def test_no_name_adds_a_tag_or_an_attribute(name: str) -> None:
    def tags(of: str) -> list[tuple[str, tuple[str, ...]]]:
        found: list[tuple[str, tuple[str, ...]]] = []

        class Tags(html.parser.HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                found.append((tag, tuple(key for key, _ in attrs)))

        from facegrep.cli import _page

        search = Search(
            of, 1, [Photo(of, None, None, of)], [Photo(of, None, 0.5, of)], 0.4, [(of, of)]
        )
        Tags().feed("".join(_page._page([search], of)))
        return found

    assert tags(name) in (tags("name"), tags("folder/name"))


def test_a_page_that_cannot_be_written_leaves_the_one_before(page: Path, tmp_path: Path) -> None:
    before = page.read_bytes()

    def failing() -> list[Photo]:
        raise FacegrepError("the store was closed")

    class Matches:
        def __iter__(self) -> object:
            return iter(failing())

    broken = Search("library", 1, [], Matches(), 0.4)  # type: ignore[arg-type]
    with pytest.raises(FacegrepError, match="the store was closed"):
        write_page(page, [broken], made="")
    assert page.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [page.name]
    for path in (tmp_path / "none" / "page.html", page / "page.html"):
        with pytest.raises(FacegrepError, match="cannot write"):
            write_page(path, [a_search()], made="")


def test_a_thumbnail_marks_the_same_spot_and_cuts_it_out() -> None:
    pixels = np.zeros((1500, 2000, 3), np.uint8)
    pixels[300:600, 1000:1300] = (255, 0, 0)
    small = thumbnail(pixels, (1000, 300, 300, 300))
    assert (small.width, small.height) == (PHOTO_SIDE_PX, PHOTO_SIDE_PX * 3 // 4)
    assert small.box == pytest.approx((320, 96, 96, 96))
    assert small.face is not None
    face = read_picture(small.face).pixels.astype(int)
    assert face.shape == (FACE_SIDE_PX, FACE_SIDE_PX, 3)
    assert abs(face[FACE_SIDE_PX // 2, FACE_SIDE_PX // 2] - (255, 0, 0)).max() < 12
    assert face[3, 3].max() < 12


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.tuples(*[st.floats(-50, 150)] * 2, *[st.floats(0, 200)] * 2),
)
def test_any_box_stays_inside_its_picture(
    width: int, height: int, box: tuple[float, float, float, float]
) -> None:
    small = thumbnail(np.zeros((height, width, 3), np.uint8), box)
    assert small.box is not None
    x, y, box_width, box_height = small.box
    assert 0 <= x <= x + box_width <= width + 1e-6
    assert 0 <= y <= y + box_height <= height + 1e-6


def test_without_a_face_there_is_no_mark_and_no_close_up() -> None:
    small = thumbnail(np.zeros((8, 9, 3), np.uint8), None)
    assert (small.width, small.height, small.box, small.face) == (9, 8, None, None)


def test_a_page_explains_what_is_on_it_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    people = Faces("lib", 1, [Photo("a.jpg#0", None, label="2 faces")])
    scores, ids = "A score is the cosine", "for facegrep people name, merge and split"
    for shown, said, not_said in (([a_search(), a_search()], scores, ids), ([people], ids, scores)):
        write_page(page, shown, made="Made by a test.")
        assert page.read_text().count(said) == 1
        assert not_said not in page.read_text()


def test_the_id_of_a_person_is_whole_to_be_copied(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    person = Photo(f"photos/{HOSTILE}#0", None, label="2 faces")
    write_page(page, [Faces("lib", 1, [person])], made="Made by a test.")
    text = page.read_text()
    (shown,) = re.findall(r'<p class="id"><bdi>(.*?)</bdi></p>', text)
    assert html.unescape(shown) == printable(f"photos/{HOSTILE}#0")
    assert "<img src=x" not in text


@needs_chromium
def test_a_probability_takes_no_room_from_the_name(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    plain = photo("photos/someone_0001.jpg", 0.9)
    found = [plain, dataclasses.replace(plain, chance="p > 0.999")]
    search = Search("lib", 2, [photo("query.jpg", None)], found, 0.42)
    write_page(page, [search], made="Made by a test.")
    script = (
        "<script>document.title = [...document.querySelectorAll('.name')]"
        ".map(name => name.clientWidth)</script>"
    )
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    page.write_text(text.replace("</body>", f"{script}</body>"))
    run = browse(page, tmp_path, "--dump-dom", "--window-size=1200,900")
    ((without, beside),) = re.findall(r"<title>(\d+),(\d+)</title>", run.stdout)
    assert int(beside) == int(without) > 90


def test_a_video_has_a_line_for_each_person_with_every_appearance(tmp_path: Path) -> None:
    spans = tuple((number * 10_000, number * 10_000 + 5000) for number in range(6))
    lines = (Timeline(100_000, 12_000, spans, HOSTILE), Timeline(0, 0, ((0, 0),)))
    face = thumbnail(read_picture(MACRON).pixels, MACRON_BOX)
    moment = Photo("film.mp4", face, 0.9, timelines=lines)
    search = Search("lib", 1, [photo("query.jpg", None)], iter([moment]), 0.42)
    write_page(tmp_path / "page.html", [search], made="Made by a test.")
    text = (tmp_path / "page.html").read_text()
    assert text.count('class="when"') == 2
    assert text.count('class="seen"') == 7
    assert '<rect class="seen" x="200.0" height="8" width="50.0"/>' in text
    shown = "0:00.0\u20130:05.0 · 0:10.0\u20130:15.0 · 0:20.0\u20130:25.0 · 0:30.0\u20130:35.0"
    assert f"{shown} and 2 more of 1:40.0" in text
    assert "<img src=x" not in text


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0, "0:00.0"),
        (7449, "0:07.4"),
        (59_990, "1:00.0"),
        (720_000, "12:00.0"),
        (3_723_400, "1:02:03.4"),
        (36_000_000, "10:00:00.0"),
    ],
)
def test_a_time_is_shown_as_clocks_do(milliseconds: int, shown: str) -> None:
    assert clock(milliseconds) == shown
