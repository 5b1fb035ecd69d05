"""The generated faces of the benches are as alike as the faces of people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import facegrep
from facegrep._bench.face_like import CHUNK_FACES, FaceLike

# Cosines of 1,191 photos of 200 people of LFW: mean, standard deviation, percentiles.
GENUINE_AT = (5, 25, 50, 75, 95)
IMPOSTOR_AT = (1, 5, 50, 95, 99, 99.9)
MEASURED = {
    128: {
        "genuine": (0.653, 0.108, 0.465, 0.588, 0.663, 0.728, 0.809),
        "impostor": (0.089, 0.089, -0.117, -0.057, 0.090, 0.236, 0.295, 0.361),
    },
    512: {
        "genuine": (0.654, 0.122, 0.436, 0.584, 0.668, 0.743, 0.823),
        "impostor": (0.008, 0.097, -0.213, -0.148, 0.006, 0.171, 0.247, 0.338),
    },
}


def cosines(
    vectors: NDArray[np.float32], people: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of all pairs: of one person, and of two."""
    first, second = np.triu_indices(len(vectors), 1)
    scores = (vectors @ vectors.T)[first, second]
    genuine = people[first] == people[second]
    return scores[genuine], scores[~genuine]


def figures(scores: NDArray[np.float32], percentiles: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array([scores.mean(), scores.std(), *np.percentile(scores, percentiles)])


@pytest.mark.parametrize("dim", [128, 512])
def test_generated_faces_are_as_alike_as_those_of_people(dim: int) -> None:
    population = FaceLike(dim)
    pairs = []
    for chunk in range(8):  # 1,024 people, 8 faces each
        random, people = population._people(chunk)
        faces = population._pictures(random, np.repeat(people, 8, axis=0))
        pairs.append(cosines(faces, np.arange(CHUNK_FACES) // 8))
    genuine, impostor = (np.concatenate(scores) for scores in zip(*pairs, strict=True))
    np.testing.assert_allclose(
        figures(genuine, GENUINE_AT), MEASURED[dim]["genuine"], rtol=0, atol=0.02
    )
    np.testing.assert_allclose(
        figures(impostor, IMPOSTOR_AT), MEASURED[dim]["impostor"], rtol=0, atol=0.012
    )


@pytest.mark.slow
def test_the_figures_that_the_faces_are_fitted_to_are_those_of_the_photos(
    shared_data: Path,
) -> None:
    pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install facegrep[cpu]")
    from facegrep.vision import FaceAnalyzer

    folders = sorted((shared_data / "faces" / "lfw").iterdir())[:40]
    photos = [
        (person, np.asarray(Image.open(path).convert("RGB")))
        for person, folder in enumerate(folders)
        for path in sorted(folder.glob("*.jpg"))
    ]
    analyses = FaceAnalyzer("sface", device="cpu").analyze([pixels for _, pixels in photos])
    found = [
        (person, analysis.faces[0].embedding)
        for (person, _), analysis in zip(photos, analyses, strict=True)
        if analysis.faces
    ]
    people = np.array([person for person, _ in found])
    genuine, impostor = cosines(np.stack([embedding for _, embedding in found]), people)
    # A fifth of the people: their means wander by 0.02, tails by more.
    assert figures(genuine, (50,)) == pytest.approx((0.653, 0.108, 0.663), abs=0.03)
    assert figures(impostor, (50, 99)) == pytest.approx((0.089, 0.089, 0.090, 0.295), abs=0.02)


def test_a_smaller_population_begins_a_larger_one() -> None:
    small, large = (np.concatenate(list(FaceLike(128).faces(n))) for n in (1500, 3000))
    assert small.shape == (1500, 128)
    np.testing.assert_array_equal(small, large[:1500])


def test_a_seed_gives_the_same_faces_again_and_another_seed_others() -> None:
    (first,), (again,), (other,) = (FaceLike(128, seed).faces(10) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_a_query_finds_its_person_and_is_not_in_the_library() -> None:
    population = FaceLike(128)
    faces = np.concatenate(list(population.faces(8 * CHUNK_FACES)))
    scores = population.queries(32, len(faces)) @ faces.T
    matches = (scores >= 0.48).sum(axis=1)
    assert np.median(matches) in (7, 8)  # of 8
    assert scores.max() < 0.99


def test_one_asset_in_four_shows_one_person_twice() -> None:
    faces = np.concatenate(list(FaceLike(128).faces(8 * CHUNK_FACES)))
    same = (faces[::2] * faces[1::2]).sum(axis=1) >= 0.42
    assert same.mean() == pytest.approx(0.25, abs=0.03)


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(facegrep.InvalidArgumentError, match=r"\[128, 512\], got 64"):
        FaceLike(64)
