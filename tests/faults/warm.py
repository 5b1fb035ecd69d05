"""Imported once by the server that workers are forked from: all code is loaded, and has run."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.faults import clock
from tests.faults.check import differences
from tests.faults.operations import FIRST, OPERATIONS, make_store, perform, plan

import facegrep
from facegrep.engine import _library_index

_SEED = 5

# The stores here are small. Their indexes are worth saving all the same, so that those files are
# killed, bent, filled and searched as well.
_library_index.MIN_CHANGES = 4  # type: ignore[misc]

clock.stop()


def _run_everything() -> None:
    with tempfile.TemporaryDirectory(prefix="facegrep-warm-") as name:
        path = Path(name) / "store"
        make_store(path)
        world, step, missing = FIRST, 1, set(OPERATIONS)
        with facegrep.open(path) as engine:
            while missing:
                call = plan(_SEED, step, world)
                perform(engine, call)
                world = OPERATIONS[call.verb].after(world, call)
                missing.discard(call.verb)
                step += 1
            assert not differences(engine, world), differences(engine, world)
        with facegrep.open(path, readonly=True) as engine:
            assert not differences(engine, replace(world, tokens={}))
    gc.collect()
    gc.freeze()


_run_everything()
