"""A video asset to be added: its content, and what an analysis of it is to the store."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep import _core
from facegrep._errors import VideoError
from facegrep.store import FACE_VALUES, Faces, Video, VideoFacts, VideoTrack
from facegrep.video import analyze_video
from facegrep.video._source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from facegrep.video import VideoAnalysis, VideoProgress
    from facegrep.vision import FaceAnalyzer

_HASHED_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class VideoContent:
    """A video's bytes, wherever they are.

    Attributes
    ----------
    source
        A path, or the bytes.
    sha256
        32 bytes.
    path
        Absolute; ``None`` for bytes, and for a path that is no text: no store can keep it.
    size
        In bytes.
    """

    source: str | bytes = field(repr=False)
    sha256: bytes
    path: str | None
    size: int
    _stamp: tuple[int, ...] | None

    def content(self) -> bytes:
        """Return the bytes.

        Raises
        ------
        VideoError
            They cannot be read any more.
        """
        if isinstance(self.source, bytes):
            return self.source
        file, name = open_source(self.source)
        with file:
            try:
                return file.read()
            except OSError as error:
                raise _not_read(name, error) from error

    @staticmethod
    def read(source: object) -> VideoContent:
        """Look through a video once: 1 GB/s.

        Raises
        ------
        VideoError
            Not a path of a regular file or bytes, not readable, or empty.
        """
        file, name = open_source(source)
        with file:
            try:
                stamp = None if isinstance(source, _BYTES) else _stamp_of(os.fstat(file.fileno()))
                digest, size = hashlib.sha256(), 0
                while part := file.read(_HASHED_BYTES):
                    digest.update(part)
                    size += len(part)
            except OSError as error:
                raise _not_read(name, error) from error
        if isinstance(source, _BYTES):
            return VideoContent(bytes(source), digest.digest(), None, size, None)
        path = os.fsdecode(source)  # type: ignore[arg-type]  # open_source takes nothing else
        return VideoContent(path, digest.digest(), _absolute(path), size, stamp)

    def analyse(
        self, analyzer: FaceAnalyzer, progress: Callable[[VideoProgress], None] | None = None
    ) -> VideoAnalysis:
        """Find who appears in it.

        Raises
        ------
        VideoError
            It is not a video that is read here, or is another one by now.
        MissingExtraError
            PyAV is not installed.
        """
        found = analyze_video(self.source, analyzer, progress=progress)
        if self._stamp is not None and isinstance(self.source, str):
            try:
                stamp = _stamp_of(Path(self.source).stat())
            except OSError:
                stamp = ()
            if stamp != self._stamp:
                reason = "it was changed while it was read"
                raise VideoError(f"{self.path!r}: {reason}; add it again", reason=reason)
        return found


def faces_of_video(analysis: VideoAnalysis, precision: str) -> Faces:
    """Code the templates of an analysis, track by track, the best of each first.

    In the place of the detector's score stands the template's quality; landmarks are not known.
    """
    templates = [template for track in analysis.tracks for template in track.templates]
    values = np.full((len(templates), FACE_VALUES), np.nan, dtype=np.float32)
    embeddings = np.empty((len(templates), analysis.dim), dtype=np.float32)
    for row, template in enumerate(templates):
        values[row, :4] = template.box
        values[row, 4] = template.quality
        embeddings[row] = template.embedding
    codes = _core.quantize(embeddings) if templates else np.empty(embeddings.shape, dtype=np.int8)
    return Faces(codes, values, precision, _video_of(analysis))


def _video_of(analysis: VideoAnalysis) -> Video:
    facts = VideoFacts(
        width=analysis.width,
        height=analysis.height,
        duration_ms=analysis.duration_ms,
        analysed_ms=analysis.analysed_ms,
        truncated=analysis.truncated,
        person_count=analysis.persons,
    )
    return Video(
        facts,
        tuple(
            VideoTrack(
                person=track.person,
                start_ms=track.start_ms,
                end_ms=track.end_ms,
                samples=_samples(track.times_ms, track.boxes),
                face_times_ms=np.array([face.time_ms for face in track.templates], dtype=np.int32),
            )
            for track in analysis.tracks
        ),
    )


def _samples(times_ms: NDArray[np.int64], boxes: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.column_stack([times_ms, boxes]).astype(np.int32)


_BYTES: Final = (bytes, bytearray, memoryview)


def _not_read(name: str, error: OSError) -> VideoError:
    reason = (error.strerror or str(error)).lower()
    return VideoError(f"cannot read the video {name}: {reason}", reason=reason)


def _stamp_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _absolute(path: str) -> str | None:
    absolute = str(Path(path).absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return None
    return absolute
