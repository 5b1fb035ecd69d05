"""Which clusters of faces are told to be one person, and which cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray


class Identities:
    """People as sets of clusters, each known by the number of one of them.

    Parameters
    ----------
    pictures
        ``(n,)``, of each cluster while it is one face: two of the same number are two people.
    told
        ``(n,)``: the person that it was said to be, or a negative number.
    at_once
        By the number of a picture those of others that were taken at the same time, and so show
        other people; each of those has this one.
    """

    def __init__(
        self,
        pictures: NDArray[np.int64],
        told: NDArray[np.int64],
        at_once: Mapping[int, AbstractSet[int]],
    ) -> None:
        self._above = np.arange(len(pictures))
        self._pictures = [{picture} for picture in pictures.tolist()]
        self._at_once = {
            cluster: set(at_once[picture])
            for cluster, picture in enumerate(pictures.tolist())
            if picture in at_once
        }
        self._told = told.copy()
        known = np.flatnonzero(told >= 0)
        _, first, number = np.unique(told[known], return_index=True, return_inverse=True)
        for cluster, person in zip(known.tolist(), known[first][number].tolist(), strict=True):
            self.join(person, cluster)

    def find(self, cluster: int) -> int:
        """Return the person of a cluster."""
        person = int(self._above[cluster])
        while person != self._above[person]:
            person = int(self._above[person])
        self._above[cluster] = person
        return person

    def of(self, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the person of each cluster."""
        return roots(self._above)[clusters]

    def may_be_one(self, one: int, other: int) -> bool:
        """Whether two clusters are one person already, or nothing says that they are two."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return True
        if self._told[one] >= 0 and self._told[other] >= 0:
            return False
        return self._pictures[one].isdisjoint(self._pictures[other]) and (
            one not in self._at_once or self._at_once[one].isdisjoint(self._pictures[other])
        )

    def join(self, one: int, other: int) -> None:
        """Make the people of two clusters, who may be one, one."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return
        if len(self._pictures[one]) < len(self._pictures[other]):
            one, other = other, one
        self._pictures[one] |= self._pictures[other]
        self._pictures[other] = set()
        if other in self._at_once:
            self._at_once.setdefault(one, set()).update(self._at_once.pop(other))
        self._told[one] = max(self._told[one], self._told[other])
        self._above[other] = one


def roots(above: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of each the one that is above all: the one above which is itself."""
    while True:
        higher = above[above]
        if np.array_equal(higher, above):
            return higher
        above = higher
