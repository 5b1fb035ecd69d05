"""Which clusters of faces are told to be one person, and which cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_NOTHING: Final[frozenset[int]] = frozenset()


class Identities:
    """People as sets of clusters, each known by the number of one of them.

    Parameters
    ----------
    pictures
        ``(n,)``, of each cluster while it is one face: two of the same number from 0 are two
        people.
    told
        ``(n,)``: the person that it was said to be, or a negative number.
    at_once
        By a number of `pictures`, also below 0, those of which faces are other people; each of
        those has this one.
    """

    def __init__(
        self,
        pictures: NDArray[np.int64],
        told: NDArray[np.int64],
        at_once: Mapping[int, frozenset[int]],
    ) -> None:
        self._above = np.arange(len(pictures))
        numbers = pictures.tolist()
        self._pictures = [{number} if number >= 0 else set() for number in numbers]
        # Of those alone who have any: of most libraries nobody.
        held = {cluster: number for cluster, number in enumerate(numbers) if number in at_once}
        self._seen = {cluster: frozenset([number]) for cluster, number in held.items()}
        self._at_once = {cluster: at_once[number] for cluster, number in held.items()}
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
        if not self._pictures[one].isdisjoint(self._pictures[other]):
            return False
        return self._at_once.get(one, _NOTHING).isdisjoint(self._seen.get(other, _NOTHING))

    def join(self, one: int, other: int) -> None:
        """Make the people of two clusters, who may be one, one."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return
        if len(self._pictures[one]) < len(self._pictures[other]):
            one, other = other, one
        self._pictures[one] |= self._pictures[other]
        self._pictures[other] = set()
        for some in (self._seen, self._at_once):
            if other in some:
                some[one] = some.get(one, _NOTHING) | some.pop(other)
        self._told[one] = max(self._told[one], self._told[other])
        self._above[other] = one


def roots(above: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of each the one that is above all: the one above which is itself."""
    while True:
        higher = above[above]
        if np.array_equal(higher, above):
            return higher
        above = higher
