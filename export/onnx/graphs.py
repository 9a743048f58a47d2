"""ONNX graphs as lists of nodes: what the rewrites of an export are made of."""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np

DOMAINS = ("", "ai.onnx")
OPSETS = range(13, 19)  # tf2onnx 1.17 knows no later one; the rewrites know the forms of these


def opset_of(proto: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that a model uses; 0 if it names none."""
    versions = [opset.version for opset in proto.opset_import if opset.domain in DOMAINS]
    return max(versions, default=0)


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether a node is one of ONNX's own operators, whose type says what it computes."""
    return node.domain in DOMAINS


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
    """Values of all initializers, except those that are inputs too: a caller may replace these."""
    inputs = {value.name for value in proto.graph.input}
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.name not in inputs
    }


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node, as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside a node, such as the body of a Loop; they see the tensors around it."""
    return [graph for a in node.attribute for graph in (*a.graphs, *([a.g] * a.HasField("g")))]


def names_taken(node: onnx.NodeProto) -> list[str]:
    """Tensors that a node takes, and those that its subgraphs take from around it."""
    inner = subgraphs(node)
    within = [name for graph in inner for n in graph.node for name in names_taken(n)]
    return [*node.input, *within, *(value.name for graph in inner for value in graph.output)]


def tensors_of(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of all tensors of a graph and of the graphs inside it, some several times."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for tensor in graph.sparse_initializer:
        yield tensor.values.name
    for node in graph.node:
        yield from (*node.input, *node.output)
        for inner in subgraphs(node):
            yield from tensors_of(inner)


def fresh_names(taken: Iterable[str]) -> Callable[[str], str]:
    """A function that gives the name wanted, or that with a number, and never one twice."""
    used = set(taken)

    def fresh(name: str) -> str:
        numbered = (f"{name}_{i}" for i in count(1))
        unused = next(x for x in chain([name], numbered) if x not in used)
        used.add(unused)
        return unused

    return fresh


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """The node, or a copy that takes other tensors."""
    if not any(name in names for name in node.input):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    return copy


def with_input(node: onnx.NodeProto, position: int, name: str) -> onnx.NodeProto:
    """A copy of the node that takes another tensor at one position, and there alone."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[position] = name
    return copy


def rename_tensors(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Renames tensors in place wherever they occur, in the graphs inside nodes too."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
        for inner in subgraphs(node):
            rename_tensors(inner, names)


def rebuilt(
    proto: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    """The model with other nodes and further constants, without what no output depends on.

    Names of the constants must be new: there may be no other tensor of that name.
    """
    needed, kept = {value.name for value in proto.graph.output}, []
    for node in reversed(list(nodes)):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(names_taken(node))
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    del model.graph.node[:], model.graph.value_info[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(t for t in proto.graph.initializer if t.name in needed)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if name in needed
    )
    return model
