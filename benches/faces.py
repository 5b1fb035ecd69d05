"""The generated faces on disk: made once, used by every part of that dimension and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facegrep._bench.face_like import FaceLike
from facegrep._bench.library import Library

QUERIES = 64


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
