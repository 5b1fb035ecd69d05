"""strace on a worker: which calls on files it makes, and a fault at one of them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults import worker

CHANGING: Final = frozenset(
    """
    creat fallocate fdatasync fsync ftruncate link linkat mkdir mkdirat pwrite64 pwritev
    rename renameat renameat2 rmdir sync_file_range truncate unlink unlinkat write writev
    """.split()  # noqa: SIM905 - as a list it is a page
)
"""Calls that change what is on disk; so do open and openat where they create."""

READING: Final = frozenset(
    """
    access faccessat2 fstat getdents64 lstat mmap newfstatat open openat pread64 read stat
    statfs statx
    """.split()  # noqa: SIM905 - as a list it is a page
)

_LINE: Final = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")
_PATH: Final = re.compile(r'<(/[^>]*)>|"(/[^"]*)"')
_HERE: Final = re.compile(r"AT_FDCWD<[^>]*>")
_ATTACHED: Final = "attached"


@dataclass(frozen=True, slots=True)
class FileCall:
    """A call that was traced.

    Attributes
    ----------
    occurrence
        How many of that name had been made with it, by the process since strace came.
    paths
        Absolute, of what it is about.
    """

    name: str
    occurrence: int
    paths: tuple[str, ...]
    text: str

    @property
    def changes(self) -> bool:
        """Whether it can change what is on disk."""
        return self.name in CHANGING or "O_CREAT" in self.text

    @property
    def failed(self) -> bool:
        """Whether it did nothing."""
        return " = -1 " in self.text or " = ?" in self.text


@functools.cache
def why_not() -> str | None:
    """Why strace does not work here; ``None`` when it does."""
    if shutil.which("strace") is None:
        return "strace is absent"
    done = subprocess.run(
        ["strace", "-qq", "-e", "trace=?open,openat", "-e", "inject=openat:error=EIO", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "INJECTED" not in done.stderr:
        return f"strace cannot inject here: {done.stderr.strip()[-200:]}"
    return None


class Strace:
    """strace attached to a worker, until that one ends.

    `fault` is what to inject, as ``pwrite64:error=EIO:when=3``.
    """

    def __init__(self, pid: int, fault: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="facegrep-strace-")
        self._log = Path(self._folder.name) / "log"
        names = ",".join(f"?{name}" for name in sorted(CHANGING | READING))
        command = ["strace", "-f", "-y", "-s", "0", "-o", str(self._log), "-e", f"trace={names}"]
        command += ["-e", "signal=none", "-p", str(pid)]
        if fault is not None:
            command += ["-e", f"inject={fault}"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if _ATTACHED in line:
                return
        raise RuntimeError(f"strace did not attach: {said}")

    def calls(self) -> list[FileCall]:
        """Wait for the end, and return the calls."""
        assert self._process.stderr is not None
        self._process.stderr.read()  # until the last process that it follows has ended
        self._process.wait(worker.PATIENCE_S)
        self._process.stderr.close()
        counts: Counter[str] = Counter()
        calls = []
        with self._log.open(encoding="utf-8", errors="replace") as log:
            for line in log:
                match = _LINE.match(line)
                if match is None:
                    continue
                name, text = match.groups()
                counts[name] += 1
                paths = tuple(a or b for a, b in _PATH.findall(_HERE.sub("", text)))
                calls.append(FileCall(name, counts[name], paths, text.strip()))
        self._folder.cleanup()
        return calls


def allow_strace() -> None:
    """In a worker: let any process of this user trace it (Yama allows descendants only)."""
    import ctypes

    pr_set_ptracer = 0x59616D61
    ctypes.CDLL(None).prctl(pr_set_ptracer, ctypes.c_ulong(-1), 0, 0, 0)


def keep_names(store: Path, kept: Path) -> None:
    """Give every file of a store a second name, under which it outlives being removed."""
    for path in store.rglob("*"):
        if path.is_file():
            target = kept / path.relative_to(store)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def forget_names(calls: list[FileCall], store: Path, kept: Path) -> int:
    """Undo what was done to names since the last fsync of their directory.

    A journaling filesystem is kinder: ext4 makes a file's name durable with the file. POSIX
    promises only this.

    Returns
    -------
    undone
        How many.
    """
    pending: list[tuple[str, Path, Path]] = []  # verb, path, new path
    existed = {store / path.relative_to(kept) for path in kept.rglob("*") if path.is_file()}
    existed |= {path.parent for path in existed}
    for call in calls:
        paths = [Path(text) for text in call.paths]
        if call.failed or not paths or not paths[0].is_relative_to(store.parent):
            continue
        if call.name in {"fsync", "fdatasync"}:
            pending = [change for change in pending if change[2].parent != paths[0]]
        elif "O_CREAT" in call.text or call.name in {"creat", "mkdir", "mkdirat"}:
            path = paths[-1]
            if path not in existed:
                existed.add(path)
                pending.append(("made", path, path))
        elif call.name in {"unlink", "unlinkat"}:
            existed.discard(paths[-1])
            pending.append(("removed", paths[-1], paths[-1]))
        elif call.name.startswith("rename"):
            pending.append(("renamed", paths[-2], paths[-1]))
    for verb, path, target in reversed(pending):
        old = kept / target.relative_to(store) if target.is_relative_to(store) else None
        if verb == "made" and path.is_dir():
            shutil.rmtree(path)
        elif verb == "made":
            path.unlink(missing_ok=True)
        elif verb == "renamed" and target.exists():
            target.rename(path)
        if verb in {"removed", "renamed"} and old is not None and old.exists():
            with contextlib.suppress(FileExistsError):
                os.link(old, target)
    return len(pending)
