"""`make bench`: measures what was not measured yet on this machine, part by part, then reports.

python -m benches.run                  the missing parts, then benches/report.md
python -m benches.run 128-1m 512-1m    these, anew, then the report
python -m benches.run --isa avx2 128-1m
python -m benches.run --check          everything once, tiny; the report goes to build/bench
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benches.machine import same_machine
from benches.report import write_report

RESULTS: Final = Path("build/bench/results")
CHECK: Final = Path("build/bench/check")
REPORT: Final = Path("benches")
PHOTOS: Final = Path(os.environ.get("FACEGREP_TEST_DATA", "../shared/data")) / "faces/lfw"

_SCANS: Final = ("bandwidth", "one_query", "batch", "filter", "threads", "add")
_SMALL: Final = ("one_query",)
_STORES: Final = ("bandwidth", "one_query", "filter")
_ONE_THREAD: Final = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "TOKIO_WORKER_THREADS",
        "LANCE_CPU_THREADS",
    ),
    "1",
)


@dataclass(frozen=True, slots=True)
class Part:
    """What one process measures, on one set of faces."""

    dim: int
    faces: int
    suite: str
    benches: tuple[str, ...]
    minutes: float  # on a quiet core of 2022; said before it starts
    seconds: float = 2.0  # a row
    by_default: bool = True
    photos: bool = False  # real ones, of whatever number there is


PARTS: Final[dict[str, Part]] = {
    "lfw": Part(128, 0, "scans", ("one_query", "filter"), 1, photos=True),
    "128-1k": Part(128, 1_000, "scans", _SMALL, 0.5),
    "512-1k": Part(512, 1_000, "scans", _SMALL, 0.5),
    "128-10k": Part(128, 10_000, "scans", _SMALL, 0.5),
    "512-10k": Part(512, 10_000, "scans", _SMALL, 0.5),
    "128-100k": Part(128, 100_000, "scans", _SCANS, 4),
    "512-100k": Part(512, 100_000, "scans", _SCANS, 5),
    "128-1m": Part(128, 1_000_000, "scans", _SCANS, 7),
    "512-1m": Part(512, 1_000_000, "scans", _SCANS, 14),
    "stores-128-100k": Part(128, 100_000, "stores", _STORES, 3),
    "graphs-128-100k": Part(128, 100_000, "graphs", ("approximate",), 3),
    "stores-128-1m": Part(128, 1_000_000, "stores", _STORES, 8),
    "graphs-128-1m": Part(128, 1_000_000, "graphs", ("approximate",), 25),
    # 17 GiB of memory and 5 GB of disk: only when named.
    "128-10m": Part(
        128, 10_000_000, "large", ("bandwidth", "one_query", "filter"), 20, by_default=False
    ),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--isa", help="tier to force (FACEGREP_ISA); a part of its own")
    parser.add_argument("--seconds", type=float, help="a row; fewer for a first look")
    parser.add_argument("--check", action="store_true", help="run everything once, tiny")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options.check:
        return _check()
    names = options.parts or [name for name, part in PARTS.items() if part.by_default]
    failed = []
    for name in names:
        result = RESULTS / f"{name}{f'-{options.isa}' if options.isa else ''}.json"
        if not options.parts and _is_measured(result):
            _say(f"{name}: measured before; `make bench PART={name}` measures it anew")
            continue
        part = PARTS[name]
        if part.photos and not PHOTOS.is_dir():
            _say(f"{name}: left out, there are no photos in {PHOTOS} (FACEGREP_TEST_DATA)")
            continue
        _say(f"{name}: about {part.minutes:g} minutes")
        started = time.monotonic()
        if _measure(part, result, options.seconds or part.seconds, options.isa):
            failed.append(name)
        _say(f"{name}: {(time.monotonic() - started) / 60:.1f} minutes")
        write_report(RESULTS, REPORT)  # what is measured so far
    write_report(RESULTS, REPORT)
    _say(f"{REPORT / 'report.md'} is written")
    if failed:
        _say(f"FAILED (answers wrong, or rivals that broke): {', '.join(failed)}")
    return bool(failed)


def _check() -> int:
    """Every bench on every engine that is installed, once, on 2,000 faces; and the report."""
    part = Part(128, 2_000, "all", (*_SCANS, "approximate"), 0.5)
    status = _measure(part, CHECK / "check.json", 0.0, None)
    write_report(CHECK, CHECK)
    return status


def _measure(part: Part, result: Path, seconds: float, isa: str | None) -> int:
    """A process of its own, so that a rival that crashes takes only its part along."""
    result.parent.mkdir(parents=True, exist_ok=True)
    unfinished = result.with_suffix(".part")
    environment = os.environ | _ONE_THREAD
    if isa:
        environment["FACEGREP_ISA"] = isa
    # Set on some machines for old versions of OpenBLAS; they would slow numpy down.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-c", "benches/pytest.ini", "-q"]
    command += [f"--benchmark-json={unfinished.resolve()}"]
    command += [f"--dim={part.dim}", f"--faces={part.faces}", f"--suite={part.suite}"]
    if part.photos:
        command += [f"--photos={PHOTOS}"]
    command += [f"--seconds={seconds}", *(f"benches/bench_{name}.py" for name in part.benches)]
    status = subprocess.run(command, env=environment, check=False).returncode
    if unfinished.exists() and unfinished.stat().st_size:
        unfinished.replace(result)
    failed = result.with_suffix(".failed")
    failed.touch() if status else failed.unlink(missing_ok=True)
    return status


def _is_measured(result: Path) -> bool:
    """All of it, and on this kind of machine."""
    if not result.exists() or result.with_suffix(".failed").exists():
        return False
    return same_machine(json.loads(result.read_text())["machine_info"])


def _say(line: str) -> None:
    sys.stdout.write(f"== {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
