from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facegrep.vision import DetectorManifest, load_manifest
from facegrep.vision._yunet import STRIDES, Canvas, decode, draw

_YUNET = load_manifest("yunet").manifest
assert isinstance(_YUNET, DetectorManifest)
DETECTION = _YUNET.detection
WIDTH = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
CANVAS = Canvas(np.zeros((64, 96, 3), np.uint8), 1.0, 1.0, 0, (96, 64))


def _outputs(fill: float = 0.0) -> dict[str, np.ndarray]:
    return {
        f"{head}_{stride}": np.full((1, 64 // stride * (96 // stride), width), fill, np.float32)
        for head, width in WIDTH.items()
        for stride in STRIDES
    }


def _say(outputs: dict[str, np.ndarray], anchor: int, score: float, log_side: float) -> None:
    outputs["cls_8"][0, anchor] = outputs["obj_8"][0, anchor] = score
    outputs["bbox_8"][0, anchor, 2:] = log_side


def test_an_anchor_becomes_a_box_around_its_place() -> None:
    outputs = _outputs()
    _say(outputs, 12 * 3 + 5, 0.9, np.log(4.0))  # column 5, row 3, of stride 8: centre (40, 24)
    found = decode(outputs, 0, CANVAS, DETECTION)
    np.testing.assert_allclose(found.boxes, [[24, 8, 32, 32]], rtol=1e-6)
    np.testing.assert_allclose(found.landmarks, np.tile([40, 24], (1, 5, 1)))
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-6)


def test_boxes_are_given_in_pixels_of_the_original() -> None:
    outputs = _outputs()
    _say(outputs, 12 * 3 + 5, 0.9, np.log(4.0))
    found = decode(outputs, 0, Canvas(CANVAS.pixels, 0.5, 0.25, 4, (192, 256)), DETECTION)
    np.testing.assert_allclose(found.boxes, [[40, 16, 64, 128]], rtol=1e-6)
    np.testing.assert_allclose(found.landmarks, np.tile([72, 80], (1, 5, 1)))


def test_of_two_overlapping_boxes_the_better_one_stays() -> None:
    outputs = _outputs()
    _say(outputs, 12 * 3 + 5, 0.7, np.log(4.0))
    _say(outputs, 12 * 3 + 6, 0.8, np.log(4.0))
    _say(outputs, 12 * 3 + 11, 0.65, np.log(2.0))
    assert decode(outputs, 0, CANVAS, DETECTION).scores == pytest.approx([0.8, 0.65])


@given(
    st.sampled_from(["cls", "obj", "bbox", "kps"]), st.sampled_from([np.nan, np.inf, -np.inf, 3e38])
)
def test_nothing_that_is_not_finite_leaves_the_decoder(head: str, value: float) -> None:
    outputs = _outputs(0.9)
    for stride in STRIDES:
        outputs[f"{head}_{stride}"][0, ::2] = value
    found = decode(outputs, 0, CANVAS, DETECTION)
    for part in found:
        assert np.isfinite(part).all()


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 700), st.integers(1, 700), st.just(3)), fill=st.just(9)
    )
)
def test_a_canvas_holds_the_whole_picture_in_multiples_of_32(picture: np.ndarray) -> None:
    canvas = draw(picture, DETECTION)
    height, width = canvas.pixels.shape[:2]
    assert height % 32 == width % 32 == 0
    assert max(height, width) <= DETECTION.long_side_px
    assert picture.shape[0] * canvas.scale_y <= height
    assert picture.shape[1] * canvas.scale_x <= width


@pytest.mark.parametrize("shape", [(1, 16384), (16384, 1), (5000, 5000)])
@pytest.mark.parametrize("border", [0.0, 0.5])
def test_extreme_pictures_fit_on_a_small_canvas(shape: tuple[int, int], border: float) -> None:
    canvas = draw(np.zeros((*shape, 3), np.uint8), DETECTION, border=border)
    assert max(canvas.pixels.shape) <= DETECTION.long_side_px + 32
    assert canvas.scale_x > 0
    assert canvas.scale_y > 0
