"""A network as a graph of blocks: what the conversion rules read, rewrite and build again.

A block is one call of one layer: its class, its configuration, whom it takes from, and its weights
as float64 arrays, so that a chain of rules rounds only once, when the network is built. Each array
carries its origin, from which the report is made. Networks and blocks are values: a rule returns a
new network and leaves the old one as it was.

Reading flattens models within models, subclassed ones included, and writes the operations of
`keras.ops` that have a layer as that layer: two networks that compute alike look alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LINEAR = (layers.Dense, layers.Conv2D, layers.Conv2DTranspose)
# Identities in inference.
NOISE = (
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.ActivityRegularization,
)
ACTIVATION_OPS = ("Tanh", "Sigmoid", "Relu", "Relu6", "Silu", "Softplus", "Softsign", "Elu", "Selu")


@dataclass(frozen=True)
class Origin:
    """Where an array came from: paths in the network that was read, and the rules applied since."""

    sources: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def through(self, rule: str, *others: Origin) -> Origin:
        """The origin after `rule` has changed the array, with the help of other arrays."""
        every = (self, *others)
        sources = dict.fromkeys(source for origin in every for source in origin.sources)
        rules = dict.fromkeys(name for origin in every for name in origin.rules)
        return Origin(tuple(sources), (*rules, rule) if rule not in rules else tuple(rules))


@dataclass(frozen=True)
class Ref:
    """Output `index` of the block named `block`."""

    block: str
    index: int = 0


@dataclass(frozen=True)
class Block:
    """One call of one layer.

    Attributes:
        name: Unique in the network.
        layer: The layer's class; or a stateless operation of `keras.ops`, then called as it is.
        config: `get_config()` of the layer, without its name.
        args: Positional arguments of the call: `Ref`s, or structures and constants that hold them.
        kwargs: Keyword arguments, likewise.
        shape: Shape of one example of the (first) output.
        arrays: float64 weights by name (`kernel`, `bias`, `gamma`, …), in the layer's order.
        origins: Where each array came from, by the same names.
        shares: Name of the block whose layer, and so whose weights, this call uses again.
    """

    name: str
    layer: Any
    config: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int | None, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    shares: str | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the blocks it takes from, in order."""
        return tuple(ref.block for ref in refs((self.args, self.kwargs)))

    @property
    def is_linear(self) -> bool:
        """Whether it is a Dense, Conv2D or Conv2DTranspose layer (no subclass)."""
        return self.layer in LINEAR

    @property
    def activation(self) -> str:
        """Name of the activation function within the layer; "linear" without one."""
        found = self.config.get("activation") or "linear"
        return found if isinstance(found, str) else str(found.get("config", found))

    def with_config(self, **changes: Any) -> Block:
        """A block with other entries in its config."""
        return replace(self, config={**self.config, **changes})

    def with_arrays(
        self, arrays: Mapping[str, np.ndarray], rule: str, *others: Block
    ) -> Block:
        """A block with these arrays, made by `rule` from its own and the arrays of `others`.

        An array that is new takes its origin from all of this block's.
        """
        helpers = [origin for other in others for origin in other.origins.values()]
        own = tuple(self.origins.values())
        origins = {
            name: self.origins[name].through(rule, *helpers)
            if name in self.origins
            else Origin().through(rule, *helpers, *(() if helpers else own))
            for name in arrays
        }
        values = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
        return replace(self, arrays=values, origins=origins)


