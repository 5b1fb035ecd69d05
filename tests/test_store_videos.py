"""Tracks of videos on disk: as they were written, gone without a trace, found out when damaged."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.store_fuzz import make_parents_right
from tests.tracked import add_videos, require_same, store_of, track, video_asset, video_in, video_of

import facegrep
from facegrep.store import Outcome, Video
from facegrep.store._checksum import with_checksum

DIM = 16
FACES = np.random.default_rng(8).normal(size=(40, DIM)).astype(np.float32)
TABLES = ("video", "track")


def person(number: int) -> Video:
    """Somebody who appears twice, with three faces stored."""
    first = track(0, 1000 * number, 1000 * number + 800, faces=2, seed=number)
    return video_of(first, track(0, 90_000, 95_000, seed=number))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[facegrep.Engine]:
    with facegrep.open(tmp_path / "store") as opened:
        opened.create_library("lib", dim=DIM, threshold=0.9)
        yield opened


def add_some(engine: facegrep.Engine, count: int = 10) -> None:
    """Videos v0, v1, ... of three faces each, and a picture's vectors."""
    assets = [video_asset(f"v{n}", person(n), FACES[3 * n : 3 * n + 3]) for n in range(count)]
    add_videos(engine, "lib", assets)
    engine.add_vectors("lib", ["picture"], FACES[:1])


@contextlib.contextmanager
def sql(engine: facegrep.Engine) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(engine.path / "catalog.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def rows_left(engine: facegrep.Engine) -> list[int]:
    with sql(engine) as connection:
        return [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES]


@st.composite
def videos(draw: st.DrawFn) -> Video:
    tracks = []
    for person in draw(st.lists(st.integers(0, 5), max_size=6)):
        start_ms = draw(st.integers(0, 2**31 - 5000))
        end_ms = start_ms + draw(st.integers(0, 4000))
        faces = draw(st.integers(0, 4))
        samples = draw(st.integers(max(faces, 1), 40))
        tracks.append(track(person, start_ms, end_ms, faces=faces, samples=samples))
    return video_of(*tracks)


@given(st.lists(videos(), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_video_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, some: list[Video]
) -> None:
    with facegrep.open(tmp_path_factory.mktemp("videos") / "store") as engine:
        engine.create_library("lib", dim=DIM, threshold=0.9)
        counts = [sum(len(one.face_times_ms) for one in video.tracks) for video in some]
        assets = [
            video_asset(str(number), video, FACES[:count])
            for number, (video, count) in enumerate(zip(some, counts, strict=True))
        ]
        add_videos(engine, "lib", assets)
        for number, (video, count) in enumerate(zip(some, counts, strict=True)):
            require_same(video_in(engine, "lib", str(number)), video)
            assert len(engine.get("lib", str(number)).faces) == count
        assert engine.verify().damages == ()


def test_a_video_of_vectors_and_a_picture_have_no_tracks(engine: facegrep.Engine) -> None:
    add_some(engine, 1)
    engine.add_vectors("lib", ["vectors"], FACES[:2][:1], {"mediaType": ["video"]})
    assert video_in(engine, "lib", "vectors") is None
    assert video_in(engine, "lib", "picture") is None
    assert engine.verify().damages == ()


def test_times_that_do_not_fit_are_refused_and_nothing_is_stored(engine: facegrep.Engine) -> None:
    wrong = track(0, 0, 10)
    far = type(wrong)(0, 0, 10, wrong.samples.astype(np.int64) + 2**40, wrong.face_times_ms)  # type: ignore[arg-type]
    with pytest.raises(facegrep.InvalidArgumentError, match="int32"):
        add_videos(engine, "lib", [video_asset("far", video_of(far), FACES[:1])])
    assert engine.library("lib").media_count == 0
    assert rows_left(engine) == [0, 0]


@pytest.mark.parametrize(
    ("remove", "left"),
    [
        (lambda engine: engine.delete("lib", ["v1", "v2"]), 8),
        (lambda engine: engine.erase("lib", ["v1", "v2"]), 8),
        (lambda engine: engine.erase_person("lib", vector=FACES[4], dry_run=False), 9),
        (lambda engine: engine.set_face_index("lib", "deactive"), 0),
        (lambda engine: engine.drop_library("lib"), 0),
        (lambda engine: (engine.set_retention("lib", 1), engine.purge()), 0),
    ],
)
def test_the_tracks_go_with_their_video(
    engine: facegrep.Engine, remove: Callable[[facegrep.Engine], object], left: int
) -> None:
    add_some(engine)
    assert rows_left(engine) == [10, 20]
    remove(engine)
    assert rows_left(engine) == [left, 2 * left]
    assert engine.verify().damages == ()


# By another process: one that uses SQLite may never open its files itself.
SCAN = """
import pathlib, sys
needles = [bytes.fromhex(line) for line in sys.stdin.read().split()]
files = [path.read_bytes() for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file()]
print(sum(any(needle in data for data in files) for needle in needles))
"""


def needles_left(engine: facegrep.Engine, numbers: list[int]) -> int:
    """How many boxes of these videos' tracks are still in some file of the store."""
    boxes = [
        one.samples[row].astype("<i4").tobytes()
        for number in numbers
        for one in person(number).tracks
        for row in (0, 2)
    ]
    command = [sys.executable, "-c", SCAN, str(engine.path)]
    lines = "\n".join(box.hex() for box in boxes)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_where_an_erased_person_was_seen_is_in_no_file(engine: facegrep.Engine) -> None:
    add_some(engine)
    assert needles_left(engine, [2, 3]) == 8
    engine.erase("lib", ["v2"])
    assert needles_left(engine, [2, 3]) == 4
    engine.erase_person("lib", vector=FACES[10], dry_run=False)
    assert needles_left(engine, [2, 3]) == 0
    assert needles_left(engine, [0, 1, *range(4, 10)]) == 8 * 4


def test_compaction_and_a_backup_keep_them(engine: facegrep.Engine, tmp_path: Path) -> None:
    add_some(engine)
    engine.delete("lib", ["v0", "v1", "v2", "v3"])
    assert engine.compact("lib", min_dead_share=0.1).rewritten
    engine.backup(tmp_path / "copy")
    with facegrep.open(tmp_path / "copy") as copy:
        for opened in (engine, copy):
            for number in range(4, 10):
                require_same(video_in(opened, "lib", f"v{number}"), person(number))
                found = opened.search("lib", vector=FACES[3 * number + 2])
                assert found.media_ids == [f"v{number}"]
            assert opened.verify().damages == ()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM track WHERE ordinal = 1 AND number = 1",
        "DELETE FROM video WHERE ordinal = 1",
        "INSERT INTO track SELECT library_id, ordinal, 9, person, start_ms, end_ms, face_count,"
        " face_times_ms, samples, checksum FROM track WHERE ordinal = 1 AND number = 0",
        "UPDATE track SET start_ms = start_ms + 1 WHERE ordinal = 1 AND number = 0",
        "UPDATE track SET samples = substr(samples, 1, 7) WHERE ordinal = 1 AND number = 0",
        "UPDATE video SET truncated = 'x' WHERE ordinal = 1",
    ],
)
def test_a_track_that_is_not_what_was_written_is_found_out(
    engine: facegrep.Engine, damage: str
) -> None:
    add_some(engine, 4)
    with sql(engine) as connection:
        connection.execute(damage)
    with pytest.raises(facegrep.StoreCorrupt):
        video_in(engine, "lib", "v1")
    require_same(video_in(engine, "lib", "v2"), person(2))
    assert engine.verify().damages


