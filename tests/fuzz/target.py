"""What makes a fuzz target of a module: seeds, a dictionary, coverage to follow, a replay.

A target is a module ``NAME_fuzz`` with a function ``fuzz_one(data)``, which raises when it finds
something, ``seeds()``, which yields inputs to begin with, and the constants ``AIMS``, the modules
whose coverage is followed, and ``WORDS``, which the fuzzer may put into an input. ``OPTIONS`` are
libFuzzer's.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType

_REPLAY = "--replay"


def run(fuzz_one: Callable[[bytes], None], aims: Iterable[str]) -> None:
    """Be the process of a target: fuzz, or run each file of some folders once.

    ::

        python -m tests.fuzz.filters_fuzz -max_total_time=60 CORPUS   # any option of libFuzzer
        python -m tests.fuzz.filters_fuzz REPRODUCER
        python -m tests.fuzz.filters_fuzz --replay SECONDS FOLDER...  # needs no atheris
    """
    if sys.argv[1:2] == [_REPLAY]:
        _replay(fuzz_one, float(sys.argv[2]), map(Path, sys.argv[3:]))
        return
    atheris = importlib.import_module("atheris")
    # Not instrument_imports: an editable install's finder is in its way.
    for function in _functions(tuple(aims)):
        atheris.instrument_func(function)
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()


def _functions(aims: tuple[str, ...]) -> list[FunctionType]:
    """Every function of the modules, methods and what decorators wrapped too."""
    below = tuple(f"{name}." for name in aims)
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType) and f"{each.__module__}.".startswith(below)
    ]


def _replay(fuzz_one: Callable[[bytes], None], seconds: float, folders: Iterable[Path]) -> None:
    end = time.monotonic() + seconds
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if time.monotonic() > end:
                return
            fuzz_one(path.read_bytes())
