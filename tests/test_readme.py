"""The README's examples, run as a reader would run them."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

import facegrep._index

ROOT = Path(__file__).parents[1]


def test_the_examples_of_the_readme_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "tests/data/portraits", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "photos/Emmanuel_Macron/person_a_2.jpg"
    examples = doctest.testfile(
        str(ROOT / "README.md"),
        module_relative=False,
        globs={"picture_url": picture.as_uri()},
        encoding="utf-8",
    )
    assert examples.attempted > 15
    assert examples.failed == 0


def test_the_example_of_face_index_prints_what_it_shows() -> None:
    examples = doctest.testmod(facegrep._index)
    assert examples.attempted >= 4
    assert examples.failed == 0
