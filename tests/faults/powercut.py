"""Power cuts: ext4 on a loop device is shut down in the middle of writes. Needs root.

``python -m tests.faults.powercut --cuts 150 --seed 1``

The ioctl EXT4_IOC_SHUTDOWN without flushing the log throws away what the disk was not told to keep.
Only what was acknowledged before the ioctl counts: ext4 can say that an fsync succeeded which was
under way when it came.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults import worker
from tests.faults.check import which
from tests.faults.kill import worlds_until
from tests.faults.operations import FIRST, make_store, without_backup
from tests.faults.report import Outcome, main
from tests.faults.world import World

import facegrep

_SHUTDOWN: Final = 0x8004587D  # _IOR('X', 125, __u32)
_WITHOUT_LOG: Final = struct.pack("I", 2)
_IMAGE_BYTES: Final = 192 << 20
_LONGEST_S: Final = 0.4
_CUTS_PER_IMAGE: Final = 25


@functools.cache
def why_not() -> str | None:
    """Why power cannot be cut here; ``None`` when it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 (e2fsprogs) is absent"
    try:
        with disk() as folder, contextlib.closing(Power(folder)) as power:
            power.cut()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"a loop device cannot be mounted here: {error}"
    return None


class Power:
    """The handle by which a mounted filesystem is shut down."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def cut(self) -> None:
        """Throw away what was not made durable; every later call on it fails with EIO."""
        fcntl.ioctl(self._descriptor, _SHUTDOWN, _WITHOUT_LOG)

    def close(self) -> None:
        """Let go, so that it can be unmounted."""
        os.close(self._descriptor)


@contextlib.contextmanager
def disk(megabytes: int = _IMAGE_BYTES >> 20) -> Iterator[Path]:
    """A new ext4, unmounted at the end whatever happens. The image is a file on disk."""
    with tempfile.TemporaryDirectory(prefix="facegrep-disk-") as name:
        image, folder = Path(name) / "image", Path(name) / "mount"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", str(image))
        mount(image, folder)
        try:
            yield folder
        finally:
            unmount(folder)


def mount(image: Path, folder: Path) -> None:
    """Mount an image; its log is replayed."""
    _run("mount", "-o", "loop", str(image), str(folder))


def unmount(folder: Path) -> None:
    """Unmount, also where somebody was killed a moment ago and is not quite gone."""
    for _ in range(100):
        if not os.path.ismount(folder):
            return
        done = subprocess.run(["umount", str(folder)], capture_output=True, check=False)
        if done.returncode:
            time.sleep(0.1)
    _run("umount", "-l", str(folder))


def run(*, cuts: int, seed: int, fault: str | None = None) -> Outcome:
    """Cut the power again and again; with a sabotage, until that is caught."""
    outcome = Outcome(f"power cut, {fault}" if fault else "power cut", seed)
    chance = random.Random(seed)
    done = 0
    while done < cuts and not outcome.violations:
        with disk() as folder, worker.board() as board:
            world, first = FIRST, 1
            make_store(folder / "store")
            os.sync()
            while done < cuts and not outcome.violations:
                done += 1
                board.begun = board.done = first - 1
                acknowledged = _cut_while_writing(folder, board, chance, seed, world, first, fault)
                outcome.counts["cuts"] += 1
                outcome.counts["steps acknowledged before the cut"] += acknowledged - first + 1
                unmount(folder)
                mount(folder.with_name("image"), folder)
                worlds = worlds_until(seed, world, first, acknowledged, board.begun)
                try:
                    found, wrong = which(folder / "store", worlds, readonly=False)
                except facegrep.FacegrepError as error:
                    found, wrong = None, [repr(error)]
                if found is None:
                    outcome.violate(f"cut {done}, steps {first} to {acknowledged}: {wrong[:3]}")
                    break
                world = without_backup(folder / "store", worlds[found])
                first = board.begun + 1
                outcome.progress(done, cuts, "cuts")
                if done % _CUTS_PER_IMAGE == 0:
                    break
    return outcome


def _cut_while_writing(
    folder: Path,
    board: worker.Board,
    chance: random.Random,
    seed: int,
    world: World,
    first: int,
    fault: str | None,
) -> int:
    """Start a writer, cut its power; returns the last step acknowledged before."""
    arguments = (folder / "store", board.path, seed, world, first, fault)
    process = worker.start(worker.work, *arguments)
    with contextlib.closing(Power(folder)) as power:
        try:
            board.wait(lambda board: board.done >= first, process)
            time.sleep(chance.uniform(0.0, _LONGEST_S))
            acknowledged = board.done
            power.cut()
        finally:
            worker.kill(process)
    return acknowledged


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main("powercut", {"cuts": 150}, run)
