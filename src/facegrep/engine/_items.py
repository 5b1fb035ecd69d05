"""One asset to be added, a picture or a video: checked, read, analysed, ready for the store."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep import _core
from facegrep._arguments import shown
from facegrep._errors import InvalidArgumentError, PictureError, VideoError
from facegrep._names import (
    check_fields,
    check_int64,
    check_name,
    check_optional_name,
    check_text,
)
from facegrep.engine._results import StoredFace
from facegrep.engine._videos import VideoContent
from facegrep.media import MAX_BYTES, begins_as_picture, kind_of, read_path, read_picture
from facegrep.store import FACE_VALUES, Columns, Faces, Job, NewAsset, now_ms
from facegrep.vision import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegrep.engine._results import MediaType
    from facegrep.media import Picture
    from facegrep.media._picture import PictureSource
    from facegrep.vision import Analysis
    from facegrep.vision._faces import FoundFace


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An asset for `Engine.add_many`; see `Engine.add` for the meaning of each."""

    media_id: str
    source: PictureSource | None = field(repr=False)
    media_type: MediaType | None = None
    namespace: str | None = None
    fields: Mapping[str, int | str | None] | None = None
    utc_create_ms: int | None = None
    title: str | None = None
    origin: str | None = None


_KEPT_BYTES_MAX: Final = 512 << 20
"""Of a video in the store, for a time. SQLite takes 1,000,000,000 in one piece."""

_NAMES: Final = frozenset(each.name for each in fields(Item))


@dataclass(frozen=True, slots=True)
class CheckedItem:
    """An item whose every value but its content is known to be good; checked at `submit_ms`."""

    media_id: str
    source: PictureSource | None = field(repr=False)
    columns: Columns
    utc_create_ms: int
    utc_was_given: bool
    title: str | None
    origin: str | None
    submit_ms: int

    @property
    def is_video(self) -> bool:
        """Whether it is a video; else it is a picture."""
        return self.columns.media_type == "video"

    def asset(
        self,
        sha256: bytes,
        source: str | None,
        faces: Faces | None,
        job: Job | None,
        pending: tuple[bytes, bool] | None,
    ) -> NewAsset:
        """Return it as the store takes it, with its content's hash and where that is."""
        return NewAsset(
            media_id=self.media_id,
            columns=self.columns,
            utc_create_ms=self.utc_create_ms,
            utc_was_given=self.utc_was_given,
            content_sha256=sha256,
            title=self.title,
            source=self.origin or source,
            faces=faces,
            job=job,
            pending=pending,
        )


def item_of(value: Item | Mapping[str, object]) -> Item:
    """Take an item, or a mapping of its attributes.

    Raises
    ------
    InvalidArgumentError
        It is neither, or lacks ``media_id`` or ``source``.
    """
    if isinstance(value, Item):
        return value
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"items: expected mappings or Item, got {type(value).__name__}")
    unknown = sorted(map(str, value.keys() - _NAMES))
    missing = sorted({"media_id", "source"} - value.keys())
    if unknown or missing:
        problem = f"without {missing[0]!r}" if missing else f"with {shown(unknown[0])}"
        raise InvalidArgumentError(
            f"items: expected {', '.join(sorted(_NAMES))}, got a mapping {problem}"
        )
    return Item(**value)  # type: ignore[arg-type]  # each is checked by check_item


def check_item(item: Item) -> CheckedItem:
    """Check all but the content, of which only the first bytes are looked at, for its type.

    Raises
    ------
    InvalidArgumentError
        Names the argument.
    """
    media_id = check_name(item.media_id, "media_id")
    media_type = _media_type(item)
    custom = check_fields(item.fields)
    given_ms = check_int64(item.utc_create_ms, "utc_create_ms")
    submit_ms = now_ms()
    return CheckedItem(
        media_id=media_id,
        source=item.source,
        columns=Columns(
            media_type,
            check_optional_name(item.namespace, "namespace"),
            custom.get("intField1"),  # type: ignore[arg-type]  # check_fields tells them apart
            custom.get("strField1"),  # type: ignore[arg-type]
            custom.get("strField2"),  # type: ignore[arg-type]
        ),
        utc_create_ms=submit_ms if given_ms is None else given_ms,
        utc_was_given=given_ms is not None,
        title=check_text(item.title, "title"),
        origin=check_text(item.origin, "origin"),
        submit_ms=submit_ms,
    )


