"""Who is found in a video, when and where, on videos of which that is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.video_maker import (
    ARDERN,
    ARDERN_LATER,
    MACRON,
    MACRON_LATER,
    OBAMA,
    SUNAK,
    Actor,
    Pixels,
    Scene,
    encode,
    film,
    moving,
    render,
    still,
)

from facegrep.video import Track, VideoAnalysis, VideoProgress, analyze_video
from facegrep.vision import FaceAnalyzer

pytest.importorskip("av", reason="PyAV is not installed (facegrep[video])")

TOLERANCE_MS = 500


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(precision="int8")


@pytest.fixture(scope="module")
def known(analyzer: FaceAnalyzer) -> dict[Path, np.ndarray]:
    """Each person's other photo, where there is one: nobody is compared with himself."""
    other = {MACRON: MACRON_LATER, ARDERN: ARDERN_LATER, OBAMA: OBAMA, SUNAK: SUNAK}
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in other.values()]
    found = analyzer.analyze(pictures)
    return {who: a.faces[0].embedding for who, a in zip(other, found, strict=True)}


def likeness(track: Track, face: np.ndarray) -> float:
    return max(float(template.embedding @ face) for template in track.templates)


def who_is(track: Track, known: dict[Path, np.ndarray]) -> Path:
    best = max(known, key=lambda who: likeness(track, known[who]))
    assert likeness(track, known[best]) > 0.42
    return best


def expect(
    analysis: VideoAnalysis,
    known: dict[Path, np.ndarray],
    truth: Sequence[tuple[Path, float, float]],
) -> None:
    """The tracks are those of the truth: person, first and last second; and persons are apart."""
    assert analysis.truncated is None
    found = [(who_is(track, known), track.start_ms, track.end_ms) for track in analysis.tracks]
    assert len(found) == len(truth), found
    for (who, start_ms, end_ms), (whom, start_s, end_s) in zip(found, truth, strict=True):
        assert who == whom, found
        assert abs(start_ms - start_s * 1000) <= TOLERANCE_MS, found
        assert abs(end_ms - end_s * 1000) <= TOLERANCE_MS, found
    for one, other in itertools.combinations(range(len(found)), 2):
        same = analysis.tracks[one].person == analysis.tracks[other].person
        assert same == (found[one][0] == found[other][0])
    assert analysis.persons == len({who for who, _, _ in found})


def check_shape(analysis: VideoAnalysis) -> None:
    """What the documentation of the results promises."""
    for track in analysis.tracks:
        assert 0 <= track.person < analysis.persons
        assert 0 <= track.start_ms <= track.times_ms[0] <= track.times_ms[-1] <= track.end_ms
        assert (np.diff(track.times_ms) > 0).all()
        assert track.boxes.dtype == np.int32
        assert track.boxes.shape == (len(track.times_ms), 4)
        assert (track.boxes[:, :2] >= 0).all()
        assert (track.boxes[:, 2:] > 0).all()
        assert (track.boxes[:, :2] + track.boxes[:, 2:] <= (analysis.width, analysis.height)).all()
        assert 1 <= len(track.templates) <= 5
        for template in track.templates:
            at = track.times_ms.tolist().index(template.time_ms)
            assert template.box == tuple(track.boxes[at])
            assert template.embedding.dtype == np.float32
            assert np.linalg.norm(template.embedding) == pytest.approx(1, abs=1e-5)
            assert 0 <= template.quality <= 1


