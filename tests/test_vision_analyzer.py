from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import LfwFaces

from facegrep import InvalidArgumentError
from facegrep.vision import Analysis, FaceAnalyzer

PORTRAITS = sorted((Path(__file__).parent / "data" / "portraits").glob("*/*.jpg"))


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [_read(path) for path in PORTRAITS]


def _assert_same(one: Analysis, other: Analysis) -> None:
    assert one.refused == other.refused
    assert len(one.faces) == len(other.faces)
    for face, twin in zip(one.faces, other.faces, strict=True):
        assert (face.box, face.score) == (twin.box, twin.score)
        np.testing.assert_array_equal(face.landmarks, twin.landmarks)
        np.testing.assert_array_equal(face.embedding, twin.embedding)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_portraits_of_one_person_match_and_of_two_do_not(
    precision: str, pictures: list[np.ndarray]
) -> None:
    analyzer = FaceAnalyzer(device="cpu", precision=precision)  # type: ignore[arg-type]
    found = analyzer.analyze(pictures)
    assert [len(analysis.faces) for analysis in found] == [1] * len(pictures)
    vectors = np.stack([analysis.faces[0].embedding for analysis in found])
    scores = vectors @ vectors.T
    people = np.array([path.parent.name for path in PORTRAITS])
    same = people[:, None] == people
    assert scores[same].min() > analyzer.threshold_floor + 0.1
    assert scores[~same].max() < analyzer.threshold_floor - 0.1


def test_int8_and_fp32_embeddings_of_one_face_agree(pictures: list[np.ndarray]) -> None:
    vectors = [
        np.stack([found.faces[0].embedding for found in analyzer.analyze(pictures)])
        for analyzer in (FaceAnalyzer(device="cpu"), FaceAnalyzer(precision="int8"))
    ]
    assert (vectors[0] * vectors[1]).sum(axis=1).min() > 0.98


def test_a_batch_is_its_singles_bit_for_bit(
    analyzer: FaceAnalyzer, pictures: list[np.ndarray]
) -> None:
    batch = analyzer.analyze(pictures + pictures[::-1])
    for whole, picture in zip(batch, pictures + pictures[::-1], strict=True):
        _assert_same(whole, analyzer.analyze([picture])[0])


def test_many_threads_get_what_one_gets(analyzer: FaceAnalyzer, pictures: list[np.ndarray]) -> None:
    alone = analyzer.analyze(pictures)
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: analyzer.analyze(pictures), range(6)):
            for one, other in zip(alone, found, strict=True):
                _assert_same(one, other)