def _media_type(item: Item) -> str:
    given: object = item.media_type  # whatever the caller gave
    if given is None:
        return kind_of(item.source)
    if not isinstance(given, str) or given not in ("image", "video"):
        raise InvalidArgumentError(
            f"media_type: expected 'image', 'video' or None, got {shown(given)}; of audio only "
            "vectors can be added (add_vectors)"
        )
    return given


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item and its picture."""

    checked: CheckedItem
    picture: Picture
    pending: tuple[bytes, bool] | None = field(repr=False)

    def asset(self, faces: Faces | None, job: Job | None) -> NewAsset:
        """Return it as the store takes it."""
        picture = self.picture
        return self.checked.asset(picture.sha256, picture.source, faces, job, self.pending)


@dataclass(frozen=True, slots=True)
class ReadVideo:
    """An item and its video."""

    checked: CheckedItem
    video: VideoContent
    pending: tuple[bytes, bool] | None = field(repr=False)

    def asset(self, faces: Faces | None, job: Job | None) -> NewAsset:
        """Return it as the store takes it."""
        video = self.video
        return self.checked.asset(video.sha256, video.path, faces, job, self.pending)


A_PICTURE: Final = "a picture, not a video"
"""The reason of a `VideoError`."""


def require_no_picture(content: object) -> None:
    """Refuse, by the first bytes, a picture that is said to be a video, with `VideoError`."""
    if begins_as_picture(content):
        raise VideoError("expected a video, got a picture", reason=A_PICTURE)


def read_video_item(checked: CheckedItem, *, analysed: bool) -> ReadVideo:
    """Read an item's video as far as its hash, and keep bytes where they must wait.

    Raises
    ------
    VideoError
        It cannot be read.
    """
    require_no_picture(checked.source)
    video = VideoContent.read(checked.source)
    pending = None
    if not analysed and (isinstance(video.source, bytes) or _is_elsewhere_later(checked)):
        if video.size > _KEPT_BYTES_MAX:
            reason = f"more than {_KEPT_BYTES_MAX >> 20} MiB to keep until it is analysed"
            raise VideoError(f"{reason}; give its path, without a URL as origin", reason=reason)
        pending = video.content(), False
    return ReadVideo(checked, video, pending)


def read_item(checked: CheckedItem, *, analysed: bool) -> ReadItem:
    """Read an item's picture, and keep its content where it must wait to be analysed.

    Raises
    ------
    PictureError
        It cannot be read, also where nothing is analysed now.
    """
    source = checked.source
    if not analysed and callable(getattr(source, "read", None)):
        source = _read_whole(source)
    elif not analysed and isinstance(source, (str, os.PathLike)) and _is_elsewhere_later(checked):
        source = read_path(os.fsdecode(source))
    picture = read_picture(source)  # type: ignore[arg-type]  # None: which it refuses
    pending = None if analysed or picture.source is not None else _pending(source)
    return ReadItem(checked, picture, pending)


def _is_elsewhere_later(checked: CheckedItem) -> bool:
    """Whether what is kept of where it is does not lead to what is given now."""
    return checked.origin is not None and not checked.origin.startswith("/")


def read_pending(content: bytes, *, is_array: bool) -> Picture:
    """Read the picture that was kept by `read_item`."""
    if not is_array:
        return read_picture(content)
    try:
        return read_picture(np.load(io.BytesIO(content), allow_pickle=False))
    except ValueError as error:
        raise PictureError(f"the stored array is damaged: {error}") from error


def faces_of(analysis: Analysis, dim: int, precision: str) -> Faces:
    """Code the faces of an analysis, largest first."""
    count = len(analysis.faces)
    values = np.empty((count, FACE_VALUES), dtype=np.float32)
    embeddings = np.empty((count, dim), dtype=np.float32)
    for row, face in enumerate(analysis.faces):
        values[row] = face_values(face)
        embeddings[row] = face.embedding
    codes = _core.quantize(embeddings) if count else np.empty((0, dim), dtype=np.int8)
    return Faces(codes, values, precision)


def face_values(face: FoundFace) -> NDArray[np.float32]:
    """Return what the store keeps of a face besides its vector: float32 ``(FACE_VALUES,)``."""
    values = np.empty(FACE_VALUES, dtype=np.float32)
    values[:4] = face.box
    values[4] = face.score
    values[5:] = face.landmarks.reshape(-1)
    return values


def stored_faces(faces: Faces) -> tuple[StoredFace, ...]:
    """Return what the store will say of faces."""
    values = faces.values
    return tuple(
        StoredFace(
            face_no=number,
            box=None if values is None else Box(*map(float, values[number, :4])),
            score=None if values is None else float(values[number, 4]),
            precision=faces.precision,
        )
        for number in range(len(faces.codes))
    )


def _read_whole(source: object) -> bytes:
    parts, missing = [], MAX_BYTES + 1
    while missing > 0:
        part = source.read(missing)  # type: ignore[attr-defined]  # the caller saw that it has it
        if not isinstance(part, bytes):
            raise PictureError("expected a file object in binary mode", reason="a text file object")
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _pending(source: object) -> tuple[bytes, bool] | None:
    if isinstance(source, np.ndarray):
        file = io.BytesIO()
        np.save(file, source, allow_pickle=False)
        return file.getvalue(), True
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), False
    return None  # a path that is no text: it cannot be kept, so it cannot be read again
