"""The rows that pytest-benchmark wrote, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One timing.

    Attributes
    ----------
    seconds
        Median of a call; `per` says how many queries (faces, bytes) a call is for.
    spread
        Half the distance between the quartiles, as a share of the median.
    facts
        What the bench knew about it: recall, Total error, bytes stored, plan, ...
    """

    part: str
    isa: str
    work: str
    engine: str
    dim: int
    faces: int
    seconds: float
    spread: float
    rounds: int
    per: int
    facts: dict[str, Any]

    @property
    def each(self) -> float:
        """Seconds a query."""
        return self.seconds / self.per


@dataclass(frozen=True)
class Results:
    """All parts measured so far, and what they were measured on."""

    rows: list[Row]
    machines: dict[str, dict[str, Any]]  # by part
    commits: dict[str, str]

    def find(self, work: str, dim: int = 0, faces: int = 0, **facts: object) -> list[Row]:
        """Rows of a group; 0 is any."""
        return [
            row
            for row in self.rows
            if row.work == work
            and dim in (0, row.dim)
            and faces in (0, row.faces)
            and all(row.facts.get(name) == value for name, value in facts.items())
        ]

    def one(self, part: str, work: str, engine: str) -> Row | None:
        """The row of an engine in a part."""
        for row in self.rows:
            if (row.part, row.work, row.engine) == (part, work, engine):
                return row
        return None


def read_results(folder: Path) -> Results:
    """Every part's file of the folder."""
    results = Results([], {}, {})
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        part = path.stem
        results.machines[part] = content["machine_info"]
        results.commits[part] = (content["commit_info"].get("id") or "unknown")[:9]
        for bench in content["benchmarks"]:
            facts, stats = bench["extra_info"], bench["stats"]
            results.rows.append(
                Row(
                    part,
                    content["machine_info"]["isa"],
                    facts["work"],
                    facts["engine"],
                    facts.get("dim", 0),
                    facts.get("faces", 0),
                    stats["median"],
                    stats["iqr"] / 2 / stats["median"],
                    stats["rounds"],
                    facts["per"],
                    facts,
                )
            )
    return results
