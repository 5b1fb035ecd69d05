"""Makes a store of schema version 2; a script: ``python tests/data/stores/make_v2.py DIRECTORY``.

It ran once, with the last facegrep that wrote that version (commit 1ea5911), and its outcome is
kept in ``v2``: what make_v1.py puts in, and beside it what version 2 brought.
"""

from __future__ import annotations

import sys

import make_v1
import numpy as np

import facegrep

KEPT_MS = 1000 * 366 * 24 * 3600 * 1000


def main() -> None:
    make_v1.main()
    rows = make_v1.vectors()
    with facegrep.open(sys.argv[1], actor="who made it") as engine:
        engine.create_library("kept", dim=make_v1.DIM, threshold=0.9, ttl_ms=KEPT_MS)
        engine.add_vectors("kept", make_v1.PEOPLE[:6], rows[:6])
        engine.erase("kept", make_v1.PEOPLE[:2])
        engine.set_search_audit(True)
        engine.search("kept", vector=rows[3])
        engine.set_search_audit(False)
        engine.create_library("grouped", config='{"faceGroupIds":"one,two"}')
        engine.add_vectors("press", ["late"], np.ones((1, make_v1.DIM)))
        engine.delete("press", ["late"])


if __name__ == "__main__":
    main()