@dataclass(frozen=True)
class Network:
    """Blocks in topological order, inputs first.

    Attributes:
        name: Of the Keras model to build.
        blocks: By name.
        outputs: What the network returns.
        notes: What rules want said in the report.
    """

    name: str
    blocks: Mapping[str, Block]
    outputs: tuple[Ref, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks.values())

    def __getitem__(self, name: str) -> Block:
        return self.blocks[name]

    @property
    def inputs(self) -> tuple[Block, ...]:
        """The input blocks."""
        return tuple(block for block in self if block.layer is layers.InputLayer)

    def consumers(self, name: str) -> list[str]:
        """Names of the blocks that take from `name`, one a use; "" for the network's output."""
        found = [block.name for block in self for parent in block.parents if parent == name]
        return found + ["" for ref in self.outputs if ref.block == name]

    def is_private(self, name: str) -> bool:
        """Whether the block's layer is called only once and its output used only once."""
        shared = self[name].shares or any(block.shares == name for block in self)
        return not shared and len(self.consumers(name)) == 1

    def only_parent(self, name: str) -> Block | None:
        """The block that alone feeds `name` and feeds nothing else, if there is one."""
        parents = self[name].parents
        if len(parents) != 1 or not self.is_private(parents[0]):
            return None
        return self[parents[0]]

    def only_child(self, name: str) -> Block | None:
        """The block that alone takes from `name`, and takes from nothing else, if there is one."""
        consumers = self.consumers(name)
        if len(consumers) != 1 or not consumers[0] or not self.is_private(name):
            return None
        child = self[consumers[0]]
        return child if len(child.parents) == 1 else None

    def replaced(self, *blocks: Block) -> Network:
        """Puts blocks in the place of those of the same names."""
        new = {block.name: block for block in blocks}
        return replace(self, blocks={name: new.get(name, b) for name, b in self.blocks.items()})

    def without(self, *names: str) -> Network:
        """Leaves out blocks of one input: what they take goes on in their place."""
        network = self
        for name in names:
            (source,) = refs((network[name].args, network[name].kwargs))
            network = network._rewired(Ref(name), source)
            network = replace(
                network, blocks={k: b for k, b in network.blocks.items() if k != name}
            )
        return network

    def inserted(self, block: Block, *, after: str) -> Network:
        """Puts a block behind another: all that took from `after` takes from it instead."""
        block = replace(block, name=self.free_name(block.name), args=(Ref(after),))
        network = self._rewired(Ref(after), Ref(block.name))
        blocks: dict[str, Block] = {}
        for name, old in network.blocks.items():
            blocks[name] = old
            if name == after:
                blocks[block.name] = block
        return replace(network, blocks=blocks)

    def free_name(self, wanted: str) -> str:
        """`wanted`, or if a block has that name already, `wanted_1`, `wanted_2`, …"""
        taken, name, number = set(self.blocks), wanted, 0
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def noted(self, note: str) -> Network:
        """The network with one more note for the report."""
        return replace(self, notes=(*self.notes, note))

    def _rewired(self, old: Ref, new: Ref) -> Network:
        def other(ref: Ref) -> Ref:
            return new if ref == old else ref

        blocks = {
            name: replace(
                block, args=_map_refs(other, block.args), kwargs=_map_refs(other, block.kwargs)
            )
            for name, block in self.blocks.items()
        }
        return replace(self, blocks=blocks, outputs=tuple(other(ref) for ref in self.outputs))


def refs(structure: Any) -> list[Ref]:
    """The `Ref`s in a structure, in order."""
    return [item for item in tree.flatten(structure) if isinstance(item, Ref)]


def _map_refs(function: Callable[[Ref], Any], structure: Any) -> Any:
    return tree.map_structure(lambda x: function(x) if isinstance(x, Ref) else x, structure)


# From Keras


def read(model: keras.Model, role: str = "network") -> Network:
    """Reads a Keras model, which stays as it is.

    Args:
        model: Functional, sequential or subclassed; built. Models within it are flattened.
        role: What to call it in errors.

    Returns:
        The network of its inference function: dropout and noise are left out.

    Raises:
        ValueError: If it is not built, or is subclassed and its `call` is not made of Keras layers
            and `keras.ops`.
    """
    functional = _flat(model, role)
    blocks: dict[str, Block] = {}
    renamed: dict[Ref, Ref] = {}  # in place of blocks that are left out
    names: dict[int, Ref] = {}  # by id of the symbolic tensor
    first: dict[int, str] = {}  # by id of the layer
    depths = sorted(functional._nodes_by_depth, reverse=True)
    # Keras offers no public view of one model's graph: a layer's own nodes span all models.
    for node in [node for depth in depths for node in functional._nodes_by_depth[depth]]:
        operation = node.operation
        name = _free(operation.name, blocks)
        for index, tensor in enumerate(node.outputs):
            names[id(tensor)] = Ref(name, index)

        def ref(value: Any) -> Any:
            if not isinstance(value, keras.KerasTensor):
                return value
            found = names[id(value)]
            return renamed.get(found, found)

        args, kwargs = tree.map_structure(ref, (node.arguments.args, node.arguments.kwargs))
        kwargs = {
            key: value
            for key, value in kwargs.items()
            if value is not None and key not in ("training", "mask")
        }
        shape = tuple(node.outputs[0].shape[1:])
        block = _block(name, operation, tuple(args), kwargs, shape)
        if block is None:
            renamed[Ref(name)] = refs((args, kwargs))[0]
            continue
        if block.arrays and id(operation) in first:
            block = replace(block, shares=first[id(operation)], arrays={}, origins={})
        first.setdefault(id(operation), name)
        blocks[name] = block
    outputs = [renamed.get(names[id(t)], names[id(t)]) for t in functional.outputs]
    return Network(model.name, blocks, tuple(outputs))


