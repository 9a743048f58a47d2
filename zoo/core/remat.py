"""Gradient checkpointing: activations are computed again in the backward pass (arXiv 1604.06174).

A network is cut into segments where few values pass from one to the next. In training only these
values are kept. The backward pass computes each segment again from its inputs, from the weights,
and from the states that it began with, and then forgets it. The states (BatchNorm's statistics,
vectors of spectral norms, random seeds) move once, in the forward pass.

Only calls with `training=True` are concerned. Penalties on gradients, which differentiate twice,
call the networks with `training=False`: they keep their activations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf
from keras import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Segment(NamedTuple):
    """Operations of a functional network that are computed again together.

    Args:
        nodes: Nodes of the network's graph, in order.
        inputs: Symbolic tensors that they take from earlier segments.
        outputs: Symbolic tensors that later segments take, or that the network returns.
    """

    nodes: tuple[Any, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def rematerialize(model: keras.Model, *, remat: bool) -> None:
    """Makes the networks of a model compute their activations again in the backward pass, or not.

    A network of Keras's functional API is cut into segments, and so is each that lies within one.
    Any other network is one segment. Losses and states stay what they are.

    Args:
        model: The model, whose networks are among its layers.
        remat: Whether to.

    Example:
        >>> import zoo
        >>> from zoo.core.remat import rematerialize
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> rematerialize(model, remat=True)
    """
    for network in _networks(model):
        vars(network).pop("call", None)
        if remat:
            # Past Keras's tracking, which would take the network for its own layer.
            vars(network)["call"] = _Recomputed(network)


def _networks(model: keras.Model) -> Iterator[keras.Model]:
    """The innermost networks among a model's layers."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            within = [] if isinstance(layer, keras.Sequential) else [*_networks(layer)]
            yield from within or [layer]


class _Recomputed:
    """Takes the place of a network's `call`."""

    def __init__(self, network: keras.Model) -> None:
        self.network = network
        self.plain = network.call
        functional = hasattr(network, "_nodes_by_depth")
        self.segments = segments(network) if functional else []

    def __call__(self, inputs: Any, training: Any = None, mask: Any = None, **options: Any) -> Any:
        if training is not True:
            return self.plain(inputs, training=training, mask=mask, **options)
        if not self.segments:
            return _recomputed(
                lambda x: self.plain(x, training=True), self.network.variables, inputs
            )
        network: Any = self.network
        tensors = dict(zip(map(id, network.inputs), tree.flatten(inputs), strict=True))
        for segment in self.segments:
            given = [tensors[id(x)] for x in segment.inputs]
            outputs = _recomputed(_function_of(segment), _variables_of(segment), given)
            tensors |= zip(map(id, segment.outputs), outputs, strict=True)
        outputs = [tensors[id(x)] for x in network.outputs]
        return tree.pack_sequence_as(network._outputs_struct, outputs)


def _function_of(segment: Segment) -> Callable[[Sequence[Any]], list[Any]]:
    def run(inputs: Sequence[Any]) -> list[Any]:
        tensors = dict(zip(map(id, segment.inputs), inputs, strict=True))
        for node in segment.nodes:
            args, options = node.arguments.fill_in(tensors)
            # Given here: in the backward pass no network's call is under way that would tell it.
            if "training" in getattr(node.operation, "_call_context_args", ()):
                options = {**options, "training": True}
            outputs = node.operation(*args, **options)
            tensors |= zip(map(id, node.outputs), tree.flatten(outputs), strict=True)
        return [tensors[id(x)] for x in segment.outputs]

    return run


def _variables_of(segment: Segment) -> list[Any]:
    layers = {id(n.operation): n.operation for n in segment.nodes}.values()
    return [v for layer in layers for v in getattr(layer, "variables", ())]