def test_each_shot_of_a_person_is_a_track_that_ends_at_the_cuts(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    video = film(
        Scene(2.4, [Actor(MACRON, still())], 1),
        Scene(1.6, [Actor(ARDERN, still(0.4))], 2),
        Scene(0.8, [], 3),
        Scene(2.0, [Actor(MACRON_LATER, still(0.6, 0.5, 0.3))], 4),
    )
    analysis = analyze_video(video, analyzer)
    expect(analysis, known, [(MACRON, 0, 2.4), (ARDERN, 2.4, 4.0), (MACRON, 4.8, 6.8)])
    check_shape(analysis)
    assert analysis.cuts_ms.tolist() == [2400, 4000, 4800]
    assert [(t.start_ms, t.end_ms) for t in analysis.tracks] == [
        (0, 2400),
        (2400, 4000),
        (4800, 6800),
    ]
    assert (analysis.width, analysis.height, analysis.duration_ms) == (640, 360, 6800)
    assert analysis.frame_rate == pytest.approx(25)
    assert analysis.analysed_ms == 6800
    assert 4 * 6.8 - 2 <= analysis.frames_sampled <= 4 * 6.8 + 6


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((0.2, 0.5, 0.35), (0.8, 0.5, 0.35)),
        ((0.8, 0.55, 0.3), (0.2, 0.4, 0.3)),
        ((0.5, 0.5, 0.2), (0.5, 0.6, 1.2)),
        ((0.4, 0.6, 1.2), (0.5, 0.5, 0.2)),
    ],
    ids=["pan", "pan back", "zoom in", "zoom out"],
)
@pytest.mark.parametrize("seconds", [0.8, 3.0])
def test_a_face_that_moves_is_one_track(
    analyzer: FaceAnalyzer,
    known: dict[Path, np.ndarray],
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    seconds: float,
) -> None:
    place = moving(start, end, 0.5, 0.5 + seconds)
    analysis = analyze_video(film(Scene(seconds + 1, [Actor(OBAMA, place)], 5)), analyzer)
    expect(analysis, known, [(OBAMA, 0, seconds + 1)])
    check_shape(analysis)


def filmed(world: Scene, window: Callable[[float], tuple[float, float, float]]) -> Iterator[Pixels]:
    """What a camera sees of a still world, 1920 x 720 px: x and y of its middle, and its width."""
    (frame,) = render([Scene(1 / 25, world.actors, world.backdrop)], 1920, 720)
    picture = Image.fromarray(frame)
    for number in range(round(world.seconds * 25)):
        x, y, width = window(number / 25)
        half_w, half_h = width / 2, width * 9 / 32
        seen = picture.resize((640, 360), box=(x - half_w, y - half_h, x + half_w, y + half_h))
        yield np.asarray(seen)


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_a_camera_that_pans_from_one_to_another_makes_no_cut(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray], seconds: float
) -> None:
    people = [Actor(MACRON, still(0.17, 0.5, 0.14)), Actor(ARDERN, still(0.83, 0.5, 0.14))]
    pan = moving((320, 360, 640), (1600, 360, 640), 1, 1 + seconds)
    analysis = analyze_video(encode(filmed(Scene(seconds + 2, people, 14), pan)), analyzer)
    assert not analysis.cuts_ms.size
    # One leaves, and the other comes, when their faces pass the frame's edge.
    out, come = 1 + seconds * 0.25, 1 + seconds * 0.75
    expect(analysis, known, [(MACRON, 0, out), (ARDERN, come, seconds + 2)])


@pytest.mark.parametrize("seconds", [0.6, 3.0])
def test_a_camera_that_zooms_makes_no_cut(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray], seconds: float
) -> None:
    people = [Actor(SUNAK, still(0.6, 0.5, 0.14))]
    zoom = moving((960, 360, 1280), (1152, 360, 360), 1, 1 + seconds)
    analysis = analyze_video(encode(filmed(Scene(seconds + 2, people, 15), zoom)), analyzer)
    assert not analysis.cuts_ms.size
    expect(analysis, known, [(SUNAK, 0, seconds + 2)])
    assert analysis.tracks[0].boxes[-1, 2] > 2.5 * analysis.tracks[0].boxes[0, 2]


