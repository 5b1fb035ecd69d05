"""The rows of a call that adds vectors: checked, and sorted into assets."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from facegrep import _core
from facegrep._arguments import shown
from facegrep._errors import InvalidArgumentError, ModelMismatchError
from facegrep._index import _real_float32
from facegrep._names import check_field, check_int64, check_names, check_optional_name
from facegrep._where import FIELD_NAMES
from facegrep.store import Job, NewVectors, now_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from facegrep.store import LibraryRow

CHUNK_ROWS: Final = 65_536
CHUNK_BYTES: Final = 16 << 20
"""Rows a commit, and bytes of their codes. A commit waits for the disk three times, and with random
ids it writes most pages of an index: 890 MB for a million faces with half as many, 630 with these.
Larger ones hold the lock longer, about half a second with these."""

Value: TypeAlias = int | str | None

_MEDIA_TYPES: Final = ("image", "video", "audio")


class VectorRows:
    """Rows of a call, checked but for the numbers in the vectors, and sorted into assets."""

    def __init__(
        self,
        library: LibraryRow,
        media_ids: Sequence[str],
        vectors: ArrayLike,
        fields: Mapping[str, Sequence[int | str | None]] | None,
    ) -> None:
        ids = check_names(media_ids, "media_ids")
        self.row_count = len(ids)
        self._chunk_rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // library.dim))
        # An array is converted piece by piece: it may be a memory map.
        if not isinstance(vectors, np.ndarray):
            vectors = _real_float32(vectors, "vectors")
        self._vectors: NDArray[np.generic] = vectors
        if self._vectors.ndim != 2 or len(self._vectors) != len(ids):
            raise InvalidArgumentError(
                f"vectors: expected shape ({len(ids)}, {library.dim}), got {self._vectors.shape}"
            )
        if self._vectors.shape[1] != library.dim:
            raise ModelMismatchError(
                f"vectors: library {library.name!r} takes {library.dim} numbers a row, got "
                f"{self._vectors.shape[1]}"
            )
        self._columns = _checked_columns(fields, len(ids))
        self._prefix = f"int8 codes {library.dim}\n".encode()
        self.media_ids = list(dict.fromkeys(ids))
        """Of the assets, in the order in which they first appear."""
        numbers = dict(zip(self.media_ids, itertools.count(), strict=False))
        asset_of_row = np.fromiter(map(numbers.__getitem__, ids), dtype=np.int64, count=len(ids))
        self._order = np.argsort(asset_of_row, kind="stable")  # rows, asset by asset
        counts = np.bincount(asset_of_row, minlength=len(numbers))
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        called_ms = now_ms()
        self._job = Job("Success", called_ms, called_ms)
        self._require_agreement(asset_of_row)

    def chunks(self) -> Iterator[range]:
        """Yield ranges of assets, each to be one commit, at least one asset each."""
        first = 0
        while first < len(self.media_ids):
            end = self._starts[first] + self._chunk_rows
            last = max(int(np.searchsorted(self._ends, end, side="right")), first + 1)
            yield range(first, last)
            first = last

    def count(self, assets: range) -> int:
        """Return how many rows a range of assets has."""
        return int(self._ends[assets[-1]] - self._starts[assets[0]])

    def check_vectors(self, assets: range) -> None:
        """Refuse vectors that have no int8 code.

        Raises
        ------
        InvalidArgumentError
            Names the first such row.
        """
        rows = self._rows_of(assets)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            largest = np.abs(self._read(rows)).max(axis=1)
            good = np.isfinite(largest) & np.isfinite(np.float32(127) / largest)
        if not good.all():
            raise InvalidArgumentError(
                f"vectors: row {int(rows[~good].min())} is zero, or not finite in float32"
            )

    def assets(self, numbers: range) -> NewVectors:
        """Return a range of assets as the store takes them, by id.

        In that order they go through the catalog's index once from one end to the other: with ids
        that are random, as UUIDs are, that takes a third off the insert.
        """
        names = self.media_ids[numbers[0] : numbers[-1] + 1]
        order = sorted(range(len(names)), key=names.__getitem__)
        chosen = np.array(order, dtype=np.int64) + numbers[0]
        counts = self._ends[chosen] - self._starts[chosen]
        ends = np.cumsum(counts)
        starts = ends - counts
        rows = self._order[np.repeat(self._starts[chosen] - starts, counts) + np.arange(ends[-1])]
        codes = _core.quantize(self._read(rows))
        data, width = codes.tobytes(), codes.shape[1]
        sha256, prefix = hashlib.sha256, self._prefix
        contents = [
            sha256(prefix + data[start:end]).digest()
            for start, end in zip((starts * width).tolist(), (ends * width).tolist(), strict=True)
        ]
        firsts = self._order[self._starts[chosen]].tolist()

        def column(name: str) -> list[Value] | None:
            values = self._columns.get(name)
            return None if values is None else [values[row] for row in firsts]

        types, created = column("mediaType"), column("utcCreate")
        now = self._job.submit_ms
        return NewVectors(
            media_ids=[names[number] for number in order],
            columns={
                "media_type": "image" if types is None else [one or "image" for one in types],
                "namespace": column("namespace"),
                "int_field1": column("intField1"),
                "str_field1": column("strField1"),
                "str_field2": column("strField2"),
            },
            utc_create_ms=now if created is None else [now if t is None else t for t in created],
            utc_was_given=False if created is None else [t is not None for t in created],
            content_sha256=contents,
            face_counts=counts,
            codes=codes,
            job=self._job,
        )

    def _rows_of(self, assets: range) -> NDArray[np.int64]:
        return self._order[self._starts[assets[0]] : self._ends[assets[-1]]]

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        first, last = int(rows[0]), int(rows[-1])
        # Rows in the order given, the usual case, need no copy of an array in memory.
        in_order = last - first + 1 == len(rows) and (np.diff(rows) == 1).all()
        chosen = self._vectors[first : last + 1] if in_order else self._vectors[rows]
        return _real_float32(chosen, "vectors")

    def _require_agreement(self, asset_of_row: NDArray[np.int64]) -> None:
        if len(self.media_ids) == self.row_count:
            return
        first_rows = self._order[self._starts][asset_of_row].tolist()
        for name, values in self._columns.items():
            expected = [values[first] for first in first_rows]
            if values == expected:
                continue
            row = next(row for row, value in enumerate(values) if value != expected[row])
            media_id = self.media_ids[asset_of_row[row]]
            raise InvalidArgumentError(
                f"fields[{name!r}]: rows {first_rows[row]} and {row} are both of {media_id!r}, but "
                "differ; the rows of one asset must agree"
            )


def _checked_columns(fields: Mapping[str, object] | None, count: int) -> dict[str, list[Value]]:
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(f"fields: expected a mapping, got {type(fields).__name__}")
    columns = {}
    for name, values in fields.items():
        if name not in FIELD_NAMES:
            raise InvalidArgumentError(
                f"fields: expected some of {', '.join(FIELD_NAMES)}, got {name!r:.80}"
            )
        column = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
        if isinstance(column, (str, bytes)) or not isinstance(column, Sequence):
            raise InvalidArgumentError(f"fields[{name!r}]: expected a sequence of {count} values")
        if len(column) != count:
            raise InvalidArgumentError(
                f"fields[{name!r}]: expected {count} values, one a row, got {len(column)}"
            )
        columns[name] = _checked_column(name, list(column))
    return columns


def _checked_column(name: str, values: list[object]) -> list[Value]:
    if set(map(type, values)) <= {str, NoneType}:  # few different ones, as a rule
        known = {value: _checked_value(name, value) for value in dict.fromkeys(values)}
        return [known[value] for value in values]
    return [_checked_value(name, value) for value in values]


def _checked_value(name: str, value: object) -> Value:
    argument = f"fields[{name!r}]"
    if name == "utcCreate":
        return check_int64(value, argument)
    if name == "namespace":
        return check_optional_name(value, argument)
    if name == "mediaType":
        if value is not None and not (isinstance(value, str) and value in _MEDIA_TYPES):
            raise InvalidArgumentError(
                f"{argument}: expected {', '.join(_MEDIA_TYPES)} or None, got {shown(value)}"
            )
        return check_optional_name(value, argument)
    return check_field(name, value)
