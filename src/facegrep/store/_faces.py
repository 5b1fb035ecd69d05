"""What is known of an asset's faces besides their vectors, packed into one blob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Little-endian float32 a face: x, y, width, height (px), the detector's score, and five landmarks
# (x, y). 60 bytes; float32 holds 1/512 px at 16384 px.
FACE_VALUES: Final = 15
FACE_BYTES: Final = 4 * FACE_VALUES


def pack_faces(values: NDArray[np.float32]) -> bytes:
    """Pack float32 ``(n, FACE_VALUES)``."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def unpack_faces(data: bytes | None, count: int) -> NDArray[np.float32] | None:
    """Unpack what `pack_faces` packed; ``None`` for faces that came as vectors.

    Raises
    ------
    ValueError
        The blob does not hold `count` faces.
    """
    if data is None:
        return None
    return np.frombuffer(data, dtype="<f4").reshape(count, FACE_VALUES).astype(np.float32)
