"""The faces of a library that nobody is recognised in, read in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep._errors import StoreCorrupt
from facegrep.engine._fusion import quality_of
from facegrep.engine._roster import NOBODY
from facegrep.store import (
    FACE_VALUES,
    find_media,
    now_ms,
    read_changed_assets,
    read_told,
    read_video,
    unpack_faces,
)
from facegrep.video._persons import BLURRED, seen_at_once

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
        ``(n,)``: faces of the same number from 0 are of one picture, and so of different people;
        those of the same one below 0 are of one track of a video.
    at_once
        By the number of a track those of others that share a frame with it: different people.
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
    at_once: dict[int, frozenset[int]] = field(repr=False)
    told: NDArray[np.int64]
    codes: NDArray[np.int8] = field(repr=False)
    values: NDArray[np.float32] = field(repr=False)
    recognised: int

    def are_clear(self) -> NDArray[np.bool_]:
        """Say of which faces can be told whose they are: all but those that a video shows badly.

        Of photos blurred as much, or as dark, one pair of strangers in 60 to 1000 reaches the
        threshold for one in 10,000, and a video has its dark faces by the dozen.
        """
        is_poor = self.values[:, 4] < BLURRED  # nan, of vectors, is not
        return np.asarray(~is_poor | (self.told != UNTOLD))

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
    media_ids = [media_ids[row] for row in order]
    whole = np.array(is_picture, dtype=bool)[order]
    pictures, at_once = _seen_where(connection, library, media_ids, key, whole)
    return UnknownFaces(
        media_ids=media_ids,
        keys=key,
        pictures=pictures,
        at_once=at_once,
        told=np.array([told.get((o, f), UNTOLD) for o, f in key.tolist()], dtype=np.int64),
        codes=np.concatenate(codes)[order],
        values=np.concatenate(values)[order],
        recognised=recognised,
    )


def _seen_where(
    connection: sqlite3.Connection,
    library: LibraryRow,
    media_ids: list[str],
    key: NDArray[np.int64],
    is_picture: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], dict[int, frozenset[int]]]:
    """Return `UnknownFaces.pictures` and `UnknownFaces.at_once`.

    The one place that says which faces cannot be one person. A video shows somebody again and
    again, so two of its faces are two people only where their tracks say so.
    """
    # Below 0 the number of a face, or of the first one of its track.
    pictures = np.where(is_picture, key[:, 0], -1 - np.arange(len(key)))
    of_video: dict[str, list[int]] = {}
    for row in np.flatnonzero(~is_picture).tolist():
        of_video.setdefault(media_ids[row], []).append(row)
    at_once: dict[int, frozenset[int]] = {}
    for media_id, rows in of_video.items():
        media = find_media(connection, library, media_id) if len(rows) > 1 else None
        video = None if media is None else read_video(connection, library, media)
        if video is None:  # vectors have no tracks
            continue
        ends = np.cumsum([len(track.face_times_ms) for track in video.tracks])
        tracks, first, number = np.unique(
            np.searchsorted(ends, key[rows, 1], side="right"),
            return_index=True,
            return_inverse=True,
        )
        names = pictures[rows][first]
        pictures[rows] = names[number]
        others: dict[int, set[int]] = {}
        samples = [video.tracks[track].samples[:, 0] for track in tracks.tolist()]
        for pair in seen_at_once(samples):
            one, other = names[list(pair)].tolist()
            others.setdefault(one, set()).add(other)
            others.setdefault(other, set()).add(one)
        at_once |= {name: frozenset(some) for name, some in others.items()}
    return pictures, at_once


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
