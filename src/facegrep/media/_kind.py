"""Picture or video? The first bytes say it; whether it can be read is said by who reads it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Literal

from facegrep.media._decode import is_picture

if TYPE_CHECKING:
    from facegrep.media._picture import PictureSource

_HEAD_BYTES: Final = 200
_TS_PACKET_BYTES: Final = 188
_M2TS_EXTRA_BYTES: Final = 4

# Boxes that an ISO file (MP4, MOV, 3GP) begins with, and brands of pictures in such files.
_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PICTURE_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
_BEGINNINGS: Final = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"OggS",
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x06\x0e\x2b\x34",  # MXF
)


def kind_of(source: PictureSource | object) -> Literal["image", "video"]:
    """Say whether a path or bytes begin as videos do; anything else counts as a picture.

    A file that cannot be opened is a picture: its reader says what is wrong.
    """
    return "video" if _is_video(_head(source)) else "image"


def begins_as_picture(source: PictureSource | object) -> bool:
    """Say whether a path or bytes begin as one of the pictures that are read here."""
    return is_picture(_head(source))


def _head(source: object) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[:_HEAD_BYTES])
    return _head_of(os.fsdecode(source)) if isinstance(source, (str, os.PathLike)) else b""


def _head_of(path: str) -> bytes:
    try:
        # O_NONBLOCK: a pipe without a writer is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, _HEAD_BYTES) if is_file else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _is_video(head: bytes) -> bool:
    # A GIF begins with the byte of a transport stream. Of a BMP only two bytes tell, and they may
    # be the size of a box.
    if is_picture(head) and not head.startswith(b"BM"):
        return False
    if head[4:8] in _BOXES:
        return head[8:12] not in _PICTURE_BRANDS or head[4:8] != b"ftyp"
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head.startswith(_BEGINNINGS):
        return True
    return any(
        len(head) > start + _TS_PACKET_BYTES
        and head[start] == head[start + _TS_PACKET_BYTES] == ord("G")
        for start in (0, _M2TS_EXTRA_BYTES)
    )
