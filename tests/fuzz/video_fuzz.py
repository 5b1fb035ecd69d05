"""Fuzz target: any bytes as a video, up to its upright frames; only VideoError may leave.

What decodes is PyAV's FFmpeg, whose own code is not followed: this is about which formats, sizes,
lengths and times get through to us, and what of its errors. The limits are lowered, so that a video
within them is decoded in milliseconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
from tests.fuzz import target
from tests.video_maker import encode

from facegrep._errors import VideoError
from facegrep.media import kind_of
from facegrep.video._decode import Video
from facegrep.video._limits import VideoLimits
from facegrep.video._upright import Converter, view_of

AIMS: Final = (
    "facegrep.media._kind",
    "facegrep.video._clock",
    "facegrep.video._decode",
    "facegrep.video._source",
    "facegrep.video._upright",
)
OPTIONS: Final = ("-max_len=16384", "-rss_limit_mb=600")
LIMITS: Final = VideoLimits(duration_max_ms=2000, pixels_max=64 * 64, streams_max=3)
WORDS: Final = (
    *(b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"stbl"),
    *(b"stsd", b"stts", b"stsz", b"stco", b"ctts", b"mdat", b"avc1", b"mp4v", b"dref", b"url "),
    *(b"\x1a\x45\xdf\xa3", b"RIFF", b"AVI ", b"movi", b"strh", b"strf", b"OggS", b"FLV\x01"),
    *(b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"#EXTM3U\n", b"ffconcat version 1.0\n"),
)
_FRAMES_MAX: Final = 100
_SIDE_PX: Final = 32


def fuzz_one(data: bytes) -> None:
    """Decode one video; its frames are within the limits, and their times go forward."""
    kind_of(data)
    last_ms = 0
    try:
        with Video(data, LIMITS, threads=1) as video:
            for frame, time_ms in itertools.islice(video.frames(), _FRAMES_MAX):
                assert last_ms <= time_ms < LIMITS.duration_max_ms
                assert frame.width * frame.height <= LIMITS.pixels_max
                view = view_of(frame, video.pixel_aspect, _SIDE_PX)
                pixels = Converter().square(frame, view)
                assert pixels.dtype == np.uint8
                assert pixels.ndim == 3
                last_ms = time_ms
            assert video.duration_ms is None or video.duration_ms >= 0
            assert video.truncated is None or video.truncated.isprintable()
    except VideoError as error:
        reason = error.reason
    else:
        return
    assert reason.isprintable()


def seeds() -> Iterator[bytes]:
    """Videos of a few small frames, in the containers and codings that people have."""
    chance = np.random.default_rng(1)
    frames = [chance.integers(0, 256, (32, 32, 3), np.uint8) // 64 * 64 for _ in range(3)]
    for kind, codec in (
        ("mp4", "libx264"),
        ("mov", "mpeg4"),
        ("matroska", "libx264"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("mpegts", "mpeg2video"),
        ("flv", "flv"),
    ):
        yield encode(frames, kind=kind, codec=codec)
    yield encode(frames, kind="mp4", codec="mpeg4", times_ms=(0, 400, 1900))
    yield encode(frames, kind="mp4", codec="mpeg4", sound_s=0.1)
    yield encode((), kind="mp4", sound_s=0.1)


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
