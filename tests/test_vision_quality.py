"""A face that is too small, blurred or turned away is called so, and a good one is not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFilter, ImageOps

from facegrep.vision import EmbedderManifest, Face, FaceAnalyzer, Quality, Verdict, load_manifest
from facegrep.vision._quality import pose, sharpness

PORTRAITS = sorted((Path(__file__).parent / "data" / "portraits").glob("*/*.jpg"))
# Looked at: these faces are turned so far that the farther eye is at the edge or behind it.
TURNED = (
    "Franz_Muentefering/Franz_Muentefering_0003.jpg",
    "George_Pataki/George_Pataki_0002.jpg",
    "Victoria_Clarke/Victoria_Clarke_0001.jpg",
)


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(device="cpu")


@pytest.fixture(scope="module", params=PORTRAITS, ids=lambda path: path.name)
def portrait(request: pytest.FixtureRequest) -> Image.Image:
    return Image.open(request.param).convert("RGB")


def largest(analyzer: FaceAnalyzer, picture: Image.Image) -> Face | None:
    faces = analyzer.analyze([np.asarray(picture)])[0].faces
    return faces[0] if faces else None


def quality(analyzer: FaceAnalyzer, picture: Image.Image) -> Quality:
    face = largest(analyzer, picture)
    assert face is not None
    assert face.quality is not None
    return face.quality


def sharpness_of(found: Quality) -> float:
    assert found.sharpness is not None
    return found.sharpness


def test_portraits_are_good(analyzer: FaceAnalyzer, portrait: Image.Image) -> None:
    found = quality(analyzer, portrait)
    assert (found.verdict, found.reason) == (Verdict.GOOD, "")
    assert abs(found.yaw_deg) < 30
    assert abs(found.roll_deg) < 10


def test_a_blurred_portrait_is_blurred_and_the_more_the_less_sharp(
    analyzer: FaceAnalyzer, portrait: Image.Image
) -> None:
    side_px = quality(analyzer, portrait).side_px
    blurs = [0, side_px * 0.02, side_px * 0.04, side_px * 0.06]
    found = [quality(analyzer, portrait.filter(ImageFilter.GaussianBlur(blur))) for blur in blurs]
    assert found[-1].verdict == Verdict.BLURRED
    assert "blurred: sharpness 0." in found[-1].reason
    sharp = [sharpness_of(one) for one in found]
    assert sharp == sorted(sharp, reverse=True)


def test_motion_blurs_one_direction_and_that_counts(analyzer: FaceAnalyzer) -> None:
    portrait = Image.open(PORTRAITS[0]).convert("RGB")
    still = quality(analyzer, portrait)
    width = round(still.side_px * 0.25)
    pixels = np.asarray(portrait).astype(np.float64)
    padded = np.pad(pixels, ((0, 0), (width, 0), (0, 0)), mode="edge").cumsum(axis=1)
    moved = (padded[:, width:] - padded[:, :-width]) / width
    found = quality(analyzer, Image.fromarray(moved.astype(np.uint8)))
    assert sharpness_of(found) < sharpness_of(still) / 2
    assert found.verdict != Verdict.GOOD


def test_a_small_face_is_too_small_and_not_blamed_for_being_enlarged(
    analyzer: FaceAnalyzer, portrait: Image.Image
) -> None:
    scale = 22.5 / quality(analyzer, portrait).side_px
    size = (round(portrait.width * scale), round(portrait.height * scale))
    small = Image.new("RGB", (400, 400), "gray")
    shrunk = portrait.resize(size, Image.Resampling.LANCZOS)
    small.paste(shrunk.filter(ImageFilter.GaussianBlur(1.2)), (150, 150))
    found = quality(analyzer, small)
    assert sharpness_of(found) < 0.2  # a larger face would be called blurred
    assert found.verdict == Verdict.TOO_SMALL
    assert found.reason == f"the face is {found.side_px:.0f} px, and wants 25 px"


def test_a_tilted_portrait_is_called_turned_away(
    analyzer: FaceAnalyzer, portrait: Image.Image
) -> None:
    for degrees in (45, -45):
        face = largest(analyzer, portrait.rotate(degrees, Image.Resampling.BILINEAR, expand=True))
        if face is not None:  # some are not found any more
            assert face.quality is not None
            assert face.quality.verdict == Verdict.TURNED_AWAY


def test_turned_heads_are_called_turned_away_and_their_mirror_image_turns_the_other_way(
    analyzer: FaceAnalyzer, shared_data: Path
) -> None:
    for name in TURNED:
        picture = Image.open(shared_data / "faces" / "lfw" / name).convert("RGB")
        found, mirrored = quality(analyzer, picture), quality(analyzer, ImageOps.mirror(picture))
        assert {found.verdict, mirrored.verdict} == {Verdict.TURNED_AWAY}, name
        assert "degrees sideways" in found.reason
        assert math.isclose(found.yaw_deg, -mirrored.yaw_deg, abs_tol=12)


def template() -> np.ndarray:
    manifest = load_manifest("sface").manifest
    assert isinstance(manifest, EmbedderManifest)
    return np.array(manifest.crop.landmarks_px)


@given(
    st.floats(-80, 80),
    st.floats(-60, 60),
    st.floats(0.1, 30),
    st.tuples(*[st.floats(-500, 500)] * 2),
)
def test_pose_is_that_of_the_landmarks_wherever_and_however_large(
    yaw_deg: float, roll_deg: float, scale: float, moved: tuple[float, float]
) -> None:
    # A head of eyes and mouth in a plane, with the nose before it by 0.4 eye distances.
    x = np.array([-1, 1, 0, -0.8, 0.8])
    y = np.array([-1, -1, 0.1, 1.2, 1.2])
    z = np.array([0, 0, 0.8, 0, 0])
    yaw, roll = math.radians(yaw_deg), math.radians(roll_deg)
    seen = (x * math.cos(yaw) + z * math.sin(yaw) + 1j * y) * complex(
        math.cos(roll), math.sin(roll)
    )
    seen = seen * scale + complex(*moved)
    found = pose(np.stack([seen.real, seen.imag], axis=1).astype(np.float32))
    assert found == pytest.approx((yaw_deg, roll_deg), abs=1.0)


def test_an_upright_face_is_neither_turned_nor_tilted() -> None:
    yaw_deg, roll_deg = pose(template().astype(np.float32))
    assert abs(yaw_deg) < 5
    assert abs(roll_deg) < 5


@given(hnp.arrays(np.float32, (5, 2), elements=st.floats(-1e4, 1e4, width=32)))
def test_any_landmarks_have_a_pose(landmarks: np.ndarray) -> None:
    yaw_deg, roll_deg = pose(landmarks)
    assert -90 <= yaw_deg <= 90
    assert -180 <= roll_deg <= 180


@given(hnp.arrays(np.uint8, st.sampled_from([(16, 16, 3), (112, 112, 3)])))
def test_any_crop_has_a_sharpness_from_0_to_1(crop: np.ndarray) -> None:
    assert 0 <= sharpness(crop) <= 1


def test_a_model_without_limits_gives_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = load_manifest("sface").folder
    place = tmp_path / "unlimited"
    place.mkdir()
    text = (folder / "manifest.toml").read_text("utf-8")
    before, _, after = text.partition("[quality]")
    (place / "manifest.toml").write_text(before + after[after.index("\n[") :])
    monkeypatch.setenv("FACEGREP_MODELS", str(tmp_path))
    face = largest(FaceAnalyzer("unlimited", device="cpu"), Image.open(PORTRAITS[0]).convert("RGB"))
    assert face is not None
    assert face.quality is None
