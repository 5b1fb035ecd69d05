"""Runs every fuzz target for a while, and says what they reached: ``make fuzz``.

Coverage in lines is measured afterwards, by replaying the inputs that the fuzzer kept: what follows
branches for it does not know lines, and costs more.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.faults.report import machine, random_seed

_ROOT: Final = Path(__file__).parents[2]
_OUT: Final = _ROOT / "build" / "fuzz"
_TARGETS: Final = Path(__file__).parent
_NATIVE: Final = _OUT / "native" / "tests" / "fuzz"
_REPLAY_S: Final = 30
"""No more of a replay: the coverage of a slow target's first inputs is nearly that of all."""

# Inputs that took long are reported unless told otherwise, also where the machine did.
_OPTIONS: Final = ("-print_final_stats=1", "-report_slow_units=1000000", "-rss_limit_mb=1024")
_HANG_S: Final = 300
"""An input that takes so long is a find; a machine that is slow or stopped for a while is none."""

_FIND_SHOWN: Final = 2048
_LOG_SHOWN: Final = 60


@dataclass
class Result:
    """What a target reached, in the words of the table."""

    name: str
    runs: str = ""
    runs_per_s: str = ""
    edges: str = ""
    features: str = ""
    lines: str = ""
    finds: list[str] = field(default_factory=list)
    skipped: str = ""

    def row(self) -> tuple[str, ...]:
        """The cells of a row; the last says what was found."""
        if self.skipped:
            return (self.name, *[""] * 5, f"skipped: {self.skipped}")
        numbers = (self.runs, self.runs_per_s, self.edges, self.features, self.lines)
        return (self.name, *numbers, str(len(self.finds)))


_HEAD: Final = ("target", "runs", "runs/s", "edges", "features", "lines", "finds")


def main() -> int:
    """Run them all; 1 if one of them found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="of each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("targets", nargs="*", help="default: all")
    given = parser.parse_args()
    seed = random_seed() if given.seed is None else given.seed
    _say(f"{given.seconds} s each, {given.jobs} at a time, seed {seed}")
    python = sorted(path.stem.removesuffix("_fuzz") for path in _TARGETS.glob("*_fuzz.py"))
    native = sorted(path.stem.removesuffix("_fuzz") for path in _TARGETS.glob("*_fuzz.cpp"))
    if unknown := {*given.targets} - {*python, *native}:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join((*python, *native))}")

    def run(name: str) -> Result:
        fuzz = _fuzz_python if name in python else _fuzz_native
        result = fuzz(name, given.seconds, seed)
        _say(f"{name}: {result.skipped or f'{result.runs} runs, {len(result.finds)} finds'}")
        return result

    names = [name for name in (*native, *python) if not given.targets or name in given.targets]
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(run, names))
    _say("\n" + _table(results) + "\n" + machine())
    for result in results:
        for find in result.finds:
            _say(f"{result.name}: {find}")
    return int(any(result.finds for result in results))


def _fuzz_python(name: str, seconds: int, seed: int) -> Result:
    if importlib.util.find_spec("atheris") is None:
        return Result(name, skipped="atheris is absent, or has no wheel for this Python")
    module = importlib.import_module(f"tests.fuzz.{name}_fuzz")
    folder = _prepare(name)
    _write_seeds(module, folder)
    of_module = (sys.executable, "-m", module.__name__)
    options = (*_OPTIONS, f"-dict={folder / 'words'}", *getattr(module, "OPTIONS", ()))
    result = _fuzz(name, folder, (*of_module, *options), seconds, seed)
    if not result.finds:
        result.lines = _lines(module, folder)
    return result


def _fuzz_native(name: str, seconds: int, seed: int) -> Result:
    program = _NATIVE / f"{name}_fuzz"
    if not program.exists():
        return Result(name, skipped="it was not built: clang++ or its libFuzzer is absent")
    folder = _prepare(name)
    subprocess.run([_NATIVE / f"{name}_seeds", folder / "seeds"], check=True)
    return _fuzz(name, folder, (str(program), *_OPTIONS), seconds, seed)


def _prepare(name: str) -> Path:
    folder = _OUT / name
    for below in ("seeds", "corpus", "finds"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    return folder


def _write_seeds(module: ModuleType, folder: Path) -> None:
    for number, seed in enumerate(module.seeds()):
        (folder / "seeds" / f"{number:04}").write_bytes(seed)
    words = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in module.WORDS)
    (folder / "words").write_text("\n".join(words) + "\n")


def _fuzz(name: str, folder: Path, command: Sequence[str], seconds: int, seed: int) -> Result:
    done = subprocess.run(
        [
            *command,
            f"-max_total_time={seconds}",
            f"-timeout={max(_HANG_S, 2 * seconds)}",
            f"-seed={seed}",
            f"-artifact_prefix={folder / 'finds'}/",
            str(folder / "corpus"),
            str(folder / "seeds"),
        ],
        cwd=_ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log = done.stdout
    (folder / "log").write_text(log)
    result = Result(name)
    result.runs = _last(r"stat::number_of_executed_units: *(\d+)", log)
    result.runs_per_s = _last(r"stat::average_exec_per_sec: *(\d+)", log)
    result.edges = _last(r" cov: (\d+)", log)
    if all_of := _last(r"INFO: Loaded \d+ PC tables \((\d+) PCs\)", log):
        result.edges += f" of {all_of}"
    result.features = _last(r" ft: (\d+)", log)
    if done.returncode:
        written = re.findall(r"Test unit written to (.+)", log)
        result.finds = [_shown(Path(path)) for path in written]
        result.finds = result.finds or [f"it ended with {done.returncode}"]
        told = [line for line in log.splitlines() if not line.startswith("#")]
        _say("\n".join((f"{name}:", *told[-_LOG_SHOWN:])))
    return result


def _shown(path: Path) -> str:
    data = path.read_bytes()
    text = base64.b64encode(data[:_FIND_SHOWN]).decode()
    more = "" if len(data) <= _FIND_SHOWN else "..."
    return f"{path.relative_to(_ROOT)}, in base64 {text}{more}"


def _lines(module: ModuleType, folder: Path) -> str:
    """Percent of the lines of what a target aims at, as its corpus covers them."""
    if importlib.util.find_spec("coverage") is None:
        return ""
    aims = ",".join(
        f"*/{aim.replace('.', '/')}{end}" for aim in module.AIMS for end in (".py", "/*")
    )
    data = f"--data-file={folder / 'lines'}"
    coverage = (sys.executable, "-m", "coverage")
    replay = ("-m", module.__name__, "--replay", str(_REPLAY_S))
    folders = (str(folder / "seeds"), str(folder / "corpus"))
    for command in (
        (*coverage, "run", data, f"--include={aims}", *replay, *folders),
        (*coverage, "report", data, "--format=total"),
    ):
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            return "?"
    return f"{done.stdout.strip()} %"


def _last(pattern: str, text: str) -> str:
    found: list[str] = re.findall(pattern, text)
    return found[-1] if found else ""


def _table(results: list[Result]) -> str:
    rows = [_HEAD, *(result.row() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
