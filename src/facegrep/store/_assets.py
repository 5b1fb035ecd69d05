"""What is said of an asset: by who adds it, and by the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facegrep.store._video import Video


@dataclass(frozen=True, slots=True)
class Job:
    """An analysis: ``"Running"``, ``"Success"`` or ``"Fail"``, and when (ms UTC)."""

    status: str
    submit_ms: int
    finish_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of an asset, ready to be stored.

    Attributes
    ----------
    codes
        int8 ``(n, dim)``, in the order of ``face_no``.
    values
        float32 ``(n, FACE_VALUES)``; ``None`` when they came as vectors.
    precision
        Of their embeddings.
    video
        Of a video: when and where its faces are seen; the faces are in the order of its tracks.
    """

    codes: NDArray[np.int8]
    values: NDArray[np.float32] | None = None
    precision: str | None = None
    video: Video | None = None


class Columns(NamedTuple):
    """The fields of an asset that filters see, but for its time of creation."""

    media_type: str
    namespace: str | None
    int_field1: int | None
    str_field1: str | None
    str_field2: str | None


@dataclass(frozen=True, slots=True)
class NewAsset:
    """An asset to be stored.

    Attributes
    ----------
    utc_create_ms, utc_was_given
        A defaulted time does not count when assets are compared.
    content_sha256
        32 bytes; what makes two assets the same, with `columns`. Empty of a video behind a URL as
        long as it was not analysed: then that is the same whose `source` is.
    faces
        ``None`` when it has not been analysed.
    pending
        Content to keep until it is analysed, and whether that is an array.
    """

    media_id: str
    columns: Columns
    utc_create_ms: int
    utc_was_given: bool
    content_sha256: bytes
    title: str | None = None
    source: str | None = None
    faces: Faces | None = None
    job: Job | None = None
    pending: tuple[bytes, bool] | None = field(default=None, repr=False)

    def is_same(self, stored: StoredIdentity) -> bool:
        """Whether a stored asset is this one, so that adding it changes nothing."""
        return (
            self._is_same_content(stored)
            and stored.columns == self.columns
            and (not self.utc_was_given or stored.utc_create_ms == self.utc_create_ms)
        )

    def _is_same_content(self, stored: StoredIdentity) -> bool:
        if self.content_sha256 and stored.content_sha256:
            return stored.content_sha256 == self.content_sha256
        return self.source is not None and stored.source == self.source

    def identity(self, ordinal: int) -> StoredIdentity:
        """Return what it is compared by once it is stored."""
        return StoredIdentity(
            ordinal, self.content_sha256, self.columns, self.utc_create_ms, self.source
        )

    def describe_conflict(self, stored: StoredIdentity) -> str:
        """Say how a stored asset of the same id differs."""
        differing = [
            name.replace("_", " ")
            for name, mine, theirs in zip(
                Columns._fields, self.columns, stored.columns, strict=True
            )
            if mine != theirs
        ]
        if not self._is_same_content(stored):
            differing.insert(0, "content")
        return (
            f"media {self.media_id!r} exists already with another "
            f"{' and '.join(differing) or 'time of creation'}; delete it first or choose another id"
        )


class StoredIdentity(NamedTuple):
    """What decides whether an asset is the same again."""

    ordinal: int
    content_sha256: bytes
    columns: Columns
    utc_create_ms: int
    source: str | None


class Outcome(NamedTuple):
    """What became of an analysis.

    Attributes
    ----------
    ordinal
        Of which asset.
    faces
        ``None`` when it failed.
    content_sha256
        Of what was analysed: the asset's from now on, if it was not known.
    """

    ordinal: int
    faces: Faces | None
    job: Job
    content_sha256: bytes | None = None


class MediaRow(NamedTuple):
    """An asset in the catalog: its columns there, in their order."""

    library_id: int
    ordinal: int
    media_id: str
    media_type: str
    namespace: str | None
    int_field1: int | None
    str_field1: str | None
    str_field2: str | None
    utc_create_ms: int
    added_ms: int
    title: str | None
    source: str | None
    content_sha256: bytes
    row_seq: int
    face_count: int
    face_data: bytes | None
    precision: str | None
    job_status: str | None
    job_submit_ms: int | None
    job_finish_ms: int | None
    job_error: str | None
    segment_id: int | None
    first_slot: int | None
    checksum: int

    @property
    def columns(self) -> Columns:
        """What filters see of it."""
        return Columns(*self[3:8])

    @property
    def identity(self) -> StoredIdentity:
        """What it is compared by."""
        return StoredIdentity(
            self.ordinal, self.content_sha256, self.columns, self.utc_create_ms, self.source
        )


class Slots(NamedTuple):
    """Where the codes of an asset are."""

    segment_id: int
    first_slot: int
