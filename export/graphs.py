"""ONNX graphs as lists of nodes: what the rewrites of an export are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np


def shapes_of(proto: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Shapes of the tensors that inference finds one for; None for dynamic sizes."""
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    return {
        value.name: [
            size.dim_value if size.HasField("dim_value") else None
            for size in value.type.tensor_type.shape.dim
        ]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def constants_of(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Values of all initializers."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node, as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def names_taken(node: onnx.NodeProto) -> list[str]:
    """Tensors that a node takes, and those that its subgraphs take from around it."""
    inner = [graph for a in node.attribute for graph in (*a.graphs, *([a.g] * a.HasField("g")))]
    within = [name for graph in inner for n in graph.node for name in names_taken(n)]
    return [*node.input, *within, *(value.name for graph in inner for value in graph.output)]


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """The node, or a copy that takes other tensors."""
    if not any(name in names for name in node.input):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    return copy


def rebuilt(
    proto: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    """The model with other nodes and further constants, without what no output depends on."""
    needed, kept = {value.name for value in proto.graph.output}, []
    for node in reversed(list(nodes)):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(names_taken(node))
    found = onnx.ModelProto()
    found.CopyFrom(proto)
    del found.graph.node[:], found.graph.value_info[:], found.graph.initializer[:]
    found.graph.node.extend(reversed(kept))
    found.graph.initializer.extend(t for t in proto.graph.initializer if t.name in needed)
    found.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if name in needed
    )
    return found
