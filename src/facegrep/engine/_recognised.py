"""The assets of a library in which a person is recognised, as a filter."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep import _core
    from facegrep.engine._roster import Roster, State

_ASSETS: Final = 8192
"""Whose codes are looked at together."""

_PEOPLE: Final = 64
"""Of how many people the assets are remembered."""

_State: TypeAlias = "tuple[int, State, float]"


class RecognisedAssets:
    """Who is in which assets of one index, for one state of it and of the people. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._state: _State | None = None
        self._found: dict[str, NDArray[np.int64]] = {}

    def of(
        self, core: _core.FaceIndex, seq: int, roster: Roster, entity_id: str, threshold: float
    ) -> NDArray[np.int64]:
        """Return the ordinals of the assets with a face that is this person's.

        Parameters
        ----------
        core, seq
            The faces, which nobody changes meanwhile, and the commit that they are at.
        roster, entity_id
            All people who could be somebody's face, and the one wanted, perhaps unknown.
        threshold
            The cosine from which on a face is somebody's.
        """
        state = (seq, roster.state, threshold)
        with self._mutex:
            known = self._found.get(entity_id) if self._state == state else None
        if known is not None:
            return known
        number = roster.number_of(entity_id)
        if number is None:
            return np.zeros(0, dtype=np.int64)
        found = find_assets(core, roster, number, threshold)
        with self._mutex:
            if self._state != state:
                self._state, self._found = state, {}
            self._found[entity_id] = found
            while len(self._found) > _PEOPLE:
                del self._found[next(iter(self._found))]
        return found


def find_assets(
    core: _core.FaceIndex, roster: Roster, number: int, threshold: float
) -> NDArray[np.int64]:
    """Search for the person, then look whose each face of what is found is."""
    query = roster.queries[number : number + 1]
    (found,) = core.search(query, threshold, limit=0, offset=0, where=[], threads=0)
    kept = []
    for start in range(0, len(found), _ASSETS):
        media_ids = found.media_ids(start, _ASSETS)
        counts = core.face_counts(media_ids)
        who, _ = roster.assign(core.codes(media_ids), threshold)
        is_theirs = np.logical_or.reduceat(who == number, np.cumsum(counts) - counts)
        kept.append(found.keys[start : start + _ASSETS][is_theirs])
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
