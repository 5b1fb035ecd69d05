"""Makes a store of schema version 1; a script: ``python tests/data/stores/make_v1.py DIRECTORY``.

It ran once, with the last facegrep that wrote that version (commit 118c955), and its outcome is
kept in ``v1``: what is opened and upgraded by test_store_upgrade.py. A later facegrep
writes another.
"""

from __future__ import annotations

import io
import sys
import uuid

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import facegrep

DIM = 16
PEOPLE = [str(uuid.UUID(int=number, version=4)) for number in range(1, 13)]
PICTURE = io.BytesIO()
Image.new("RGB", (24, 24), (90, 120, 150)).save(PICTURE, "PNG")


def vectors() -> NDArray[np.float32]:
    """Two a person, in pairs."""
    return np.random.default_rng(1).normal(size=(2 * len(PEOPLE), DIM)).astype(np.float32)


def main() -> None:
    rows = vectors()
    with facegrep.open(sys.argv[1]) as engine:
        engine.create_library("press", dim=DIM, threshold=0.9, config="kept as it was")
        engine.add_vectors(
            "press",
            [person for person in PEOPLE for _ in range(2)],
            rows,
            {
                "intField1": [number // 2 for number in range(len(rows))],
                "strField1": [f"série {number // 8}" for number in range(len(rows))],
                "namespace": [None if number < 12 else "paris" for number in range(len(rows))],
                "utcCreate": [1_600_000_000_000 + number // 2 for number in range(len(rows))],
            },
        )
        engine.update("press", PEOPLE[1], title="a title", fields={"strField2": "x"})
        found = engine.search("press", vector=rows[4], limit=5)
        engine.answers.put("press", "token-1", b"c" * 32, b"u" * 32, found.embedding, found)
        engine.delete("press", PEOPLE[4:7])
        engine.create_library("gone", dim=DIM, threshold=0.9)
        engine.drop_library("gone")  # its number must not come back
        engine.create_library("waiting", face_index="deactive")
        engine.add("waiting", media_id="picture", source=PICTURE.getvalue(), title="unanalysed")
        engine.for_account("other").create_library("press", dim=4, threshold=0.5)
        engine.for_account("other").add_vectors("press", ["only"], np.ones((1, 4)))


if __name__ == "__main__":
    main()
