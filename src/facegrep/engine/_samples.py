"""Which faces of a person become the samples by which that person is recognised."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.engine._fusion import quality_of
from facegrep.engine._roster import units_of
from facegrep.store import FACE_VALUES, NewSample, unpack_faces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facegrep.store import LibraryRow, MediaRow


def choose_samples(
    library: LibraryRow,
    rows: Sequence[MediaRow],
    face_nos: Sequence[int],
    codes: Sequence[NDArray[np.int8]],
    most: int,
) -> list[NewSample]:
    """Choose among faces of one person, given by their assets, numbers there, and assets' codes."""
    own = np.stack([of_asset[face] for of_asset, face in zip(codes, face_nos, strict=True)])
    values = [_values(library, row, face) for row, face in zip(rows, face_nos, strict=True)]
    qualities = np.concatenate([quality_of(some, 1) for some in values])
    samples: dict[bytes, NewSample] = {}
    for number in choose(units_of(own).astype(np.float64), qualities, most):
        row, code = rows[number], own[number]
        is_whole = row.media_type == "image"  # of which a person has one face, and one sample
        content = row.content_sha256 if is_whole else sha256(code.tobytes()).digest()
        sample = NewSample(code, content, row.source, values[number], row.precision)
        samples.setdefault(content, sample)
    return list(samples.values())


def choose(units: NDArray[np.float64], qualities: NDArray[np.float64], most: int) -> list[int]:
    """Choose faces of one person, by number: good, typical, and unlike each other.

    First the best of those that are typical; then, one by one, the best of those that are least
    like any chosen one. A face that is less like the mean than the middle one is not taken while
    there are others: it is more often somebody else's.
    """
    mean = units.sum(axis=0)
    typical = units @ mean / max(float(np.sqrt(mean @ mean)), 1e-9)
    worth = qualities * np.maximum(typical, 1e-3)
    left = np.flatnonzero(typical >= np.median(typical) if len(units) > 2 * most else typical >= -1)
    chosen = [int(left[np.argmax(worth[left])])]
    alike = units @ units[chosen[0]]
    while len(chosen) < min(most, len(left)):
        gain = worth[left] * (1 - alike[left])
        gain[np.isin(left, chosen)] = -np.inf
        best = int(left[np.argmax(gain)])
        chosen.append(best)
        alike = np.maximum(alike, units @ units[best])
    return chosen


def _values(library: LibraryRow, row: MediaRow, face_no: int) -> NDArray[np.float32] | None:
    try:
        faces = unpack_faces(row.face_data, row.face_count)
    except ValueError as error:
        what = f"library {library.name!r}, media {row.media_id!r}: {error}"
        raise StoreCorrupt(what, library=library.name) from error
    return None if faces is None else faces[face_no].reshape(1, FACE_VALUES)