def comings_and_goings(seed: int) -> tuple[list[Scene], list[tuple[Path, float, float]]]:
    """Shots of up to three people who move, go, and come back: soon (no absence) or late."""
    rng = np.random.default_rng(seed)
    scenes, truth, began = [], [], 0.0
    for _ in range(2):
        seconds = round(rng.uniform(5, 8) * 25) / 25
        actors = []
        lanes = rng.permutation(3)
        for who, lane in zip(rng.permutation(4)[: rng.integers(1, 4)], lanes, strict=False):
            x, (y, y_later), (width, width_later) = (
                0.18 + 0.32 * lane,
                rng.uniform(0.4, 0.6, 2),
                rng.uniform(0.14, 0.28, 2),
            )
            place = moving((x, y, width), (x + 0.03, y_later, width_later), 0.5, seconds)
            photo = (MACRON, ARDERN, OBAMA, SUNAK)[who]
            comes = start = rng.choice([0.0, 1.0])
            while True:
                goes = comes + rng.uniform(1, 3)
                if goes + 0.6 > seconds:
                    goes = seconds
                actors.append(Actor(photo, place, comes, goes))
                away = rng.choice([rng.uniform(0.4, 1.2), rng.uniform(2.6, 3.5)])
                last = goes + away + 0.8 > seconds
                if last or away > 2:
                    truth.append((photo, began + start, began + goes))
                    start = goes + away
                if last:
                    break
                comes = goes + away
        scenes.append(Scene(seconds, actors, int(rng.integers(1000))))
        began += seconds
    return scenes, truth


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whoever_comes_and_goes_has_a_track_for_each_appearance(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray], seed: int
) -> None:
    scenes, truth = comings_and_goings(seed)
    analysis = analyze_video(film(*scenes), analyzer)
    assert len(analysis.cuts_ms) == 1
    order = {(who_is(t, known), t.start_ms): t for t in analysis.tracks}
    found = [(who, t.start_ms / 1000, t.end_ms / 1000) for (who, _), t in sorted(order.items())]
    assert [who for who, *_ in found] == [who for who, *_ in sorted(truth)]
    for (_, start, end), (_, starts, ends) in zip(found, sorted(truth), strict=True):
        assert abs(start - starts) <= TOLERANCE_MS / 1000
        assert abs(end - ends) <= TOLERANCE_MS / 1000
    assert analysis.persons == len({who for who, *_ in truth})


