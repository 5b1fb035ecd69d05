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
        ``(n,)``: faces of the same number are of one picture, and so of different people. Each
        face of a video has a number of its own, below 0.
    at_once
        By such a number those of the video's other faces whose tracks share a frame with its track.
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
    at_once: dict[int, set[int]] = field(repr=False)
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
    # The one place that says which faces cannot be one person. A video shows somebody again and
    # again, so two of its faces are two people only where their tracks say so.
    pictures = np.where(np.array(is_picture, dtype=bool)[order], key[:, 0], -1 - numbers)
    return UnknownFaces(
        media_ids=media_ids,
        keys=key,
        pictures=pictures,
        at_once=_seen_at_once(connection, library, media_ids, key[:, 1], pictures),
        told=np.array([told.get((o, f), UNTOLD) for o, f in key.tolist()], dtype=np.int64),
        codes=np.concatenate(codes)[order],
        values=np.concatenate(values)[order],
        recognised=recognised,
    )


def _seen_at_once(
    connection: sqlite3.Connection,
    library: LibraryRow,
    media_ids: list[str],
    face_nos: NDArray[np.int64],
    pictures: NDArray[np.int64],
) -> dict[int, set[int]]:
    of_video: dict[str, list[int]] = {}
    for row in np.flatnonzero(pictures < 0).tolist():
        of_video.setdefault(media_ids[row], []).append(row)
    found: dict[int, set[int]] = {}
    for media_id, rows in of_video.items():
        media = find_media(connection, library, media_id) if len(rows) > 1 else None
        video = None if media is None else read_video(connection, library, media)
        if video is None:  # vectors have no tracks
            continue
        ends = np.cumsum([len(track.face_times_ms) for track in video.tracks])
        of_track: dict[int, set[int]] = {}
        for row, track in zip(
            rows, np.searchsorted(ends, face_nos[rows], side="right").tolist(), strict=True
        ):
            of_track.setdefault(track, set()).add(int(pictures[row]))
        tracks = list(of_track)
        for one, other in seen_at_once([video.tracks[track].samples[:, 0] for track in tracks]):
            mine, theirs = of_track[tracks[one]], of_track[tracks[other]]
            for some, others in ((mine, theirs), (theirs, mine)):
                for picture in some:
                    found.setdefault(picture, set()).update(others)
    return found


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
