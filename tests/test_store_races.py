"""What is read while vectors are overwritten, and what a store without its catalog is."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facegrep
from facegrep.store import Store

IDS = [f"asset-{number}" for number in range(20)]
VECTORS = np.random.default_rng(5).normal(size=(20, 8))


@pytest.mark.parametrize(
    "read",
    [
        lambda engine: engine.get("lib", IDS[3], vectors=True),
        lambda engine: engine.media("lib", vectors=True),
        lambda engine: engine.search("lib", vector=VECTORS[0]),
    ],
    ids=["get", "media", "search"],
)
def test_vectors_that_are_erased_under_a_reader_are_not_called_corrupt(
    tmp_path: Path, read: Callable[[facegrep.Engine], Any]
) -> None:
    done = threading.Event()
    with facegrep.open(tmp_path / "store") as engine:

        def erase_and_add_again() -> None:
            try:
                for _ in range(12):
                    engine.create_library("lib", dim=8, threshold=0.1)
                    engine.add_vectors("lib", IDS, VECTORS)
                    engine.set_face_index("lib", "deactive")
                    engine.drop_library("lib")
            finally:
                done.set()

        thread = threading.Thread(target=erase_and_add_again)
        thread.start()
        reads = 0
        try:
            while not done.is_set():
                try:
                    read(engine)
                    reads += 1
                except (facegrep.NotFoundError, facegrep.OperationDeniedError):
                    pass
        finally:
            thread.join()
        assert reads


def test_the_faces_of_a_library_that_another_process_dropped_are_freed(tmp_path: Path) -> None:
    with facegrep.open(tmp_path / "store") as here, facegrep.open(tmp_path / "store") as other:
        for name in ("first", "second"):
            other.create_library(name, dim=8, threshold=0.1)
            other.add_vectors(name, IDS, VECTORS)
            assert here.search(name, vector=VECTORS[0]).media_ids[0] == IDS[0]
            assert len(here._shared.indexes._by_library) == 1
            other.drop_library(name)


@pytest.mark.parametrize("emptied", [False, True])
def test_vectors_without_a_catalog_are_not_overwritten(tmp_path: Path, emptied: bool) -> None:
    with facegrep.open(tmp_path / "store") as engine:
        engine.create_library("lib", dim=8, threshold=0.1)
        engine.add_vectors("lib", IDS, VECTORS)
    catalog, (segment,) = tmp_path / "store/catalog.db", (tmp_path / "store/v").iterdir()
    kept, codes = catalog.read_bytes(), segment.read_bytes()
    catalog.unlink()
    if emptied:
        catalog.touch()
    with pytest.raises(facegrep.StoreCorrupt, match="catalog"):
        facegrep.open(tmp_path / "store")
    assert segment.read_bytes() == codes
    catalog.write_bytes(kept)
    with facegrep.open(tmp_path / "store") as engine:
        assert engine.search("lib", vector=VECTORS[3]).media_ids[0] == IDS[3]


def test_a_store_that_does_not_open_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"no database" * 1000)
    before = set(Path("/proc/self/fd").iterdir())
    gc.disable()
    try:
        with pytest.raises(facegrep.StoreCorrupt):
            Store.open(tmp_path, readonly=False, on_create=lambda _: None)
        assert set(Path("/proc/self/fd").iterdir()) == before
    finally:
        gc.enable()
