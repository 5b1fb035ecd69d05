"""The faces of a library that nobody is recognised in, read in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.engine._fusion import quality_of
from facegrep.engine._roster import NOBODY
from facegrep.store import FACE_VALUES, now_ms, read_changed_assets, read_told, unpack_faces

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from numpy.typing import NDArray

    from facegrep.engine._roster import Roster
    from facegrep.store import ChangedAssets, LibraryRow

UNTOLD: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class UnknownFaces:
    """Faces in the order of ``(media id, face number)``, which no insertion changes.

    Attributes
    ----------
    media_ids
        Of the asset of each.
    keys
        int64 ``(n, 2)``: its ordinal, and the number of the face there.
    pictures
        ``(n,)``: faces of the same number are of one picture, and so of different people.
    told
        ``(n,)``: the person that users said it is, or `UNTOLD`.
    codes
        int8 ``(n, dim)``.
    values
        float32 ``(n, FACE_VALUES)``; nan where a face came as a vector.
    recognised
        How many faces are left out, since somebody is recognised in them.
    """

    media_ids: list[str]
    keys: NDArray[np.int64]
    pictures: NDArray[np.int64]
    told: NDArray[np.int64]
    codes: NDArray[np.int8] = field(repr=False)
    values: NDArray[np.float32] = field(repr=False)
    recognised: int

    def qualities(self) -> NDArray[np.float64]:
        """Return how much to make of each: float64 ``(n,)``, positive."""
        count = len(self.values)
        known = ~np.isnan(self.values[:, 0])
        some = quality_of(np.where(known[:, None], self.values, 0), count)
        return np.where(known, some, quality_of(None, count))


def read_unknown_faces(
    connection: sqlite3.Connection,
    folder: Path,
    library: LibraryRow,
    roster: Roster,
    threshold: float,
) -> UnknownFaces:
    """Read the faces of a library in which nobody of the roster reaches the threshold.

    Raises
    ------
    StoreCorrupt
        The library's vectors or rows are damaged.
    """
    told = read_told(connection, library)
    until_ms = library.expired_until_ms(now_ms())
    media_ids: list[str] = []
    is_picture: list[bool] = []
    keys = [np.zeros((0, 2), dtype=np.int64)]
    codes = [np.zeros((0, library.dim), dtype=np.int8)]
    values = [np.zeros((0, FACE_VALUES), dtype=np.float32)]
    digest = recognised = 0
    for changed in read_changed_assets(connection, folder, library, -1):
        digest += int(changed.hashes.sum())
        counts = changed.face_counts
        assets = np.repeat(np.arange(len(counts)), counts)
        face_nos = np.arange(len(assets)) - np.repeat(np.cumsum(counts) - counts, counts)
        there = changed.added_ms[assets] > until_ms
        who, _ = roster.assign(changed.codes, threshold)
        recognised += int((there & (who != NOBODY)).sum())
        kept = np.flatnonzero(there & (who == NOBODY))
        media_ids += [changed.media_ids[asset] for asset in assets[kept].tolist()]
        types = changed.columns["media_type"]
        is_picture += [types[asset] == "image" for asset in assets[kept].tolist()]
        keys.append(np.stack([changed.ordinals[assets], face_nos], axis=1)[kept])
        codes.append(changed.codes[kept])
        values.append(_values(library, changed)[kept])
    if (digest - library.digest) % 2**64:
        raise _corrupt(library, "its rows are not those that were written")
    key, numbers = np.concatenate(keys), np.arange(len(media_ids))
    # Code points are in the order of their UTF-8 bytes.
    order = sorted(numbers.tolist(), key=lambda row: (media_ids[row], key[row, 1]))
    key = key[order]
    return UnknownFaces(
        media_ids=[media_ids[row] for row in order],
        keys=key,
        # The one place that says which faces cannot be one person. A video shows somebody again and
        # again, so that two of its faces are two people only by their tracks, once it has any.
        pictures=np.where(np.array(is_picture, dtype=bool)[order], key[:, 0], -1 - numbers),
        told=np.array([told.get((o, f), UNTOLD) for o, f in key.tolist()], dtype=np.int64),
        codes=np.concatenate(codes)[order],
        values=np.concatenate(values)[order],
        recognised=recognised,
    )


def _values(library: LibraryRow, changed: ChangedAssets) -> NDArray[np.float32]:
    values = np.full((len(changed.codes), FACE_VALUES), np.nan, dtype=np.float32)
    end = 0
    for data, count in zip(changed.face_data, changed.face_counts.tolist(), strict=True):
        end += count
        try:
            faces = unpack_faces(data, count)
        except ValueError as error:
            raise _corrupt(library, str(error)) from error
        if faces is not None:
            values[end - count : end] = faces
    return values


def _corrupt(library: LibraryRow, reason: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"library {library.name!r}: {reason}; other libraries of the store are not affected",
        library=library.name,
    )
