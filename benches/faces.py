"""The faces on disk: made once, used by every part of that dimension and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from facegrep._bench.face_like import FaceLike
from facegrep._bench.library import Library
from facegrep.vision import FaceAnalyzer

QUERIES = 64
_PHOTOS_AT_ONCE = 64


def load_library(folder: Path, dim: int, faces: int) -> Library:
    """`faces` faces in pairs per asset. 10 s a million at 128 dimensions, a minute at 512."""
    folder.mkdir(parents=True, exist_ok=True)
    population = FaceLike(dim)
    path = folder / f"face-like-{dim}-{faces}.npy"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        rows = np.lib.format.open_memmap(unfinished, "w+", np.float32, (faces, dim))
        start = 0
        for chunk in population.faces(faces):
            rows[start : start + len(chunk)] = chunk
            start += len(chunk)
        rows.flush()
        del rows
        unfinished.rename(path)
    queries = population.queries(QUERIES, faces)
    checked = 8 if faces <= 1_000_000 else 4
    return Library(np.load(path), np.arange(faces) // 2, queries, checked)


def load_photos(folder: Path, photos: Path) -> Library:
    """The largest face of each photo below ``photos/<person>/``, embedded by SFace; one an asset.

    A photo of each of 64 people who have several is a query, and is not stored. 20 s for 1,191
    photos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(photos.glob("*/*.jpg"))
    cache = folder / "photos.npz"
    names = np.array([f"{path.parent.name}/{path.name}" for path in paths])
    if not cache.exists() or not np.array_equal(np.load(cache)["names"], names):
        analyzer = FaceAnalyzer("sface", device="cpu")
        found = []
        for start in range(0, len(paths), _PHOTOS_AT_ONCE):
            some = [
                np.asarray(Image.open(path).convert("RGB"))
                for path in paths[start : start + _PHOTOS_AT_ONCE]
            ]
            found += [analysis.faces[:1] for analysis in analyzer.analyze(some)]
        has_face = [bool(faces) for faces in found]
        vectors = np.stack([face.embedding for faces in found for face in faces])
        np.savez(cache, names=names, has_face=has_face, vectors=vectors)
    stored = np.load(cache)
    vectors = stored["vectors"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = np.array([path.parent.name for path in paths])[stored["has_face"]]
    _, first, count = np.unique(people, return_index=True, return_counts=True)
    queries = first[count > 1][:QUERIES]
    kept = np.delete(np.arange(len(vectors)), queries)
    return Library(vectors[kept], np.arange(len(kept)), vectors[queries], 8)
