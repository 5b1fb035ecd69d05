"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from facegrep.vision import Face

# Some tests load onnxruntime themselves, before facegrep does and switches its telemetry off.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos and clips that may not be part of the project."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FACEGREP_TEST_DATA") or default)
    if not folder.is_dir():
        pytest.skip("the photos that may not be committed are not here (FACEGREP_TEST_DATA)")
    return folder


class LfwFaces(NamedTuple):
    """Four photos of each of 200 people, and the largest face of each."""

    photos: list[Path]
    people: NDArray[np.intp]
    faces: list[Face]

    @property
    def embeddings(self) -> NDArray[np.float32]:
        return np.stack([face.embedding for face in self.faces])


@pytest.fixture(scope="session")
def lfw_faces(shared_data: Path) -> LfwFaces:
    """Embedded once for all tests that want them: 20 s."""
    from facegrep.vision import FaceAnalyzer

    folders = sorted((shared_data / "faces" / "lfw").iterdir())
    photos = [path for folder in folders for path in sorted(folder.glob("*.jpg"))[:4]]
    owners = np.array([path.parent.name for path in photos])
    analyzer = FaceAnalyzer(device="cpu")
    faces: list[Face] = []
    for start in range(0, len(photos), 64):
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in photos[start:][:64]]
        faces += [analysis.faces[0] for analysis in analyzer.analyze(pictures)]
    return LfwFaces(photos, np.unique(owners, return_inverse=True)[1], faces)
