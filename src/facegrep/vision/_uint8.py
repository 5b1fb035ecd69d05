"""The embedding network in bytes: uint8 activations, int8 weights, one scale a tensor or channel.

The first convolution stays float32 (3 channels in, little work, and it sees the picture's full
range). Every other layer is a QLinearConv; PReLU is ``max(c, slope c)`` on bytes, the product
requantised with c's own scale, so that no layer goes through floats. The ranges of the activations
were measured once on photos and are part of the model's folder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from facegrep._errors import ModelError
from facegrep.vision._chain import F64, Chain, bound_slopes, read_chain

# Not 127: without VNNI, MLAS adds two products of a byte and a weight in 16 bits, and
# 2 * 255 * 127 does not fit; 2 * 255 * 63 does. One graph for every CPU keeps embeddings equal.
WEIGHT_MAX = 63


def quantise(
    model: onnx.ModelProto,
    ranges: dict[str, tuple[float, float]],
    input_name: str,
    output_name: str,
) -> onnx.ModelProto:
    """Return the uint8 form of a folded network; input and output stay float32.

    Parameters
    ----------
    model
        A folded chain; see `read_chain`.
    ranges
        The lowest and highest value before PReLU, by the name of the convolution.

    Raises
    ------
    ModelError
        The graph is not such a chain, or a range is missing.
    """
    chain = read_chain(model)
    bound_slopes(chain)
    missing = [layer.name for layer in chain.convolutions if layer.name not in ranges]
    if missing:
        raise ModelError(f"the activation range of {missing[0]!r} is missing")
    writer = _Writer()
    last = writer.body(chain, ranges, input_name)
    writer.dense(chain, last, output_name)
    float32 = onnx.TensorProto.FLOAT
    source = helper.make_tensor_value_info(input_name, float32, ["n", 3, "height", "width"])
    target = helper.make_tensor_value_info(output_name, float32, ["n", len(chain.bias)])
    graph = helper.make_graph(
        writer.nodes, "uint8", [source], [target], list(writer.constants.values())
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


_Attributes = Mapping[str, list[int] | int]


class _Tensor:
    """A uint8 tensor of the graph: value = (byte - zero) * scale."""

    def __init__(self, name: str, low: float, high: float) -> None:
        low, high = min(low, 0.0), max(high, 0.0)
        self.name = name
        self.scale = np.float32((high - low) / 255)
        self.zero = np.uint8(np.rint(-low / self.scale))


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def body(
        self, chain: Chain, ranges: dict[str, tuple[float, float]], input_name: str
    ) -> _Tensor:
        self._node("Sub", [input_name, self._constant("shift", np.float32(chain.shift))], "centred")
        self._node("Mul", ["centred", self._constant("scale", np.float32(chain.scale))], "scaled")
        source = _Tensor("scaled", 0, 1)
        for position, layer in enumerate(chain.convolutions):
            target = _Tensor(f"{layer.name}/sum", *ranges[layer.name])
            window: _Attributes = {
                "strides": layer.strides,
                "pads": layer.pads,
                "group": layer.groups,
            }
            if position == 0:
                weight = self._constant(f"{layer.name}/weight", layer.weight.astype(np.float32))
                bias = self._constant(f"{layer.name}/bias", layer.bias.astype(np.float32))
                self._node("Conv", [source.name, weight, bias], f"{layer.name}/float", window)
                self._node(
                    "QuantizeLinear", [f"{layer.name}/float", *self._scale(target)], target.name
                )
            else:
                weight, scale, zero, bias = self._weights(
                    layer.name, layer.weight, layer.bias, source
                )
                inputs = [source.name, *self._scale(source), weight, scale, zero]
                self._node(
                    "QLinearConv", [*inputs, *self._scale(target), bias], target.name, window
                )
            source = self._prelu(layer.name, target, layer.slope)
        return source

    def dense(self, chain: Chain, source: _Tensor, output_name: str) -> None:
        flat = chain.dense.reshape(len(chain.dense), -1)
        self._node("Flatten", [source.name], "flat")
        weight, scale, zero, bias = self._weights("dense", flat, chain.bias, source, transpose=True)
        self._node(
            "QGemm",
            ["flat", *self._scale(source), weight, scale, zero, bias],
            output_name,
            domain="com.microsoft",
        )

    def _prelu(self, name: str, source: _Tensor, slope: F64) -> _Tensor:
        slopes = _Tensor(f"{name}/slope", float(slope.min()), float(slope.max()))
        codes = np.rint(slope / slopes.scale) + slopes.zero
        self._constant(slopes.name, np.clip(codes, 0, 255).astype(np.uint8).reshape(-1, 1, 1))
        self._node(
            "QLinearMul",
            [
                source.name,
                *self._scale(source),
                slopes.name,
                *self._scale(slopes),
                *self._scale(source),
            ],
            f"{name}/sloped",
            domain="com.microsoft",
        )
        result = _Tensor(f"{name}/relu", 0, 1)
        result.scale, result.zero = source.scale, source.zero
        self._node("Max", [source.name, f"{name}/sloped"], result.name)
        return result

    def _weights(
        self, name: str, weight: F64, bias: F64, source: _Tensor, *, transpose: bool = False
    ) -> tuple[str, str, str, str]:
        """Store int8 weights with a scale a row; return the names of codes, scales, zeros, bias."""
        rows = weight.reshape(len(weight), -1)
        scale = (np.maximum(np.abs(rows).max(axis=1), 1e-12) / WEIGHT_MAX).astype(np.float32)
        codes = np.rint(rows / scale[:, None]).astype(np.int8).reshape(weight.shape)
        sums = np.rint(bias / (scale.astype(np.float64) * source.scale)).astype(np.int32)
        return (
            self._constant(f"{name}/codes", codes.T if transpose else codes),
            self._constant(f"{name}/scales", scale),
            self._constant(f"{name}/zeros", np.zeros(len(scale), np.int8)),
            self._constant(f"{name}/bias", sums),
        )

    def _scale(self, tensor: _Tensor) -> tuple[str, str]:
        return (
            self._constant(f"{tensor.name}/scale", tensor.scale),
            self._constant(f"{tensor.name}/zero", tensor.zero),
        )

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def _node(
        self,
        operation: str,
        inputs: list[str],
        output: str,
        attributes: _Attributes | None = None,
        *,
        domain: str = "",
    ) -> None:
        node = helper.make_node(operation, inputs, [output], domain=domain)
        node.attribute.extend(helper.make_attribute(*item) for item in (attributes or {}).items())
        self.nodes.append(node)
