"""Which engines are measured side by side: they hold the same faces in one process."""

from __future__ import annotations

from typing import Final

from benches.engines_flat import FaissFlat, FaissSq8Total
from benches.engines_graph import Hnswlib, UsearchGraph
from benches.engines_store import Lance, QdrantEdge, Zvec
from facegrep._bench.engines import Engine, Facegrep, FaissSq8, Numpy, UsearchExact

SUITES: Final[dict[str, tuple[type[Engine], ...]]] = {
    "scans": (Facegrep, FaissSq8, FaissSq8Total, FaissFlat, UsearchExact, Numpy),
    "large": (Facegrep, FaissSq8, FaissFlat, UsearchExact, Numpy),  # one index less in memory
    "graphs": (Facegrep, UsearchGraph, Hnswlib),
    "stores": (Facegrep, FaissSq8, Zvec, QdrantEdge, Lance),
}
SUITES["all"] = tuple(dict.fromkeys(kind for suite in SUITES.values() for kind in suite))
