"""Embedded vector stores in their exact modes, with an index on the filtered fields.

None of them groups faces by asset and counts the assets above a threshold; Qdrant counts what
passes a filter, which is another number.
"""

from __future__ import annotations

import importlib
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from facegrep._bench.engines import Engine
from facegrep._bench.library import LIMIT, Answer, Library, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 1000


class Store(Engine):
    """A folder that lasts as long as the engine."""

    filters = "each time"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.folder = tempfile.TemporaryDirectory(prefix="facegrep-bench-")
        self.columns = {name: column.tolist() for name, column in library.fields.items()}

    def one(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """None of them shares work between the queries of a batch."""
        query: NDArray[np.float32] = queries.reshape(self.library.dim)
        return query


class Zvec(Store):
    """zvec: a flat index of int8, inverted indexes on the fields."""

    name = "zvec flat"
    needs = ("zvec",)
    stores = "int8 (zvec's)"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.zvec: Any = importlib.import_module("zvec")
        zvec = self.zvec
        zvec.init(query_threads=1, log_level=zvec.LogLevel.ERROR)
        by_range = zvec.InvertIndexParam(enable_range_optimization=True)
        schema = zvec.CollectionSchema(
            "faces",
            fields=[
                zvec.FieldSchema(name, zvec.DataType.INT64, index_param=by_range)
                for name in self.columns
            ],
            vectors=[
                zvec.VectorSchema(
                    "face",
                    zvec.DataType.VECTOR_FP32,
                    library.dim,
                    index_param=zvec.FlatIndexParam(
                        zvec.MetricType.IP, quantize_type=zvec.QuantizeType.INT8
                    ),
                )
            ],
        )
        self.collection = zvec.create_and_open(f"{self.folder.name}/faces", schema)
        for rows in library.chunks(_AT_ONCE):
            self.collection.insert(
                [
                    zvec.Doc(
                        id=str(row),
                        vectors={"face": library.vectors[row]},
                        fields={name: column[row] for name, column in self.columns.items()},
                    )
                    for row in range(rows.start, rows.stop)
                ]
            )
        self.collection.optimize(zvec.OptimizeOption())

    def encode(self, queries: NDArray[np.float32]) -> Any:
        return self.zvec.Query("face", vector=self.one(queries))

    def prepare(self, window: Window) -> str:
        return f"{window.field} >= {window.first} and {window.field} <= {window.last}"

    def search(self, queries: Any, chosen: Any = None) -> Any:
        return self.collection.query(queries, topk=LIMIT, filter=chosen, output_fields=[])

    def answers(self, found: Any) -> list[Answer]:
        return [Answer(np.array([int(doc.id) for doc in found], np.intp), None, "faces")]


class QdrantEdge(Store):
    """Qdrant Edge: exact search (no graph is built), integer indexes on the payload."""

    name = "qdrant edge"
    needs = ("qdrant_edge",)
    stores = "float32"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.qdrant: Any = importlib.import_module("qdrant_edge")
        qdrant = self.qdrant
        vectors = qdrant.EdgeVectorParams(size=library.dim, distance=qdrant.Distance.Dot)
        config = qdrant.EdgeConfig(vectors=vectors, max_search_threads=1)
        self.shard = qdrant.EdgeShard.create(self.folder.name, config)
        for name in self.columns:
            field = qdrant.UpdateOperation.create_field_index(
                name, qdrant.PayloadSchemaType.Integer
            )
            self.shard.update(field)
        for rows in library.chunks(_AT_ONCE):
            points = [
                qdrant.Point(row, vector, {name: self.columns[name][row] for name in self.columns})
                for row, vector in enumerate(library.vectors[rows].tolist(), rows.start)
            ]
            self.shard.update(qdrant.UpdateOperation.upsert_points(points))

    def encode(self, queries: NDArray[np.float32]) -> Any:
        return self.qdrant.Query.Nearest(self.one(queries).tolist())

    def prepare(self, window: Window) -> Any:
        bounds = self.qdrant.RangeFloat(gte=window.first, lte=window.last)
        return self.qdrant.Filter(must=[self.qdrant.FieldCondition(window.field, range=bounds)])

    def search(self, queries: Any, chosen: Any = None) -> Any:
        exact = self.qdrant.SearchParams(exact=True)
        request = self.qdrant.QueryRequest(LIMIT, query=queries, filter=chosen, params=exact)
        return self.shard.query(request)

    def answers(self, found: Any) -> list[Answer]:
        return [Answer(np.array([point.id for point in found], np.intp), None, "faces")]


class Lance(Store):
    """LanceDB: a table without a vector index is scanned; B-trees on the fields."""

    name = "lancedb flat"
    needs = ("lancedb", "pyarrow")
    stores = "float32"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        pyarrow: Any = importlib.import_module("pyarrow")
        lancedb: Any = importlib.import_module("lancedb")
        flat = pyarrow.array(library.vectors.reshape(-1))
        columns = {
            "face": pyarrow.FixedSizeListArray.from_arrays(flat, library.dim),
            "row": pyarrow.array(np.arange(len(library))),
        }
        columns |= {name: pyarrow.array(column) for name, column in library.fields.items()}
        database = lancedb.connect(self.folder.name)
        self.table = database.create_table("faces", pyarrow.table(columns))
        btree = importlib.import_module("lancedb.index").BTree
        for name in library.fields:
            self.table.create_index(name, config=btree())

    def encode(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.one(queries)

    def prepare(self, window: Window) -> str:
        return f"{window.field} >= {window.first} AND {window.field} <= {window.last}"

    def search(self, queries: NDArray[np.float32], chosen: Any = None) -> Any:
        builder = self.table.search(queries, vector_column_name="face").distance_type("dot")
        builder = builder.select(["row", "_distance"]).limit(LIMIT)
        if chosen is not None:
            builder = builder.where(chosen, prefilter=True)
        return builder.to_arrow()

    def answers(self, found: Any) -> list[Answer]:
        return [Answer(found["row"].to_numpy().astype(np.intp), None, "faces")]
