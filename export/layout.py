"""Channels-last arithmetic between channels-first convolutions, turned channels first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from export.graphs import attributes, constants_of, names_taken, rebuilt, renamed, shapes_of

if TYPE_CHECKING:
    import onnx

TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
ELEMENTWISE = (
    *("Relu", "LeakyRelu", "Elu", "Tanh", "Sigmoid", "Softplus", "Sqrt", "Reciprocal", "Neg"),
    *("Add", "Sub", "Mul", "Div", "Max", "Min"),
)


def channels_first(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Computes what lies between convolutions, and between them and dense layers, in their layout.

    Args:
        proto: The model.

    Returns:
        A model that computes the same. It can have more transposes, where a tensor is needed in
        both layouts.
    """
    return _Turning(proto).result()


class _Turning:
    """One pass over the nodes, in which channels-last images get channels-first twins.

    A twin is made of its inputs' twins, and the image itself becomes its transpose. A transpose of
    an image is then its twin. What nobody needs any more is dropped at the end.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self.shapes, self.constants = shapes_of(proto), constants_of(proto)
        self.producers = {name: node for node in proto.graph.node for name in node.output}
        self.uses = Counter(name for node in proto.graph.node for name in names_taken(node))
        self.twins: dict[str, str] = {}
        self.same: dict[str, str] = {}
        self.new: dict[str, np.ndarray] = {}
        self.nodes: list[onnx.NodeProto] = []

    def result(self) -> onnx.ModelProto:
        turn = {
            "Transpose": self.transpose,
            "Reshape": self.dense_before,
            "MatMul": self.dense_after,
            **dict.fromkeys(ELEMENTWISE, self.elementwise),
        }
        for node in self.proto.graph.node:
            if node.op_type not in turn or not turn[node.op_type](node):
                self.nodes.append(renamed(node, self.same))
        return rebuilt(self.proto, self.nodes, self.new)

    def add(self, kind: str, inputs: list[str], output: str, **options: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **options))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.new[name] = np.ascontiguousarray(value)
        return name

    def transpose(self, node: onnx.NodeProto) -> bool:
        order = attributes(node).get("perm")
        if order == TO_LAST:
            self.twins[node.output[0]] = self.same.get(node.input[0], node.input[0])
        elif order == TO_FIRST and node.input[0] in self.twins:
            self.same[node.output[0]] = self.twins[node.input[0]]
        return False

    def elementwise(self, node: onnx.NodeProto) -> bool:
        (output,) = node.output
        if not self.twins.keys() & set(node.input) or len(self.shapes.get(output, ())) != 4:
            return False
        inputs = [self.twin(name) for name in node.input]
        if None in inputs:
            return False
        self.twins[output] = self.add(
            node.op_type, [*map(str, inputs)], f"{output}_first", **attributes(node)
        )
        self.add("Transpose", [self.twins[output]], output, perm=TO_LAST)
        return True

    def twin(self, name: str) -> str | None:
        """The channels-first form of an operand that is broadcast to images, if it has one."""
        if name in self.twins:
            return self.twins[name]
        if name in self.constants:
            value = self.constants[name]
            image = value.reshape((1,) * (4 - value.ndim) + value.shape)
            return self.constant(f"{name}_first", image.transpose(TO_FIRST))
        made = self.producers.get(name)
        if made is None or made.op_type != "Unsqueeze" or len(self.shapes.get(name, ())) != 4:
            return None
        axes = self.constants.get(made.input[1])
        if axes is None or axes.tolist() != [1, 2]:
            return None
        self.twins[name] = self.add(
            "Unsqueeze",
            [made.input[0], self.constant(f"{name}_axes", np.array([2, 3], np.int64))],
            f"{name}_first",
        )
        return self.twins[name]

    def dense_before(self, node: onnx.NodeProto) -> bool:
        """Dense layer, then reshape to an image: permutes the layer's units."""
        shape = self.constants.get(node.input[1], np.zeros(0)).tolist()
        chain = self.dense_chain(node.input[0])
        if len(shape) != 4 or min(shape[1:]) < 1 or not chain:
            return False
        x, (output,) = chain[0].input[0], node.output
        for made in chain:
            weight = self.constants[made.input[1]]
            image = weight.reshape(-1, *shape[1:]).transpose(TO_FIRST)
            name = f"{output}_{made.op_type}"
            operand = self.constant(f"{name}_constant", image.reshape(weight.shape))
            x = self.add(made.op_type, [self.same.get(x, x), operand], name)
        batch, rows, columns, channels = shape
        first = self.constant(f"{output}_shape", np.array([batch, channels, rows, columns]))
        self.twins[output] = self.add("Reshape", [x, first], f"{output}_first")
        self.add("Transpose", [self.twins[output]], output, perm=TO_LAST)
        return True

    def dense_chain(self, name: str) -> list[onnx.NodeProto]:
        """The MatMul by a constant, and the Add of one, that end in `name`; each used once."""
        chain: list[onnx.NodeProto] = []
        while not chain or chain[0].op_type != "MatMul":
            made = self.producers.get(name)
            if made is None or self.uses[name] > 1 or made.op_type not in ("MatMul", "Add"):
                return []
            weight = self.constants.get(made.input[1])
            if weight is None or weight.ndim != (2 if made.op_type == "MatMul" else 1):
                return []
            chain.insert(0, made)
            name = made.input[0]
        return chain

    def dense_after(self, node: onnx.NodeProto) -> bool:
        """Reshape of an image, then dense layer: permutes the layer's inputs."""
        made = self.producers.get(node.input[0])
        weight = self.constants.get(node.input[1])
        if made is None or made.op_type != "Reshape" or weight is None or weight.ndim != 2:
            return False
        (output,) = node.output
        image = [size or 0 for size in self.shapes.get(made.input[0], [])[1:]]
        fits = made.input[0] in self.twins and len(image) == 3 and np.prod(image) == len(weight)
        if not fits:
            return False
        rows = weight.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
        flat = self.constant(f"{output}_shape", np.array([-1, len(weight)], np.int64))
        x = self.add("Reshape", [self.twins[made.input[0]], flat], f"{output}_flat")
        self.add("MatMul", [x, self.constant(f"{output}_constant", rows)], output)
        return True
