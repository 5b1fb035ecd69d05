"""From published weights to the graph that runs: one recipe a variant, cached."""

from __future__ import annotations

from typing import Literal

from facegrep._errors import ModelError
from facegrep.vision._cache import cached
from facegrep.vision._manifest import Model
from facegrep.vision._weights import read_weights

Precision = Literal["fp32", "int8"]
# folded: the published graph, made to run. fp32: the same function, rewritten for CPUs.
Variant = Literal["folded", "fp32", "int8"]

# Part of the cache's keys: raise it with every change of what a recipe yields.
_RECIPE_VERSION = 1


def load_graph(model: Model, variant: Variant) -> bytes:
    """Return a model's graph, ready for a session; float32 in, float32 out.

    Raises
    ------
    ModelError
        The weights are missing or wrong, or the model has no such variant.
    """
    content = read_weights(model)
    key = f"{model.name}-{model.manifest.weights.sha256[:32]}-{variant}-{_RECIPE_VERSION}.graph"
    return cached(key, lambda: _build(model, content, variant))


def _build(model: Model, content: bytes, variant: Variant) -> bytes:
    # Only the first run on a machine pays for importing onnx.
    try:
        from facegrep.vision import _fold, _prelu
    except ImportError as error:
        raise ModelError(
            f"model {model.name!r} must be folded once, which needs the package onnx "
            f"({error}); run: pip install 'facegrep[cpu]' (or [gpu])"
        ) from error
    graph = _fold.parse(content)
    _fold.fold(graph, model.manifest.input.name)
    if variant == "fp32":
        _prelu.rewrite_prelu(graph)
    serialised: bytes = graph.SerializeToString()
    return serialised