def test_two_people_at_once_are_two_tracks_of_two_persons(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    scene = Scene(4, [Actor(SUNAK, still(0.25)), Actor(ARDERN, still(0.75))], 6)
    expect(analyze_video(film(scene), analyzer), known, [(SUNAK, 0, 4), (ARDERN, 0, 4)])


def test_one_photo_shown_twice_at_once_is_two_persons(analyzer: FaceAnalyzer) -> None:
    scene = Scene(2, [Actor(SUNAK, still(0.25)), Actor(SUNAK, still(0.75))], 6)
    analysis = analyze_video(film(scene), analyzer)
    assert len(analysis.tracks) == analysis.persons == 2


def test_people_who_pass_one_another_keep_their_tracks(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    scene = Scene(
        5,
        [
            Actor(MACRON, moving((0.2, 0.5, 0.35), (0.8, 0.5, 0.35), 1, 4)),
            Actor(OBAMA, moving((0.8, 0.5, 0.35), (0.2, 0.5, 0.35), 1, 4)),
        ],
        7,
    )
    analysis = analyze_video(film(scene), analyzer)
    expect(analysis, known, [(MACRON, 0, 5), (OBAMA, 0, 5)])
    for track in analysis.tracks:  # the boxes go with the person, not with the place
        first, last = track.boxes[0, 0], track.boxes[-1, 0]
        assert (first < last) == (who_is(track, known) == MACRON)


def test_who_leaves_and_comes_back_has_two_tracks(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    def place(second: float) -> tuple[float, float, float]:
        out = moving((0.5, 0.5, 0.35), (1.3, 0.5, 0.35), 2.0, 3.0)
        back = moving((1.3, 0.5, 0.35), (0.5, 0.5, 0.35), 6.0, 7.0)
        return out(second) if second < 4 else back(second)

    # The face, in the middle of the photo, has left by half when the photo has: at x = 1.
    scene = Scene(9, [Actor(SUNAK, place), Actor(ARDERN, still(0.2, 0.5, 0.3))], 8)
    expect(
        analyze_video(film(scene), analyzer),
        known,
        [(SUNAK, 0, 2.625), (ARDERN, 0, 9), (SUNAK, 6.375, 9)],
    )


def test_a_face_that_is_hidden_for_a_moment_is_one_track(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    board = Actor(None, moving((-0.5, 0.5, 0.5), (1.5, 0.5, 0.5), 1.0, 4.0))
    scene = Scene(5, [Actor(ARDERN, still()), board], 9)
    analysis = analyze_video(film(scene), analyzer)
    expect(analysis, known, [(ARDERN, 0, 5)])
    assert np.diff(analysis.tracks[0].times_ms).max() > 500  # it was hidden


def test_two_who_are_hidden_and_come_back_in_each_others_place_are_not_mixed_up(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    left, right = still(0.25), still(0.75)
    board = Actor(None, still(0.5, 0.5, 1.2), 2.0, 3.0)
    scene = Scene(
        5,
        [
            Actor(MACRON, lambda second: left(0) if second < 2.5 else right(0)),
            Actor(OBAMA, lambda second: right(0) if second < 2.5 else left(0)),
            board,
        ],
        10,
    )
    # The board fills the frame as a cut does; either way nobody is taken for the other.
    analysis = analyze_video(film(scene), analyzer)
    assert analysis.persons == 2
    for track in analysis.tracks:
        mine = known[who_is(track, known)]
        assert min(float(template.embedding @ mine) for template in track.templates) > 0.42


def fade(one: Scene, other: Scene, start_s: float, end_s: float) -> Iterator[Pixels]:
    for number, (a, b) in enumerate(zip(render([one]), render([other]), strict=True)):
        share = min(max((number / 25 - start_s) / (end_s - start_s), 0.0), 1.0)
        yield (a * (1 - share) + b * share).astype(np.uint8)


def test_a_face_that_fades_into_another_ends_there(
    analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]
) -> None:
    one, other = (Scene(5, [Actor(who, still())], 11) for who in (MACRON, ARDERN))
    analysis = analyze_video(encode(fade(one, other, 2.2, 2.8)), analyzer)
    expect(analysis, known, [(MACRON, 0, 2.5), (ARDERN, 2.5, 5)])


def test_a_flash_ends_no_track(analyzer: FaceAnalyzer, known: dict[Path, np.ndarray]) -> None:
    frames = list(render([Scene(3, [Actor(OBAMA, still())], 12)]))
    for number in (30, 31, 52):
        frames[number] = np.full_like(frames[number], 250)
    analysis = analyze_video(encode(frames), analyzer)
    assert not analysis.cuts_ms.size
    expect(analysis, known, [(OBAMA, 0, 3)])


def test_a_long_appearance_keeps_few_templates_and_all_sampled_boxes(
    analyzer: FaceAnalyzer,
) -> None:
    place = moving((0.3, 0.5, 0.3), (0.7, 0.5, 0.5), 0, 20)
    analysis = analyze_video(film(Scene(20, [Actor(MACRON, place)], 13), rate=10), analyzer)
    (track,) = analysis.tracks
    assert len(track.times_ms) == analysis.frames_sampled >= 75
    assert 1 <= len(track.templates) <= 5
    between = [
        float(a.embedding @ b.embedding) for a, b in itertools.combinations(track.templates, 2)
    ]
    assert all(cosine < 0.8 for cosine in between)


def test_the_answer_is_the_same_each_time_whatever_the_threads(
    analyzer: FaceAnalyzer,
) -> None:
    video = film(
        Scene(2, [Actor(SUNAK, still(0.25)), Actor(ARDERN, still(0.75))], 6),
        Scene(1, [Actor(SUNAK, moving((0.2, 0.5, 0.3), (0.8, 0.5, 0.3), 0, 1))], 7),
    )
    alone = FaceAnalyzer(precision="int8", threads=1)
    one, two, three = (analyze_video(video, a) for a in (alone, analyzer, analyzer))
    for other in (two, three):
        assert len(one.tracks) == len(other.tracks) > 0
        for track, twin in zip(one.tracks, other.tracks, strict=True):
            assert (track.person, track.start_ms, track.end_ms) == (
                twin.person,
                twin.start_ms,
                twin.end_ms,
            )
            np.testing.assert_array_equal(track.boxes, twin.boxes)
            for template, same in zip(track.templates, twin.templates, strict=True):
                np.testing.assert_array_equal(template.embedding, same.embedding)


def test_progress_goes_to_the_end_and_an_error_in_it_stops_the_analysis(
    analyzer: FaceAnalyzer,
) -> None:
    video = film(Scene(2, [Actor(SUNAK, still())], 6))
    seen: list[VideoProgress] = []
    analysis = analyze_video(video, analyzer, progress=seen.append)
    assert len(seen) == analysis.frames_sampled
    assert [step.time_ms for step in seen] == sorted(step.time_ms for step in seen)
    assert seen[-1].duration_ms == 2000
    assert seen[-1].faces == sum(len(track.times_ms) for track in analysis.tracks)

    class Enough(Exception):
        pass

    def stop(step: VideoProgress) -> None:
        if step.time_ms >= 500:
            raise Enough

    with pytest.raises(Enough):
        analyze_video(video, analyzer, progress=stop)


def test_the_man_of_the_photos_is_found_in_the_clip_at_the_right_times(shared_data: Path) -> None:
    clip = shared_data / "video" / "short_hamilton_clip.mp4"
    folder = shared_data / "faces" / "several_faces" / "alex_lacamoire"
    if not clip.exists() or not folder.exists():
        pytest.skip("the clip or the photos of the man in it are not here (FACEGREP_TEST_DATA)")
    analyzer = FaceAnalyzer(device="cpu")
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))]
    faces = np.stack([found.faces[0].embedding for found in analyzer.analyze(photos)])
    him = faces.sum(axis=0) / np.linalg.norm(faces.sum(axis=0))
    analysis = analyze_video(clip, analyzer)
    check_shape(analysis)
    assert analysis.truncated is None
    # By eye: other shots begin at 1.52, 3.59 and 7.89 s.
    assert np.abs(analysis.cuts_ms - [1520, 3590, 7890]).max() < 40
    # By eye: small, in the background, from the first frame on; then at the piano, until his face
    # leaves the frame at about 2.5 s. There, from the side, he has 0.48; of his 23 px before that
    # 0.32, less than a stranger must have (0.42), and nobody else has 0.25.
    his = [track for track in analysis.tracks if likeness(track, him) >= 0.28]
    found = [(track.start_ms, track.end_ms) for track in his]
    first_ms, (first_cut_ms, *_) = min(t.start_ms for t in analysis.tracks), analysis.cuts_ms
    assert len(found) == 2
    assert found[0] == (first_ms, first_cut_ms)
    assert found[1][0] == first_cut_ms
    assert abs(found[1][1] - 2500) <= TOLERANCE_MS
    assert likeness(his[1], him) > 0.45
    assert his[0].boxes[0, 0] < 100
    assert his[1].boxes[0, 2] > 150
    # The singer: in the first shot, and alone in the third.
    (singer,) = [track for track in analysis.tracks if 3500 < track.start_ms < 3700]
    assert (singer.start_ms, singer.end_ms) == tuple(analysis.cuts_ms[1:])


def test_a_real_clip_of_one_face_is_one_track(shared_data: Path, analyzer: FaceAnalyzer) -> None:
    for name in ("help", "student"):
        clip = shared_data / "video" / f"intel_asl_{name}.mkv"
        if not clip.exists():
            pytest.skip("the clips are not here (FACEGREP_TEST_DATA)")
        analysis = analyze_video(clip, analyzer)
        (track,) = analysis.tracks
        assert (track.start_ms, track.end_ms) == (0, analysis.analysed_ms)


def kinds_of(value: Any) -> set[type]:
    return {type(getattr(value, name)) for name in value.__slots__}


def test_results_are_plain_data(analyzer: FaceAnalyzer) -> None:
    analysis = analyze_video(film(Scene(1, [Actor(SUNAK, still())], 6)), analyzer)
    plain = {int, float, str, tuple, np.ndarray, type(None)}
    assert kinds_of(analysis) <= plain
    assert kinds_of(analysis.tracks[0]) <= plain
    assert kinds_of(analysis.tracks[0].templates[0]) <= plain | {
        type(analysis.tracks[0].templates[0].box)
    }
