"""Cuts, clocks, tracks, templates and persons, on made-up worlds of which all is known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegrep.video import PixelBox, Template
from facegrep.video._clock import Clock
from facegrep.video._cuts import GRID, CutFinder, Verdict
from facegrep.video._faces import Looked, SeenFace, distinct
from facegrep.video._linking import ABSENCE_MS
from facegrep.video._persons import number_persons, seen_at_once
from facegrep.video._quality import frontality, quality, sharpness
from facegrep.video._samples import SAMPLE_EVERY_MS, Sample
from facegrep.video._shots import FoundTrack, Tracker
from facegrep.video._templates import TEMPLATES_MAX, choose
from facegrep.video._tracklets import Tracklet
from facegrep.vision import Box, FoundFace

THRESHOLD = 0.42
DIM = 128


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def person(number: int) -> np.ndarray:
    return unit(np.random.default_rng(1000 + number).standard_normal(DIM))


def orthogonal(vector: np.ndarray, other: np.ndarray) -> np.ndarray:
    return unit(vector - (vector @ other) * other)


def photo_of(who: int, rng: np.random.Generator, noise: float = 0.06) -> np.ndarray:
    """Cosines of two photos of one person are about 1 / (1 + 128 noise^2): 0.68."""
    return unit(person(who) + noise * rng.standard_normal(DIM))


def look(who: int, rng: np.random.Generator) -> bytes:
    greys = np.random.default_rng(2000 + who).integers(30, 220, 64) + rng.integers(-20, 20, 64)
    return greys.astype(np.uint8).tobytes()


class AtOnce:
    """Instead of the queue: faces were embedded when they were made."""

    def __init__(self) -> None:
        self.faces: list[SeenFace] = []

    def put(self, faces: list[SeenFace]) -> None:
        self.faces += faces
        for face in faces:
            assert face.crop is not None, "asked for twice"
            face.embedding, face.crop = face.crop.view(np.float32).ravel(), None

    def drain(self) -> None:
        pass


@dataclass(frozen=True)
class Visit:
    """Somebody is in a lane, from one sample to another (not any more)."""

    who: int
    lane: int
    start: int
    end: int


def run(
    visits: list[Visit], samples: int, cuts: set[int], missed: set[tuple[int, int]]
) -> tuple[list[FoundTrack], AtOnce]:
    """Track a world whose samples are 250 ms apart; cuts are before samples."""
    rng = np.random.default_rng(0)
    queue = AtOnce()
    tracker = Tracker(queue, THRESHOLD)  # type: ignore[arg-type]
    cuts_ms = [cut * SAMPLE_EVERY_MS for cut in sorted(cuts)]
    for number in range(samples):
        time_ms = number * SAMPLE_EVERY_MS
        faces = [
            SeenFace(
                time_ms,
                PixelBox(200 * visit.lane + number % 7, 100 + number % 5, 100, 120),
                0.9,
                0.5 + 0.01 * (number % 9),
                photo_of(visit.who, rng).view(np.uint8).reshape(1, 1, -1),
                look(visit.who, rng),
            )
            for visit in visits
            if visit.start <= number < visit.end and (visit.who, number) not in missed
        ]
        shot = sum(cut <= number for cut in cuts)
        sample = Sample(number, time_ms, None, time_ms + 40, shot)
        tracker.feed(Looked(sample, faces), cuts_ms)
    return tracker.finish(samples * SAMPLE_EVERY_MS), queue


def expected(visits: list[Visit], samples: int, cuts: set[int]) -> list[tuple[int, int, int]]:
    """Who appears from when until when, ms: visits joined over short absences, cut at cuts."""
    found = []
    edges = [0, *sorted(cuts), samples]
    for who in {visit.who for visit in visits}:
        for first, last in itertools.pairwise(edges):
            seen = [
                number
                for number in range(first, last)
                if any(v.who == who and v.start <= number < v.end for v in visits)
            ]
            group: list[int] = []
            for number in [*seen, 10**6]:
                apart = (number - group[-1]) * SAMPLE_EVERY_MS if group else 0
                if group and (apart > ABSENCE_MS and number - group[-1] > 1):
                    found.append((who, group[0] * 250, (group[-1] + 1) * 250))
                    group = []
                group.append(number)
    return sorted(found)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Visit], int, set[int], set[tuple[int, int]]]:
    """Up to four people, each in a lane of its own at a time; the detector misses some faces."""
    samples = draw(st.integers(8, 60))
    visits = []
    for who in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, 6))
        while at + 3 <= samples:
            end = draw(st.integers(at + 3, samples))
            visits.append(Visit(who, who, at, end))
            # Gaps that are clearly an absence, or clearly none.
            at = end + draw(st.sampled_from([2, 4, 12, 20]))
    cuts = draw(st.sets(st.integers(2, samples - 2), max_size=2))
    cuts = {cut for cut in cuts if cut + 1 not in cuts}
    missed = set()
    for visit in visits:
        for number in range(visit.start + 1, visit.end - 1):
            near = {cut + offset for cut in cuts for offset in (-1, 0)}
            if number not in near and draw(st.integers(0, 9)) == 0:
                missed.add((visit.who, number))
    return visits, samples, cuts, missed


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_tracks_are_the_appearances_of_the_world(
    world: tuple[list[Visit], int, set[int], set[tuple[int, int]]],
) -> None:
    visits, samples, cuts, missed = world
    tracks, queue = run(visits, samples, cuts, missed)
    found = []
    for track in tracks:
        scores = np.array(
            [[t.embedding @ person(who) for t in track.templates] for who in range(4)]
        )
        who = int(scores.max(axis=1).argmax())
        assert (scores[who] > 0.6).all(), "a track of one person"
        assert (scores[np.arange(4) != who] < 0.5).all()
        found.append((who, track.start_ms, track.end_ms))
    assert len(found) == len(expected(visits, samples, cuts))
    for (who, start, end), (whom, starts, ends) in zip(
        sorted(found), expected(visits, samples, cuts), strict=True
    ):
        assert who == whom
        assert abs(start - starts) <= 500
        assert abs(end - ends) <= 500
    faces = sum(len(track.times_ms) for track in tracks)
    shown = sum(visit.end - visit.start for visit in visits)
    assert faces == shown - len(missed)
    assert len(queue.faces) <= faces


def test_of_a_long_appearance_about_one_face_a_second_is_embedded() -> None:
    tracks, queue = run([Visit(0, 0, 0, 400)], 400, set(), set())
    assert len(tracks) == 1
    assert len(tracks[0].times_ms) == 400
    assert 90 <= len(queue.faces) <= 110


def test_who_takes_the_place_of_another_without_a_cut_has_a_track_of_their_own() -> None:
    for change in range(6, 14):
        tracks, _ = run([Visit(0, 0, 0, change), Visit(1, 0, change, 24)], 24, set(), set())
        assert len(tracks) == 2
        first, second = sorted(tracks, key=lambda track: track.start_ms)
        assert abs(first.end_ms - change * 250) <= 500
        assert abs(second.start_ms - change * 250) <= 500


@pytest.mark.parametrize(("worth", "tracks"), [(0.5, 1), (0.15, 2)])
def test_poor_faces_elsewhere_in_a_shot_must_be_more_alike_to_be_one_person(
    worth: float, tracks: int
) -> None:
    """0.34: what one of a hundred poor faces of strangers has, and a person's own as well."""
    other = unit(0.34 * person(0) + np.sqrt(1 - 0.34**2) * orthogonal(person(1), person(0)))
    tracker = Tracker(AtOnce(), THRESHOLD)  # type: ignore[arg-type]
    for number in range(8):
        vector, x = (person(0), 0) if number < 4 else (other, 400)
        crop = vector.copy().view(np.uint8).reshape(1, 1, -1)
        box = PixelBox(x, 100, 60, 70)
        face = SeenFace(number * 250, box, 0.9, worth, crop, bytes(64))
        sample = Sample(number, number * 250, None, number * 250 + 40)
        tracker.feed(Looked(sample, [face]), [])
    assert len(tracker.finish(2000)) == tracks


