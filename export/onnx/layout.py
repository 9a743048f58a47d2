"""Channels-last arithmetic between channels-first convolutions, turned channels first.

An image is a tensor of rank 4. A node is turned only where its docstring's condition is known to
hold, from ranks and sizes that shape inference finds and from constants; else it stays as it is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from export.onnx.graphs import (
    attributes,
    constants_of,
    fresh_names,
    is_standard,
    names_taken,
    rebuilt,
    renamed,
    shapes_of,
    tensors_of,
)

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
        self.fresh = fresh_names(tensors_of(proto.graph))
        self.fresh_node = fresh_names(node.name for node in proto.graph.node)
        self.twins: dict[str, str] = {}
        self.operands: dict[str, str] = {}  # the twins of what is broadcast to images
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
            turned = is_standard(node) and node.op_type in turn and turn[node.op_type](node)
            if not turned:
                self.nodes.append(renamed(node, self.same))
        return rebuilt(self.proto, self.nodes, self.new)

    def add(self, kind: str, inputs: list[str], output: str, **options: object) -> str:
        name = self.fresh_node(output)
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **options))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        name = self.fresh(name)
        self.new[name] = np.ascontiguousarray(value)
        return name

    def shape(self, name: str) -> list[int | None] | None:
        return self.shapes.get(name)

    def transpose(self, node: onnx.NodeProto) -> bool:
        """Between the layouts: an image and its twin. Needs one of the two orders, of rank 4."""
        order = attributes(node).get("perm")
        if order == TO_LAST:
            self.twins[node.output[0]] = self.same.get(node.input[0], node.input[0])
        elif order == TO_FIRST and node.input[0] in self.twins:
            self.same[node.output[0]] = self.twins[node.input[0]]
        return False

    def elementwise(self, node: onnx.NodeProto) -> bool:
        """Arithmetic on images: the same on their twins, as broadcasting pairs axes from the last.

        Needs an operand that has a twin, a result of rank 4, and the channels-first form of every
        other operand.
        """
        (output,) = node.output
        if not self.twins.keys() & set(node.input) or len(self.shape(output) or ()) != 4:
            return False
        inputs = [self.twin(name) for name in node.input]
        if None in inputs:
            return False
        self.twins[output] = self.add(
            node.op_type, [*map(str, inputs)], self.fresh(f"{output}_first"), **attributes(node)
        )
        self.add("Transpose", [self.twins[output]], output, perm=TO_LAST)
        return True

    def twin(self, name: str) -> str | None:
        """The channels-first form of an operand of an image; None if none is known.

        Besides twins: constants of rank up to 4, whose missing axes are the first, of size 1; and
        [n, c] that becomes [n, 1, 1, c].
        """
        twin = self.twins.get(name) or self.operands.get(name)
        if twin is not None:
            return twin
        value = self.constants.get(name)
        if value is not None and value.ndim <= 4:
            image = value.reshape((1,) * (4 - value.ndim) + value.shape)
            twin = self.constant(f"{name}_first", image.transpose(TO_FIRST))
        elif self.unsqueezed(name):
            axes = self.constant(f"{name}_axes", np.array([2, 3], np.int64))
            x = self.producers[name].input[0]
            twin = self.add("Unsqueeze", [x, axes], self.fresh(f"{name}_first"))
        if twin is not None:
            self.operands[name] = twin
        return twin

    def unsqueezed(self, name: str) -> bool:
        """Whether a tensor is one of rank 2, with two axes of size 1 between its own."""
        made = self.producers.get(name)
        if made is None or made.op_type != "Unsqueeze" or not is_standard(made):
            return False
        axes = self.constants.get(made.input[1])
        rank = len(self.shape(made.input[0]) or ())
        return rank == 2 and axes is not None and axes.tolist() == [1, 2]

    def dense_before(self, node: onnx.NodeProto) -> bool:
        """Dense layer, then reshape to an image: permutes the layer's units.

        Needs each row of the product to be one whole image: x is [n, k], the weights [k, h w c],
        all biases [h w c], and the sizes h, w and c constants. A layer on tokens, of whose rows
        several make an image, puts out each channel of each place already.
        """
        shape = self.constants.get(node.input[1], np.zeros(0)).tolist()
        chain = self.dense_chain(node.input[0])
        if len(shape) != 4 or min(shape[1:]) < 1 or not chain:
            return False
        weights = [self.constants[made.input[1]] for made in chain]
        units = int(np.prod(shape[1:]))
        x, (output,) = chain[0].input[0], node.output
        if len(self.shape(x) or ()) != 2 or any(w.shape[-1] != units for w in weights):
            return False
        for made, weight in zip(chain, weights, strict=True):
            image = weight.reshape(-1, *shape[1:]).transpose(TO_FIRST)
            operand = self.constant(f"{output}_constant", image.reshape(weight.shape))
            name = self.fresh(f"{output}_{made.op_type}")
            x = self.add(made.op_type, [self.same.get(x, x), operand], name)
        batch, rows, columns, channels = shape
        first = self.constant(f"{output}_shape", np.array([batch, channels, rows, columns]))
        self.twins[output] = self.add("Reshape", [x, first], self.fresh(f"{output}_first"))
        self.add("Transpose", [self.twins[output]], output, perm=TO_LAST)
        return True

    def dense_chain(self, name: str) -> list[onnx.NodeProto]:
        """The MatMul by a constant matrix, and the Adds of constant vectors, that end in `name`.

        Empty if one of them has another use: it would be computed twice.
        """
        chain: list[onnx.NodeProto] = []
        while not chain or chain[0].op_type != "MatMul":
            made = self.producers.get(name)
            if made is None or made.op_type not in ("MatMul", "Add") or not is_standard(made):
                return []
            weight = self.constants.get(made.input[1])
            if weight is None or weight.ndim != (2 if made.op_type == "MatMul" else 1):
                return []
            if self.uses[name] > 1:
                return []
            chain.insert(0, made)
            name = made.input[0]
        return chain

    def dense_after(self, node: onnx.NodeProto) -> bool:
        """Reshape of an image, then dense layer: permutes the layer's inputs.

        Needs each row to be one whole image: [n, h, w, c] with a twin and constant h, w and c
        becomes [n, h w c], and the weights are [h w c, k].
        """
        made = self.producers.get(node.input[0])
        weight = self.constants.get(node.input[1])
        if made is None or made.op_type != "Reshape" or not is_standard(made):
            return False
        if weight is None or weight.ndim != 2 or made.input[0] not in self.twins:
            return False
        (output,) = node.output
        image = [size or 0 for size in (self.shape(made.input[0]) or [])[1:]]
        flat = self.shape(node.input[0]) or []
        units = int(np.prod(image))
        if len(image) != 3 or units < 1 or len(flat) != 2 or not flat[1] == units == len(weight):
            return False
        rows = weight.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
        shape = self.constant(f"{output}_shape", np.array([-1, units], np.int64))
        x = self.add("Reshape", [self.twins[made.input[0]], shape], self.fresh(f"{output}_flat"))
        self.add("MatMul", [x, self.constant(f"{output}_constant", rows)], output)
        return True
