"""A MobileNet-like network as plain arrays: convolutions, PReLUs, one dense layer, no branches.

Batch normalisations are folded into the layer before or after them, exactly up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from facegrep._errors import ModelError
from facegrep.vision._fold import attribute, initializers

F64 = NDArray[np.float64]


@dataclass
class Convolution:
    """``weight`` (out, in / groups, rows, columns), ``bias`` (out,); PReLU of ``slope`` (out,)."""

    name: str
    weight: F64
    bias: F64
    groups: int
    strides: list[int]
    pads: list[int]
    slope: F64 = field(default_factory=lambda: np.ones(0))

    @property
    def is_depthwise(self) -> bool:
        return self.groups == len(self.weight)


@dataclass
class Chain:
    """``(x - shift) * scale``, convolutions, then ``dense`` (dim, channels, pixels), ``bias``."""

    shift: float
    scale: float
    convolutions: list[Convolution]
    dense: F64
    bias: F64


def read_chain(model: onnx.ModelProto) -> Chain:
    """Take a folded graph apart.

    Raises
    ------
    ModelError
        The graph is not such a chain.
    """
    constants = {name: value.astype(np.float64) for name, value in initializers(model).items()}
    constants |= {
        node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t).astype(np.float64)
        for node in model.graph.node
        if node.op_type == "Constant"
    }
    chain = Chain(0.0, 1.0, [], np.empty(0), np.empty(0))
    pending: tuple[F64, F64] | None = None  # a normalisation that waits for the dense layer
    current = model.graph.input[0].name
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        if node.input[0] != current:
            raise _unfit(node)
        current = node.output[0]
        values = [constants[name] for name in node.input[1:] if name in constants]
        if len(values) != len(node.input) - 1:
            raise _unfit(node)
        if node.op_type == "Sub" and not chain.convolutions and values[0].size == 1:
            chain.shift = float(values[0].item())
        elif node.op_type == "Mul" and not chain.convolutions and values[0].size == 1:
            chain.scale = float(values[0].item())
        elif node.op_type == "Conv" and pending is None:
            chain.convolutions.append(_convolution(node, values))
        elif node.op_type == "PRelu" and chain.convolutions and pending is None:
            chain.convolutions[-1].slope = values[0].ravel()
        elif node.op_type == "BatchNormalization":
            factor, offset = _normalisation(node, values)
            if chain.dense.size:
                chain.dense *= factor[:, None, None]
                chain.bias = chain.bias * factor + offset
            elif chain.convolutions and not chain.convolutions[-1].slope.size:
                last = chain.convolutions[-1]
                last.weight *= factor[:, None, None, None]
                last.bias = last.bias * factor + offset
            else:
                pending = (factor, offset)
        elif node.op_type == "Gemm" and chain.convolutions and attribute(node, "transB", 0) == 1:
            channels = len(chain.convolutions[-1].weight)
            chain.dense = values[0].reshape(len(values[0]), channels, -1)
            chain.bias = values[1].copy()
            if pending is not None:
                chain.bias += chain.dense.sum(axis=2) @ pending[1]
                chain.dense = chain.dense * pending[0][:, None]
                pending = None
        elif node.op_type != "Flatten":
            raise _unfit(node)
    if not chain.dense.size or any(not layer.slope.size for layer in chain.convolutions):
        raise ModelError("the graph has no uint8 form: expected Conv + PReLU layers, then a Gemm")
    return chain


def bound_slopes(chain: Chain) -> None:
    """Make every slope at most 1, so that PReLU is ``max(x, slope x)``, in place and exactly.

    A channel whose slope a exceeds 1 is negated, which turns its PReLU into ``-a prelu(., 1 / a)``;
    the next layer's weights take the factor ``-a``.
    """
    for position, layer in enumerate(chain.convolutions):
        steep = layer.slope > 1
        factor = np.where(steep, -layer.slope, 1.0)
        layer.weight[steep] *= -1
        layer.bias[steep] *= -1
        layer.slope = np.where(steep, 1 / layer.slope, layer.slope)
        if position + 1 == len(chain.convolutions):
            chain.dense *= factor[:, None]
        elif chain.convolutions[position + 1].is_depthwise:
            chain.convolutions[position + 1].weight *= factor[:, None, None, None]
        else:
            chain.convolutions[position + 1].weight *= factor[:, None, None]


def _convolution(node: onnx.NodeProto, values: list[F64]) -> Convolution:
    lists = {item.name: list(item.ints) for item in node.attribute}
    if set(lists.get("dilations", [1])) != {1}:
        raise _unfit(node)
    weight = values[0].copy()
    bias = values[1].copy() if len(values) > 1 else np.zeros(len(weight))
    groups = attribute(node, "group", 1)
    if groups not in (1, len(weight)):
        raise _unfit(node)
    name = node.output[0].removesuffix("_conv2d")
    return Convolution(name, weight, bias, groups, lists["strides"], lists["pads"])


def _normalisation(node: onnx.NodeProto, values: list[F64]) -> tuple[F64, F64]:
    gamma, beta, mean, variance = values
    epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    factor = gamma / np.sqrt(variance + epsilon)
    return factor, beta - mean * factor


def _unfit(node: onnx.NodeProto) -> ModelError:
    return ModelError(
        f"the graph has no uint8 form: {node.op_type} {node.output[0]!r} breaks the chain"
    )
