"""Servers of videos that are faked: what they have, where they stop; and how their jobs went."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import facegrep

WAIT_S = 120.0
URL = "https://videos.example/clip.mp4"


class Servers:
    """A fetcher, and what it finds; it can be held in the middle of a video."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.hold: set[str] = set()
        self.lost: set[str] = set()
        self.begun: list[str] = []
        self.saved: list[str] = []
        self.ended: list[str] = []
        self.halfway, self.go = threading.Event(), threading.Event()

    def __call__(self, url: str) -> bytes:
        self.saved.append(url)
        return self._find(url)

    def begin_video(self, url: str) -> bytes:
        self.begun.append(url)
        return self._find(url)[:100]

    def save_video(self, url: str, file: Any, go_on: Callable[[], None]) -> None:
        self.saved.append(url)
        try:
            content = self._find(url + " lost" * (url in self.lost))
            file.write(b"void")
            file.restart()
            middle = 3 * len(content) // 4
            file.write(content[:middle])
            if url in self.hold:
                self.halfway.set()
                while not self.go.wait(0.02):
                    go_on()
            go_on()
            file.write(content[middle:])
        finally:
            self.ended.append(url)

    def _find(self, url: str) -> bytes:
        if url not in self.content:
            raise facegrep.PictureError("secret", reason="its server did not give a video")
        return self.content[url]


def submit(engine: facegrep.Engine, media_id: str = "m", url: str = URL, **more: Any) -> bool:
    return engine.submit(
        "lib", media_id=media_id, source=None, origin=url, media_type="video", **more
    ).added


def job_of(engine: facegrep.Engine, media_id: str = "m") -> tuple[str | None, str | None]:
    job = engine.get("lib", media_id).job
    return (None, None) if job is None else (job.status, job.error)


def files_in(engine: facegrep.Engine) -> list[str]:
    return sorted(path.name for path in (engine.path / "tmp").iterdir())


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


# By another process: one that uses SQLite may never open its files itself.
SCAN = """
import pathlib, sys
needle = sys.stdin.buffer.read()
print(sum(needle in path.read_bytes() for path in pathlib.Path(sys.argv[1]).rglob("*")
    if path.is_file()))
"""


def files_with(path: Path, content: bytes) -> int:
    command = [sys.executable, "-c", SCAN, str(path)]
    window = content[len(content) // 2 :][:64]
    done = subprocess.run(command, input=window, capture_output=True, check=True)
    return int(done.stdout)
