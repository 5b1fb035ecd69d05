"""Videos with tracks, of vectors that are given: what is stored of them needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

import facegrep
from facegrep.store import (
    FACE_VALUES,
    Columns,
    Faces,
    Job,
    LibraryRow,
    NewAsset,
    Store,
    Video,
    VideoFacts,
    VideoTrack,
    find_media,
    now_ms,
    read_video,
)

Vectors = NDArray[np.float32]


def track(
    person: int, start_ms: int, end_ms: int, *, faces: int = 1, samples: int = 4, seed: int = 0
) -> VideoTrack:
    """A track, seen at so many moments, of which the first show its stored faces."""
    chance = np.random.default_rng([seed, person, start_ms])
    times_ms = np.linspace(start_ms, end_ms, samples).astype(np.int32)
    boxes = chance.integers(1, 1000, (samples, 4))
    rows = np.column_stack([times_ms, boxes]).astype(np.int32)
    return VideoTrack(person, start_ms, end_ms, rows, times_ms[:faces])


def video_of(*tracks: VideoTrack) -> Video:
    """A video of these tracks, as long as the last of them."""
    end_ms = max((one.end_ms for one in tracks), default=1000)
    people = len({one.person for one in tracks})
    return Video(VideoFacts(1280, 720, end_ms, end_ms, None, people), tracks)


def video_faces(video: Video, vectors: Vectors) -> Faces:
    """Its faces, as an analysis gives them: vectors in the order of the tracks."""
    values = np.zeros((len(vectors), FACE_VALUES), dtype=np.float32)
    boxes = [one.samples[: len(one.face_times_ms), 1:] for one in video.tracks]
    if boxes:
        values[:, :4] = np.concatenate(boxes)
    values[:, 4] = 0.9
    codes = facegrep._core.quantize(vectors) if len(vectors) else np.zeros(vectors.shape, np.int8)
    return Faces(codes, values, "fp32", video)


def video_asset(media_id: str, video: Video, vectors: Vectors, **columns: str) -> NewAsset:
    """An analysed video, ready for `Store.add`."""
    moment_ms = now_ms()
    return NewAsset(
        media_id=media_id,
        columns=Columns("video", columns.get("namespace"), None, None, None),
        utc_create_ms=moment_ms,
        utc_was_given=False,
        content_sha256=sha256(media_id.encode()).digest(),
        source=columns.get("source"),
        faces=video_faces(video, vectors),
        job=Job("Success", moment_ms, moment_ms),
    )


def add_videos(
    engine: facegrep.Engine, library: str, assets: Sequence[NewAsset], actor: str | None = None
) -> None:
    """Store analysed videos, each new."""
    store, row = store_of(engine), engine._find(library)
    assert store.add(row, assets, stop_at_conflict=True, actor=actor) == [True] * len(assets)


def store_of(engine: facegrep.Engine) -> Store:
    return engine._shared.store


def video_in(engine: facegrep.Engine, library: str, media_id: str) -> Video | None:
    """What is stored of an asset as a video."""

    def read(connection: object, row: LibraryRow) -> Video | None:
        found = find_media(connection, row, media_id)  # type: ignore[arg-type]
        assert found is not None
        return read_video(connection, row, found)  # type: ignore[arg-type]

    return store_of(engine).read_library(engine.account, library, read)


def require_same(one: Video | None, other: Video) -> None:
    assert one is not None
    assert one.facts == other.facts
    assert len(one.tracks) == len(other.tracks)
    for mine, theirs in zip(one.tracks, other.tracks, strict=True):
        assert (mine.person, mine.start_ms, mine.end_ms) == (
            theirs.person,
            theirs.start_ms,
            theirs.end_ms,
        )
        np.testing.assert_array_equal(mine.samples, theirs.samples)
        np.testing.assert_array_equal(mine.face_times_ms, theirs.face_times_ms)
