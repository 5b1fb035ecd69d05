"""PReLU as convolutions: the same function, at twice the speed of the whole network on a CPU.

onnxruntime's PReLU is a scalar loop and half of SFace's time, and it forces the blocked layout of
the convolutions around it back and forth. ``prelu(x) = a x + relu((1 - a) x)`` holds wherever
``a <= 1``, and both products are depthwise 1x1 convolutions, which keep the blocked layout; the sum
is fused into one of them. Where a slope exceeds 1, ``a x + (1 - a) relu(x)`` holds for any slope.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from facegrep.vision._fold import initializers, replace_initializers


def rewrite_prelu(model: onnx.ModelProto) -> None:
    """Replace every PReLU of one slope a channel, in place; other PReLUs stay."""
    constants = initializers(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        slope = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is not None and _is_per_channel(slope):
            nodes += _as_convolutions(node, slope.astype(np.float32).ravel(), constants)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    replace_initializers(model, constants)


def _is_per_channel(slope: NDArray[np.generic]) -> bool:
    return slope.ndim == 3 and slope.shape[1:] == (1, 1)


def _as_convolutions(
    node: onnx.NodeProto,
    slope: NDArray[np.float32],
    constants: dict[str, NDArray[np.generic]],
) -> list[onnx.NodeProto]:
    source, result = node.input[0], node.output[0]
    scaled, excess, positive = f"{result}/scaled", f"{result}/excess", f"{result}/positive"

    def depthwise(read: str, write: str, weight: NDArray[np.float32]) -> onnx.NodeProto:
        constants[f"{write}/weight"] = weight.reshape(-1, 1, 1, 1)
        return helper.make_node(
            "Conv", [read, f"{write}/weight"], [write], group=len(weight), kernel_shape=[1, 1]
        )

    if (slope <= 1).all():
        bend = [
            depthwise(source, excess, 1 - slope),
            helper.make_node("Relu", [excess], [positive]),
        ]
    else:
        bend = [
            helper.make_node("Relu", [source], [excess]),
            depthwise(excess, positive, 1 - slope),
        ]
    return [
        *bend,
        depthwise(source, scaled, slope),
        helper.make_node("Add", [scaled, positive], [result]),
    ]
