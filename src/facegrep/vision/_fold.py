"""Block-quantised weights made plain, so that onnxruntime runs the graph in batches.

The published files store weights as int8 blocks that ``DequantizeLinear`` nodes expand on every
run. onnxruntime 1.31 refuses YuNet's (a block size beside a scalar scale) and asks for SFace's
weights as inputs. Expanding them once is exact: the same float32 multiply, done early.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facegrep._errors import ModelError


def parse(content: bytes) -> onnx.ModelProto:
    """Parse a model whose weights all lie inside it.

    Raises
    ------
    ModelError
        Not an ONNX model, or one that refers to other files.
    """
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's decoder has no public base of its errors
        raise ModelError(f"the weights are not an ONNX model: {error}") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelError("the ONNX model keeps weights in other files; expected one file")
    if len(model.graph.node) == 0:
        raise ModelError("the ONNX model has no nodes")
    return model


def fold(model: onnx.ModelProto, input_name: str) -> None:
    """Expand the weights in place, keep one input, and free the batch and picture size.

    Parameters
    ----------
    model
        Changed in place.
    input_name
        The one input that stays; weights that are listed as inputs are dropped.

    Raises
    ------
    ModelError
        There is no such input, or a weight cannot be expanded.
    """
    constants = initializers(model)
    for node in list(model.graph.node):
        folded = _evaluate(node, constants)
        if folded is not None:
            constants[node.output[0]] = folded
            model.graph.node.remove(node)
        elif node.op_type == "Dropout":  # the identity when not training
            rename_inputs(model, node.output[0], node.input[0])
            model.graph.node.remove(node)
    _free_batch(model, constants)
    replace_initializers(model, constants)
    _keep_one_input(model, input_name)


def initializers(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """Return the constants of a graph, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def replace_initializers(model: onnx.ModelProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """Store those of the constants that a node reads."""
    used = {name for node in model.graph.node for name in node.input}
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in constants.items()
        if name in used
    )


def rename_inputs(model: onnx.ModelProto, old: str, new: str) -> None:
    """Let every node that reads ``old`` read ``new``."""
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node."""
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _evaluate(
    node: onnx.NodeProto, constants: dict[str, NDArray[np.generic]]
) -> NDArray[np.generic] | None:
    """Return what a node on the path of a weight yields, None for any other node."""
    if node.op_type not in ("DequantizeLinear", "Reshape"):
        return None
    if not all(name in constants for name in node.input):
        return None
    values = [constants[name] for name in node.input]
    try:
        if node.op_type == "Reshape":
            return values[0].reshape([int(size) for size in values[1].ravel()])
        quantised, scale = (value.astype(np.float32) for value in values[:2])
        zero = values[2].astype(np.float32) if len(values) > 2 else np.zeros_like(scale)
        axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
        scale, zero = (_expand(value, quantised.shape, axis, block) for value in (scale, zero))
        return (quantised - zero) * scale
    except ValueError as error:
        raise ModelError(f"the weight {node.output[0]!r} cannot be expanded: {error}") from error


def _expand(
    value: NDArray[np.float32], shape: tuple[int, ...], axis: int, block: int
) -> NDArray[np.float32]:
    """Spread scales over the elements they belong to."""
    if value.size == 1:
        return value.reshape(())
    if value.ndim == len(shape) and block > 0:
        return np.repeat(value, block, axis=axis).take(range(shape[axis]), axis=axis)
    per_axis = [1] * len(shape)
    per_axis[axis] = -1
    return value.reshape(per_axis)


def _free_batch(model: onnx.ModelProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """Let Reshape copy the batch instead of insisting on 1."""
    for node in model.graph.node:
        target = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is not None and target.size > 1 and target[0] == 1 and -1 in target[1:]:
            constants[node.input[1]] = np.concatenate([[0], target[1:]]).astype(np.int64)


def _keep_one_input(model: onnx.ModelProto, name: str) -> None:
    kept = [value for value in model.graph.input if value.name == name]
    if not kept:
        names = ", ".join(value.name for value in model.graph.input) or "none"
        raise ModelError(f"the graph has no input {name!r} (it has {names}); correct [input] name")
    del model.graph.input[:]
    model.graph.input.extend(kept)
    del model.graph.value_info[:]
    for value, label in _dimensions(model):
        value.ClearField("dim_value")
        value.dim_param = label


def _dimensions(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorShapeProto.Dimension, str]]:
    """Yield the dimensions that vary and what to call them: the batch, sizes, anchors."""
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        for position, dim in enumerate(dims):
            if position == 0:
                yield dim, "n"
            elif len(dims) == 4 and position >= 2:
                yield dim, "height" if position == 2 else "width"
            elif len(dims) == 3 and position == 1:
                yield dim, f"anchors_{value.name}"