def _recomputed(function: Callable[[Any], Any], variables: Sequence[Any], inputs: Any) -> Any:
    """What a function makes of its inputs, with a gradient that calls the function again.

    Args:
        function: Maps `inputs` to a tensor, or to a structure of them. What it reads and assigns of
            `variables` is theirs before the call, both times; what it assigns counts once.
        variables: Keras variables.
        inputs: A structure of tensors. Those that are not floating have no gradient.
    """
    flat = tree.flatten(inputs)
    places = [i for i, x in enumerate(flat) if x.dtype.is_floating]
    trained = [v for v in variables if v.trainable]
    fixed = [v for v in variables if not v.trainable]
    state = [(v, tf.convert_to_tensor(v.value)) for v in fixed]
    structure: list[Any] = []

    def compute(tensors: Sequence[Any]) -> tuple[Any, list[tuple[Any, Any]]]:
        given = [*flat]
        for place, tensor in zip(places, tensors, strict=False):
            given[place] = tensor
        weights = zip(trained, tensors[len(places) :], strict=True)
        with keras.StatelessScope([*state, *weights]) as scope:
            before = [scope.get_current_value(v) for v in fixed]
            outputs = function(tree.pack_sequence_as(inputs, given))
        values = [scope.get_current_value(v) for v in fixed]
        moved = [
            (v, new) for v, old, new in zip(fixed, before, values, strict=True) if new is not old
        ]
        return outputs, moved

    moves: list[tuple[Any, Any]] = []

    @tf.custom_gradient
    def with_gradient(*tensors: Any) -> tuple[Any, Any]:
        outputs, moved = compute(tensors)
        structure.append(outputs)
        moves.extend(moved)

        def gradient(*upstream: Any) -> Any:
            # Not before the gradient arrives: it would be computed in the forward pass else.
            with tf.control_dependencies(upstream):
                again = [tf.identity(x) for x in tensors]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs, _ = compute(again)
            return tape.gradient(
                tree.flatten(outputs),
                again,
                output_gradients=[*upstream],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        return tree.flatten(outputs), gradient

    outputs = with_gradient(*(flat[i] for i in places), *(v.value for v in trained))
    for variable, value in moves:
        variable.assign(value)
    return tree.pack_sequence_as(structure[0], tree.flatten(outputs))


# Where to cut


def segments(network: Any) -> list[Segment]:
    """Cuts a functional network so that what is kept, and the largest segment, take least memory.

    The sum of both is at most 9 % above the least that there is.

    Args:
        network: A functional `keras.Model`.

    Returns:
        The segments, in order; together they hold every node once.

    Example:
        >>> from zoo import networks
        >>> from zoo.core.remat import segments
        >>> len(segments(networks.build("resnet", "decoder", (64, 64, 3), 8)))
        3
    """
    # Keras offers no public view of a model's graph: see `zoo.convert.reading`.
    depths = sorted(network._nodes_by_depth, reverse=True)
    nodes = [n for d in depths for n in network._nodes_by_depth[d] if not n.is_input]
    end = len(nodes)
    made = {id(x): i for i, node in enumerate(nodes) for x in node.outputs}
    last = dict.fromkeys(made, 0)
    for i, node in enumerate(nodes):
        last |= {id(x): i for x in node.input_tensors if id(x) in made}
    last |= {id(x): end for x in network.outputs}
    sizes = [sum(map(_size, node.outputs)) for node in nodes]
    kept = [0] * (end + 1)  # by cut: what passes it; nothing is kept for the ends alone
    for i, node in enumerate(nodes):
        for x in node.outputs:
            for cut in range(i + 1, min(last[id(x)] + 1, end)):
                kept[cut] += _size(x)
    cuts = _best_cuts(sizes, kept)
    parts = [(*nodes[i:j],) for i, j in zip([0, *cuts], [*cuts, end], strict=True)]
    return [_segment(part, last, j) for part, j in zip(parts, [*cuts, end], strict=True)]


def _segment(nodes: Sequence[Any], last: Any, end: int) -> Segment:
    own = {id(x) for node in nodes for x in node.outputs}
    taken = {id(x): x for node in nodes for x in node.input_tensors if id(x) not in own}
    given = {id(x): x for node in nodes for x in node.outputs if last[id(x)] >= end}
    return Segment((*nodes,), (*taken.values(),), (*given.values(),))


def _best_cuts(sizes: Sequence[int], kept: Sequence[int]) -> list[int]:
    """Cuts with the least sum of what is kept and of the largest segment, but for 9 %.

    For each limit of a segment, in steps of 9 %, what is kept is the least that there is.

    Args:
        sizes: Bytes that each of n nodes makes.
        kept: Bytes that pass each of n + 1 cuts; cut i is before node i.
    """
    end = len(sizes)
    before = [0]
    for size in sizes:
        before.append(before[-1] + size)
    limits = {max(*sizes, math.ceil(before[-1] / 2 ** (k / 8))) for k in range(60)}
    best: tuple[float, list[int]] = (math.inf, [])
    for limit in limits:
        costs, origins = [0.0] + [math.inf] * end, [0] * (end + 1)
        for j in range(1, end + 1):
            for i in range(j - 1, -1, -1):
                if before[j] - before[i] > limit:
                    break
                if costs[i] + kept[j] < costs[j]:
                    costs[j], origins[j] = costs[i] + kept[j], i
        cuts = [origins[end]]
        while cuts[-1]:
            cuts.append(origins[cuts[-1]])
        if costs[end] + limit < best[0]:
            best = (costs[end] + limit, [cut for cut in reversed(cuts) if cut])
    return best[1]


def _size(tensor: Any) -> int:
    """Numbers per example."""
    return math.prod(size or 1 for size in tensor.shape)
