"""Adding vectors that were made elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep import _core
from facegrep._arguments import shown
from facegrep._errors import (
    AlreadyExistsError,
    FacegrepError,
    InvalidArgumentError,
    ModelMismatchError,
    OperationDeniedError,
)
from facegrep._index import _real_float32
from facegrep._names import (
    check_field,
    check_int64,
    check_library_name,
    check_names,
    check_optional_name,
)
from facegrep._where import FIELD_NAMES
from facegrep.engine._results import AddManyResult
from facegrep.engine._view import EngineCore, embedder_manifest
from facegrep.store import Columns, Faces, Job, NewAsset, find_identities, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from facegrep.store import LibraryRow

CHUNK_ROWS: Final = 8192
"""Rows a commit: 4 MiB of 512-d codes; larger ones hold the lock longer and gain little."""

_MEDIA_TYPES: Final = ("image", "video", "audio")


class VectorOperations(EngineCore):
    """The Engine's way to add vectors."""

    def add_vectors(
        self,
        library: str,
        media_ids: Sequence[str],
        vectors: ArrayLike,
        fields: Mapping[str, Sequence[int | str | None]] | None = None,
        *,
        model: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> AddManyResult:
        """Add faces that were embedded elsewhere, by the library's model.

        Parameters
        ----------
        library
            Its name; its face index must be active.
        media_ids
            n ids, one a row. The rows of one asset may come in any order; they are its faces, in
            the order given.
        vectors
            Real ``(n, dim)``; a memory map is read in pieces.
        fields
            For any of ``intField1 strField1 strField2 utcCreate mediaType namespace`` n values, one
            a row, ``None`` where an asset has none; the rows of one asset agree. Without utcCreate
            it is now, without mediaType ``"image"``.
        model
            Name or id of the model that made them, to be refused if it is not the library's.
        progress
            Called after each commit with the rows done, and n.

        Returns
        -------
        AddManyResult
            Repeating what is stored (vectors and fields; a time only if given) changes nothing.

        Raises
        ------
        InvalidArgumentError, AlreadyExistsError, ModelMismatchError
            Names the argument and the row; nothing was stored.
        OperationDeniedError
            The face index is not active.
        StoreError
            Commits so far (a multiple of about 8192 rows) are durable; repeating the call goes on.
        """
        check_library_name(library)
        store = self._writable
        row = self._find(library)
        if row.face_index != "active":
            raise OperationDeniedError(
                f"the face index of library {library!r} is not active, so it holds no vectors; "
                "set_face_index activates it"
            )
        if model is not None and embedder_manifest(model).id != row.model:
            raise ModelMismatchError(
                f"library {library!r} holds vectors of {row.model or 'no model'}, not of {model!r}"
            )
        rows = _Rows(row, media_ids, vectors, fields)
        for assets in rows.chunks():
            rows.check_vectors(assets)
            with store.catalog.read() as connection:
                stored = find_identities(connection, row, [rows.media_ids[a] for a in assets])
            taken = [number for number in assets if rows.media_ids[number] in stored]
            for asset in rows.assets(taken):
                if not asset.is_same(stored[asset.media_id]):
                    raise AlreadyExistsError(asset.describe_conflict(stored[asset.media_id]))
        added = unchanged = faces = done = 0
        for numbers in rows.chunks():
            chunk = rows.assets(numbers)
            outcome = store.add(
                row, chunk, stop_at_conflict=True, action="add_vectors", actor=self._actor
            )
            for asset, one in zip(chunk, outcome, strict=False):
                if isinstance(one, FacegrepError):  # another writer was faster
                    one.add_note(f"{added} assets before it were added and are durable")
                    raise one
                added += one
                unchanged += not one
                faces += rows.count_of(asset) if one else 0
            done += sum(map(rows.count_of, chunk))
            if progress is not None:
                progress(done, rows.row_count)
        return AddManyResult(added, unchanged, faces)


class _Rows:
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
        numbers: dict[str, int] = {}
        asset_of_row = np.array(
            [numbers.setdefault(media_id, len(numbers)) for media_id in ids], dtype=np.int64
        )
        self.media_ids = list(numbers)
        """Of the assets, in the order in which they first appear."""
        self._order = np.argsort(asset_of_row, kind="stable")  # rows, asset by asset
        counts = np.bincount(asset_of_row, minlength=len(numbers))
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        called_ms = now_ms()
        self._job = Job("Success", called_ms, called_ms)
        self._require_agreement(asset_of_row)

    def chunks(self) -> Iterator[range]:
        """Yield ranges of assets of about `CHUNK_ROWS` rows, at least one asset each."""
        first = 0
        while first < len(self.media_ids):
            last = int(np.searchsorted(self._ends, self._starts[first] + CHUNK_ROWS, side="right"))
            last = max(last, first + 1)
            yield range(first, last)
            first = last

    def check_vectors(self, assets: range) -> None:
        """Refuse vectors that have no int8 code.

        Raises
        ------
        InvalidArgumentError
            Names the first such row.
        """
        rows = self._order[self._starts[assets[0]] : self._ends[assets[-1]]]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            largest = np.abs(self._read(rows)).max(axis=1)
            good = np.isfinite(largest) & np.isfinite(np.float32(127) / largest)
        if not good.all():
            raise InvalidArgumentError(
                f"vectors: row {int(rows[~good].min())} is zero, or not finite in float32"
            )

    def assets(self, numbers: Sequence[int]) -> list[NewAsset]:
        """Return assets as the store takes them."""
        if not len(numbers):
            return []
        starts = self._starts[numbers]
        counts = self._ends[numbers] - starts
        ends = np.cumsum(counts)  # of each asset's codes
        rows = self._order[np.repeat(starts - ends + counts, counts) + np.arange(ends[-1])]
        codes = _core.quantize(self._read(rows))
        firsts = self._order[starts].tolist()
        columns = [
            [values[row] for row in firsts]
            if (values := self._columns.get(name))
            else [None] * len(firsts)
            for name in _ASSET_COLUMNS
        ]
        found, start = [], 0
        for number, end, utc_create_ms, media_type, *others in zip(
            numbers, ends.tolist(), *columns, strict=True
        ):
            faces = Faces(codes[start:end])
            start = end
            found.append(
                NewAsset(
                    media_id=self.media_ids[number],
                    columns=Columns(media_type or "image", *others),
                    utc_create_ms=self._job.submit_ms if utc_create_ms is None else utc_create_ms,
                    utc_was_given=utc_create_ms is not None,
                    content_sha256=hashlib.sha256(self._prefix + faces.codes.tobytes()).digest(),
                    faces=faces,
                    job=self._job,
                )
            )
        return found

    @staticmethod
    def count_of(asset: NewAsset) -> int:
        """Return how many rows an asset has."""
        return 0 if asset.faces is None else len(asset.faces.codes)

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return _real_float32(self._vectors[rows], "vectors")

    def _require_agreement(self, asset_of_row: NDArray[np.int64]) -> None:
        if len(self.media_ids) == self.row_count:
            return
        first_rows = self._order[self._starts]
        for name, values in self._columns.items():
            for row, first in enumerate(first_rows[asset_of_row].tolist()):
                if values[row] != values[first]:
                    media_id = self.media_ids[asset_of_row[row]]
                    raise InvalidArgumentError(
                        f"fields[{name!r}]: rows {first} and {row} are both of {media_id!r}, but "
                        "differ; the rows of one asset must agree"
                    )


# The order of Columns, after the two that have a default.
_ASSET_COLUMNS: Final = (
    "utcCreate",
    "mediaType",
    "namespace",
    "intField1",
    "strField1",
    "strField2",
)


def _checked_columns(
    fields: Mapping[str, object] | None, count: int
) -> dict[str, list[int | str | None]]:
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
        columns[name] = [_checked_value(name, value) for value in column]
    return columns


def _checked_value(name: str, value: object) -> int | str | None:
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
