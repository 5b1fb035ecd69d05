"""Videos in the model: their tracks follow from the numbers of their vectors, as all else does."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from tests.faults.world import Asset, code_of, vector_of
from tests.tracked import Vectors, track, video_faces, video_of

import facegrep
from facegrep.store import Columns, Job, NewAsset, Video, find_media, now_ms

_TRACK_MS = 1500


def film_of(asset: Asset) -> Video:
    """Two people by turns, each track with one of the asset's faces."""
    return video_of(
        *(
            track(place % 2, place * _TRACK_MS, place * _TRACK_MS + number % 1000 + 1, seed=number)
            for place, number in enumerate(asset.vectors)
        )
    )


def with_vectors(assets: Sequence[Asset]) -> list[tuple[Asset, Vectors]]:
    """Put each asset's vectors beside it."""
    return [(asset, np.array([vector_of(n) for n in asset.vectors])) for asset in assets]


def add_films(engine: facegrep.Engine, library: str, films: Sequence[tuple[Asset, Vectors]]) -> Any:
    """Add videos with their vectors in one commit, as an analysis would; no model is needed."""
    moment_ms = now_ms()
    rows = [
        NewAsset(
            media_id=asset.media_id,
            columns=Columns("video", None, asset.int_field1, asset.str_field1, None),
            utc_create_ms=moment_ms,
            utc_was_given=False,
            content_sha256=sha256(asset.media_id.encode()).digest(),
            title=asset.title,
            faces=video_faces(film_of(asset), vectors),
            job=Job("Success", moment_ms, moment_ms),
        )
        for asset, vectors in films
    ]
    store = engine._shared.store
    return store.add(engine._find(library), rows, stop_at_conflict=True, action="film")


def begin_to_fetch(engine: facegrep.Engine, library: str, media_id: str, part: bytes) -> None:
    """Store a video behind a URL, and a part of it in a file that stays open; needs no model."""
    moment_ms = now_ms()
    asset = NewAsset(
        media_id=media_id,
        columns=Columns("video", None, None, None, None),
        utc_create_ms=moment_ms,
        utc_was_given=False,
        content_sha256=b"",
        title="a title",
        source=f"https://videos.example/{media_id}",
        job=Job("Running", moment_ms),
    )
    store, row = engine._shared.store, engine._find(library)
    store.add(row, [asset], stop_at_conflict=True)
    with store.catalog.read() as connection:
        stored = find_media(connection, row, media_id)
    assert stored is not None
    store.fetched.create(row.id, stored.ordinal).write(part)


def film_differences(engine: facegrep.Engine, library: str, asset: Asset, query: int) -> list[str]:
    """Compare who is seen in a video, when and where, and how like."""
    film, wanted = film_of(asset), vector_of(query).astype(np.float64)
    found = engine.clips(library, asset.media_id, vector=vector_of(query), threshold=-1.0)
    said = f"{library}: {asset.media_id}"
    if (found.media_type, found.video) != ("video", film.facts):
        return [f"{said}: {found.media_type}, {found.video}"]
    if {clip.person for clip in found} != {one.person for one in film.tracks}:
        return [f"{said}: {len(found)} clips, expected others"]
    wrong = []
    for clip in found:
        mine = [
            (one, number)
            for one, number in zip(film.tracks, asset.vectors, strict=True)
            if one.person == clip.person
        ]
        codes = np.array([code_of(number) for _, number in mine], dtype=np.float64)
        norms = np.linalg.norm(codes, axis=1) * np.linalg.norm(wanted)
        if abs(float((codes @ wanted / norms).max()) - clip.score) > 2e-7:
            wrong.append(f"{said}: the score of person {clip.person} is wrong")
        seen = [
            (one.start_ms, one.end_ms, np.column_stack([one.times_ms, one.boxes]).tobytes())
            for one in clip.occurrences
        ]
        expected = [
            (one.start_ms, one.end_ms, one.samples.astype(np.int64).tobytes()) for one, _ in mine
        ]
        if seen != expected:
            wrong.append(f"{said}: person {clip.person} is seen at other times or places")
    return wrong
