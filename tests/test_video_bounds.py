"""What an analysis holds at a time, and what it does at the same time."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tests.video_maker import ARDERN, MACRON, OBAMA, Actor, Scene, film, still

from facegrep.video import PixelBox, Stages, VideoLimits, analyze_video
from facegrep.video._decode import TimedFrame, Video
from facegrep.video._embedding import EmbeddingQueue
from facegrep.video._faces import Looked, SeenFace
from facegrep.video._samples import SAMPLE_EVERY_MS, Sample
from facegrep.video._shots import Tracker
from facegrep.video._upright import view_of
from facegrep.vision import Detections, FaceAnalyzer

pytest.importorskip("av", reason="PyAV is not installed (facegrep[video])")

WAIT_S = 60
"""For what happens at once; only a failure takes so long."""
HOUR = 3600 * 1000 // SAMPLE_EVERY_MS


class Watched(FaceAnalyzer):
    """An analyzer that tells when it is asked for what."""

    def __init__(self, threads: int = 2) -> None:
        super().__init__(precision="int8", threads=threads)
        self.on_detect: Callable[[int], None] = lambda _: None
        self.on_embed: Callable[[int], None] = lambda _: None

    def detect(self, pictures: Sequence[Any], **how: Any) -> list[Detections]:
        self.on_detect(len(pictures))
        return super().detect(pictures, **how)

    def embed(self, crops: Any) -> Any:
        self.on_embed(len(crops))
        return super().embed(crops)


@pytest.fixture
def analyzer() -> FaceAnalyzer:
    return Watched()


@pytest.fixture(scope="module")
def two_people() -> bytes:
    """12 s, 48 samples, 96 faces."""
    return film(Scene(12, [Actor(MACRON, still(0.25)), Actor(OBAMA, still(0.75))], 1), rate=8)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The times of the frames that were decoded so far."""
    times: list[int] = []
    frames = Video.frames

    def counted(video: Video) -> Iterator[TimedFrame]:
        for frame in frames(video):
            times.append(frame.time_ms)
            yield frame

    monkeypatch.setattr(Video, "frames", counted)
    return times


def test_the_decoder_waits_for_those_who_look(
    analyzer: Watched, two_people: bytes, decoded: list[int]
) -> None:
    looked: list[int] = []
    ahead: list[int] = []
    lock = threading.Lock()

    def on_detect(pictures: int) -> None:
        # Longer than decoding the whole video takes: without a bound it would all be there.
        threading.Event().wait(0.02)
        with lock:
            sampled = len(decoded) // 2
            ahead.append(sampled - len(looked))
            looked.extend([0] * pictures)

    analyzer.on_detect = on_detect
    analysis = analyze_video(two_people, analyzer)
    assert analysis.frames_sampled == len(looked) == 48
    # Four batches wait or are looked at; a few frames are between decoder and batch.
    assert max(ahead) <= 2 * analyzer.threads + 4


def test_decoding_looking_and_embedding_go_on_at_the_same_time(
    analyzer: Watched, two_people: bytes, decoded: list[int]
) -> None:
    looks = 0
    embedding = threading.Event()
    decoded_at_first_look = 0
    went_on = {"decoding": threading.Event(), "looking": threading.Event()}
    missed = []

    def on_detect(_: int) -> None:
        nonlocal looks, decoded_at_first_look
        looks += 1
        if looks == 1:
            # Not before the decoder has brought what comes next does the first look end.
            decoded_at_first_look = len(decoded)
            for _ in range(WAIT_S * 100):
                if len(decoded) > decoded_at_first_look:
                    went_on["decoding"].set()
                    break
                threading.Event().wait(0.01)
        if embedding.is_set():
            went_on["looking"].set()

    def on_embed(_: int) -> None:
        # Nor does the first embedding end before another frame is looked at.
        if not embedding.is_set():
            embedding.set()
            if not went_on["looking"].wait(WAIT_S):
                missed.append("looking")

    analyzer.on_detect, analyzer.on_embed = on_detect, on_embed
    analyze_video(two_people, analyzer)
    assert went_on["decoding"].is_set()
    assert went_on["looking"].is_set()
    assert not missed


def test_batches_are_as_large_as_the_device_wants_and_change_nothing(
    analyzer: Watched, two_people: bytes
) -> None:
    one_by_one = analyze_video(two_people, analyzer)
    detected: list[int] = []
    embedded: list[int] = []
    analyzer.on_detect, analyzer.on_embed = detected.append, embedded.append
    analyzer.detect_batch, analyzer.embed_batch = 5, 8
    stages = Stages()
    analysis = analyze_video(two_people, analyzer, stages=stages)
    assert set(detected[:-1]) == {5}
    assert sum(detected) == analysis.frames_sampled
    # The last of a shot do not fill one.
    assert set(embedded[:-1]) == {8}
    assert sum(embedded) == stages.counts["embed"] < stages.counts["detect"] / 2
    assert set(stages.seconds) == {"decode", "detect", "embed", "track"}
    assert len(analysis.tracks) == len(one_by_one.tracks) == 2
    for track, same in zip(analysis.tracks, one_by_one.tracks, strict=True):
        assert (track.start_ms, track.end_ms) == (same.start_ms, same.end_ms)
        assert np.abs(track.boxes - same.boxes).max() <= 1
        assert track.templates[0].embedding @ same.templates[0].embedding > 0.99


def test_an_error_of_the_models_ends_the_analysis_and_its_threads(
    analyzer: Watched, two_people: bytes
) -> None:
    class Broken(Exception):
        pass

    def fail(_: int) -> None:
        raise Broken

    for stage in ("on_detect", "on_embed"):
        setattr(analyzer, stage, fail)
        with pytest.raises(Broken):
            analyze_video(two_people, analyzer)
        assert not [t for t in threading.enumerate() if t.name.startswith("facegrep-video")]
        setattr(analyzer, stage, lambda _: None)


