"""Random ONNX graphs, with what the rewrites of an export look for, and what only looks so."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

UNARY = ("Relu", "LeakyRelu", "Elu", "Tanh", "Sigmoid", "Softplus", "Neg")
BINARY = ("Add", "Sub", "Mul", "Max", "Min")
SUFFIXES = ("_first", "_shape", "_constant", "_MatMul", "_Add", "_flat", "_axes", "_0", "_parts")
LARGEST = 600  # numbers per image
INPUTS = {"x": [1, 12], "y": [1, 4, 4, 4]}


class RandomGraph:
    """A walk that adds nodes to what was made last, and now and then to something older.

    The first size of a shape counts in batches: [4, 8] are 4 n rows for n images.
    """

    def __init__(self, seed: int, steps: int = 14) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, list[int]] = dict(INPUTS)
        self.names = {*INPUTS}
        for _ in range(steps):
            self.step()

    def proto(self) -> onnx.ModelProto:
        """The model; its outputs are what was made last, and some of what lies within."""
        made = [name for name in self.shapes if name not in INPUTS]
        within = [str(name) for name in self.rng.choice(made, 2)]
        outputs = [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [f"rows{self.shapes[name][0]}", *self.shapes[name][1:]]
            )
            for name in dict.fromkeys([made[-1], *within])
        ]
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]])
            for name, shape in INPUTS.items()
        ]
        graph = helper.make_graph(self.nodes, "random", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", int(self.rng.choice([13, 18])))]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def step(self) -> None:
        """One random node, or a few that belong together."""
        names = list(self.shapes)
        name = names[-1] if self.rng.random() < 0.8 else str(self.rng.choice(names))
        moves = [self.unary, self.arithmetic, self.reshape, self.reshape, self.skip, self.slice]
        rank = len(self.shapes[name])
        moves += [self.dense] * 2 if rank < 4 else [self.dense, self.whole_image]
        if rank == 2:
            moves += [self.dense_image] * 4 + [self.unsqueeze]
        if rank == 3:
            moves += [self.attention, self.transpose]
        if rank == 4:
            moves += [self.transpose] * 3 + [self.convolution] * 2 + [self.transposed] * 2
            moves += [self.layer] * 3
        self.rng.choice(np.array(moves, dtype=object))(name)

    # Parts

    def fresh(self, stem: str) -> str:
        """A new name, at times one that a rewrite would choose for something else."""
        known = list(self.shapes)
        wanted = f"{stem}{len(self.names)}"
        if self.rng.random() < 0.2:
            wanted = f"{self.rng.choice(known)}{self.rng.choice(SUFFIXES)}"
        while wanted in self.names:
            wanted += "_"
        self.names.add(wanted)
        return wanted

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = self.fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        fan_in = max(1, int(np.prod(shape[:-1])))
        return self.constant(self.rng.standard_normal(shape) / fan_in**0.5)

    def add(self, kind: str, inputs: list[str], shape: list[int], **options: Any) -> str:
        name = self.fresh("t")
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **options))
        self.shapes[name] = shape
        return name

    # Moves

    def unary(self, name: str) -> str:
        return self.add(str(self.rng.choice(UNARY)), [name], self.shapes[name])

    def arithmetic(self, name: str) -> str:
        """With a constant that is broadcast to the tensor: of any rank, on either side."""
        shape = self.shapes[name]
        sizes = [size if self.rng.random() < 0.6 else 1 for size in [1, *shape[1:]]]
        sizes = sizes[int(self.rng.integers(len(sizes) + 1)) :]
        operands = [name, self.constant(self.rng.standard_normal(sizes))]
        if self.rng.random() < 0.3:
            operands.reverse()
        return self.add(str(self.rng.choice(BINARY)), operands, shape)

    def skip(self, name: str) -> None:
        """With another tensor that is broadcast to this one."""
        shape = self.shapes[name]
        fits = [
            other
            for other, sizes in self.shapes.items()
            if len(sizes) == len(shape)
            and sizes[0] == shape[0]
            and all(n in (1, m) for n, m in zip(sizes[1:], shape[1:], strict=True))
        ]
        self.add(str(self.rng.choice(BINARY)), [name, str(self.rng.choice(fits))], shape)

    def slice(self, name: str) -> None:
        """All of an axis, as tf2onnx writes it, or all but the first."""
        shape = self.shapes[name]
        axis = int(self.rng.integers(1, len(shape)))
        start = int(self.rng.random() < 0.3 and shape[axis] > 1)
        bounds = [self.constant([n], np.int64) for n in (start, 2**31 - 1, axis, 1)]
        sizes = [*shape]
        sizes[axis] -= start
        self.add("Slice", [name, *bounds], sizes)

    def dense(self, name: str) -> str:
        """On the last axis: of rows, of tokens or of feature maps."""
        shape = self.shapes[name]
        most = LARGEST // max(1, int(np.prod(shape[:-1])))
        units = int(self.rng.choice([n for n in (4, 8, 16, 36) if n <= most] or [1]))
        made = self.add("MatMul", [name, self.weights(shape[-1], units)], [*shape[:-1], units])
        if self.rng.random() < 0.6:
            made = self.add("Add", [made, self.weights(units)], self.shapes[made])
        return made

    def dense_image(self, name: str) -> None:
        """Dense layer, then reshape to images: of a row each, or of several rows."""
        made = self.dense(name)
        image = self.reshape(made, rank=4)
        if self.rng.random() < 0.5:
            self.layer(image)

    def whole_image(self, name: str) -> None:
        """Flattened, at times in other ways than a row for each image; then a dense layer."""
        shape = self.shapes[name]
        units = int(np.prod(shape[1:]))
        flat = [shape[0], units] if self.rng.random() < 0.7 else [shape[0], 1, units]
        self.dense(self.reshaped(name, flat))

    def layer(self, name: str) -> None:
        """A convolution of channels last, as tf2onnx writes it, with arithmetic before it."""
        for move in self.rng.choice(np.array([self.unary, self.arithmetic], dtype=object), 2):
            name = move(name)
        rows, height, width, channels = self.shapes[name]
        name = self.add("Transpose", [name], [rows, channels, height, width], perm=[0, 3, 1, 2])
        name = self.convolution(name)
        rows, channels, height, width = self.shapes[name]
        self.add("Transpose", [name], [rows, height, width, channels], perm=[0, 2, 3, 1])

    def reshape(self, name: str, rank: int | None = None) -> str:
        """To any sizes; at times images are made of several rows, or rows of parts of an image."""
        shape = self.shapes[name]
        rank = rank or int(self.rng.integers(2, 5))
        total, first = int(np.prod(shape)), shape[0]
        if self.rng.random() < 0.3:
            first = int(self.rng.choice([n for n in range(1, 9) if total % n == 0]))
        elif total % first:
            first = 1
        sizes, left = [], total // first
        for i in range(rank - 1, 0, -1):
            divisors = [n for n in range(1, left + 1) if left % n == 0]
            near = sorted(divisors, key=lambda n, i=i, left=left: abs(np.log(n) - np.log(left) / i))
            size = left if i == 1 else int(self.rng.choice(near[:2]))
            sizes.append(size)
            left //= size
        return self.reshaped(name, [first, *(int(n) for n in self.rng.permutation(sizes))])

    def reshaped(self, name: str, shape: list[int]) -> str:
        if self.rng.random() < 0.3:  # a shape that is computed
            size = self.add("Shape", [name], [])
            rows = self.add("Gather", [size, self.constant([0], np.int64)], [])
            before, after = self.shapes[name][0], shape[0]
            rows = self.add("Mul", [rows, self.constant([after], np.int64)], [])
            rows = self.add("Div", [rows, self.constant([before], np.int64)], [])
            target = self.add("Concat", [rows, self.constant(shape[1:], np.int64)], [], axis=0)
            for each in (size, rows, target):
                self.shapes.pop(each, None)
            self.shapes = {k: v for k, v in self.shapes.items() if v}
        else:
            same = shape[0] == self.shapes[name][0] and self.rng.random() < 0.3
            target = self.constant([0 if same else -1, *shape[1:]], np.int64)
        return self.add("Reshape", [name, target], shape)

    def unsqueeze(self, name: str) -> None:
        rows, units = self.shapes[name]
        axes = [[1, 2], [2, 3], [1, 3]][int(self.rng.integers(3))]
        shape = [units if i not in axes else 1 for i in range(4)]
        self.add("Unsqueeze", [name, self.constant(axes, np.int64)], [rows, *shape[1:]])

    def transpose(self, name: str) -> None:
        """Mostly between the two layouts."""
        shape = self.shapes[name]
        orders = [[0, 2, 1]] if len(shape) == 3 else [[0, 3, 1, 2], [0, 2, 3, 1]] * 2
        if len(shape) == 4:
            orders += [[0, 2, 1, 3], [0, 1, 3, 2], [0, 3, 2, 1]]
        order = orders[int(self.rng.integers(len(orders)))]
        self.add("Transpose", [name], [shape[i] for i in order], perm=order)

    def attention(self, name: str) -> None:
        rows, tokens, features = self.shapes[name]
        keys = self.add("Transpose", [name], [rows, features, tokens], perm=[0, 2, 1])
        scores = self.add("MatMul", [name, keys], [rows, tokens, tokens])
        weights = self.add("Softmax", [scores], [rows, tokens, tokens], axis=-1)
        self.add("MatMul", [weights, name], [rows, tokens, features])

    def convolution(self, name: str) -> str:
        rows, channels, height, width = self.shapes[name]
        made = int(self.rng.choice([1, 4, 8]))
        weights = self.weights(made, channels, 3, 3)
        shape = [rows, made, height, width]
        return self.add("Conv", [name, weights], shape, pads=[1, 1, 1, 1])

    def transposed(self, name: str) -> None:
        """A transposed convolution with any attributes."""
        rows, channels, height, width = self.shapes[name]
        group = 2 if channels % 2 == 0 and self.rng.random() < 0.2 else 1
        made = int(self.rng.choice([4, 8, 8, 8]))
        stride, other = 2, 2 if self.rng.random() < 0.9 else 1
        if made * rows * (2 * height + 4) * (2 * width + 4) > 4 * LARGEST:
            stride = other = 1
        k = int(self.rng.integers(max(stride, other), 6))
        dilation = 2 if self.rng.random() < 0.15 else 1
        reach = dilation * (k - 1) + 1
        kernel = self.weights(channels, made // group, k, k)
        options: dict[str, Any] = {"strides": [stride, other], "group": group}
        options["dilations"] = [dilation, dilation]
        sizes = [stride * height, other * width]
        extra = [reach - stride, reach - other]  # beyond the strides
        way = self.rng.random()
        if min(extra) < 0 or way < 0.15:
            sizes = [n + e for n, e in zip(sizes, extra, strict=True)]
        elif way < 0.25:  # then ONNX sets the padding
            options["output_shape"], options["pads"] = sizes, [0, 0, 0, 0]
        elif way < 0.35:
            options["auto_pad"] = "SAME_UPPER"
        else:
            begin = [int(self.rng.integers(e + 1)) for e in extra]
            options["pads"] = [*begin, *(e - b for e, b in zip(extra, begin, strict=True))]
        inputs = [name, kernel]
        if self.rng.random() < 0.5:
            inputs.append(self.weights(made))
        self.add("ConvTranspose", inputs, [rows, made, *sizes], **options)
