"""Writes to a store until it is killed, saying what was acknowledged; a script.

``python tests/store_writer.py STORE FIRST``: from batch number FIRST on, adds batches of assets to
the library `crash` and deletes every third again, a line on stdout after each that returned.
test_store_crash.py kills it.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from numpy.typing import NDArray

import facegrep

ASSETS = 7
DIM = 24


def batch_ids(number: int) -> list[str]:
    return [f"{number}/{row}" for row in range(ASSETS)]


def batch_vectors(number: int) -> NDArray[np.float32]:
    return np.random.default_rng(number).normal(size=(ASSETS, DIM)).astype(np.float32)


def say(verb: str, number: int) -> None:
    os.write(sys.stdout.fileno(), f"{verb} {number}\n".encode())  # one write: never half a line


def main() -> None:
    with facegrep.open(sys.argv[1]) as engine:
        number = int(sys.argv[2])
        while True:
            engine.add_vectors("crash", batch_ids(number), batch_vectors(number))
            say("added", number)
            if number % 3 == 0:
                say("deleting", number)
                engine.delete("crash", media_ids=batch_ids(number))
                say("deleted", number)
            number += 1


if __name__ == "__main__":
    main()