@pytest.mark.parametrize("times", [b"", bytes(4), bytes(400)])
def test_a_track_with_right_checksums_and_another_number_of_times_is_found_out(
    engine: facegrep.Engine, times: bytes
) -> None:
    add_some(engine, 4)
    with sql(engine) as connection:
        where = "WHERE ordinal = 1 AND number = 0"
        connection.execute(f"UPDATE track SET face_times_ms = ? {where}", (times,))
        row = connection.execute(f"SELECT * FROM track {where}").fetchone()
        checksum = with_checksum(row[:-1])[-1]
        connection.execute(f"UPDATE track SET checksum = ? {where}", (checksum,))
        make_parents_right(connection, "track")
    with pytest.raises(facegrep.StoreCorrupt, match="'lib'"):
        engine.clips("lib", "v1", vector=FACES[3], threshold=-1.0)
    require_same(video_in(engine, "lib", "v2"), person(2))
    assert engine.verify().damages


def test_a_track_of_another_time_is_found_out_although_its_row_is_whole(
    engine: facegrep.Engine,
) -> None:
    """As a page that went back to what it was before the video was analysed again."""
    add_some(engine, 4)
    with sql(engine) as connection:
        query = "SELECT * FROM track WHERE ordinal = 1 AND number = 0"
        (row,) = connection.execute(query).fetchall()
        connection.execute("DELETE FROM track WHERE ordinal = 1 AND number = 0")
        older = with_checksum((*row[:4], row[4] + 1, *row[5:-1]))
        connection.execute(f"INSERT INTO track VALUES ({', '.join('?' * len(older))})", older)
    with pytest.raises(facegrep.StoreCorrupt):
        video_in(engine, "lib", "v1")
    assert [one.library for one in engine.verify().damages] == ["lib"]


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("video", "it has 4 analysed videos, but table video has others"),
        ("track", "rows of table track belong to no video"),
    ],
)
def test_rows_of_no_video_are_found_out(engine: facegrep.Engine, table: str, what: str) -> None:
    add_some(engine, 4)
    with sql(engine) as connection:
        connection.execute(f"UPDATE {table} SET ordinal = ordinal + 50 WHERE ordinal = 1")
    assert what in [one.what for one in engine.verify().damages]


def test_an_analysis_that_comes_later_brings_its_tracks(engine: facegrep.Engine) -> None:
    add_some(engine, 2)
    engine.set_face_index("lib", None)
    store, row = store_of(engine), engine._find("lib")
    store.change_library(row, "face_index", "active")
    later = video_asset("v0", person(0), FACES[:3])
    assert later.job is not None
    store.set_analyses(engine._find("lib"), [Outcome(0, later.faces, later.job)])
    require_same(video_in(engine, "lib", "v0"), person(0))
    assert video_in(engine, "lib", "v1") is None
    assert engine.search("lib", vector=FACES[0]).media_ids == ["v0"]
    assert engine.verify().damages == ()
