"""Analyses made again whose content is behind URLs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tracked import store_of
from tests.video_maker import MACRON, MACRON_LATER, Actor, Scene, film, still

import facegrep

WAIT_S = 120.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store", device="cpu") as opened:
        opened.create_library("lib")
        yield opened


def test_a_path_that_came_from_elsewhere_is_analysed_from_the_path(
    engine: facegrep.Engine, tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")
    clip = tmp_path / "clip.mp4"
    scene = Scene(1.0, [Actor(MACRON, still())], 1)
    clip.write_bytes(film(scene, width=320, height=180))
    for source in (clip, MACRON):
        origin = f"https://there.example/{source.name}"
        engine.submit("lib", media_id=source.name, source=source, origin=origin)
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert sorted(engine.search("lib", MACRON_LATER).media_ids) == sorted([clip.name, MACRON.name])
    assert engine.get("lib", "clip.mp4").source == "https://there.example/clip.mp4"
    with pytest.raises(facegrep.PictureError, match="no such file"):
        engine.submit("lib", media_id="n", source=tmp_path / "none.jpg", origin="https://a.example")


def test_the_content_of_one_asset_at_a_time_is_in_memory(engine: facegrep.Engine) -> None:
    ids = ["0", "1", "2"]
    for media_id in ids:
        engine.add("lib", media_id=media_id, source=MACRON.read_bytes(), origin=f"u:{media_id}")
    engine.set_face_index("lib", "deactive")
    engine.set_face_index("lib", "active")  # nothing fetches

    def states() -> list[str]:
        return [media.job.status for media in engine.media("lib") if media.job is not None]

    assert states() == ["Fail"] * 3
    before = []

    def fetch(url: str) -> bytes:
        before.append(states())
        if url == "u:1":
            raise OSError
        return MACRON.read_bytes()

    with facegrep.open(engine.path) as other, store_of(other).jobs_lock.held(10.0):
        # Nothing is analysed before all is seen.
        rerun = engine.rerun_jobs("lib", [*ids, "gone", "2"], fetch=fetch)
        connection = sqlite3.connect(engine.path / "catalog.db")
        (kept,) = connection.execute("SELECT count(*) FROM pending_input").fetchone()
        connection.close()
    assert (rerun.media_ids, rerun.unknown_ids, kept) == (["0", "2"], ["gone"], 2)
    assert before == [["Fail"] * 3, ["Running", "Fail", "Fail"], ["Running", "Fail", "Fail"]]
    assert engine.wait_for_jobs(timeout_s=WAIT_S)
    assert sorted(engine.search("lib", MACRON_LATER).media_ids) == ["0", "2"]
    assert states() == ["Success", "Fail", "Success"]
