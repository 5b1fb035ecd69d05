"""Encoded bytes to frames in time, with a stranger's file held to what a video may do.

Only the demuxers and decoders listed here are reachable: those of cameras, phones, editors and the
web. Playlists, image sequences and scripts, which name other files, are not among them; and no
other file is opened: not by a protocol (none is allowed), not by reference (`_refuse_to_open`).
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from facegrep.video._clock import Clock
from facegrep.video._pyav import is_of_file, pyav
from facegrep.video._source import open_source, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegrep._errors import VideoError
    from facegrep.video._limits import VideoLimits
    from facegrep.video._source import VideoSource

_DEMUXERS: Final = "asf,avi,flv,matroska,mov,mpeg,mpegts,mxf,ogg,webm"
_DECODERS: Final = (
    "av1,libdav1d,dnxhd,dvvideo,ffv1,flv,h263,h264,hevc,mjpeg,mpeg1video,mpeg2video,mpeg4,"
    "msmpeg4,msmpeg4v2,prores,theora,vc1,vp6f,vp8,vp9,libvpx,libvpx-vp9,wmv1,wmv2,wmv3"
)
_READ_BYTES: Final = 1 << 18
"""At a time: libav asks for 32 KiB by itself, and each read takes the GIL."""
_DECODER_THREADS_MAX: Final = 4
"""Each holds a few frames more: 12 MB apiece at 4K."""
_ONE_THREAD_FROM_PIXELS: Final = 10_000_000
_DAMAGED_IN_A_ROW_MAX: Final = 250
_SHORT_BY_MS: Final = 500
"""Files declare more than they show by a frame or two."""


class TimedFrame(NamedTuple):
    """A decoded frame (``av.VideoFrame``), and its time from the file's beginning."""

    frame: Any
    time_ms: int


