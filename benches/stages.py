"""Where the time of a server's searches goes, as its own /metrics tell."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

ACTION: Final = "SearchMediaByFace"
THEIRS: Final = ("fetch", "decode", "detect", "embed")
"""Waiting for a picture's server, decoding, and the models; all else is ours."""
OURS: Final = ("wait", "gate", "scan", "keep", "other", "reply")


@dataclass
class Spent:
    """Of the searches between two readings, ms each; ``cpu_ms`` is processor time.

    ``server_cpu_ms`` is all that the server's processes took, for whatever: also what no thread of
    a call does, parsing HTTP and sending, and the threads that help it.
    """

    count: int
    request_ms: float
    server_cpu_ms: float
    wall_ms: dict[str, float] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)

    @property
    def ours_ms(self) -> float:
        return sum(self.wall_ms[name] for name in OURS)

    @property
    def ours_cpu_ms(self) -> float:
        """All but fetching, decoding and models, of everything that the server did."""
        return self.server_cpu_ms - sum(self.cpu_ms[name] for name in THEIRS)


class Meter:
    """Reads a server's metrics, and what its processes used."""

    def __init__(self, address: str, pid: int) -> None:
        self._url = f"http://{address}/metrics"
        self._pid = pid
        self._before = self._read()

    def lap(self) -> Spent:
        """What was spent since the last lap."""
        now, before = self._read(), self._before
        self._before = now
        values = {name: value - before.get(name, 0.0) for name, value in now.items()}
        count = round(values["request_count"])
        each = {name: 1000 * value / count for name, value in values.items()}
        spent = Spent(count, each["request_sum"], each["server"])
        for name in (*THEIRS, *OURS):
            spent.wall_ms[name] = each[f"wall {name}"]
            spent.cpu_ms[name] = each[f"cpu {name}"]
        whole_ms = sum(spent.wall_ms.values())
        if abs(whole_ms - spent.request_ms) > 1 + 0.05 * spent.request_ms:
            raise SystemExit(f"the stages make {whole_ms:.1f} ms of {spent.request_ms:.1f} ms")
        return spent

    def _read(self) -> dict[str, float]:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self._url) as reply:
            text = reply.read().decode()
        values = {"server": cpu_seconds(self._pid)}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.labels.get("action") != ACTION:
                    continue
                stage = sample.labels.get("stage")
                match sample.name:
                    case "facegrep_request_seconds_sum":
                        values["request_sum"] = sample.value
                    case "facegrep_request_seconds_count":
                        values["request_count"] = sample.value
                    case "facegrep_stage_seconds_sum":
                        values[f"wall {stage}"] = sample.value
                    case "facegrep_stage_cpu_seconds_sum":
                        values[f"cpu {stage}"] = sample.value
        return values


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children, all threads."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    total = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    for task in (process / "task").iterdir():
        total += sum(cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return total