def test_an_analyzer_made_before_a_fork_works_after_it() -> None:
    script = """
import os, signal
import numpy as np
from facegrep.vision import FaceAnalyzer

analyzer = FaceAnalyzer(device="cpu", threads=2)
pictures = [np.zeros((64, 64, 3), np.uint8)] * 3
analyzer.analyze(pictures)
child = os.fork()
if child == 0:
    signal.alarm(30)  # threads do not survive a fork, so this waited for ever
    os._exit(len(analyzer.analyze(pictures)))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""
    # A Python from 3.12 on warns of any fork beside threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    subprocess.run(command, check=True)


def test_the_stages_together_are_analyze(
    analyzer: FaceAnalyzer, pictures: list[np.ndarray]
) -> None:
    detections = analyzer.detect(pictures)
    crops = [analyzer.align(*pair) for pair in zip(pictures, detections, strict=True)]
    embeddings = analyzer.embed(np.concatenate(crops))
    whole = [face.embedding for found in analyzer.analyze(pictures) for face in found.faces]
    np.testing.assert_array_equal(embeddings, np.stack(whole))


def test_the_largest_face_comes_first_and_boxes_lie_in_the_picture(
    analyzer: FaceAnalyzer, pictures: list[np.ndarray]
) -> None:
    group = np.zeros((900, 1500, 3), np.uint8)
    group[:, 700:1389] = pictures[4]
    small = np.asarray(Image.fromarray(pictures[0]).resize((341, 392)))
    group[100:492, 100:441] = small
    faces = analyzer.analyze([group])[0].faces
    assert len(faces) == 2
    assert faces[0].box.x > 700 > faces[1].box.x
    for face in faces:
        x, y, width, height = face.box
        assert 0 <= x <= x + width <= 1500
        assert 0 <= y <= y + height <= 900
        assert face.landmarks[0, 0] < face.landmarks[1, 0]  # the image-left eye comes first


def test_a_face_below_20_px_is_refused_with_the_reason(
    analyzer: FaceAnalyzer, pictures: list[np.ndarray]
) -> None:
    scene = np.full((300, 300, 3), 90, np.uint8)
    small = np.asarray(Image.fromarray(pictures[0]).resize((41, 47), Image.Resampling.BICUBIC))
    scene[100:147, 100:141] = small
    (analysis,) = analyzer.analyze([scene])
    assert analysis.faces == ()
    assert [face.reason for face in analysis.refused] == ["smaller than 20 px"]


@pytest.mark.parametrize("side", [64, 112, 640, 2400])
def test_a_face_cropped_closer_than_its_box_is_found_and_recognised(
    analyzer: FaceAnalyzer, pictures: list[np.ndarray], side: int
) -> None:
    whole = analyzer.analyze(pictures)
    for picture, found in zip(pictures, whole, strict=True):
        x, y, width, height = found.faces[0].box
        x, y, width, height = (
            round(value)
            for value in (x + 0.05 * width, y + 0.05 * height, 0.9 * width, 0.9 * height)
        )
        close = Image.fromarray(picture[y : y + height, x : x + width])
        size = (side * width // height, side)
        (again,) = analyzer.analyze([np.asarray(close.resize(size, Image.Resampling.BICUBIC))])
        # Without the second look, 0.46 at 112 px.
        assert again.faces[0].embedding @ found.faces[0].embedding > 0.62


def test_pictures_without_a_face_have_none(analyzer: FaceAnalyzer) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (400, 300, 3), np.uint8)
    flat = np.zeros((1, 1, 3), np.uint8)
    assert [len(found.faces) for found in analyzer.analyze([noise, flat])] == [0, 0]
    assert analyzer.analyze([]) == []


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((9, 9, 3), np.float32),
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((0, 9, 3), np.uint8),
        [[[1, 2, 3]]],
    ],
)
def test_what_is_not_an_rgb_picture_is_refused_by_its_position(
    analyzer: FaceAnalyzer, pictures: list[np.ndarray], picture: np.ndarray
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"pictures\[1\]"):
        analyzer.analyze([pictures[0], picture])


def test_crops_of_another_shape_are_refused(analyzer: FaceAnalyzer) -> None:
    with pytest.raises(InvalidArgumentError, match="crops: expected uint8"):
        analyzer.embed(np.zeros((1, 100, 112, 3), np.uint8))
    with pytest.raises(InvalidArgumentError, match="crops: expected an array, got list"):
        analyzer.embed([np.zeros((112, 112, 3), np.uint8)])  # type: ignore[arg-type]
    assert analyzer.embed(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 128)


@pytest.mark.slow
def test_lfw_is_recognised_and_int8_codes_cost_nothing(lfw_faces: LfwFaces) -> None:
    # benches/accuracy_lfw.py takes all photos.
    people, vectors = lfw_faces.people, lfw_faces.embeddings
    codes = np.rint(vectors * (np.float32(127) / np.abs(vectors).max(axis=1, keepdims=True)))
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    rank_1 = []
    for stored in (vectors, codes):
        scores = vectors @ stored.T
        np.fill_diagonal(scores, -2)
        rank_1.append(float((people[scores.argmax(axis=1)] == people).mean()))
    assert rank_1[0] >= 0.995
    assert rank_1[1] >= rank_1[0]
