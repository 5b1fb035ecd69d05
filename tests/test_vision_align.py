from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facegrep.vision import EmbedderManifest, load_manifest
from facegrep.vision._align import align, placement, similarity

_SFACE = load_manifest("sface").manifest
assert isinstance(_SFACE, EmbedderManifest)
CROP = _SFACE.crop
TEMPLATE = np.array(CROP.landmarks_px, np.float32)


def _turned(points: np.ndarray, size: float, angle: float, x: float, y: float) -> np.ndarray:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.asarray(points @ turn.T * size + [x, y])


@given(st.floats(0.2, 20), st.floats(-math.pi, math.pi), st.floats(-500, 500), st.floats(-500, 500))
def test_a_similarity_is_recovered(size: float, angle: float, x: float, y: float) -> None:
    a, b = similarity(TEMPLATE, _turned(TEMPLATE, size, angle, x, y))
    assert abs(a) == np.float64(size) or math.isclose(abs(a), size, rel_tol=1e-9)
    np.testing.assert_allclose([b.real, b.imag], [x, y], atol=1e-6)


@given(st.floats(-75, 75), st.floats(-math.pi, math.pi), st.floats(0.3, 9))
def test_a_turned_head_is_cut_no_closer_than_one_seen_from_the_front(
    yaw_deg: float, angle: float, size: float
) -> None:
    yaw = math.radians(yaw_deg)
    middle = TEMPLATE[:, 0].mean()
    eyes_px = float(TEMPLATE[1, 0] - TEMPLATE[0, 0])
    turned = TEMPLATE.copy()
    turned[:, 0] = middle + (TEMPLATE[:, 0] - middle) * math.cos(yaw)
    turned[2, 0] += 0.4 * eyes_px * math.sin(yaw)  # the nose stands out
    a, b = placement(_turned(turned, size, angle, 30, 40), CROP)
    assert math.isclose(abs(a), size, rel_tol=0.01)
    centre = _turned(turned, size, angle, 30, 40).mean(axis=0)
    assert abs(a * complex(*TEMPLATE.mean(axis=0)) + b - complex(*centre)) < 0.01 * size
    # By least squares alone the scale was less by so much.
    alone, _ = similarity(TEMPLATE, _turned(turned, size, angle, 30, 40))
    assert abs(alone) < size * (1.01 - 0.25 * (1 - math.cos(yaw)))


def test_landmarks_in_their_places_leave_the_picture_as_it_is() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    # Pillow cuts the fraction off instead of rounding, so a grey level may be lost.
    np.testing.assert_allclose(align(picture, TEMPLATE, CROP).astype(int), picture, atol=1)


def test_a_shift_by_whole_pixels_copies_them() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (200, 220, 3), np.uint8)
    crop = align(picture, TEMPLATE + np.array([70, 50], np.float32), CROP)
    np.testing.assert_allclose(crop.astype(int), picture[50:162, 70:182], atol=1)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.6, 9), st.floats(-0.6, 0.6))
def test_a_picture_is_sampled_where_the_landmarks_say(size: float, angle: float) -> None:
    rows, columns = np.mgrid[0:1400, 0:1400]
    # A ramp of one grey level a pixel tells where a sample was taken, up to multiples of 256.
    picture = np.stack([columns % 256, rows % 256, 0 * rows], axis=2).astype(np.uint8)
    crop = align(picture, _turned(TEMPLATE, size, angle, 300, 350).astype(np.float32), CROP)
    inner = np.array([(x, y) for x in range(10, 100, 9) for y in range(10, 100, 9)])
    expected = _turned(inner, size, angle, 300, 350)
    away = (np.abs(expected % 256 - 128) < 128 - 3 * size).all(axis=1)
    away &= (expected > 20).all(axis=1) & (expected < 1380).all(axis=1)
    found = np.array([crop[y, x, :2] for x, y in inner])
    # Rounded twice, by reduction and by Pillow's sampling, which cuts the fraction off.
    assert np.abs(found - expected % 256)[away].max(initial=0) < 1.6


def test_a_fine_pattern_does_not_alias_when_a_large_face_is_shrunk() -> None:
    picture = np.zeros((1200, 1200, 3), np.uint8)
    picture[::2] = 255  # stripes of one pixel: a shrunk face must be grey, not striped
    crop = align(picture, TEMPLATE * np.float32(8.3) + 100, CROP)
    assert np.abs(crop.astype(int) - 127).max() < 40


def test_what_lies_beyond_the_picture_is_black() -> None:
    picture = np.full((60, 60, 3), 200, np.uint8)
    assert align(picture, TEMPLATE + 1000, CROP).max() == 0
    assert align(picture, TEMPLATE - 40, CROP)[111, 111].max() == 0


def test_landmarks_in_one_point_give_a_crop_all_the_same() -> None:
    picture = np.full((60, 60, 3), 200, np.uint8)
    assert align(picture, np.full((5, 2), 30, np.float32), CROP).shape == (112, 112, 3)
