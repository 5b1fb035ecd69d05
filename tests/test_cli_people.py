"""The command's people on real portraits: listed, shown, named, merged and split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import facegrep
from facegrep.cli._app import app

PORTRAITS = Path(__file__).parent / "data" / "portraits"
PHOTOS = sorted(path.relative_to(PORTRAITS) for path in PORTRAITS.glob("*/*.jpg"))
MACRON, ARDERN = (
    [f"{photo.as_posix()}#0" for photo in PHOTOS if name in photo.as_posix()]
    for name in ("Macron", "Ardern")
)
OBAMA, SUNAK = ("Barack_Obama/impostor_1.jpg#0", "Rishi_Sunak/impostor_2.jpg#0")

pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")


def run(store: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["--store", str(store), *map(str, words), "--library", "press"])


def run_json(store: Path, *words: str | Path) -> Any:
    result = run(store, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("cli") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PORTRAITS)
        result = run(store, "add", *PHOTOS)
    assert result.exit_code == 0, result.output
    return store


@pytest.fixture
def store(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


def found(store: Path) -> list[list[str]]:
    return [
        sorted(f"{face['media_id']}#{face['face_no']}" for face in person["faces"])
        for person in run_json(store, "people")["people"]
    ]


def test_real_people_are_found_and_shown(store: Path, tmp_path: Path) -> None:
    assert found(store) == [MACRON, ARDERN]
    page = tmp_path / "people.html"
    result = run(store, "people", "--html", page)
    assert result.exit_code == 0, result.output
    assert "2 people that nobody has named" in result.stdout
    assert "2 faces are of nobody" in result.stdout
    text = page.read_text()
    assert "2 people without a name" in text
    assert text.count('<li class="match">') == text.count('class="face"') == 2
    assert text.count("<bdi>2 faces</bdi>") == 2
    assert "://" not in text


def test_a_name_that_is_there_gets_more_samples(store: Path) -> None:
    named = run_json(store, "people", "name", MACRON[1], "Emmanuel")
    assert (named["name"], named["sample_count"]) == ("Emmanuel", 2)
    assert found(store) == [ARDERN]
    assert run_json(store, "people")["recognised"] == 2
    again = run_json(store, "people", "name", OBAMA, "Emmanuel")
    assert (again["entity_id"], again["sample_count"]) == (named["entity_id"], 3)


def test_merged_and_split_people_stay_so(store: Path) -> None:
    assert run_json(store, "people", "merge", SUNAK, OBAMA) == {"person_id": OBAMA}
    assert [OBAMA, SUNAK] in found(store)
    result = run(store, "people", "split", OBAMA, SUNAK)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"now {SUNAK}\n"
    assert found(store) == [MACRON, ARDERN]


def test_nobody_is_named_and_nothing_made(store: Path) -> None:
    result = run(store, "people", "name", "nobody.jpg#0", "Nobody")
    assert result.exit_code == 1
    assert "person 'nobody.jpg#0' does not exist; see `facegrep people`" in result.stderr
    with facegrep.open(store, readonly=True) as engine:
        assert engine.recognition_libraries() == []
