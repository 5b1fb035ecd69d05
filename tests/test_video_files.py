"""Video files as people have them, and as strangers make them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.video_maker import ARDERN, MACRON, OBAMA, Actor, Scene, encode, film, render, still

from facegrep import FacegrepError, InvalidArgumentError, MissingExtraError, VideoError
from facegrep.video import VideoLimits, analyze_video
from facegrep.video._decode import Video
from facegrep.video._upright import Converter, view_of
from facegrep.vision import FaceAnalyzer

av = pytest.importorskip("av", reason="PyAV is not installed (facegrep[video])")

FACE = Scene(1.2, [Actor(OBAMA, still(0.3, 0.45, 0.4))], 1)


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(precision="int8")


@pytest.fixture(scope="module")
def two_shots() -> bytes:
    """Macron until 2.0 s, Ardern until 4.0 s."""
    return film(Scene(2, [Actor(MACRON, still())], 1), Scene(2, [Actor(ARDERN, still())], 2))


def reason_of(source: object, analyzer: FaceAnalyzer, limits: VideoLimits | None = None) -> str:
    with pytest.raises(VideoError) as refused:
        analyze_video(source, analyzer, limits=limits)  # type: ignore[arg-type]
    assert refused.value.reason in str(refused.value)
    return refused.value.reason


def with_matrix(video: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """Write a display matrix into an MP4 file: x' = a x + c y, y' = b x + d y."""
    at = video.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = np.array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30], ">i4").tobytes()
    return video[:at] + matrix + video[at + 36 :]


@pytest.mark.parametrize(
    ("matrix", "quarter_turns", "mirrored"),
    [
        ((0, 1, -1, 0), 1, False),
        ((-1, 0, 0, -1), 2, False),
        ((0, -1, 1, 0), 3, False),
        ((-1, 0, 0, 1), 0, True),
    ],
    ids=["90", "180", "270", "mirrored"],
)
def test_boxes_are_those_of_the_upright_frame_however_it_is_stored(
    analyzer: FaceAnalyzer,
    matrix: tuple[int, int, int, int],
    quarter_turns: int,
    mirrored: bool,
) -> None:
    upright = list(render([FACE]))
    stored = [np.rot90(frame, quarter_turns) for frame in upright]
    if mirrored:
        stored = [frame[:, ::-1] for frame in upright]
    stored = [np.ascontiguousarray(frame) for frame in stored]
    plain = analyze_video(encode(upright), analyzer)
    turned = analyze_video(with_matrix(encode(stored), *matrix), analyzer)
    assert (turned.width, turned.height) == (plain.width, plain.height) == (640, 360)
    assert len(turned.tracks) == len(plain.tracks) == 1
    assert np.abs(turned.tracks[0].boxes - plain.tracks[0].boxes).max() <= 3
    likeness = turned.tracks[0].templates[0].embedding @ plain.tracks[0].templates[0].embedding
    assert likeness > 0.9


def test_boxes_are_in_stored_pixels_where_pixels_are_not_square(analyzer: FaceAnalyzer) -> None:
    wide = list(render([FACE]))
    narrow = [np.asarray(Image.fromarray(frame).resize((320, 360))) for frame in wide]
    plain = analyze_video(encode(wide), analyzer)
    squeezed = analyze_video(encode(narrow, aspect=Fraction(2, 1)), analyzer)
    assert (squeezed.width, squeezed.height) == (320, 360)
    (track,), (reference,) = squeezed.tracks, plain.tracks
    assert np.abs(track.boxes * (2, 1, 2, 1) - reference.boxes).max() <= 6
    assert track.templates[0].embedding @ reference.templates[0].embedding > 0.9


def test_frames_of_any_spacing_are_taken_at_their_times(analyzer: FaceAnalyzer) -> None:
    # Irregular until 1 s; then one frame that stays for 3 s, then another person.
    scenes = [Scene(0.8, [Actor(MACRON, still())], 1), Scene(0.8, [Actor(ARDERN, still())], 2)]
    times = [0, 10, 30, 31, 90, 200, 210, 220, 230, 400, 430, 500, 600, 601, 602, 603, 800, 900]
    times += [950, 1000, *range(4000, 5600, 80)]
    video = encode(render(scenes), times_ms=times, kind="matroska")
    analysis = analyze_video(video, analyzer)
    first, second = analysis.tracks
    assert (first.start_ms, second.start_ms) == (0, first.end_ms)
    assert abs(first.end_ms - 4000) <= 20
    assert abs(second.end_ms - 5600) <= 100
    assert set(first.times_ms) <= set(times)


def test_a_file_cut_short_gives_what_is_there_and_says_so(
    analyzer: FaceAnalyzer, two_shots: bytes
) -> None:
    frames = render([Scene(2, [Actor(MACRON, still())], 1), Scene(2, [Actor(ARDERN, still())], 2)])
    whole = encode(frames, kind="matroska")
    analysis = analyze_video(whole[: len(whole) * 7 // 10], analyzer)
    assert analysis.truncated is not None
    assert analysis.truncated.startswith("ends at ")
    assert analysis.truncated.endswith(" of 4.0 s")
    assert 1000 < analysis.analysed_ms < 3800
    assert analysis.duration_ms == 4000
    assert analysis.tracks[0].end_ms == min(2000, analysis.analysed_ms)
    assert analysis.tracks[-1].end_ms <= analysis.analysed_ms
    # An MP4 file has its index at the end.
    assert "damaged" in reason_of(two_shots[: len(two_shots) // 2], analyzer)


def test_damage_in_the_middle_is_counted_and_passed_over(analyzer: FaceAnalyzer) -> None:
    video = bytearray(encode(render([Scene(3, FACE.actors, 1)]), kind="mpegts"))
    middle = len(video) // 2
    for at in range(middle, middle + 3000):
        video[at] = (video[at] * 7 + 13) & 255
    analysis = analyze_video(bytes(video), analyzer)
    assert analysis.frames_damaged > 0
    assert analysis.tracks[0].start_ms == 0
    assert analysis.tracks[-1].end_ms == analysis.analysed_ms > 2800


def test_sound_that_is_longer_than_the_pictures_is_nothing_missing(analyzer: FaceAnalyzer) -> None:
    for kind in ("mp4", "matroska"):
        analysis = analyze_video(encode(render([FACE]), kind=kind, sound_s=3), analyzer)
        assert analysis.truncated is None
        assert abs(analysis.analysed_ms - 1200) < 40  # the sound may begin a packet before


def test_what_is_no_video_is_refused_with_a_reason(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    assert reason_of(encode([], sound_s=0.5), analyzer) == "only sound, no pictures"
    assert reason_of(b"", analyzer) == "empty"
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "JPEG")
    for other in (bytes(5000), np.random.default_rng(0).bytes(5000), picture.getvalue()):
        assert reason_of(other, analyzer) == "not a video, or damaged at its beginning"
    empty, pipe = tmp_path / "empty.mp4", tmp_path / "pipe.mp4"
    empty.touch()
    os.mkfifo(pipe)
    assert reason_of(empty, analyzer) == "empty"
    assert reason_of(pipe, analyzer) == "not a regular file"
    assert reason_of(tmp_path, analyzer) == "not a regular file"
    assert reason_of(tmp_path / "none.mp4", analyzer) == "no such file or directory"
    assert reason_of("a\0b", analyzer) == "not a possible file name"
    with pytest.raises(VideoError, match="expected a path or bytes, got int"):
        analyze_video(12, analyzer)  # type: ignore[arg-type]


def test_a_video_without_a_frame_is_refused(analyzer: FaceAnalyzer) -> None:
    whole = encode(render([FACE]), kind="matroska")
    cluster = whole.index(b"\x1f\x43\xb6\x75")
    assert reason_of(whole[: cluster + 40], analyzer) == "no frame can be decoded"
    indexed = encode(render([FACE]))
    begin, end = indexed.index(b"mdat") + 4, indexed.index(b"moov") - 4
    blank = indexed[:begin] + bytes(end - begin) + indexed[end:]
    assert reason_of(blank, analyzer) == "no frame can be decoded"


def test_cover_art_is_no_video(analyzer: FaceAnalyzer) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        container.mux(cover.encode())
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate, samples.pts = 48000, 0
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    assert reason_of(buffer.getvalue(), analyzer) == "only sound, no pictures"


def test_no_file_makes_us_open_another(
    analyzer: FaceAnalyzer, two_shots: bytes, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(two_shots)
    playlists = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4,\n{other.as_uri()}\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{other}'\n",
        "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f"<BaseURL>{other.as_uri()}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    }
    for name, text in playlists.items():
        path = tmp_path / name
        path.write_text(text)
        assert reason_of(path, analyzer) == "not a video, or damaged at its beginning"
        reason_of(text.encode(), analyzer)


def test_limits_refuse_or_end_the_analysis(analyzer: FaceAnalyzer, two_shots: bytes) -> None:
    pixels = 640 * 360
    too_large = VideoLimits(pixels_max=pixels - 1)
    assert "640 x 360 px" in reason_of(two_shots, analyzer, too_large)
    assert analyze_video(film(FACE), analyzer, limits=VideoLimits(pixels_max=pixels)).tracks
    with_sound = encode(render([FACE]), sound_s=0.5)
    assert "1 streams" in reason_of(with_sound, analyzer, VideoLimits(streams_max=1))

    short = analyze_video(two_shots, analyzer, limits=VideoLimits(duration_max_ms=1000))
    assert short.truncated == "longer than 1.0 s"
    assert [(track.start_ms, track.end_ms) for track in short.tracks] == [(0, 1000)]
    assert short.duration_ms == 4000

    scene = Scene(1, [Actor(MACRON, still(0.25, 0.5, 0.3)), Actor(OBAMA, still(0.75, 0.5, 0.4))])
    largest = analyze_video(film(scene), analyzer, limits=VideoLimits(faces_per_frame_max=1))
    assert len(largest.tracks) == 1

    flicker = film(*(Scene(0.4, [Actor((OBAMA, MACRON)[n % 2], still())], n) for n in range(16)))
    few = analyze_video(flicker, analyzer, limits=VideoLimits(tracks_max=3))
    assert len(few.tracks) == 3
    assert few.truncated == "more than 3 tracks"
    assert few.analysed_ms < few.duration_ms
    with pytest.raises(InvalidArgumentError, match="pixels_max"):
        VideoLimits(pixels_max=0)


def test_faces_of_4k_are_found_small_and_embedded_large(analyzer: FaceAnalyzer) -> None:
    scene = Scene(0.5, [Actor(OBAMA, still(0.5, 0.5, 0.09))], 3)
    small = Scene(0.5, [Actor(OBAMA, still(0.5, 0.5, 0.4))], 3)
    analysis = analyze_video(film(scene, width=3840, height=2160, rate=8), analyzer)
    reference = analyze_video(film(small), analyzer)
    (track,), (same,) = analysis.tracks, reference.tracks
    assert (analysis.width, analysis.height) == (3840, 2160)
    # As the detector sees it, the face is 20 px wide; an embedding of that would be like nobody's.
    assert 80 < track.boxes[0, 2] < 200
    assert track.templates[0].embedding @ same.templates[0].embedding > 0.75


FUZZ = """
import sys
import numpy as np
from facegrep import FacegrepError
from facegrep.video._decode import Video
from facegrep.video._limits import VideoLimits
outcomes = set()
for name in sys.argv[1:]:
    whole = open(name, "rb").read()
    rng = np.random.default_rng(len(whole))
    for turn in range(40):
        video = np.frombuffer(whole, np.uint8).copy()
        end = len(video) if turn % 2 else min(len(video), 2000)
        at = rng.integers(0, end, 1 + turn)
        video[at] = rng.integers(0, 256, len(at))
        try:
            with Video(video.tobytes(), VideoLimits(duration_max_ms=60_000), 1) as opened:
                frames = [frame.time_ms for frame in opened.frames()]
                assert frames == sorted(frames) and (not frames or frames[0] >= 0)
                outcomes.add("read")
        except FacegrepError:
            outcomes.add("refused")
