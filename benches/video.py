"""How fast a video is analysed, and where the time goes.

    python -m benches.video             # ten minutes of 720p, made under build/bench (3 minutes)
    python -m benches.video --minutes 1

Shots of six seconds over a moving backdrop, each with up to three of the four people of the
portraits, still or moving. Before a time is printed, the tracks are compared with the script: each
person of each shot once, from cut to cut within half a second, and nobody else. Every row is a
process of its own, whose peak of memory is that of the analysis with Python and the models.
Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.video_maker import ARDERN_LATER, MACRON_LATER, OBAMA, SUNAK, backdrop, encode

RATE, SHOT_S = 25, 6
TOLERANCE_MS = 500
PEOPLE = (ARDERN_LATER, MACRON_LATER, OBAMA, SUNAK)
FACE_WIDTH = 0.22
"""Of the photo, as a share of the frame: a face of about 120 px at 720p."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def script(minutes: float) -> list[list[tuple[int, float, float]]]:
    """Of each shot the people, and where each is at its beginning and at its end."""
    rng = np.random.default_rng(20)
    shots = []
    for _ in range(round(minutes * 60 / SHOT_S)):
        people = rng.permutation(len(PEOPLE))[: rng.integers(0, 4)]
        lanes = rng.permutation(3)
        shots.append(
            [
                (int(who), 0.2 + 0.3 * int(lane), 0.2 + 0.3 * int(lane) + rng.uniform(-0.08, 0.08))
                for who, lane in zip(people, lanes, strict=False)
            ]
        )
    return shots


def frames(
    shots: list[list[tuple[int, float, float]]], width: int, height: int
) -> Iterator[NDArray[np.uint8]]:
    photos = []
    for path in PEOPLE:
        picture = Image.open(path).convert("RGB")
        wide = round(FACE_WIDTH * width)
        tall = round(wide * picture.height / picture.width)
        photos.append(np.asarray(picture.resize((wide, tall))))
    noise = np.random.default_rng(0).integers(0, 24, (height + 80, width + 160, 3), np.uint8)
    for number, shot in enumerate(shots):
        behind = backdrop(number, width + 160, height + 80) // 2 + noise
        for frame in range(SHOT_S * RATE):
            share = frame / (SHOT_S * RATE)
            left, top = round(160 * share), round(80 * share)
            pixels = behind[top : top + height, left : left + width].copy()
            for who, start, end in shot:
                photo = photos[who]
                x = round((start + (end - start) * share) * width - photo.shape[1] / 2)
                y = (height - photo.shape[0]) // 2
                pixels[y : y + photo.shape[0], x : x + photo.shape[1]] = photo
            yield pixels


