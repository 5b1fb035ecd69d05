"""Where a JPEG picture ends, and whether it was made to keep its parser busy.

Phones append to the picture: a film of the moment, a second picture for HDR. What comes after its
end is not decoded, so it must not be counted either: in 8 MB of film the two bytes that begin a
scan turn up about 120 times by chance.
"""

from __future__ import annotations

import re
from typing import Final

# Encoders write about ten scans, and an embedded thumbnail brings its own. Each passes over every
# block: at 25 megapixels a scan of 42 bytes takes 40 ms, 32 MiB of them 9 hours.
_MAX_SCANS: Final = 64

# 32 MiB of the largest segments are 512. Pillow keeps each, and copies what it has of the EXIF for
# one more: 4 MB of the smallest took 3.3 s and 130 MB, and 3 MB of EXIF 3 s, growing by the square.
_MAX_SEGMENTS: Final = 4096

# Not stuffing, filling, nor those that stand alone: TEM, RST0 to RST7, SOI.
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_END: Final = 0xD9


class Busywork(Exception):
    """More of something than pictures have; the message names it."""


def first_picture(data: bytes) -> bytes:
    """Return the bytes of a JPEG file to the end of its (first) picture; all, if it has no end.

    Raises
    ------
    Busywork
        More scans or segments than pictures have.
    """
    picture = data[: _end(data)]
    # Counted as bytes, thumbnails and all: no parser can find more.
    if picture.count(b"\xff\xda") > _MAX_SCANS:
        raise Busywork(f"more than {_MAX_SCANS} JPEG scans")
    return picture


def _end(data: bytes) -> int:
    at = 0
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return len(data)
        at = found.end()
        if data[at - 1] == _END:
            return at
        at += int.from_bytes(data[at : at + 2])  # a segment's length counts itself
    raise Busywork(f"more than {_MAX_SEGMENTS} JPEG segments")
