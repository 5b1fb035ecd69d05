"""When somebody is seen in a video: as a table, as JSON, and as what the page shows of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from facegrep._errors import MissingExtraError, NotFoundError, VideoError
from facegrep.cli._output import counted, show_table
from facegrep.cli._page import Photo, Timeline, clock
from facegrep.cli._thumbnail import thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegrep import Engine
    from facegrep.engine import Clip, ClipResult, Media, SearchResult, VideoFacts

_LISTED: Final = 5
"""Appearances in a cell of the table; the others are counted."""


def find_clips(engine: Engine, library: str, result: SearchResult) -> dict[str, ClipResult]:
    """Find when the person is seen in each of a page's hits, but for those deleted meanwhile."""
    found = {}
    for hit in result:
        try:
            found[hit.media_id] = engine.clips(library, hit.media_id, result)
        except NotFoundError:
            continue
    return found


def show_clips(found: dict[str, ClipResult]) -> None:
    """Print the appearances in videos as a table."""
    rows = [
        (media_id, clip.name, f"{clip.score:.4f}", _appearances(clip))
        for media_id, clips in found.items()
        for clip in clips
        if clips.media_type == "video"
    ]
    if rows:
        columns = ["media", "person", "score", "seen"]
        title = f"seen in {counted(len({row[0] for row in rows}), 'video', 'videos')}"
        show_table(columns, rows, title=title, numbers=frozenset({"score"}))


def clips_json(clips: ClipResult) -> list[dict[str, Any]]:
    """Give clips as plain values; boxes are px of the upright original."""
    return [
        {
            "person": clip.person,
            "score": clip.score,
            "probability": clip.probability,
            "entity_id": clip.entity_id,
            "name": clip.name,
            "time_ms": clip.time_ms,
            "box": clip.box and clip.box._asdict(),
            "occurrences": [
                {
                    "start_ms": seen.start_ms,
                    "end_ms": seen.end_ms,
                    "boxes": [
                        dict(zip(("time_ms", "x", "y", "width", "height"), row, strict=True))
                        for row in zip(seen.times_ms.tolist(), *seen.boxes.T.tolist(), strict=True)
                    ],
                }
                for seen in clip.occurrences
            ],
        }
        for clip in clips
    ]


def video_photo(
    photo: Photo, media: Media, clips: Sequence[Clip], video: VideoFacts | None
) -> Photo:
    """Show a video by the best face of its first clip, cut from it now, and by all times."""
    lines = () if video is None else tuple(_timeline(clip, video) for clip in clips)
    photo = dataclasses.replace(photo, timelines=lines)

    def without(note: str) -> Photo:
        return dataclasses.replace(photo, note=note)

    path = media.source
    if path is None or not Path(path).is_absolute():
        return without("This video is not known as a file of this machine.")
    best = clips[0] if clips else None
    if best is None or best.time_ms is None or best.box is None or video is None:
        return without("It is not known when the person is seen in this video.")
    from facegrep.engine._videos import VideoContent
    from facegrep.video._frame import frame_at

    try:
        if VideoContent.read(path).sha256.hex() != media.content_sha256:
            return without("This file has changed since it was added.")
        pixels = frame_at(path, best.time_ms)
    except VideoError as error:
        return without(f"This video cannot be shown: {error.reason}.")
    except MissingExtraError as error:
        return without(f"This video cannot be shown: {error}.")
    box = _in_picture(best.box, video, pixels.shape)
    return dataclasses.replace(photo, thumbnail=thumbnail(pixels, box))


def _in_picture(
    box: tuple[float, float, float, float], video: VideoFacts, shape: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """Bring a box from the video's stored pixels to those of its picture, which are square."""
    across, down = shape[1] / video.width, shape[0] / video.height
    x, y, width, height = box
    return x * across, y * down, width * across, height * down


def _timeline(clip: Clip, video: VideoFacts) -> Timeline:
    return Timeline(
        duration_ms=video.duration_ms,
        moment_ms=clip.time_ms or 0,
        spans_ms=tuple((seen.start_ms, seen.end_ms) for seen in clip.occurrences),
        name=clip.name or "",
    )


def _appearances(clip: Clip) -> str:
    shown: Sequence[str] = [
        f"{clock(seen.start_ms)}-{clock(seen.end_ms)}" for seen in clip.occurrences[:_LISTED]
    ]
    more = len(clip.occurrences) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