print(sorted(outcomes))
"""


def test_changed_bytes_give_frames_or_our_error_and_nothing_is_printed(tmp_path: Path) -> None:
    frames = list(render([Scene(0.8, FACE.actors, 1)], 160, 90))
    names = []
    for kind in ("mp4", "matroska", "mpegts", "avi"):
        path = tmp_path / kind
        path.write_bytes(encode(frames, kind=kind, codec="mpeg4" if kind == "avi" else "libx264"))
        names.append(str(path))
    run = subprocess.run([sys.executable, "-c", FUZZ, *names], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "['read', 'refused']\n"


def test_without_pyav_the_error_names_the_extra(
    analyzer: FaceAnalyzer, two_shots: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av.video.reformatter", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facegrep\[video\]'") as missing:
        analyze_video(two_shots, analyzer)
    assert missing.value.extra == "video"
    assert isinstance(missing.value, FacegrepError | ImportError)


def test_pyav_is_imported_by_an_analysis_alone() -> None:
    code = "import sys, facegrep.video; print('av' in sys.modules, 'onnxruntime' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False False\n", "")


class Ending:
    """A container whose demuxing ends with an error."""

    def __init__(self, container: Any, error: BaseException) -> None:
        self._container = container
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        yield from self._container.demux(*streams)
        raise self._error


# Whether PyAV raises the first where a stream began after the opening is said by what lies behind
# an array in its memory: no file does it always.
@pytest.mark.parametrize(
    ("error", "truncated"),
    [
        (IndexError("list index out of range"), None),
        (av.error.MemoryError(12, "Cannot allocate memory"), "damaged, or out of memory, from 1.2"),
        (av.error.InvalidDataError(1, "Invalid data"), "damaged from 1.2"),
        (OSError(5, "Input/output error"), "damaged from 1.2"),
        (OverflowError("value too large to convert to int"), "damaged from 1.2"),
    ],
)
def test_whatever_ends_a_file_what_was_decoded_stays(
    error: BaseException, truncated: str | None
) -> None:
    video = encode(render([FACE], width=64, height=36), kind="mpegts")
    with Video(video, VideoLimits(), threads=1) as opened:
        opened._container = Ending(opened._container, error)
        assert len(list(opened.frames())) == 30
        assert (opened.truncated or "").startswith(truncated or "")
        assert (opened.truncated is None) == (truncated is None)


def test_memory_that_python_lacks_is_no_damage() -> None:
    video = encode(render([FACE], width=64, height=36), kind="mpegts")
    with Video(video, VideoLimits(), threads=1) as opened:
        opened._container = Ending(opened._container, MemoryError())
        with pytest.raises(MemoryError):
            list(opened.frames())


def test_a_frame_whose_pixels_cannot_be_converted_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")  # as libswscale does

    class Refusing:
        reformat = refuse

    video = encode(render([FACE], width=64, height=36), kind="mpegts")
    with Video(video, VideoLimits(), threads=1) as opened:
        frame = next(opened.frames()).frame
        monkeypatch.setattr(av.video.reformatter, "VideoReformatter", Refusing)
        with pytest.raises(VideoError, match="cannot be converted"):
            Converter().square(frame, view_of(frame, 1.0, 32))
