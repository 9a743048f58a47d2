"""What the tensors of a graph take at the fullest moment of its execution.

The graph is executed on paper: an operation takes its turn once its inputs are there, first come
first served, as TensorFlow's executor does. It allocates its outputs, and then what no later
operation takes is freed. Views share their tensor, and elementwise operations overwrite an input
that nothing else takes. What only asks for a static shape takes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

VIEWS = frozenset((
    "CheckNumerics", "EnsureShape", "ExpandDims", "Identity", "IdentityN", "Placeholder",
    "PlaceholderWithDefault", "PreventGradient", "ReadVariableOp", "Reshape", "Snapshot",
    "Squeeze", "StopGradient",
))  # fmt: skip
SHAPES = frozenset((
    "BroadcastGradientArgs", "OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike",
))  # fmt: skip
IN_PLACE = frozenset((
    "Abs", "Add", "AddN", "AddV2", "BiasAdd", "Cast", "ClipByValue", "DivNoNan", "Elu", "EluGrad",
    "Exp", "LeakyRelu", "LeakyReluGrad", "Log", "Log1p", "Maximum", "Minimum", "Mul", "MulNoNan",
    "Neg", "Pow", "RealDiv", "Relu", "Relu6", "Relu6Grad", "ReluGrad", "Rsqrt", "RsqrtGrad",
    "SelectV2", "Selu", "SeluGrad", "Sigmoid", "SigmoidGrad", "Softmax", "Softplus",
    "SoftplusGrad", "Sqrt", "SqrtGrad", "Square", "SquaredDifference", "Sub", "Tanh", "TanhGrad",
))  # fmt: skip
NO_MEMORY = frozenset(("Const", "VarHandleOp"))  # which the model or the program holds
BACKWARD = "gradient_tape/"  # in names of operations that a gradient tape makes


class Peak(NamedTuple):
    """Bytes at the fullest moment.

    Args:
        forward: Tensors that operations of the forward pass made.
        backward: Tensors that gradient tapes made.
        operations: Operations of the graph that are executed, those of its branches included.
    """

    forward: int
    backward: int
    operations: int

    @property
    def bytes(self) -> int:
        """Both together."""
        return self.forward + self.backward


def peak(graph: Any, unknown: int = 1, *, inputs: bool = True) -> Peak:
    """The fullest moment of a graph's execution.

    Args:
        graph: A `FuncGraph`, as a concrete function has it.
        unknown: What stands for a size that the graph does not know.
        inputs: Whether its inputs take memory of their own.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.training.liveness import peak
        >>> def function(x):
        ...     return tf.reduce_sum(tf.matmul(x, x))
        >>> spec = tf.TensorSpec([100, 100], tf.float32)
        >>> peak(tf.function(function).get_concrete_function(spec).graph).forward
        80000
    """
    order = _order(_needed(graph))
    memory = _Memory(order, graph.outputs, unknown, inputs=inputs)
    best, operations = Peak(0, 0, 0), 0
    for op in order:
        inner = _inner(op, unknown)
        operations += 1 + inner.operations
        memory.allocate(op)
        forward, backward = memory.totals
        best = max(best, Peak(forward, backward + inner.bytes, 0), key=lambda each: each.bytes)
        memory.free(op)
    return best._replace(operations=operations)


class _Memory:
    """The tensors that are there while a graph is executed."""

    def __init__(
        self, order: Sequence[Any], outputs: Sequence[Any], unknown: int, *, inputs: bool
    ) -> None:
        self.unknown = unknown
        self.elsewhere = NO_MEMORY if inputs else NO_MEMORY | {"Placeholder"}
        self.totals = [0, 0]  # bytes of the forward pass, and of the backward pass
        self.live: dict[Any, tuple[int, bool]] = {}
        self.roots: dict[Any, Any] = {}  # of each tensor, that whose memory it is
        self.left: dict[Any, int] = {}  # takers of a root that have not run
        for op in order:
            for i, x in enumerate(op.outputs):
                viewed = op.type in VIEWS and len(op.inputs) > i
                self.roots[x.ref()] = self.roots[op.inputs[i].ref()] if viewed else x.ref()
            for root in self.taken(op):
                self.left[root] = self.left.get(root, 0) + 1
        for root in {self.roots[x.ref()] for x in outputs if x.ref() in self.roots}:
            self.left[root] = self.left.get(root, 0) + 1

    def taken(self, op: Any) -> set[Any]:
        """The tensors that an operation reads."""
        if op.type in SHAPES or op.type in VIEWS:
            return set()
        return {self.roots[x.ref()] for x in op.inputs if x.ref() in self.roots}

    def allocate(self, op: Any) -> None:
        """Makes the outputs of an operation, in place of inputs where it can."""
        dying = [root for root in self.taken(op) if self.left[root] == 1 and root in self.live]
        for i, x in enumerate(op.outputs):
            if self.roots[x.ref()] != x.ref() or op.type in self.elsewhere:
                continue
            size = _size(x, op, i, self.unknown)
            over = [r for r in dying if op.type in IN_PLACE and self.live[r][0] == size][:1]
            for root in over:
                dying.remove(root)
                self._drop(root)
            backward = BACKWARD in op.name
            self.live[x.ref()] = (size, backward)
            self.totals[backward] += size

    def free(self, op: Any) -> None:
        """Forgets what no operation takes any more."""
        taken = self.taken(op)
        for root in taken:
            self.left[root] -= 1
        for root in taken | {x.ref() for x in op.outputs}:
            if not self.left.get(root) and root in self.live:
                self._drop(root)

    def _drop(self, root: Any) -> None:
        size, backward = self.live.pop(root)
        self.totals[backward] -= size


def _needed(graph: Any) -> list[Any]:
    """Operations that the outputs or a change of state need, in the order they were made."""
    ends = [x.op for x in graph.outputs] + list(getattr(graph, "control_outputs", ()))
    seen, waiting = set(), ends
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            if op.type not in SHAPES:
                waiting += [x.op for x in op.inputs]
            waiting += op.control_inputs
    return [op for op in graph.get_operations() if op in seen]


def _order(operations: list[Any]) -> list[Any]:
    """The operations as they are executed: first those that are ready first."""
    there = set(operations)
    takers: dict[Any, list[Any]] = {op: [] for op in operations}
    missing = dict.fromkeys(operations, 0)
    for op in operations:
        before = {x.op for x in op.inputs} | set(op.control_inputs)
        if op.type in SHAPES:
            before = set()
        for earlier in before & there:
            takers[earlier].append(op)
            missing[op] += 1
    ready, order = deque(op for op in operations if not missing[op]), []
    while ready:
        op = ready.popleft()
        order.append(op)
        for taker in takers[op]:
            missing[taker] -= 1
            if not missing[taker]:
                ready.append(taker)
    return order


def _size(tensor: Any, op: Any, output: int, unknown: int) -> int:
    """Bytes of an output; an optional value of branches has those of the largest."""
    if tensor.dtype.base_dtype.name == "variant":
        values = [graph.outputs[output] for graph in _branches(op)]
        made = [x.op.inputs[0] for x in values if x.op.type == "OptionalFromValue"]
        return max((_size(x, x.op, 0, unknown) for x in made), default=0)
    if tensor.dtype.base_dtype.name in ("resource", "string") or tensor.shape.rank is None:
        return 0
    size = tensor.dtype.size
    for dimension in tensor.shape:
        size *= unknown if dimension is None else dimension
    return size


def _inner(op: Any, unknown: int) -> Peak:
    """The fullest moment within a conditional or a call."""
    peaks = [peak(graph, unknown, inputs=False) for graph in _branches(op)]
    fullest = max(peaks, key=lambda each: each.bytes, default=Peak(0, 0, 0))
    return fullest._replace(operations=sum(each.operations for each in peaks))


def _branches(op: Any) -> list[Any]:
    """The graphs of the functions that an operation may call."""
    names = [
        op.get_attr(name).name
        for name in ("then_branch", "else_branch", "body", "f")
        if op.type in ("If", "StatelessIf", "While", "StatelessWhile")
        or op.type.endswith("PartitionedCall")
        if name in op.node_def.attr and op.node_def.attr[name].func.name
    ]
    functions = [op.graph._get_function(name) for name in names]
    graphs = [getattr(function, "graph", None) for function in functions]
    return [graph for graph in graphs if graph is not None]