class Video:
    """An open video. Not thread-safe; its frames may be used in any thread.

    Parameters
    ----------
    source
        A path or bytes.
    limits
        See `VideoLimits`.
    threads
        How many cores the decoder may use.

    Attributes
    ----------
    duration_ms
        As declared, ``None`` if it is not.
    pixel_aspect
        Width of a pixel over its height.
    truncated
        Why `frames` ended early, once it did.
    frames_decoded, frames_damaged
        So far.
    end_ms
        Where the last decoded frame ends.

    Raises
    ------
    VideoError
        Not a video that is read here, too large, or nothing but sound.
    MissingExtraError
        PyAV is not installed.
    """

    def __init__(self, source: VideoSource, limits: VideoLimits, threads: int) -> None:
        self._av = pyav()
        self._limits = limits
        self._file, self._name = open_source(source)
        self.truncated: str | None = None
        self.frames_decoded = 0
        self.frames_damaged = 0
        self.end_ms = 0
        self._heard_ms = 0
        try:
            self._container = self._open()
            self._stream = self._choose_stream()
            self._prepare_decoder(threads)
        except BaseException:
            self.close()
            raise
        self.duration_ms = self._declared_ms()
        self.pixel_aspect = _plausible_aspect(self._stream.sample_aspect_ratio)

    def close(self) -> None:
        container = getattr(self, "_container", None)
        if container is not None:
            container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self) -> Iterator[TimedFrame]:
        """Decode to the end, or to what stops it; whole frames only, in order of time."""
        clock = self._clock()
        in_a_row = 0
        for packet in self._packets():
            if packet.stream is not self._stream:
                self._hear(packet)
                continue
            try:
                decoded = packet.decode()
            except Exception as error:
                if not is_of_file(error):
                    raise
                self.frames_damaged += 1
                in_a_row += 1
                if in_a_row >= _DAMAGED_IN_A_ROW_MAX:
                    self.truncated = f"damaged from {_seconds(self.end_ms)} on"
                    return
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    self.frames_damaged += 1
                    continue
                in_a_row = 0
                time_ms = clock.ms(frame.pts, frame.time_base)
                if time_ms >= self._limits.duration_max_ms:
                    limit = _seconds(self._limits.duration_max_ms)
                    self.truncated = f"longer than {limit}"
                    return
                if frame.width * frame.height > self._limits.pixels_max:
                    self.truncated = f"a frame of {frame.width} x {frame.height} px"
                    return
                self.frames_decoded += 1
                self.end_ms = max(self.end_ms, time_ms + clock.step_ms)
                yield TimedFrame(frame, time_ms)
        self._say_what_is_missing()

    def without_frames(self) -> VideoError:
        """Return the error for a video of which nothing was decoded."""
        return refused(self._name, self.truncated or "no frame can be decoded")

    def _open(self) -> Any:  # noqa: ANN401
        options = {
            "format_whitelist": _DEMUXERS,
            "codec_whitelist": _DECODERS,
            "protocol_whitelist": "none",
            "max_streams": str(self._limits.streams_max),
            "max_pixels": str(self._limits.pixels_max),
        }
        try:
            return self._av.open(
                self._file,
                mode="r",
                options=options,
                buffer_size=_READ_BYTES,
                metadata_errors="ignore",
                io_open=_refuse_to_open,
            )
        except Exception as error:
            if not is_of_file(error):
                raise
            if isinstance(error, MemoryError):
                # What libav says to one stream too many.
                reason = f"more than {self._limits.streams_max} streams, or out of memory"
                raise refused(self._name, reason) from error
            raise refused(self._name, "not a video, or damaged at its beginning") from error

    def _choose_stream(self) -> Any:  # noqa: ANN401
        streams = list(self._container.streams)
        if len(streams) > self._limits.streams_max:
            raise refused(self._name, f"more than {self._limits.streams_max} streams")
        cover = self._av.stream.Disposition.attached_pic
        moving = [s for s in streams if s.type == "video" and not s.disposition & cover]
        if not moving:
            sound = any(stream.type == "audio" for stream in streams)
            raise refused(self._name, "only sound, no pictures" if sound else "no video stream")
        decodable = [stream for stream in moving if stream.codec_context is not None]
        if not decodable:
            raise refused(self._name, "no decoder for its video stream")
        return max(decodable, key=lambda s: s.codec_context.width * s.codec_context.height)

    def _prepare_decoder(self, threads: int) -> None:
        context = self._stream.codec_context
        if context.name not in _DECODERS.split(","):
            raise refused(self._name, f"coded as {context.name}, which is not read here")
        pixels = context.width * context.height
        if pixels > self._limits.pixels_max:
            raise refused(
                self._name,
                f"{context.width} x {context.height} px, more than "
                f"{self._limits.pixels_max / 1e6:.3g} megapixels",
            )
        context.options = {"max_pixels": str(self._limits.pixels_max)}
        context.thread_type = "AUTO"
        few = pixels >= _ONE_THREAD_FROM_PIXELS
        context.thread_count = 1 if few else min(threads, _DECODER_THREADS_MAX)

    def _declared_ms(self) -> int | None:
        stream, whole = self._stream, self._container.duration
        if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
            end_s = ((stream.start_time or 0) + stream.duration) * stream.time_base
            return max(0, int((end_s - self._origin()) * 1000))
        return round(whole / 1000) if whole is not None and whole > 0 else None

    def _origin(self) -> Fraction:
        """Seconds that players call the beginning."""
        start = self._container.start_time
        return Fraction(start, 1_000_000) if start is not None else Fraction(0)

    def _clock(self) -> Clock:
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        return Clock(self._origin(), rate, self.duration_ms)

    def _packets(self) -> Iterator[Any]:
        sound = [stream for stream in self._container.streams if stream.type == "audio"]
        try:
            yield from self._container.demux(self._stream, *sound)
        except IndexError:
            # PyAV's, at the end: it asks the streams for what they hold, and does not know one that
            # began after the opening. Those come last.
            pass
        except Exception as error:
            if not is_of_file(error):
                raise
            why = "damaged, or out of memory," if isinstance(error, MemoryError) else "damaged"
            self.truncated = f"{why} from {_seconds(self.end_ms)} on"

    def _hear(self, packet: Any) -> None:  # noqa: ANN401
        """Note how far the sound goes: pictures may end before it, and nothing is missing then."""
        if packet.pts is not None and packet.time_base is not None:
            end_s = (packet.pts + (packet.duration or 0)) * packet.time_base - self._origin()
            self._heard_ms = max(self._heard_ms, int(end_s * 1000))

    def _say_what_is_missing(self) -> None:
        declared = self.duration_ms
        if self.truncated or declared is None or not self.frames_decoded:
            return
        if max(self.end_ms, self._heard_ms) + _SHORT_BY_MS >= declared:
            return
        self.truncated = f"ends at {_seconds(self.end_ms)} of {_seconds(declared)}"


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> Any:  # noqa: ANN401, ARG001
    raise PermissionError("a video may not open other files")


def _plausible_aspect(ratio: Fraction | None) -> float:
    with contextlib.suppress(TypeError, ZeroDivisionError):
        if ratio is not None and Fraction(1, 4) <= ratio <= 4:
            return float(ratio)
    return 1.0


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s"