def test_an_appearance_that_begins_between_two_samples_begins_halfway() -> None:
    (track,), _ = run([Visit(0, 0, 4, 8)], 12, set(), set())
    assert (track.start_ms, track.end_ms) == ((790 + 1000) // 2, (1790 + 2000) // 2)


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=40),
    st.one_of(st.none(), st.integers(0, 10**7)),
    st.fractions(0, 1000),
)
def test_time_never_goes_back_nor_below_zero(
    stamps: list[int | None], duration_ms: int | None, rate: Fraction
) -> None:
    clock = Clock(Fraction(0), rate, duration_ms)
    times = [clock.ms(stamp, Fraction(1, 90_000)) for stamp in stamps]
    assert times == sorted(times)
    assert all(time >= 0 for time in times)


def test_stamps_that_start_again_or_leap_beyond_the_end_go_on_from_where_they_were() -> None:
    clock = Clock(Fraction(1), Fraction(25), 20_000)
    stamps = [1000, 1040, 1080, 0, 40, 80, 900_000, 900_040, None, 900_120]
    times = [clock.ms(stamp, Fraction(1, 1000)) for stamp in stamps]
    assert times == [40 * number for number in range(10)]


def verdicts(pictures: list[np.ndarray], every_ms: int = 40) -> list[Verdict]:
    finder = CutFinder()
    return [finder.feed(picture, number * every_ms) for number, picture in enumerate(pictures)]


