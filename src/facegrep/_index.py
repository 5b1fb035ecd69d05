"""The first door: vectors in memory. Native source: ``cpp/src/index/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np

from facegrep import _core
from facegrep._arguments import check_count, check_threshold
from facegrep._errors import InvalidArgumentError
from facegrep._result import SearchResult
from facegrep._where import Where, compile_where

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MAX_DIM = 4096
_MAX_THREADS = 1024


class FaceIndex:
    """An exact, filtered index of face embeddings, grouped by media asset. In memory.

    A face is stored as the int8 code of its float32 embedding (``scale = 127 / max|x|``, half to
    even; the vector is not normalised). Its score is the cosine of the float query with that code,
    in float64; an asset's score is its best face's. The answer is that of a full scan, always: the
    int8 dot with a proven bound (``cpp/src/score/query.hpp``) only rules rows out.

    Parameters
    ----------
    dim
        Length of the embeddings, 1 to 4096.

    Notes
    -----
    Many threads may search at once, or one may write; the index sees to it. The GIL is released
    while it works.

    Examples
    --------
    >>> index = FaceIndex(2)
    >>> index.add(["a.jpg", "b.jpg", "b.jpg"], [[1, 0], [0, 1], [1, 1]], {"intField1": [7, 8, 8]})
    3
    >>> [(hit.media_id, round(hit.score, 4)) for hit in index.search([1, 0.1], threshold=0.5)]
    [('a.jpg', 0.995), ('b.jpg', 0.774)]
    >>> index.search([1, 0.1], threshold=0.5, where={"intField1": {"gte": 8}}).total
    1
    """

    def __init__(self, dim: int) -> None:
        self._core = _core.FaceIndex(check_count(dim, "dim", 1, _MAX_DIM))

    @classmethod
    def _of(cls, core: _core.FaceIndex) -> FaceIndex:
        index = cls.__new__(cls)
        index._core = core
        return index

    @property
    def dim(self) -> int:
        """Length of the embeddings."""
        return self._core.dim

    def add(
        self,
        media_ids: Sequence[str],
        vectors: ArrayLike,
        fields: Mapping[str, Sequence[int | str | None]] | None = None,
    ) -> int:
        """Adds n faces, all or none.

        Parameters
        ----------
        media_ids
            n ids; the rows of one asset may come in any order. Not empty, no control characters.
        vectors
            Shape ``(n, dim)``, real. Anything but contiguous float32 is converted first.
        fields
            For any of ``intField1 strField1 strField2 utcCreate mediaType namespace`` n values, one
            a row, ``None`` where an asset has none. The rows of one asset agree.

        Returns
        -------
        int
            Faces added: n, less those of assets that were there already, just the same.

        Raises
        ------
        InvalidArgumentError
            Names the argument and the row. NaN, inf, zero and complex vectors are refused.
        AlreadyExistsError
            An asset is in the index with other faces or fields.
        """
        rows = _real_float32(vectors, "vectors")
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InvalidArgumentError(f"vectors: expected shape (n, {self.dim}), got {rows.shape}")
        _refuse_set(media_ids, "media_ids")
        return self._core.add(media_ids, rows, _checked_fields(fields))

    def remove(self, media_ids: Iterable[str]) -> int:
        """Removes assets and overwrites their codes; unknown ids count for nothing.

        Returns the number of assets gone. Their ids are free again.
        """
        return self._core.remove(media_ids)

    def codes(self, media_ids: Iterable[str]) -> NDArray[np.int8]:
        """The codes of the assets, ``(m, dim)`` int8: assets as listed, faces as they were added.

        Raises
        ------
        NotFoundError
            An asset is not in the index.
        """
        return self._core.codes(media_ids)

    @overload
    def search(
        self,
        queries: Sequence[float],
        *,
        threshold: float | None = ...,
        limit: int = ...,
        offset: int = ...,
        where: Where | None = ...,
        threads: int | None = ...,
    ) -> SearchResult: ...

    @overload
    def search(
        self,
        queries: Sequence[Sequence[float]] | Sequence[NDArray[Any]],
        *,
        threshold: float | None = ...,
        limit: int = ...,
        offset: int = ...,
        where: Where | None = ...,
        threads: int | None = ...,
    ) -> list[SearchResult]: ...

    @overload  # numpy's types do not tell a (dim,) array from a (q, dim) one
    def search(
        self,
        queries: NDArray[Any],
        *,
        threshold: float | None = ...,
        limit: int = ...,
        offset: int = ...,
        where: Where | None = ...,
        threads: int | None = ...,
    ) -> Any: ...  # noqa: ANN401

    def search(
        self,
        queries: ArrayLike,
        *,
        threshold: float | None = None,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        threads: int | None = None,
    ) -> SearchResult | list[SearchResult]:
        """The assets whose faces are most like the query's.

        Parameters
        ----------
        queries
            ``(dim,)`` for one query, ``(q, dim)`` for a batch; real, finite, not all zero.
        threshold
            Cosine from -1 to 1 that a match must reach; ``None``: the best ``offset + limit``.
        limit, offset
            The first page. With a threshold other pages can be cut from the result later.
        where
            A filter on the fields (:mod:`facegrep._where`), applied before anything is ranked.
        threads
            How many to work with; ``None``: as many as pay off, at most one a core.

        Returns
        -------
        SearchResult or list of SearchResult
            One for a ``(dim,)`` query, a list of q for a batch.

        Raises
        ------
        InvalidArgumentError
            Names the argument, what was expected and what came.
        """
        rows = _real_float32(queries, "queries")
        if rows.ndim not in (1, 2) or rows.shape[-1] != self.dim:
            raise InvalidArgumentError(
                f"queries: expected shape ({self.dim},) or (q, {self.dim}), got {rows.shape}"
            )
        results = [
            SearchResult(core)
            for core in self._core.search(
                np.atleast_2d(rows),
                threshold=check_threshold(threshold),
                limit=check_count(limit, "limit"),
                offset=check_count(offset, "offset"),
                where=compile_where(where),
                threads=0 if threads is None else check_count(threads, "threads", 1, _MAX_THREADS),
            )
        ]
        return results[0] if rows.ndim == 1 else results

    def __len__(self) -> int:
        """Live faces."""
        return self._core.face_count

    @property
    def media_count(self) -> int:
        """Live assets."""
        return self._core.media_count

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, rows, columns and their reserve; ids and strings not counted."""
        return self._core.nbytes

    def __reduce__(self) -> NoReturn:
        # copy.copy would share the native index: two names for one thing.
        raise TypeError(
            "a FaceIndex cannot be copied or pickled: keep the vectors it was made from, or let "
            "facegrep.open keep them"
        )

    def __repr__(self) -> str:
        return f"<FaceIndex dim={self.dim} faces={len(self)} media={self.media_count}>"


def _real_float32(values: ArrayLike, name: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name}: expected an array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InvalidArgumentError(f"{name}: expected real numbers, got dtype {array.dtype}")
    if array.dtype == np.float32 and array.flags.c_contiguous:
        return array  # what follows costs 5 us, a fifth of a search among 1,000 faces
    with np.errstate(over="ignore"):  # beyond float32 becomes inf, which the engine refuses by row
        return np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)


def _checked_fields(fields: Mapping[str, object] | None) -> dict[str, object]:
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(f"fields: expected a mapping, got {type(fields).__name__}")
    return {name: _column(values, f"fields[{name!r}]") for name, values in fields.items()}


def _column(values: object, name: str) -> object:
    _refuse_set(values, name)
    # Of times, tolist() would make numbers in whatever unit they have.
    if isinstance(values, np.ndarray) and values.dtype.kind not in "mM":
        return values.tolist()
    return values


def _refuse_set(values: object, name: str) -> None:
    if isinstance(values, (set, frozenset)):
        raise InvalidArgumentError(
            f"{name}: expected a sequence, got a set, whose order is not that of the rows"
        )