class Embedder:
    """An embedder of two threads that is as slow as it is told to be."""

    threads = 2
    embed_batch = 4

    def __init__(self) -> None:
        self.may_go_on = threading.Semaphore(0)

    def embed(self, crops: Any) -> Any:
        assert self.may_go_on.acquire(timeout=WAIT_S)
        return np.tile(np.eye(1, 128, dtype=np.float32), (len(crops), 1))


def face_at(number: int, crop: bool = True) -> SeenFace:
    pixels = np.zeros((112, 112, 3), np.uint8) if crop else None
    time_ms = number * SAMPLE_EVERY_MS
    box = PixelBox(100 + number % 7, 80, 100, 120)
    greys = (np.arange(64) + number % 3).astype(np.uint8).tobytes()
    return SeenFace(time_ms, box, 0.9, 0.5 + 0.01 * (number % 9), pixels, greys)


def test_who_finds_faces_waits_for_those_who_embed_them() -> None:
    embedder = Embedder()
    with ThreadPoolExecutor(embedder.threads) as workers:
        queue = EmbeddingQueue(embedder, workers, Stages())  # type: ignore[arg-type]
        faces = [face_at(number) for number in range(2000)]
        put = 0

        def put_all() -> None:
            nonlocal put
            for face in faces:
                queue.put([face])
                put += 1
            queue.drain()

        thread = threading.Thread(target=put_all)
        thread.start()
        done = 0
        # 32 batches of 4 wait, one more is full, and one is being filled.
        bound = 4 * 33 + 4
        try:
            while thread.is_alive():
                assert put <= 4 * done + bound
                embedder.may_go_on.release()
                done += 1
                thread.join(0.001)
        finally:
            embedder.may_go_on.release(len(faces))
            thread.join()
    assert all(face.embedding is not None and face.crop is None for face in faces)


class AtOnce:
    """Instead of the queue: all faces are one person's, and embedded at once."""

    def __init__(self, dim: int = 128) -> None:
        self.count = 0
        self._rng = np.random.default_rng(0)
        self._person = self._rng.standard_normal(dim)

    def put(self, faces: list[SeenFace]) -> None:
        for face in faces:
            vector = self._person + 0.3 * self._rng.standard_normal(len(self._person))
            face.embedding = (vector / np.linalg.norm(vector)).astype(np.float32)
            face.crop = None
            self.count += 1

    def drain(self) -> None:
        pass


def test_an_hour_of_one_face_in_one_shot_takes_three_megabytes() -> None:
    queue = AtOnce()
    tracker = Tracker(queue, 0.42)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for number in range(HOUR):
            time_ms = number * SAMPLE_EVERY_MS
            sample = Sample(number, time_ms, None, time_ms + 40, 0)
            tracker.feed(Looked(sample, [face_at(number, crop=False)]), [])
        held = tracemalloc.get_traced_memory()[0]
        (track,) = tracker.finish(HOUR * SAMPLE_EVERY_MS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(track.times_ms) == HOUR
    assert (track.start_ms, track.end_ms) == (0, 3600 * 1000)
    assert 600 < queue.count < 1800, "one a second for ten minutes, then fewer"
    assert held < 4e6
    assert peak < 3 * held


def test_a_face_that_is_elsewhere_in_each_frame_is_linked_in_bounded_time_and_memory() -> None:
    tracker = Tracker(AtOnce(), 0.42)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for number in range(30):
            time_ms = number * SAMPLE_EVERY_MS
            faces = []
            for lane in range(32):
                face = face_at(number, crop=False)
                place = PixelBox(60 * lane + 30 * (number % 2) * 64, 200 * (number % 5), 40, 50)
                face.box = place
                faces.append(face)
            tracker.feed(Looked(Sample(number, time_ms, None, time_ms + 40, 0), faces), [])
        assert tracker.tracklets == 30 * 32
        tracks = tracker.finish(30 * SAMPLE_EVERY_MS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The same face 32 times in each frame: 32 people, whoever that is.
    assert len(tracks) >= 32
    assert sum(len(track.times_ms) for track in tracks) == 30 * 32
    assert peak < 12e6


def test_a_shot_in_which_too_many_faces_come_and_go_ends_the_analysis(analyzer: Watched) -> None:
    # A face that is elsewhere in each sample begins a tracklet with each.
    jumping = Actor(ARDERN, lambda second: (0.14 + 0.24 * (int(second * 4) % 4), 0.5, 0.2))
    video = film(Scene(6, [jumping], 4), rate=8)
    analysis = analyze_video(video, analyzer, limits=VideoLimits(tracks_max=1))
    assert analysis.truncated == "a shot of too many faces that come and go"
    assert 0 < analysis.analysed_ms < 6000
    assert len(analysis.tracks) == 1
    whole = analyze_video(video, analyzer)
    assert whole.truncated is None
    assert whole.persons == 1


class Frame:
    """As much of a decoded frame as a view looks at."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.side_data: dict[str, bytes] = {}


@pytest.mark.parametrize("aspect", [0.25, 0.9, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("size", [(720, 576), (3840, 2160), (7680, 4320), (5, 7)])
def test_no_shape_of_pixels_makes_a_large_frame_larger(
    aspect: float, size: tuple[int, int]
) -> None:
    view = view_of(Frame(*size), aspect, 640)
    width, height = view.square_px
    assert width / height == pytest.approx(
        size[0] * aspect / size[1], rel=0.3 if size[0] < 9 else 0.01
    )
    assert width * height <= max(8_300_000, size[0] * size[1])
    assert max(view.reduced_px) <= 640