def scene(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, GRID).astype(np.float32)


def test_a_cut_is_suspected_at_once_and_confirmed_when_the_picture_stays() -> None:
    told = verdicts([scene(1)] * 10 + [scene(2)] * 10)
    assert told.index(Verdict.SUSPECTED) == 10
    assert told.index(Verdict.CONFIRMED) == 14
    assert Verdict.DISMISSED not in told


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_dismissed(length: int) -> None:
    told = verdicts([scene(1)] * 10 + [scene(2)] * length + [scene(1)] * 10)
    assert told.count(Verdict.DISMISSED) == 1
    assert Verdict.CONFIRMED not in told


def test_a_change_of_light_is_no_cut() -> None:
    assert set(verdicts([scene(1) * 0.4] * 10 + [scene(1) * 0.9 + 20] * 10)) == {Verdict.NOTHING}


def test_a_camera_that_swings_round_at_once_is_no_cut_and_one_that_swings_after_a_cut_is() -> None:
    world = np.random.default_rng(1).uniform(0, 255, (GRID[0], 400)).astype(np.float32)
    world = (world[:, :-2] + world[:, 1:-1] + world[:, 2:]) / np.float32(3)
    windows = [world[:, at : at + GRID[1]] for at in range(0, 300, 3)]
    assert Verdict.CONFIRMED not in verdicts(windows[:1] * 9 + windows + windows[-1:] * 9)
    slow = [world[:, at // 4 : at // 4 + GRID[1]] for at in range(40)]
    assert verdicts([scene(1)] * 9 + slow).count(Verdict.CONFIRMED) == 1


def test_what_appears_in_half_of_the_picture_is_no_cut_and_a_new_room_is() -> None:
    room, people = scene(1), scene(2)
    appeared = room.copy()
    appeared[:, 8:24] = people[:, 8:24]
    assert set(verdicts([room] * 10 + [appeared] * 10)) == {Verdict.NOTHING}
    # Another room behind the one who stays in the middle of it.
    stayed = people.copy()
    stayed[6:, 12:20] = room[6:, 12:20]
    assert Verdict.CONFIRMED in verdicts([room] * 10 + [stayed] * 10)
    black = np.zeros_like(room)
    assert Verdict.CONFIRMED not in verdicts([room] * 10 + [black] * 10)


def test_confetti_is_no_cut_and_slides_far_apart_are() -> None:
    changing = [scene(number) for number in range(20)]
    # It begins with a cut, as far as anybody can tell.
    assert verdicts(changing[:1] * 9 + changing).count(Verdict.SUSPECTED) == 1
    assert verdicts(changing, every_ms=1000).count(Verdict.CONFIRMED) >= 9


def template(vector: np.ndarray, worth: float = 0.5) -> Template:
    return Template(vector, PixelBox(0, 0, 50, 50), 0, worth)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_tracks_get_the_numbers_of_their_persons(people: list[int], random: object) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    tracks = [[template(photo_of(who, rng)) for _ in range(3)] for who in people]
    numbers = number_persons(tracks, [], THRESHOLD)
    for one, other in itertools.combinations(range(len(people)), 2):
        assert (numbers[one] == numbers[other]) == (people[one] == people[other])
    assert list(dict.fromkeys(numbers)) == list(range(len(set(people))))


def test_two_faces_of_one_frame_are_never_one_person_nor_joined_by_a_third() -> None:
    rng = np.random.default_rng(3)
    twins = [[template(photo_of(0, rng))] for _ in range(5)]
    numbers = number_persons(twins, [(0, 1)], THRESHOLD)
    assert numbers[0] != numbers[1]
    assert set(numbers) == {0, 1}
    assert number_persons([], [], THRESHOLD) == []


@given(st.lists(st.sets(st.integers(0, 12), max_size=6), max_size=8))
def test_tracks_are_seen_at_once_if_they_have_a_sample_in_common(samples: list[set[int]]) -> None:
    found = list(seen_at_once([np.array(sorted(some), np.int64) for some in samples]))
    assert found == [
        (one, other)
        for one, other in itertools.combinations(range(len(samples)), 2)
        if samples[one] & samples[other]
    ]


def test_a_thousand_tracks_of_few_people_are_told_apart() -> None:
    rng = np.random.default_rng(4)
    people = rng.integers(0, 20, 1000)
    numbers = number_persons([[template(photo_of(who, rng))] for who in people], [], THRESHOLD)
    assert len(set(zip(people.tolist(), numbers, strict=True))) == len(set(people.tolist())) == 20


def seen(vector: np.ndarray, worth: float, time_ms: int = 0) -> SeenFace:
    return SeenFace(time_ms, PixelBox(0, 0, 50, 50), 0.9, worth, None, b"", vector)


def test_templates_are_good_differ_and_are_all_of_the_person() -> None:
    rng = np.random.default_rng(5)
    poses = [unit(person(0) + 0.8 * person(50 + pose)) for pose in range(3)]
    faces = [
        seen(unit(poses[number % 3] + 0.02 * rng.standard_normal(DIM)), 0.3 + 0.01 * number, number)
        for number in range(30)
    ]
    blurred = seen(unit(rng.standard_normal(DIM)), 0.01)
    wrong = seen(person(9), 0.9)
    chosen = choose([*faces, blurred, wrong])
    assert len(chosen) == 3
    assert [t.quality for t in chosen] == sorted((t.quality for t in chosen), reverse=True)
    assert {t.time_ms % 3 for t in chosen} == {0, 1, 2}
    assert min(t.time_ms for t in chosen) > 20
    assert len(choose(faces[::3] * 5)) == 1
    many = [seen(photo_of(0, rng, 0.1), 0.5) for _ in range(50)]
    assert 2 <= len(choose(many)) <= TEMPLATES_MAX
    assert len(choose([blurred])) == 1


def test_a_template_is_more_like_the_person_than_the_faces_it_is_the_mean_of() -> None:
    rng = np.random.default_rng(8)
    for worth, templates in [(0.1, 1), (0.6, TEMPLATES_MAX)]:
        faces = [seen(photo_of(0, rng, 0.12), worth, number) for number in range(40)]
        chosen = choose([*faces, seen(person(9), worth, 40)])
        assert len(chosen) == templates, "poor faces differ by noise"
        each = {face.time_ms: float(face.vector @ person(0)) for face in faces}
        for kept in chosen:
            assert kept.embedding @ person(0) > each[kept.time_ms] + 0.1
            assert np.linalg.norm(kept.embedding) == pytest.approx(1, abs=1e-5)


def test_poor_faces_that_are_like_no_good_one_but_like_each_other_have_a_template() -> None:
    rng = np.random.default_rng(9)
    side = unit(person(0) + 1.6 * person(50))
    poor = [seen(unit(side + 0.05 * rng.standard_normal(DIM)), 0.15, n) for n in range(4)]
    half = seen(unit(person(0) + 1.6 * person(51)), 0.5, 9)  # at the frame's edge, and looks good
    good, kept = choose([*poor, half])
    assert (good.time_ms, kept.quality) == (9, 0.15)
    assert kept.embedding @ side > 0.95
    # One alone may be anything, and so may those that are not like each other.
    assert len(choose([poor[0], half])) == 1
    apart = [seen(unit(half.vector + 1.9 * person(60 + n)), 0.15, n) for n in range(3)]
    assert len(choose([*apart, half])) == 1


def test_a_moving_face_is_expected_where_it_would_be() -> None:
    tracklet = Tracklet()
    for number in (0, 1):
        face = SeenFace(
            number * 250, PixelBox(10 + 30 * number, 5, 40, 50), 0.9, 0.5, None, bytes(64)
        )
        tracklet.add(number, face)
    assert tracklet.expected(2) == (70, 5, 40, 50)
    assert tracklet.expected(3) == (100, 5, 40, 50)


def test_quality_falls_with_size_blur_and_turning_and_stays_within_0_and_1() -> None:
    rng = np.random.default_rng(6)
    crop = rng.integers(0, 256, (112, 112, 3), np.uint8)
    smooth = np.full_like(crop, 90)
    front = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
    side = front.copy()
    side[2, 0] = 36
    best = quality(Box(0, 0, 120, 140), 0.95, front, crop)
    assert best == pytest.approx(1)
    assert quality(Box(0, 0, 30, 40), 0.95, front, crop) < 0.5
    assert quality(Box(0, 0, 120, 140), 0.6, front, crop) < 0.5
    assert quality(Box(0, 0, 120, 140), 0.95, side, crop) < 0.4
    assert quality(Box(0, 0, 120, 140), 0.95, front, smooth) == 0
    assert sharpness(smooth) == 0
    assert frontality(np.zeros((5, 2), np.float32)) == 0


def test_a_box_within_a_better_one_is_left_out() -> None:
    marks = np.zeros((5, 2), np.float32)
    head = FoundFace(Box(0, 0, 100, 120), 0.9, marks)
    mouth = FoundFace(Box(20, 60, 40, 50), 0.7, marks)
    beside = FoundFace(Box(70, 0, 100, 120), 0.8, marks)
    assert distinct([mouth, beside, head]) == [head, beside]


def test_what_looks_like_a_face_for_a_moment_or_never_much_is_no_track() -> None:
    for samples, score, tracks in [(2, 0.72, 0), (1, 0.9, 1), (8, 0.72, 1), (8, 0.68, 0)]:
        tracker = Tracker(AtOnce(), THRESHOLD)  # type: ignore[arg-type]
        rng = np.random.default_rng(7)
        for number in range(samples):
            vector = photo_of(0, rng).view(np.uint8).reshape(1, 1, -1)
            box = PixelBox(10, 10, 60, 70)
            face = SeenFace(number * 250, box, score, 0.5, vector, look(0, rng))
            tracker.feed(Looked(Sample(number, number * 250, None, number * 250 + 40), [face]), [])
        assert len(tracker.finish(samples * 250)) == tracks
