"""What a search of vectors returns: plain data that never changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from facegrep._arguments import check_count
from facegrep._errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep import _core


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search did.

    Attributes
    ----------
    strategy
        ``"plane"``: whole blocks of the packed plane; ``"gather"``: the rows of the filter alone.
    isa
        The kernel tier: ``scalar``, ``avx2`` or ``avx512vnni``; on arm64 ``scalar``, ``neon`` or
        ``neon_dotprod``.
    threads
        How many worked on it.
    rows_live
        Faces in the index.
    rows_in_filter
        Faces of the assets that pass.
    rows_scanned
        Faces of the blocks that the plane bounded, or of a gather.
    blocks_scanned, blocks_settled
        Blocks of 16 faces that the plane bounded; those ruled out whole.
    rows_dotted
        Faces whose int8 dot with the query was taken.
    rows_scored
        Faces that no bound could rule out, and that were scored exactly.
    bytes_touched
        Bytes of plane, bounds and codes that were read.
    """

    strategy: str
    isa: str
    threads: int
    rows_live: int
    rows_in_filter: int
    rows_scanned: int
    blocks_scanned: int
    blocks_settled: int
    rows_dotted: int
    rows_scored: int
    bytes_touched: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One asset: its id, and the cosine of its best face in [-1, 1]."""

    media_id: str
    score: float


class SearchResult:
    """The answer to one query, best asset first.

    With a threshold it keeps every match, and ``limit`` and ``offset`` only chose the first page.
    Without one it reaches to ``offset + limit``. Iterating gives the first page's hits.
    """

    def __init__(self, core: _core.SearchResult) -> None:
        self._core = core

    @property
    def total(self) -> int:
        """Distinct assets that pass the filter and, with a threshold, reach it. Exact."""
        return self._core.total

    @property
    def threshold(self) -> float | None:
        """The cosine that a match had to reach; ``None``: none was asked for."""
        return self._core.threshold

    @cached_property
    def plan(self) -> Plan:
        """What the search did."""
        return Plan(*self._core.plan)

    @cached_property
    def media_ids(self) -> list[str]:
        """The first page's assets: score descending, then id ascending, bytewise."""
        return self._core.media_ids(self._core.offset, self._core.limit)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """The first page's scores: the float64 cosines that order it, rounded to float32."""
        first = self._core.offset
        return self._core.scores[first : first + self._core.limit].astype(np.float32)

    def page(self, offset: int, limit: int) -> list[Hit]:
        """The hits at positions ``offset`` to ``offset + limit - 1``; short or empty past the end.

        Raises
        ------
        InvalidArgumentError
            ``offset`` or ``limit`` is negative or no int, or, without a threshold, the page lies
            beyond what the search was asked to reach.
        """
        offset, limit = check_count(offset, "offset"), check_count(limit, "limit")
        reach = len(self._core)  # with a threshold, all there are
        if min(offset + limit, self.total) > reach:
            raise InvalidArgumentError(
                f"page: without a threshold this answer reaches to {reach} of {self.total} assets, "
                f"asked for {offset} to {offset + limit}; search again with a larger limit"
            )
        ids = self._core.media_ids(offset, limit)
        scores = self._core.scores[offset : offset + limit].astype(np.float32)
        return [Hit(media_id, float(score)) for media_id, score in zip(ids, scores, strict=True)]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.page(self._core.offset, self._core.limit) if len(self) else [])

    def __len__(self) -> int:
        return len(self.media_ids)

    def __repr__(self) -> str:
        best = f", best {self.scores[0]:.4f} {self.media_ids[0]!r}" if self.media_ids else ""
        return f"<SearchResult total={self.total} threshold={self.threshold}{best}>"
