"""From published weights to the graph that runs: one recipe a variant, cached."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from facegrep._errors import ModelError
from facegrep.vision._cache import cached
from facegrep.vision._manifest import EmbedderManifest, Model
from facegrep.vision._weights import read_weights

Precision = Literal["fp32", "int8"]
# folded: the published graph, made to run. fp32: the same function, rewritten for CPUs.
Variant = Literal["folded", "fp32", "int8"]

_RANGES_MAX_BYTES = 1 << 20


def load_graph(model: Model, variant: Variant) -> bytes:
    """Return a model's graph, ready for a session; float32 in, float32 out.

    Raises
    ------
    ModelError
        The weights are missing or wrong, or the model has no such variant.
    """
    content = read_weights(model)
    ranges = _read_ranges(model) if variant == "int8" else b""
    source = hashlib.sha256(model.manifest.weights.sha256.encode() + ranges).hexdigest()[:32]
    key = f"{model.name}-{source}-{variant}-{recipe()}.graph"
    return cached(key, lambda: _build(model, content, variant, ranges))


@functools.cache
def recipe() -> str:
    """Return a digest of the code that derives graphs: a kept graph is of one state of it.

    A version number, to be raised by hand, was forgotten and left graphs of an older recipe in use.
    """
    here = Path(__file__).parent
    names = ("_graphs.py", "_fold.py", "_prelu.py", "_chain.py", "_uint8.py")
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in names)).hexdigest()[:16]


def _read_ranges(model: Model) -> bytes:
    manifest = model.manifest
    if not isinstance(manifest, EmbedderManifest) or manifest.int8 is None:
        raise ModelError(f"model {model.name!r} has no int8 graph; use precision 'fp32'")
    path = model.folder / manifest.int8.activation_ranges
    try:
        with path.open("rb") as file:
            return file.read(_RANGES_MAX_BYTES)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _build(model: Model, content: bytes, variant: Variant, ranges: bytes) -> bytes:
    # Only the first run on a machine pays for importing onnx.
    try:
        from facegrep.vision import _fold, _prelu, _uint8
    except ImportError as error:
        raise ModelError(
            f"model {model.name!r} must be folded once, which needs the package onnx "
            f"({error}); run: pip install 'facegrep[cpu]' (or [gpu])"
        ) from error
    graph = _fold.parse(content)
    _fold.fold(graph, model.manifest.input.name)
    if variant == "fp32":
        _prelu.rewrite_prelu(graph)
    elif variant == "int8":
        output_name = graph.graph.output[0].name
        parsed = _parse_ranges(model, ranges)
        graph = _uint8.quantise(graph, parsed, model.manifest.input.name, output_name)
    serialised: bytes = graph.SerializeToString()
    return serialised


def _parse_ranges(model: Model, content: bytes) -> dict[str, tuple[float, float]]:
    try:
        ranges = msgspec.json.decode(content, type=dict[str, tuple[float, float]])
        # JSON has no infinity, but 1e999 decodes to one.
        if not all(-1e6 < low < high < 1e6 for low, high in ranges.values()):
            raise ValueError("expected low < high in each pair")
    except ValueError as error:
        raise ModelError(
            f"model {model.name!r}: not a file of activation ranges: {error}; expected "
            '{"convolution": [low, high], ...}'
        ) from error
    return ranges
