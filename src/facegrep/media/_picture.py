"""A picture that can be trusted, and the one way to get it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np

from facegrep._errors import PictureError
from facegrep.media._decode import check_size, decode
from facegrep.media._source import MAX_BYTES, read_file, read_path, too_large

if TYPE_CHECKING:
    from numpy.typing import NDArray

PictureSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | NDArray[np.uint8]"
)


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """Pixels, and where they came from.

    Attributes
    ----------
    pixels
        uint8 ``(height, width, 3)``, RGB, upright (EXIF applied), C-contiguous, read-only.
    sha256
        32 bytes: of the encoded bytes, or of an array's shape and pixels.
    source
        Absolute path or URL from which it can be read again; ``None`` for bytes, arrays, file
        objects, ``data:`` URLs, and paths that are not valid Unicode.
    """

    pixels: NDArray[np.uint8]
    sha256: bytes
    source: str | None = None

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])


def read_picture(source: PictureSource) -> Picture:
    """Read a picture from wherever it is.

    Parameters
    ----------
    source
        A path (``str`` or ``os.PathLike``), the encoded bytes, a binary file object (read to its
        end, left open), or an RGB array: uint8 ``(height, width, 3)``.

    Returns
    -------
    Picture
        The first frame of an animation. Alpha lies over white, 16-bit samples are scaled, CMYK is
        converted without a colour profile.

    Raises
    ------
    PictureError
        Not JPEG, PNG, WebP, GIF or BMP; more than `MAX_BYTES` encoded, `MAX_PIXELS` or `MAX_SIDE`
        (all checked before decoding); empty, truncated, damaged; a path that is missing,
        unreadable or not a regular file; an array of another type or shape.

    Notes
    -----
    Thread-safe: no state of Pillow's or of the process is changed. Where the process sets Pillow's
    ``LOAD_TRUNCATED_IMAGES``, truncated pictures are read. At the pixel limit decoding takes,
    beyond the encoded bytes, 190 MB (PNG), 290 MB (progressive JPEG) or 380 MB (WebP), of which the
    75 MB of pixels stay. Pillow decodes without the GIL.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        data = read_path(path)
        return Picture(decode(data, repr(path)), _sha256(data), _absolute(path))
    if isinstance(source, (bytes, bytearray, memoryview)):
        if memoryview(source).nbytes > MAX_BYTES:
            raise PictureError(f"cannot read these bytes: {too_large()}", reason=too_large())
        data = bytes(source)
        return Picture(decode(data, "in these bytes"), _sha256(data))
    if callable(getattr(source, "read", None)):
        data = read_file(source, repr(source))
        return Picture(decode(data, "in this file object"), _sha256(data))
    got = type(source).__name__
    raise PictureError(
        f"expected a path, bytes, a binary file object or a uint8 RGB array, got {got}",
        reason=f"not a picture but {got}",
    )


def _from_array(pixels: NDArray[np.generic]) -> Picture:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise PictureError(
            "expected an RGB array, uint8 (height, width, 3), "
            f"got {pixels.dtype} {'x'.join(map(str, pixels.shape)) or 'scalar'}",
            reason="not a uint8 RGB array",
        )
    check_size(pixels.shape[1], pixels.shape[0], "in this array")
    own = np.array(pixels, dtype=np.uint8, order="C")  # a copy: the hash stays true
    own.flags.writeable = False
    digest = hashlib.sha256(f"RGB array {own.shape[0]} {own.shape[1]}\n".encode())
    digest.update(own.data)
    return Picture(own, digest.digest())


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _absolute(path: str) -> str | None:
    absolute = str(Path(path).absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:  # undecodable bytes of a file name; no store can hold them as text
        return None
    return absolute