def _flat(model: keras.Model, role: str) -> Any:
    """A functional model without models in it, of the same layers."""
    if not model.built:
        msg = f"The {role} {model.name!r} is not built: call it once, or give it an Input."
        raise ValueError(msg)
    if type(model).__name__ == "Functional":
        inputs = model.inputs
    elif isinstance(model, keras.Sequential):
        return _flat(keras.Model(model.inputs, model.outputs, name=model.name), role)
    else:
        inputs = _inputs_of_subclass(model, role)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(operation, keras.Model):
            return operation(*args, **kwargs)
        if isinstance(operation, keras.Sequential):
            operation = operation._functional
        if type(operation).__name__ == "Functional":
            return operation._run_through_graph(args[0], call_fn=call)
        kwargs.pop("training", None)
        return _call_of_subclass(operation, *args, **kwargs)

    if type(model).__name__ == "Functional":
        if not any(isinstance(layer, keras.Model) for layer in model.layers):
            return model
        outputs = model._run_through_graph(model.inputs, call_fn=call)
    else:
        try:
            outputs = _call_of_subclass(model, inputs if len(inputs) > 1 else inputs[0])
        except Exception as error:  # whatever the user's code raises on symbolic tensors
            msg = (
                f"The {role} is a {type(model).__name__}, whose call cannot be read as Keras layers "
                f"and keras.ops ({error}). Write it with these, or convert by mode='distill'."
            )
            raise ValueError(msg) from error
        traced = keras.Model(inputs, outputs, name=model.name)
        return _flat(traced, role)
    return keras.Model(inputs, outputs, name=model.name)


