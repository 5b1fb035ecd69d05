"""Encoded bytes to upright RGB pixels, with every size checked before a pixel is decoded.

The first bytes choose the one parser that runs. Only five are reachable: TIFF, JPEG 2000, AVIF, PSD
and the others that Pillow has are large parsers of formats that cameras and the web do not need.

Pillow's own guard is not used: it lets 179 megapixels pass with a warning, and both its limit and
the warning filters belong to the whole process. Plugin classes are called instead of `Image.open`,
which would apply it; the sizes they find in the header are held to the limits below.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from facegrep._errors import PictureError
from facegrep._stages import stage
from facegrep.media._jpeg import Busywork, first_picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

FORMATS: Final = ("JPEG", "PNG", "WebP", "GIF", "BMP")
MAX_PIXELS: Final = 25_000_000
MAX_SIDE: Final = 16_384

# Pillow takes 168 bytes for each of 5, 1.1 GB for 32 MiB of them. By chance their first two bytes
# turn up 512 times in as much of anything.
_MAX_GIF_COMMENTS: Final = 4096

# Rows converted at a time: beside the decoded picture only the result is ever whole in memory.
_BAND_ROWS: Final = 256

_EXIF_ORIENTATION: Final = 0x0112


class _JpegFile(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Nobody asks, and on damaged EXIF it warns through the process's filters."""


def decode(data: bytes, name: str) -> NDArray[np.uint8]:
    """Pixels of an encoded picture: uint8 ``(height, width, 3)``, RGB, upright, read-only.

    The first frame of an animation; 16-bit samples scaled to 8; transparency over white.
    """
    with stage("decode"):
        return _decoded(data, name)


def _decoded(data: bytes, name: str) -> NDArray[np.uint8]:
    if not data:
        raise _refused(name, "empty")
    parser = _parser(data)
    if parser is None:
        raise _refused(name, f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture")
    if parser is GifImageFile and data.count(b"!\xfe") > _MAX_GIF_COMMENTS:
        raise _refused(name, f"more than {_MAX_GIF_COMMENTS} GIF comments")
    if parser is _JpegFile:
        try:
            data = first_picture(data)
        except Busywork as error:
            raise _refused(name, str(error)) from error
    try:
        image = parser(io.BytesIO(data))
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:  # from the parsers of GIF and WebP themselves
        raise _refused(name, size_refusal(0, 0)) from error
    except Exception as error:  # whatever hostile bytes make a parser raise
        raise _refused(name, "damaged header") from error
    with image:
        check_size(*image.size, name)
        try:
            return _upright_rgb(image)
        except MemoryError:
            raise
        except Exception as error:  # likewise
            raise _refused(name, "truncated or damaged") from error


def check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _refused(name, size_refusal(width, height))


def size_refusal(width: int, height: int) -> str:
    limits = f"more than {MAX_PIXELS // 1_000_000} megapixels or {MAX_SIDE} px a side"
    return f"{width} x {height} px, {limits}" if width else limits


def is_picture(head: bytes) -> bool:
    """Whether bytes begin as one of the formats that are read here."""
    return _parser(head) is not None


def _parser(data: bytes) -> Callable[[io.BytesIO], ImageFile] | None:
    if data.startswith(b"\xff\xd8\xff"):
        return _JpegFile
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GifImageFile
    if data.startswith(b"BM"):
        return BmpImageFile
    return None


def _upright_rgb(image: ImageFile) -> NDArray[np.uint8]:
    image.load()  # in a PNG the EXIF may come after the pixels
    orientation = _orientation(image.info.get("exif", b""))
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        pixels[top:bottom] = _rgb(image.crop((0, top, width, bottom)))
    image.close()  # its memory, before a turned copy takes as much
    upright = np.ascontiguousarray(_turned(pixels, orientation))
    upright.flags.writeable = False
    return upright


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey keeps the low byte, or clips.
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return grey.astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return np.asarray(image.convert("RGB"))


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: 5 to 8 swap rows and columns, then all mirror along some axes."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::across]


def _orientation(exif: bytes) -> int:
    """EXIF orientation 1..8; 1 where there is none, or where the block is damaged.

    Pillow's `getexif` reads every tag, warns through the process's filters, and raises seven types.
    """
    tiff = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        for entry in range(min(count, 256)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, offset + 2 + 12 * entry)
            if tag == _EXIF_ORIENTATION and kind == 3:
                return int(value) if value <= 8 else 1
    except struct.error:
        pass
    return 1


def _refused(name: str, reason: str) -> PictureError:
    return PictureError(f"cannot read the picture {name}: {reason}", reason=reason)
