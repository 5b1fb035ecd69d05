"""Fuzz target: any bytes as a picture, and as the URL that carries one.

Only PictureError may leave, and no more pixels than are allowed. The limits are lowered, so that a
picture within them is decoded in milliseconds, and libFuzzer's limit on memory is near.
"""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from PIL import Image
from tests.fuzz import target

from facegrep._errors import PictureError
from facegrep.media import _decode, begins_as_picture, kind_of, read_data_url, read_picture

AIMS: Final = (
    "facegrep.media._data_url",
    "facegrep.media._decode",
    "facegrep.media._jpeg",
    "facegrep.media._kind",
    "facegrep.media._picture",
)
# A decoder takes a few times what the pixels do; Python and numpy take 100 MB.
OPTIONS: Final = ("-max_len=16384", "-rss_limit_mb=300")
MAX_PIXELS: Final = 1_000_000
MAX_SIDE: Final = 4096
WORDS: Final = (
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"iCCP", b"acTL", b"fcTL", b"fdAT"),
    *(
        b"\xff\xd8\xff",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\xda",
        b"\xff\xdd",
        b"\xff\xe1",
        b"Exif\0\0",
    ),
    *(b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"EXIF"),
    *(b"GIF87a", b"GIF89a", b"!\xf9\x04", b"!\xfe", b"!\xff\x0bNETSCAPE2.0", b"BM"),
    *(b"II*\0", b"MM\0*", b"\x12\x01\x03\0\x01\0\0\0", b"data:", b";base64,"),
    *(struct.pack(f"{order}I", 2**bits) for order in "<>" for bits in (14, 15, 16, 31)),
)
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def fuzz_one(data: bytes) -> None:
    """Read one picture: a byte whose first bit says whether a PNG's checksums are made right."""
    picture = data[1:]
    if sum(data[:1]) & 1 and picture.startswith(_PNG):
        picture = _with_checksums(picture)
    kind = kind_of(picture)
    is_picture = begins_as_picture(picture)
    # The two bytes that a BMP begins with may be the size of a video's box.
    assert kind == "image" or not is_picture or picture.startswith(b"BM")
    _require_read_or_refused(picture, is_picture)
    url = "data:image/x;base64," + base64.b64encode(picture).decode()
    assert read_data_url(url) == picture
    with contextlib.suppress(PictureError):
        read_data_url(data.decode("utf-8", "surrogateescape"))
        read_data_url("data:" + data.decode("utf-8", "surrogateescape"))


def _require_read_or_refused(data: bytes, is_picture: bool) -> None:
    limits: Any = _decode
    limits.MAX_PIXELS, limits.MAX_SIDE = MAX_PIXELS, MAX_SIDE
    try:
        read = read_picture(data)
    except PictureError as error:
        read, reason = None, error.reason
    finally:
        limits.MAX_PIXELS, limits.MAX_SIDE = _LIMITS
    if read is None:
        assert reason.isprintable()
        return
    assert is_picture
    assert read.width * read.height <= MAX_PIXELS
    assert max(read.width, read.height) <= MAX_SIDE
    assert read.pixels.shape == (read.height, read.width, 3)
    assert read.pixels.dtype == np.uint8
    assert read.pixels.flags.c_contiguous
    assert not read.pixels.flags.writeable
    assert len(read.sha256) == 32


_LIMITS: Final = (_decode.MAX_PIXELS, _decode.MAX_SIDE)


def _with_checksums(png: bytes) -> bytes:
    """Make the CRC of every chunk right; else no change gets past the first one."""
    whole = bytearray(png)
    at = len(_PNG)
    while at + 12 <= len(whole):
        (length,) = struct.unpack_from(">I", whole, at)
        end = at + 8 + length
        if end + 4 > len(whole):
            break
        struct.pack_into(">I", whole, end, zlib.crc32(whole[at + 4 : end]))
        at = end + 4
    return bytes(whole)


def seeds() -> Iterator[bytes]:
    """Small pictures of every format, in the modes that decoders treat apart."""
    chance = np.random.default_rng(1)
    rgb = Image.fromarray(chance.integers(0, 256, (12, 16, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = {"exif": exif.tobytes()}
    grey16 = Image.fromarray(chance.integers(0, 2**16, (12, 16), np.uint16))
    ways: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgb, "JPEG", turned),
        (rgb, "JPEG", {"progressive": True}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb.convert("L"), "JPEG", {"comment": b"comment"}),
        *((rgb.convert(mode), "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        (grey16, "PNG", turned),
        (rgb.convert("P"), "PNG", {"transparency": 1}),
        (rgb, "PNG", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        (rgb, "WEBP", turned),
        (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
        (rgb, "WEBP", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        (rgb.convert("P"), "GIF", {"comment": b"comment", "transparency": 3}),
        (rgb, "GIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        *((rgb.convert(mode), "BMP", {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    ]
    for image, kind, options in ways:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        yield b"\x01" + buffer.getvalue()
    for head in (b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypisom", b"RIFF\0\0\0\0AVI ", b"G" * 200):
        yield b"\0" + head
    yield b"data:;base64,AAAA"


if __name__ == "__main__":
    target.run(fuzz_one, AIMS)
