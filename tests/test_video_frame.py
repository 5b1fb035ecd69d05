"""A moment of a video is shown as it was, wherever its key frames are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.video_maker import MACRON, MACRON_LATER, Actor, Scene, encode, moving, render, still

import facegrep
from facegrep import VideoError
from facegrep.cli._moment import video_photo
from facegrep.cli._page import Photo
from facegrep.video._frame import frame_at

pytest.importorskip("av", reason="PyAV (facegrep[video]) is not installed")

WALK = moving((0.2, 0.5, 0.3), (0.8, 0.5, 0.3), 0.0, 2.0)
SCENES = [Scene(2.0, [Actor(MACRON, WALK)], 1), Scene(1.0, [], 2)]
SIZE = 320, 180


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    return list(render(SCENES, *SIZE))


@pytest.mark.parametrize("kind", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize("between", [1, 12, 250])
def test_it_is_the_frame_of_that_time(frames: list[Any], kind: str, between: int) -> None:
    options = {"preset": "ultrafast", "crf": "18", "g": str(between)}
    content = encode(frames, kind=kind, codec_options=options)
    for time_ms in (0, 40, 1000, 1999, 2000, 2960):
        shown = frame_at(content, time_ms)
        assert shown.shape == (SIZE[1], SIZE[0], 3)
        assert shown.dtype == np.uint8
        off = [float(np.abs(shown.astype(int) - frame).mean()) for frame in frames]
        expected = time_ms // 40
        assert off[expected] < 6
        assert off[expected] <= min(off) + 0.3  # of a board that stands still all are alike


def test_pixels_that_are_not_square_are_shown_square(frames: list[Any]) -> None:
    shown = frame_at(encode(frames[:10], aspect=Fraction(4, 3)), 200)
    assert shown.shape == (180, 427, 3)


def test_a_time_that_it_does_not_have_is_said(frames: list[Any]) -> None:
    content = encode(frames[:25])
    frame_at(content, 1200)  # after the last frame, but near it
    with pytest.raises(VideoError):
        frame_at(content, 5000)
    with pytest.raises(VideoError):
        frame_at(b"no video", 0)


def test_the_mark_is_on_the_face_where_pixels_are_not_square(tmp_path: Path) -> None:
    shown = render([Scene(0.6, [Actor(MACRON, still(0.6))], 1)], *SIZE)
    narrow = (np.asarray(Image.fromarray(frame).resize((240, 180))) for frame in shown)
    file = tmp_path / "narrow.mp4"
    file.write_bytes(encode(narrow, aspect=Fraction(4, 3)))
    with facegrep.open(tmp_path / "store", device="cpu") as engine:
        engine.create_library("lib")
        engine.add("lib", media_id="m", source=file)
        media, clips = engine.get("lib", "m"), engine.clips("lib", "m", MACRON_LATER)
    small = video_photo(Photo("m", None), media, clips.clips, clips.video).thumbnail
    assert small is not None
    assert small.box is not None
    x, _, width, _ = small.box
    assert (x + width / 2) / small.width == pytest.approx(0.6, abs=0.03)
