"""People put together from real photos, whole and well enough."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import facegrep
from facegrep.engine import Item, People

PEOPLE, PHOTOS, STRANGERS = 30, 4, 50

pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")


@pytest.fixture(scope="module")
def people(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> People:
    """Some people with a few photos each, and many with one."""
    folders = sorted((shared_data / "faces" / "lfw").iterdir())[: PEOPLE + STRANGERS]
    photos = [
        photo
        for number, folder in enumerate(folders)
        for photo in sorted(folder.glob("*.jpg"))[: PHOTOS if number < PEOPLE else 1]
    ]
    with facegrep.open(tmp_path_factory.mktemp("people") / "store") as engine:
        engine.create_library("album")
        added = engine.add_many(
            "album",
            [Item(media_id=f"{one.parent.name}/{one.name}", source=one) for one in photos],
        )
        assert not added.errors
        return engine.people("album")


def test_real_people_are_found_and_strangers_are_nobody(people: People) -> None:
    # The largest face of each photo is whose the folder is; others are known to nobody.
    owner = {
        face.face_id: face.media_id.partition("/")[0]
        for face in (*people.unclustered, *(face for one in people for face in one.faces))
        if face.face_no == 0
    }
    assert len(owner) == PEOPLE * PHOTOS + STRANGERS
    found = [[owner[face.face_id] for face in one.faces if face.face_no == 0] for one in people]
    pure = sum(max(Counter(names).values(), default=0) for names in found)
    assert pure == sum(map(len, found))  # nobody is taken for somebody else
    together = sum(count**2 for names in found for count in Counter(names).values())
    assert together >= 0.97 * PEOPLE * PHOTOS**2


def test_no_photo_shows_a_person_twice(people: People) -> None:
    for one in people:
        assert one.media_count == one.face_count


def test_the_face_to_show_is_one_of_the_more_typical(people: People) -> None:
    for one in people:
        scores = sorted(face.score for face in one.faces)
        assert one.best.score > scores[0]  # never the least typical
        assert one.best in one.faces
        assert one.best.box is not None