def make(path: Path, minutes: float, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    video = encode(
        frames(script(minutes), width, height), rate=RATE, codec_options={"preset": "superfast"}
    )
    partial = path.with_suffix(".part")
    partial.write_bytes(video)
    partial.rename(path)
    say(f"made {path} ({len(video) / 1e6:.0f} MB) in {time.perf_counter() - began:.0f} s\n")


def check(analysis: Any, shots: list[list[tuple[int, float, float]]]) -> None:
    """Compare tracks with the script."""
    assert analysis.truncated is None, analysis.truncated
    cuts_ms = [number * SHOT_S * 1000 for number in range(1, len(shots))]
    assert analysis.cuts_ms.tolist() == cuts_ms, set(cuts_ms) ^ set(analysis.cuts_ms.tolist())
    assert analysis.persons == min(len(PEOPLE), len({who for shot in shots for who, *_ in shot}))
    truth = sorted(
        (number * SHOT_S * 1000, start, who)
        for number, shot in enumerate(shots)
        for who, start, _ in shot
    )
    found = sorted(
        (round(track.start_ms / 1000 / SHOT_S) * SHOT_S * 1000, int(track.boxes[0, 0]), track)
        for track in analysis.tracks
    )
    assert len(found) == len(truth), (len(found), len(truth))
    person_of: dict[int, int] = {}
    for (start_ms, _, who), (_, _, track) in zip(truth, found, strict=True):
        assert abs(track.start_ms - start_ms) <= TOLERANCE_MS, track
        assert abs(track.end_ms - start_ms - SHOT_S * 1000) <= TOLERANCE_MS, track
        assert person_of.setdefault(who, track.person) == track.person, track
    assert len(set(person_of.values())) == len(person_of)


def processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def analyse(path: Path, minutes: float, precision: str) -> None:
    """What the process of a row does."""
    from facegrep.video import Stages, analyze_video
    from facegrep.vision import FaceAnalyzer

    analyzer = FaceAnalyzer(device="cpu", precision=precision)  # type: ignore[arg-type]
    analyze_video(path.with_name("warm.mp4"), analyzer)
    stages = Stages()
    began, used = time.perf_counter(), processor_s()
    analysis = analyze_video(path, analyzer, stages=stages)
    wall_s, cpu_s = time.perf_counter() - began, processor_s() - used
    check(analysis, script(minutes))
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    report = {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "stages": dict(stages.seconds),
        "counts": dict(stages.counts),
        "peak_mb": peak_kb * 1024 / 1e6,
        "tracks": len(analysis.tracks),
        "templates": sum(len(track.templates) for track in analysis.tracks),
        "decoded": round(analysis.frame_rate * analysis.analysed_ms / 1000),
        "sampled": analysis.frames_sampled,
        "seconds": analysis.analysed_ms / 1000,
    }
    json.dump(report, sys.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/video"))
    parser.add_argument("--analyse", help=argparse.SUPPRESS)
    options = parser.parse_args()
    width = options.height * 16 // 9
    path = options.folder / f"{options.height}p-{options.minutes:g}min.mp4"
    if options.analyse:
        analyse(path, options.minutes, options.analyse)
        return
    if not path.exists():
        make(path, options.minutes, width, options.height)
    if not path.with_name("warm.mp4").exists():
        make(path.with_name("warm.mp4"), SHOT_S / 60, 320, 180)
    cores = len(os.sched_getaffinity(0))
    say(f"{options.minutes:g} minutes of {options.height}p at {RATE}/s, H.264, {cores} cores\n")
    rows = {}
    for precision in ("int8", "fp32"):
        command = [sys.executable, "-m", "benches.video", "--analyse", precision]
        command += ["--minutes", str(options.minutes), "--height", str(options.height)]
        command += ["--folder", str(options.folder)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        rows[precision] = json.loads(run.stdout)
    say("| SFace | times real time | s | processor, s | peak memory, MB | tracks | templates |")
    say("|---|---|---|---|---|---|---|")
    for precision, row in rows.items():
        say(
            f"| {precision} | {row['seconds'] / row['wall_s']:.1f} | {row['wall_s']:.0f} "
            f"| {row['cpu_s']:.0f} | {row['peak_mb']:.0f} | {row['tracks']} | {row['templates']} |"
        )
    say("")
    say("| processor time, s | " + " | ".join(rows) + " | of what |")
    say("|---|" + "---|" * (len(rows) + 1))
    some = next(iter(rows.values()))
    faces = some["counts"]
    of_what = {
        "decode": f"{some['decoded']:,} frames, each compared with the one before",
        "detect": f"{some['sampled']:,} frames, {faces['detect']:,} faces found and cut out",
        "embed": f"{faces['embed']:,} of them",
        "track": f"{some['tracks']:,} tracks",
    }
    for stage, what in of_what.items():
        cells = []
        for row in rows.values():
            others = sum(row["stages"][name] for name in of_what if name != "decode")
            used = row["cpu_s"] - others if stage == "decode" else row["stages"][stage]
            cells.append(f"{used:.1f}")
        say(f"| {stage} | {' | '.join(cells)} | {what} |")


if __name__ == "__main__":
    main()
