"""An ONNX graph with fewer and faster nodes that computes the same.

tf2onnx leaves shapes that are computed at run time, slices of whole tensors, and transposes between
channels-last arithmetic and channels-first convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from export.graphs import constants_of, rebuilt, renamed, shapes_of
from export.layout import channels_first
from export.subpixel import split_transposed_convolutions

if TYPE_CHECKING:
    import onnx

WHOLE = 10**9  # tf2onnx's end of a slice that goes to the end


def simplify(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrites a converted model.

    Shapes become constants but for the batch axis, transposes that cancel are gone, dense layers
    beside a reshape put out and take images channels first, and transposed convolutions become
    plain ones.

    Args:
        proto: The model. Its batch axes have names.

    Returns:
        A model that computes the same, up to rounding.
    """
    proto = _without_whole_slices(_with_scalar_depths(_with_constant_shapes(proto)))
    turned = channels_first(proto)
    fewer = transposes(turned) <= transposes(proto)
    return split_transposed_convolutions(turned if fewer else proto)


def transposes(proto: onnx.ModelProto) -> int:
    """How many transposes a model has."""
    return sum(node.op_type == "Transpose" for node in proto.graph.node)


def _with_constant_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Reshapes of which at most one size is dynamic need not compute the others."""
    shapes, known = shapes_of(proto), constants_of(proto)
    nodes, found = [], {}
    for node in proto.graph.node:
        shape = shapes.get(node.output[0], [None, None])
        if node.op_type == "Reshape" and node.input[1] not in known and shape.count(None) < 2:
            name = f"{node.output[0]}_shape"
            found[name] = np.array([-1 if size is None else size for size in shape], np.int64)
            node = renamed(node, {node.input[1]: name})  # noqa: PLW2901
        nodes.append(node)
    return rebuilt(proto, nodes, found)


def _with_scalar_depths(proto: onnx.ModelProto) -> onnx.ModelProto:
    """One-hot depths as scalars: a vector of one is allowed, but fails in the reference evaluator.

    NumPy takes no array of one number for a number any more.
    """
    known, nodes, found = constants_of(proto), [], {}
    for node in proto.graph.node:
        if node.op_type == "OneHot" and node.input[1] in known:
            name = f"{node.output[0]}_depth"
            found[name] = known[node.input[1]].reshape(())
            node = renamed(node, {node.input[1]: name})  # noqa: PLW2901
        nodes.append(node)
    return rebuilt(proto, nodes, found)


def _without_whole_slices(proto: onnx.ModelProto) -> onnx.ModelProto:
    known, nodes = constants_of(proto), []
    same: dict[str, str] = {}
    for node in proto.graph.node:
        nodes.append(renamed(node, same))
        if node.op_type == "Slice" and all(name in known for name in node.input[1:]):
            start, end, *step = (known[name] for name in (*node.input[1:3], *node.input[4:5]))
            if not start.any() and (end >= WHOLE).all() and np.all(np.equal(step, 1)):
                same[node.output[0]] = nodes[-1].input[0]
    return rebuilt(proto, nodes, {})
