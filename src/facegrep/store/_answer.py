"""The frozen matches of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The frozen matches of a search, best first: what never changes, whatever is written.

    Attributes
    ----------
    library_id, seq
        The library's incarnation, and how far its assets had got when it was searched.
    ordinals
        int64 ``(n,)``: the assets, by their number in the library.
    scores
        float32 ``(n,)``, cosines.
    faces
        int32 ``(n,)``: ``face_no`` of each asset's best face.
    total
        Assets that match; more than ``n`` only without a threshold.
    matching
        int64 ``(total,)``, in no order: the assets that match, where there are more than ``n``.
    added_ms
        int64, of each of `matching`, else of `ordinals`: when it was added, which is when its time
        began. ``None`` where nothing expired when it was searched.
    """

    library_id: int
    seq: int
    ordinals: NDArray[np.int64]
    scores: NDArray[np.float32]
    faces: NDArray[np.int32]
    total: int
    matching: NDArray[np.int64] | None = None
    added_ms: NDArray[np.int64] | None = None
