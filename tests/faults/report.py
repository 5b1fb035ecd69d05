"""What a run of the harness says: a line while it goes, a result, and the table of README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults import clock

RESULTS: Final = Path(__file__).parents[2] / "build" / "faults"
_SHOWN = 20
_KEPT = ("name", "command", "seed", "machine", "seconds", "counts", "violations")


@dataclass
class Outcome:
    """What a run found.

    Attributes
    ----------
    name
        Of the row in README.md.
    counts
        What was done, and what came of it, by a few words each.
    violations
        What must never be; the run failed if there is one.
    """

    name: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    command: str = ""
    machine: str = ""
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic, repr=False)
    _said: float = 0.0

    def violate(self, text: str) -> None:
        """Note what must never be, and say it: a run may be stopped before its end."""
        self.counts["violations"] += 1
        if len(self.violations) < _SHOWN:
            self.violations.append(text)
            sys.stderr.write(f"{self.name}, seed {self.seed}: {text}\n")

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far it is, about every five seconds, on stderr."""
        now = time.monotonic()
        if now - self._said > 5 or done == total:
            self._said = now
            sys.stderr.write(
                f"{self.name}: {done} of {total} {unit}, {len(self.violations)} violations, "
                f"{now - self.began:.0f} s\n"
            )
            sys.stderr.flush()

    def summary(self) -> str:
        """One line."""
        counts = ", ".join(f"{number:,} {what}" for what, number in self.counts.items() if number)
        return f"{self.name}, seed {self.seed}: {counts or 'nothing done'}"


def random_seed() -> int:
    """A seed to be printed."""
    return random.SystemRandom().randrange(1 << 31)


def main(
    name: str,
    options: dict[str, int | str],
    run: Callable[..., Outcome],
) -> None:
    """Run the full form of a test from the command line, write its result, exit 1 if it failed.

    `options` are what `run` takes by name, with their defaults; ``--seed`` is one always.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.faults.{name}", description=run.__doc__)
    for option, default in options.items():
        kind = type(default)
        parser.add_argument(f"--{option}", type=kind, default=default, help=f"default {default!r}")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    given = vars(parser.parse_args())
    if given["seed"] is None:
        given["seed"] = random_seed()
    sys.stderr.write(f"seed {given['seed']}\n")
    clock.stop()
    outcome = run(**given)
    outcome.seconds = round(time.monotonic() - outcome.began, 1)
    outcome.machine = machine()
    arguments = " ".join(f"--{key} {value}" for key, value in given.items() if value != "")
    outcome.command = f"python -m tests.faults.{name} {arguments}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = {key: getattr(outcome, key) for key in _KEPT}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    for line in (outcome.summary(), *outcome.violations):
        sys.stdout.write(line + "\n")
    sys.exit(1 if outcome.violations else 0)


def machine() -> str:
    """The machine in words, without its name."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        memory = int(file.readline().split()[1]) / (1 << 20)
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {kernel}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def table() -> str:
    """The results that are there, as rows of a markdown table."""
    rows = ["| test | command | seconds | outcome |", "|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        counts = ", ".join(f"{number:,} {what}" for what, number in result["counts"].items())
        failed = len(result["violations"])
        verdict = f"**{failed} violations**" if failed else "0 violations"
        rows.append(
            f"| {result['name']} | `{result['command']}` | {result['seconds']:.0f} | "
            f"{counts}: {verdict} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n" + machine() + "\n")
