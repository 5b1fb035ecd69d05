"""A video in, its tracks out."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from facegrep.video._decode import Video
from facegrep.video._embedding import EmbeddingQueue
from facegrep.video._faces import Looker
from facegrep.video._limits import VideoLimits
from facegrep.video._persons import number_persons, seen_at_once
from facegrep.video._results import Track, VideoAnalysis, VideoProgress
from facegrep.video._samples import Sampler
from facegrep.video._shots import Tracker
from facegrep.video._stages import Stages
from facegrep.video._upright import Converter, view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facegrep.video._faces import Looked
    from facegrep.video._samples import Sample
    from facegrep.video._shots import FoundTrack
    from facegrep.video._source import VideoSource
    from facegrep.vision import FaceAnalyzer

# Decoded frames that wait or are looked at. 24 megapixels are 36 MB of them, 48 at 10 bits.
_AHEAD_PIXELS_MAX: Final = 48_000_000
# A track is put together of about so many at most; a stranger's shot may have any number.
_TRACKLETS_A_TRACK: Final = 8


def analyze_video(
    source: VideoSource,
    analyzer: FaceAnalyzer,
    *,
    limits: VideoLimits | None = None,
    progress: Callable[[VideoProgress], None] | None = None,
    stages: Stages | None = None,
) -> VideoAnalysis:
    """Find who appears in a video, when and where.

    Frames are decoded in the caller's thread (and by up to three of the decoder's own), while the
    analyzer's threads look at samples of them and embed the chosen faces.

    Parameters
    ----------
    source
        A path, or a file's bytes: MP4, MOV, Matroska, WebM, AVI, MPEG-TS and others. No other file
        is opened, whatever it says.
    analyzer
        Finds and embeds the faces. May be shared by threads.
    limits
        Bounds for what strangers send; see `VideoLimits`.
    progress
        Called in the caller's thread about once for each sampled frame. What it raises ends the
        analysis and goes to the caller.
    stages
        Adds up where the time goes.

    Raises
    ------
    VideoError
        Not a video that is read here: missing, empty, damaged from its beginning, only sound, in
        another format, or beyond the limits. One that is damaged later gives what was decoded, and
        says so in `VideoAnalysis.truncated`.
    MissingExtraError
        PyAV is not installed.
    ModelError
        The analyzer failed.

    Notes
    -----
    Memory does not depend on the length of the video, but for the result and for 3 MB an hour and
    visible face of the shot that is looked at.
    """
    limits = limits or VideoLimits()
    stages = stages or Stages()
    with Video(source, limits, analyzer.threads) as video:
        return _analyze(video, analyzer, limits, progress, stages)


def _analyze(
    video: Video,
    analyzer: FaceAnalyzer,
    limits: VideoLimits,
    progress: Callable[[VideoProgress], None] | None,
    stages: Stages,
) -> VideoAnalysis:
    converter = Converter()
    sampler = Sampler(converter)
    samples = _measured(sampler.samples(video), stages)
    first = next(samples, None)
    if first is None:
        raise video.without_frames()
    side = analyzer.detector_long_side_px
    width, height = view_of(first.frame, video.pixel_aspect, side).size_px
    looker = Looker(
        analyzer, converter, video.pixel_aspect, limits.faces_per_frame_max, (width, height)
    )

    def look(batch: Sequence[Sample]) -> list[Looked]:
        with stages.measure("detect"):
            return looker.look(batch)

    batches = _batches(itertools.chain([first], samples), analyzer.detect_batch)
    frames_max = max(2, _AHEAD_PIXELS_MAX // (width * height))
    at_once = max(1, min(frames_max // analyzer.detect_batch, 2 * analyzer.threads))
    sampled = faces = analysed_ms = 0
    workers = ThreadPoolExecutor(analyzer.threads, "facegrep-video")
    try:
        tracker = Tracker(EmbeddingQueue(analyzer, workers, stages), analyzer.threshold_floor)
        for looked in _ahead(workers, look, batches, at_once):
            with stages.measure("track"):
                tracker.feed(looked, sampler.cuts_ms)
            sampled += 1
            faces += len(looked.faces)
            stages.count("detect", len(looked.faces))
            analysed_ms = looked.sample.shown_until_ms
            if progress is not None:
                progress(VideoProgress(looked.sample.time_ms, video.duration_ms, faces))
            if len(tracker.tracks) > limits.tracks_max:
                video.truncated = f"more than {limits.tracks_max} tracks"
                break
            if tracker.tracklets > _TRACKLETS_A_TRACK * limits.tracks_max:
                video.truncated = "a shot of too many faces that come and go"
                break
        else:
            analysed_ms = video.end_ms
        with stages.measure("track"):
            found = tracker.finish(analysed_ms)
            tracks = _numbered(found[: limits.tracks_max], analyzer.threshold_floor)
    finally:
        workers.shutdown(cancel_futures=True)
    shown_ms = video.end_ms - first.time_ms
    return VideoAnalysis(
        tracks=tracks,
        persons=1 + max((track.person for track in tracks), default=-1),
        width=width,
        height=height,
        duration_ms=max(video.duration_ms or 0, video.end_ms),
        analysed_ms=analysed_ms,
        frame_rate=video.frames_decoded * 1000 / shown_ms if video.frames_decoded > 1 else 0.0,
        cuts_ms=np.array([ms for ms in sampler.cuts_ms if ms < analysed_ms], np.int64),
        frames_sampled=sampled,
        frames_damaged=video.frames_damaged,
        truncated=video.truncated,
        model_id=analyzer.model_id,
        dim=analyzer.dim,
    )


def _measured(samples: Iterator[Sample], stages: Stages) -> Iterator[Sample]:
    while True:
        with stages.measure("decode"):
            sample = next(samples, None)
        if sample is None:
            return
        yield sample


def _batches(samples: Iterator[Sample], length: int) -> Iterator[list[Sample]]:
    """Cut into batches of one frame size, as the detector wants them."""
    for _, same in itertools.groupby(samples, lambda s: (s.frame.width, s.frame.height)):
        while batch := list(itertools.islice(same, length)):
            yield batch


def _ahead(
    workers: ThreadPoolExecutor,
    look: Callable[[Sequence[Sample]], list[Looked]],
    batches: Iterator[list[Sample]],
    count: int,
) -> Iterator[Looked]:
    """Look at batches in other threads, ``count`` of them at once; results in order."""
    running: deque[Future[list[Looked]]] = deque()
    for batch in batches:
        running.append(workers.submit(look, batch))
        if len(running) >= count:
            yield from running.popleft().result()
    while running:
        yield from running.popleft().result()


def _numbered(found: list[FoundTrack], threshold: float) -> tuple[Track, ...]:
    """Order tracks and say whose they are."""
    found = sorted(found, key=lambda track: (track.start_ms, track.end_ms, track.boxes[0].tolist()))
    apart = seen_at_once([track.numbers for track in found])
    persons = number_persons([track.templates for track in found], apart, threshold)
    return tuple(
        Track(
            person,
            track.start_ms,
            track.end_ms,
            track.times_ms,
            track.boxes,
            track.templates,
        )
        for person, track in zip(persons, found, strict=True)
    )
