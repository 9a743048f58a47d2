"""An ONNX graph with fewer and faster nodes that computes the same.

tf2onnx leaves shapes that are computed at run time, slices of whole tensors, and transposes between
channels-last arithmetic and channels-first convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from export.onnx.graphs import (
    OPSETS,
    constants_of,
    fresh_names,
    is_standard,
    opset_of,
    rebuilt,
    renamed,
    shapes_of,
    tensors_of,
    with_input,
)
from export.onnx.layout import channels_first
from export.onnx.subpixel import split_transposed_convolutions

if TYPE_CHECKING:
    import onnx

WHOLE = 10**9  # tf2onnx's end of a slice that goes to the end


def simplify(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrites a converted model.

    Shapes become constants but for the batch axis, transposes that cancel are gone, dense layers
    beside a reshape put out and take images channels first, and transposed convolutions become
    plain ones. Each rewrite says what it needs and checks it; where that does not hold, or is not
    known, it leaves the node as it is.

    Args:
        proto: The model. Its batch axes have names.

    Returns:
        A model that computes the same, up to rounding; the same model, if its opset is none of
        those that the rewrites know.
    """
    if opset_of(proto) not in OPSETS:
        return proto
    proto = _without_whole_slices(_with_scalar_depths(_with_constant_shapes(proto)))
    turned = channels_first(proto)
    fewer = transposes(turned) <= transposes(proto)
    return split_transposed_convolutions(turned if fewer else proto)


def transposes(proto: onnx.ModelProto) -> int:
    """How many transposes a model has."""
    return sum(node.op_type == "Transpose" for node in proto.graph.node)


def _with_constant_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Gives Reshapes a constant shape where at most one size is dynamic.

    That size is written as -1, which is what remains: needs all others to be known and not 0, as a
    0 stands for the size of the input.
    """
    shapes, known = shapes_of(proto), constants_of(proto)
    fresh = fresh_names(tensors_of(proto.graph))
    nodes, constants = [], {}
    for node in proto.graph.node:
        if node.op_type == "Reshape" and is_standard(node) and node.input[1] not in known:
            shape = shapes.get(node.output[0], [None, None])
            if shape.count(None) < 2 and 0 not in shape:
                name = fresh(f"{node.output[0]}_shape")
                sizes = [-1 if size is None else size for size in shape]
                constants[name] = np.array(sizes, np.int64)
                node = with_input(node, 1, name)  # noqa: PLW2901
        nodes.append(node)
    return rebuilt(proto, nodes, constants)


def _with_scalar_depths(proto: onnx.ModelProto) -> onnx.ModelProto:
    """One-hot depths as scalars: a vector of one is allowed, but fails in the reference evaluator.

    NumPy takes no array of one number for a number any more.
    """
    known, nodes, constants = constants_of(proto), [], {}
    fresh = fresh_names(tensors_of(proto.graph))
    for node in proto.graph.node:
        if node.op_type == "OneHot" and is_standard(node):
            depth = known.get(node.input[1])
            if depth is not None and depth.size == 1:
                name = fresh(f"{node.output[0]}_depth")
                constants[name] = depth.reshape(())
                node = with_input(node, 1, name)  # noqa: PLW2901
        nodes.append(node)
    return rebuilt(proto, nodes, constants)


def _without_whole_slices(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Slices that take all: constant starts of 0, steps of 1, and ends beyond any size."""
    known, nodes = constants_of(proto), []
    same: dict[str, str] = {}
    for node in proto.graph.node:
        nodes.append(renamed(node, same))
        if node.op_type != "Slice" or not is_standard(node):
            continue
        names = (*node.input[1:3], *node.input[4:5])
        if not all(name in known for name in names):
            continue
        start, end, *step = (known[name] for name in names)
        if np.all(np.equal(start, 0)) and np.all(end >= WHOLE) and np.all(np.equal(step, 1)):
            same[node.output[0]] = nodes[-1].input[0]
    return rebuilt(proto, nodes, {})
