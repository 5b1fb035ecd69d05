"""One moment of a video as a picture, to be shown and not kept."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final

from facegrep.video._decode import Video
from facegrep.video._limits import VideoLimits
from facegrep.video._pyav import pyav
from facegrep.video._upright import Converter, view_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facegrep.video._decode import TimedFrame
    from facegrep.video._source import VideoSource

_FRAMES_MAX: Final = 3000
"""From a key frame on: two minutes at 25 a second, where cameras have one every ten seconds."""
_BACK_MS: Final = (0, 3000, 30_000, None)
"""How long before the time it is sought for: streams without an index lead beyond. None: not."""
_NEAR_MS: Final = 500
"""A file whose index is wrong leads elsewhere: another moment is worse than none."""


def frame_at(source: VideoSource, time_ms: int) -> NDArray[np.uint8]:
    """Return what a video shows at a time: upright RGB (h, w, 3), with square pixels.

    Decodes from the key frame before it on. The frame is the last that begins at or before
    ``time_ms``, as `analyze_video` tells the time.

    Raises
    ------
    VideoError
        As of `analyze_video`; or nothing is shown near that time.
    MissingExtraError
        PyAV is not installed.
    """
    for back_ms in _BACK_MS:
        with Video(source, VideoLimits(), threads=2) as video:
            found = _decode(video, time_ms, back_ms)
            if found is not None and time_ms - _NEAR_MS <= found.time_ms <= time_ms:
                frame = found.frame
                view = view_of(frame, video.pixel_aspect, max(frame.width, frame.height))
                return Converter().square(frame, view)
            error = video.without_frames()
    raise error


def _decode(video: Video, time_ms: int, back_ms: int | None) -> TimedFrame | None:
    """Return the last frame at or before a time, of those from ``back_ms`` before it on."""
    if back_ms is not None:
        origin_us = round(video._origin() * 1_000_000)
        with contextlib.suppress(pyav().error.FFmpegError, OSError):  # else from the beginning
            video._container.seek(max(time_ms - back_ms, 0) * 1000 + origin_us, backward=True)
    last = None
    for timed in itertools.islice(video.frames(), _FRAMES_MAX):
        if timed.time_ms > time_ms:
            break
        last = timed
    return last
