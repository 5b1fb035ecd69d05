"""The process that is killed: works on a store, and says on a board how far it got.

The board is a page of shared memory, outside the store: what is written there survives the writer.
Processes are forked from a server that has imported everything, so that one takes milliseconds.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from tests.faults import clock, sabotage
from tests.faults.operations import after, perform, plan
from tests.faults.world import World

import facegrep

PATIENCE_S: Final = 120.0
"""How long something is waited for that takes milliseconds: machines may be slow."""

_ROOM_BYTES: Final = 1 << 30
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.warm"])


class Board:
    """Numbers that two processes share, and a text. One process writes.

    Attributes
    ----------
    path
        Opened by each process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(_BOARD_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _BOARD_BYTES)
        self._numbers = memoryview(self._memory)[:64].cast("q")

    @property
    def begun(self) -> int:
        """The last step that was begun."""
        return self._numbers[0]

    @begun.setter
    def begun(self, step: int) -> None:
        self._numbers[0] = step

    @property
    def done(self) -> int:
        """The last step that was acknowledged."""
        return self._numbers[1]

    @done.setter
    def done(self, step: int) -> None:
        self._numbers[1] = step

    @property
    def stop(self) -> bool:
        """Whether the worker is asked to end."""
        return bool(self._numbers[2])

    @stop.setter
    def stop(self, value: bool) -> None:
        self._numbers[2] = int(value)

    @property
    def clock(self) -> memoryview:
        """The time, for those who share it."""
        return self._numbers[3:4]

    @property
    def text(self) -> str:
        """What the worker died of, if not of us."""
        return bytes(self._memory[64:]).rstrip(b"\0").decode(errors="replace")

    @text.setter
    def text(self, value: str) -> None:
        data = value.encode()[: _BOARD_BYTES - 64]
        self._memory[64:] = data.ljust(_BOARD_BYTES - 64, b"\0")

    def wait(self, reached: Callable[[Board], bool], worker: BaseProcess) -> None:
        """Wait until something is on the board.

        Raises
        ------
        RuntimeError
            The worker ended first.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not reached(self):
            if not worker.is_alive() and not reached(self):
                raise RuntimeError(f"the worker ended by itself: {self.text or worker.exitcode}")
            # This process may have been stopped meanwhile, and the worker not.
            if time.monotonic() > deadline and not reached(self):
                raise RuntimeError(f"the worker did nothing for {PATIENCE_S} s")
            time.sleep(0.0005)


_BOARD_BYTES: Final = 8192


@contextlib.contextmanager
def board() -> Iterator[Board]:
    """A new board, in memory where there is a folder for that."""
    with scratch("board") as folder:
        yield Board(folder / "board")


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that is gone afterwards, in memory where there is room.

    What a killed process has written is kept by the kernel, wherever it is. Only power cuts need a
    disk, and waiting for one would be most of the time.
    """
    memory = Path("/dev/shm")
    usable = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_BYTES
    with tempfile.TemporaryDirectory(
        prefix=f"facegrep-{name}-", dir=memory if usable else None
    ) as folder:
        yield Path(folder)


def pipe() -> tuple[Connection, Connection]:
    """A pipe to a worker: our end, and the worker's."""
    return _CONTEXT.Pipe()


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that runs a function of a module, with arguments that can be pickled."""
    process = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """Kill -9, and wait until it is gone."""
    process.kill()
    process.join()


def work(
    path: Path, board_path: Path, seed: int, world: World, first: int, fault: str | None
) -> None:
    """Do step after step from `first` on, until killed or asked to stop."""
    board = Board(board_path)
    sabotage.apply(fault)
    clock.move_to(world.now_ms)
    try:
        with facegrep.open(path) as engine:
            step = first
            while not board.stop:
                call = plan(seed, step, world)
                board.begun = step
                perform(engine, call)
                board.done = step
                world = after(world, call)
                step += 1
    except BaseException:
        board.text = traceback.format_exc()
        os._exit(1)
