"""Adding faces to an empty index: ids and two integer fields as Python lists."""

from __future__ import annotations

import numpy as np

import facegrep
from benches.measure import Meter, about
from facegrep._bench.engines import Engine, Facegrep, FaissSq8, Numpy

AT_ONCE = 65_536


def bench_add(meter: Meter, engine: Engine) -> None:
    library = engine.library
    many = min(len(library), 1_000_000)
    vectors = np.ascontiguousarray(library.vectors[:many])
    media_ids = library.media_ids[:many]
    fields = {name: column[:many].tolist() for name, column in library.fields.items()}

    def add_to_facegrep() -> int:
        index = facegrep.FaceIndex(library.dim)
        for start in range(0, many, AT_ONCE):
            end = start + AT_ONCE
            part = {name: column[start:end] for name, column in fields.items()}
            index.add(media_ids[start:end], vectors[start:end], part)
        return len(index)

    def add_to_faiss() -> int:
        assert isinstance(engine, FaissSq8)
        index = engine.empty()
        for start in range(0, many, AT_ONCE):
            index.add(engine.codes(vectors[start : start + AT_ONCE]))
        return int(index.ntotal)

    def copy() -> int:
        return len(vectors.copy())

    add = {Facegrep: add_to_facegrep, FaissSq8: add_to_faiss, Numpy: copy}[type(engine)]
    assert add() == many
    meter.time([add], "add", many, **about(engine))


bench_add.suits = {Facegrep, FaissSq8, Numpy}.__contains__  # type: ignore[attr-defined]
