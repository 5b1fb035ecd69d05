"""Faces put together into people: average linkage, and never two faces of one moment.

The link of two clusters is the mean cosine of all pairs of faces across. As long as there is a link
of at least the threshold between two that may be one person, two are merged: those with the
greatest link, or whose link is less than the greatest of either by `DISORDER` at most.

Average linkage is reducible: what two merge into is like nobody more than one of them was. So all
such pairs are merged in one round, whatever happens elsewhere; only those are looked at again whose
best is no more what it was; and each looks in a list of the most similar that it made once, until
somebody who is not on it may be more like it. Nothing here grows with the pairs of faces.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.engine._identities import Identities, roots
from facegrep.engine._means import MeanIndex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# A coordinate of a unit vector is a whole number of these: a cosine is off by 0.0002 or so, and
# float64 adds and multiplies such numbers exactly, in whatever order, as long as two clusters have
# fewer than 2**27 pairs of faces. So the same faces give the same people, to the last bit.
_GRID: Final = 2.0**13

DISORDER: Final = 0.02
"""By how much two may be less alike than either is like others, and be merged before those."""

_LISTED: Final = 16
_QUERIES: Final = 1024
_MORE: Final = 8
_PRODUCTS: Final = 8192
NOBODY: Final = -1


def cluster(
    codes: NDArray[np.int8],
    pictures: NDArray[np.int64],
    told: NDArray[np.int64],
    threshold: float,
    at_once: Mapping[int, frozenset[int]] = MappingProxyType({}),
) -> NDArray[np.int64]:
    """Put faces together into people.

    Parameters
    ----------
    codes
        int8 ``(n, dim)``, none all zero; in an order that depends on nothing but the faces.
    pictures
        ``(n,)``: faces of the same number from 0 are different people.
    told
        ``(n,)``: faces of the same number are one person, of different ones different people; -1:
        nobody said. It contradicts no picture.
    threshold
        The least link of two clusters that are merged.
    at_once
        By a number of `pictures`, also below 0, others that were taken at the same time: their
        faces are other people, too. Each of those has this one. What is told comes before it.

    Returns
    -------
    NDArray
        ``(n,)``: of each face the first one of the same person.

    Notes
    -----
    Faces that are told to be one person share that person's pictures, but are not averaged: between
    a child and the grown-up is nobody, and either is joined by its like.
    """
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    clusters = _Clusters(codes, Identities(pictures, told, at_once), threshold)
    alive = np.arange(len(codes))
    clusters.search(alive)
    while len(touched := clusters.merge_best(alive)):
        alive = alive[clusters.into[alive] == alive]
        best = clusters.best[alive]
        is_stale = np.isin(clusters.identities.of(alive), touched)
        is_stale |= (best != NOBODY) & np.isin(clusters.identities.of(best), touched)
        clusters.look_again(alive[is_stale])
        is_done = clusters.best[alive] == NOBODY
        clusters.drop(alive[is_done])
        alive = alive[~is_done]
    return clusters.people()


class _Clusters:
    """Clusters by the number of their first face, and what each is most like."""

    def __init__(
        self,
        codes: NDArray[np.int8],
        identities: Identities,
        threshold: float,
    ) -> None:
        count = len(codes)
        exact = codes.astype(np.float64)
        exact /= np.sqrt((exact * exact).sum(axis=1, keepdims=True))
        self._sums = np.rint(exact * _GRID)
        self._counts = np.ones(count)
        self._threshold = threshold
        self.into = np.arange(count)
        """Of each cluster the one that it became part of; itself while it is one."""
        self.best = np.full(count, NOBODY)
        """Of each the one that it is most like, of those that may be the same person."""
        self._link = np.full(count, -np.inf)
        self._near = np.full((count, _LISTED), NOBODY)
        self._near_links = np.full((count, _LISTED), -np.inf)  # as of when they were listed
        self._listed = np.zeros(count, dtype=np.int64)
        self._merged = np.zeros(count, dtype=np.int64)
        self._round = 0
        self._unseen = np.full(count, -np.inf)  # whoever is not on the list is not more like it
        self._index = MeanIndex(codes.shape[1])
        self._index.put(self.into, self._means(self.into))
        self._outdated: list[int] = []
        self.identities = identities

    def merge_best(self, alive: NDArray[np.int64]) -> NDArray[np.int64]:
        """Merge whom nobody else is more like, by more than `DISORDER`; `into` says who it was.

        Returns
        -------
        NDArray
            The people to whom something happened; empty: nobody is like anybody any more.
        """
        best, link = self.best[alive], self._link[alive]
        near = link >= self._link[best] - DISORDER
        if len(alive) and not near.any():
            near[np.argmax(link)] = True  # several links are the same
        ones, others, links = alive[near], best[near], link[near]
        order = np.lexsort((others, ones, -links))
        top: dict[int, float] = {}  # of those that merged in this round: no link was greater
        touched = set()
        for one, other, link_then in zip(
            ones[order].tolist(), others[order].tolist(), links[order].tolist(), strict=True
        ):
            one, other = sorted((self._root(one), self._root(other)))
            if one == other:
                continue
            tops = [top.get(each, float(self._link[each])) for each in (one, other)]
            pair = np.array([one]), np.array([other])
            now = float(self._links(*pair)[0]) if {one, other} & top.keys() else link_then
            if now < max(self._threshold, max(tops) - DISORDER):
                continue
            touched |= {self.identities.find(one), self.identities.find(other)}
            if self.identities.may_be_one(one, other):
                self._sums[one] += self._sums[other]
                self._counts[one] += self._counts[other]
                self._merged[one] = self._round
                self.into[other] = one
                self._near[one], self._unseen[one] = NOBODY, np.inf
                top[one] = max(tops)
                self._outdated += (one, other)
                self.identities.join(one, other)
                touched.add(self.identities.find(one))
        self._round += 1
        return np.array(sorted(touched), dtype=np.int64)

    def look_again(self, clusters: NDArray[np.int64]) -> None:
        """Find the best of each anew: on its list, or by a search."""
        near = self._near[clusters]
        as_before = self.into[near] == near
        as_before &= self._merged[near] < self._listed[clusters, None]
        links = np.where(as_before, self._near_links[clusters], np.nan)
        self._list(clusters, near, self._unseen[clusters], links)
        self.search(clusters[self._is_open(clusters)])

    def search(self, clusters: NDArray[np.int64]) -> None:
        """Make the lists of clusters anew, and find the best of each."""
        if not len(clusters):
            return
        self._refresh_index()
        for start in range(0, len(clusters), _QUERIES):
            part, limit = clusters[start : start + _QUERIES], _LISTED + 1
            while len(part):
                found = self._index.search(self._means(part), self._threshold, limit)
                near = np.full((len(part), found.counts.max(initial=1)), NOBODY)
                near[np.arange(near.shape[1]) < found.counts[:, None]] = found.clusters
                self._list(part, near, found.unseen)
                part, limit = part[self._is_open(part)], limit * _MORE

    def drop(self, clusters: NDArray[np.int64]) -> None:
        """Leave out clusters that are like nobody."""
        if len(clusters):
            self._index.drop(clusters)

    def _root(self, cluster_: int) -> int:
        while cluster_ != self.into[cluster_]:
            cluster_ = int(self.into[cluster_])
        return cluster_

    def people(self) -> NDArray[np.int64]:
        """Return of each face the first one of the same person."""
        people = self.identities.of(roots(self.into))
        _, first, number = np.unique(people, return_index=True, return_inverse=True)
        return np.asarray(first[number], dtype=np.int64)

    def _list(
        self,
        clusters: NDArray[np.int64],
        near: NDArray[np.int64],
        unseen: NDArray[np.float64],
        known: NDArray[np.float64] | None = None,
    ) -> None:
        """List who is near each now, the most alike first, and find its best.

        Parameters
        ----------
        near
            ``(len(clusters), any)``: who was, before some merged; `NOBODY` where there are fewer.
        unseen
            Whoever is not among those is not more like it than that.
        known
            Their links, as far as they are known; else nan.
        """
        near = np.where(near == NOBODY, NOBODY, roots(self.into)[near])
        links = np.full(near.shape, np.nan) if known is None else known
        order = np.argsort(near, axis=1, kind="stable")
        near, links = (np.take_along_axis(some, order, axis=1) for some in (near, links))
        near[:, 1:][near[:, 1:] == near[:, :-1]] = NOBODY
        near[near == clusters[:, None]] = NOBODY
        links[near == NOBODY] = -np.inf
        rows, columns = np.nonzero(np.isnan(links))
        links[rows, columns] = self._links(clusters[rows], near[rows, columns])
        links[links < self._threshold] = -np.inf
        order = np.lexsort((near, -links), axis=1)
        near, links = (np.take_along_axis(some, order, axis=1) for some in (near, links))
        near[links == -np.inf] = NOBODY
        for row, cluster_ in enumerate(clusters.tolist()):
            self.best[cluster_], self._link[cluster_] = NOBODY, -np.inf
            for column, other in enumerate(near[row].tolist()):
                if other == NOBODY:
                    break
                if self.identities.may_be_one(cluster_, other):
                    self.best[cluster_], self._link[cluster_] = other, links[row, column]
                    break
                near[row, column] = NOBODY  # for ever
        if near.shape[1] > _LISTED:
            order = np.argsort(near == NOBODY, axis=1, kind="stable")
            near, links = (np.take_along_axis(some, order, axis=1) for some in (near, links))
            cut = np.where(near[:, _LISTED] == NOBODY, -np.inf, links[:, _LISTED])
            unseen = np.maximum(unseen, cut)
        width = min(near.shape[1], _LISTED)
        self._near[clusters] = NOBODY
        self._near[clusters, :width] = near[:, :width]
        self._near_links[clusters, :width] = links[:, :width]
        self._listed[clusters] = self._round
        self._unseen[clusters] = unseen

    def _is_open(self, clusters: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether somebody who is not on the list may be more like each than its best."""
        unseen = self._unseen[clusters]
        return (unseen >= self._threshold) & (unseen > self._link[clusters] + DISORDER)

    def _refresh_index(self) -> None:
        outdated = np.unique(np.array(self._outdated, dtype=np.int64))
        self._index.drop(outdated)
        now = outdated[self.into[outdated] == outdated]
        self._index.put(now, self._means(now))
        self._outdated.clear()

    def _means(self, clusters: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._sums[clusters] / (self._counts[clusters, None] * _GRID)

    def _links(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        products = np.empty(len(ones))
        for start in range(0, len(ones), _PRODUCTS):
            part = slice(start, start + _PRODUCTS)
            sums = self._sums[ones[part]], self._sums[others[part]]
            np.einsum("ij,ij->i", *sums, out=products[part])
        return products / (self._counts[ones] * self._counts[others] * _GRID**2)