def _call_of_subclass(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
    if model._call_has_training_arg:
        kwargs["training"] = False
    return model.call(*args, **kwargs)


def _inputs_of_subclass(model: keras.Model, role: str) -> list[Any]:
    """Symbolic inputs of the shapes the model was built with."""
    shapes = model._build_shapes_dict
    if not shapes:
        msg = f"The {role} {model.name!r} does not know its input shapes: call it on arrays once."
        raise ValueError(msg)
    found = [shapes] if isinstance(shapes, (tuple, list)) else list(shapes.values())
    flat = [s for s in found if isinstance(s, (tuple, list)) and s and not isinstance(s[0], tuple)]
    nested = [s for group in found if group and isinstance(group[0], (tuple, list)) for s in group]
    return [keras.Input(tuple(shape[1:])) for shape in (*flat, *nested)]


def _block(
    name: str, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[Any, ...]
) -> Block | None:
    """The block of one call, or None for an identity."""
    common = {"args": args, "kwargs": kwargs, "shape": shape}
    if isinstance(operation, NOISE):
        return None
    if isinstance(operation, layers.Layer):
        config = operation.get_config()
        config.pop("name", None)
        weights = {key: np.asarray(w, np.float64) for key, w in named_weights(operation).items()}
        origins = {key: Origin((f"{name}/{key}",)) for key in weights}
        return Block(name, type(operation), config, **common, arrays=weights, origins=origins)
    return _block_of_op(name, operation, common)


def _block_of_op(name: str, operation: Any, common: dict[str, Any]) -> Block | None:
    """An operation of `keras.ops` as the layer that does the same, where there is one."""
    kind = type(operation).__name__
    tensors, constants = [], []
    for value in tree.flatten((common["args"], common["kwargs"])):
        (tensors if isinstance(value, Ref) else constants).append(value)
    layer: tuple[Any, dict[str, Any]] | None = None
    if kind in ("ConvertToTensor", "Cast", "Identity"):
        return None
    if kind in ACTIVATION_OPS and len(tensors) == 1:
        layer = (layers.Activation, {"activation": kind.lower()})
    elif kind == "LeakyRelu":
        layer = (layers.LeakyReLU, {"negative_slope": operation.negative_slope})
    elif kind == "Reshape" and all(isinstance(n, int) for n in operation.newshape):
        layer = (layers.Reshape, {"target_shape": tuple(operation.newshape[1:])})
    elif kind == "Transpose" and operation.axes and operation.axes[0] == 0:
        layer = (layers.Permute, {"dims": tuple(operation.axes[1:])})
    elif kind == "Concatenate":
        layer = (layers.Concatenate, {"axis": operation.axis})
    elif kind in ("Add", "Multiply") and len(tensors) == 2:
        layer = (getattr(layers, kind), {})
    elif len(tensors) == 1 and len(constants) == 1 and np.isscalar(constants[0]):
        factor = _scale_and_offset(kind, float(constants[0]), common["args"])
        layer = factor and (layers.Rescaling, dict(zip(("scale", "offset"), factor, strict=True)))
    if layer is None:
        return Block(name, operation, **common)
    merged = len(tensors) > 1
    args = (list(tensors),) if merged else (tensors[0],)
    return Block(name, layer[0], layer[1], args=args, shape=common["shape"])


def _scale_and_offset(
    kind: str, constant: float, args: Sequence[Any]
) -> tuple[float, float] | None:
    first = bool(args) and isinstance(args[0], Ref)
    return {
        "Add": (1.0, constant),
        "Multiply": (constant, 0.0),
        "Subtract": (1.0, -constant) if first else (-1.0, constant),
        "TrueDivide": (1.0 / constant, 0.0) if first else None,
        "Divide": (1.0 / constant, 0.0) if first else None,
        "Negative": (-1.0, 0.0),
    }.get(kind)


def named_weights(layer: Any) -> dict[str, Any]:
    """A layer's weights by name; within it, by the path where two have one name."""
    names = [w.name for w in layer.weights]
    return {
        w.name if names.count(w.name) == 1 else "/".join(w.path.split("/")[-2:]): w
        for w in layer.weights
    }


def _free(wanted: str, taken: Mapping[str, Any]) -> str:
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


# To Keras


def build(network: Network, dtype: str = "float32") -> keras.Model:
    """Builds a Keras model of new layers with the network's weights.

    Args:
        network: The network.
        dtype: Of weights and computation: float64 shows what float32 would give without rounding.

    Returns:
        A functional model, its weights rounded once from the network's arrays.

    Raises:
        ValueError: If a layer cannot be made again from its configuration.
    """
    tensors: dict[Ref, Any] = {}
    made: dict[str, Any] = {}
    inputs = []
    for block in network:
        if block.layer is layers.InputLayer:
            kind = block.config.get("dtype", "float32")
            kind = dtype if "float" in str(kind) else kind
            tensor = keras.Input(block.shape, name=block.name, dtype=kind)
            inputs.append(tensor)
            tensors[Ref(block.name)] = tensor
            continue
        operation = made[block.shares] if block.shares else _make(block, dtype)
        made[block.name] = operation
        args, kwargs = _map_refs(tensors.__getitem__, (block.args, dict(block.kwargs)))
        found = tree.flatten(operation(*args, **kwargs))
        tensors |= {Ref(block.name, index): tensor for index, tensor in enumerate(found)}
        _set_weights(operation, block)
    outputs = [tensors[ref] for ref in network.outputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=network.name,
    )


def _make(block: Block, dtype: str) -> Any:
    if not isinstance(block.layer, type):
        return block.layer  # an operation of keras.ops
    config = {**block.config, "name": block.name, "dtype": dtype}
    try:
        return block.layer.from_config(config)
    except Exception as error:
        msg = f"The layer {block.name!r} ({block.layer.__name__}) cannot be made again: {error}"
        raise ValueError(msg) from error


def _set_weights(operation: Any, block: Block) -> None:
    if block.shares or not block.arrays:
        return
    weights = named_weights(operation)
    if set(weights) != set(block.arrays):
        msg = f"{block.name!r} has weights {list(weights)}, but arrays {list(block.arrays)}."
        raise ValueError(msg)
    for name, weight in weights.items():
        if tuple(weight.shape) != block.arrays[name].shape:
            msg = (
                f"{block.name}/{name} has shape {tuple(weight.shape)}, but its array "
                f"{block.arrays[name].shape}."
            )
            raise ValueError(msg)
        weight.assign(block.arrays[name])
