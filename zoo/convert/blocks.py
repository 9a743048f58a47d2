"""A network as a graph of blocks: what the conversion rules read, rewrite and build again.

A block is one call of one layer: its class, its configuration, whom it takes from, and its weights
as float64 arrays, so that a chain of rules rounds only once, when the network is built. Each array
carries its origin, from which the report is made. Networks and blocks are values: a rule returns a
new network and leaves the old one as it was.

Reading flattens models within models, subclassed ones included, and writes the operations of
`keras.ops` that have a layer as that layer: two networks that compute alike look alike.
"""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
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
    shape: tuple[Any, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    shares: str | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the blocks it takes from, in order."""
        return tuple(ref.block for ref in refs((self.args, self.kwargs)))

    @property
    def kind(self) -> str:
        """Name of the layer's class, or of the operation."""
        return str(getattr(self.layer, "__name__", type(self.layer).__name__))

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

    def with_arrays(self, arrays: Mapping[str, np.ndarray], rule: str, *others: Block) -> Block:
        """A block with these arrays, made by `rule` from its own and the arrays of `others`.

        An array given as it was keeps its origin; one that is new takes the origins of `others`,
        or without them of all of this block's.
        """
        helpers = [origin for other in others for origin in other.origins.values()]
        own = tuple(self.origins.values())

        def origin_of(name: str, value: np.ndarray) -> Origin:
            if name not in self.origins:
                return Origin().through(rule, *(helpers or own))
            if value is self.arrays[name]:
                return self.origins[name]
            return self.origins[name].through(rule, *helpers)

        origins = {name: origin_of(name, value) for name, value in arrays.items()}
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

    def is_shared(self, name: str) -> bool:
        """Whether the block's layer is called more than once."""
        return self[name].shares is not None or any(block.shares == name for block in self)

    def is_private(self, name: str) -> bool:
        """Whether the block's layer is called only once and its output used only once."""
        return not self.is_shared(name) and len(self.consumers(name)) == 1

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

    def inserted_before(self, block: Block, before: str) -> Network:
        """Puts a block between another, of one input, and what that takes."""
        old = self[before]
        (source,) = refs((old.args, old.kwargs))
        block = replace(block, name=self.free_name(block.name), args=(source,))
        args, kwargs = _map_refs(lambda _: Ref(block.name), (old.args, old.kwargs))
        new = replace(old, args=args, kwargs=kwargs)
        blocks: dict[str, Block] = {}
        for name, other in self.blocks.items():
            blocks |= {block.name: block, name: new} if name == before else {name: other}
        return replace(self, blocks=blocks)

    def upto(self, *names: str) -> Network:
        """The part that computes the outputs of these blocks, with all the inputs."""
        needed = set(names)
        for block in reversed(list(self)):
            if block.name in needed:
                needed |= {*block.parents, *([block.shares] if block.shares else [])}
        needed |= {block.name for block in self.inputs}
        blocks = {name: block for name, block in self.blocks.items() if name in needed}
        return replace(self, blocks=blocks, outputs=tuple(Ref(name) for name in names))

    def free_name(self, wanted: str) -> str:
        """`wanted`, or if a block has that name already, `wanted_1` and so on."""
        return _free(wanted, self.blocks)

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
    if not model.built:
        msg = f"The {role} {model.name!r} is not built: call it once, or give it an Input."
        raise ValueError(msg)
    with _nodes_restored(model):
        return _read(_flat(model, role))


def _read(functional: Any) -> Network:
    blocks: dict[str, Block] = {}
    renamed: dict[Ref, Ref] = {}  # in place of blocks that are left out
    names: dict[int, Ref] = {}  # by id of the symbolic tensor
    first: dict[int, str] = {}  # by id of the layer
    # Inputs in the model's order, whatever their depth in the graph.
    nodes = [t._keras_history.operation._inbound_nodes[0] for t in functional.inputs]
    # Keras offers no public view of one model's graph: a layer's own nodes span all models.
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        nodes += [node for node in functional._nodes_by_depth[depth] if not node.is_input]

    def ref(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        found = names[id(value)]
        return renamed.get(found, found)

    for node in nodes:
        operation = node.operation
        name = _free(operation.name, blocks)
        for index, tensor in enumerate(node.outputs):
            names[id(tensor)] = Ref(name, index)
        args, kwargs = tree.map_structure(ref, (node.arguments.args, node.arguments.kwargs))
        kwargs = {
            key: value
            for key, value in kwargs.items()
            if value is not None and key not in ("training", "mask")
        }
        shapes = [tuple(tensor.shape[1:]) for tensor in node.input_tensors]
        block = _block(
            name, operation, tuple(args), kwargs, tuple(node.outputs[0].shape[1:]), shapes
        )
        if block is None:
            renamed[Ref(name)] = refs((args, kwargs))[0]
            continue
        if block.arrays and id(operation) in first:
            block = replace(block, shares=first[id(operation)], arrays={}, origins={})
        first.setdefault(id(operation), name)
        blocks[name] = block
    return Network(functional.name, blocks, tuple(ref(tensor) for tensor in functional.outputs))


def _flat(model: keras.Model, role: str) -> Any:
    """A functional model without models in it, of the same layers."""
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if _is_graph(model):
        if not any(isinstance(layer, keras.Model) for layer in model.layers):
            return model
        inputs = structure = model.inputs
    else:
        structure = _inputs_of_subclass(model, role)
        inputs = tree.flatten(structure)
    try:
        # A functional model takes its inputs as one list, a subclassed one as its arguments.
        arguments = (inputs,) if _is_graph(model) else structure
        outputs = _call(model, *arguments)
    except Exception as error:  # whatever the user's code raises on symbolic tensors
        reason = str(error).strip().partition("\n")[0]
        msg = (
            f"The {role} is a {type(model).__name__}, whose call cannot be read as Keras layers "
            f"and keras.ops ({reason}). Write it with these, or convert by mode='distill'."
        )
        raise ValueError(msg) from error
    return _flat(keras.Model(inputs, outputs, name=model.name), role)


def _is_graph(model: keras.Model) -> bool:
    """Whether its layers' graph is all it computes: it is functional, without a call of its own."""
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return owner.__name__ == "Functional"


def _call(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a layer; of a model, the layers in it."""
    if not isinstance(operation, keras.Model):
        return operation(*args, **kwargs)
    kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask")}
    if isinstance(operation, keras.Sequential):
        operation = operation._functional
    if _is_graph(operation):
        return operation._run_through_graph(args or list(kwargs.values()), call_fn=_call)
    if operation._call_has_training_arg:
        kwargs["training"] = False
    return operation.call(*args, **kwargs)


def _inputs_of_subclass(model: keras.Model, role: str) -> tuple[Any, ...]:
    """Symbolic arguments of the shapes the model was built with."""
    shapes = model._build_shapes_dict
    if not shapes:
        msg = f"The {role} {model.name!r} does not know its input shapes: call it on arrays once."
        raise ValueError(msg)
    # Keras keeps the shapes of the first argument alone.
    return tuple(
        tree.map_shape_structure(lambda shape: keras.Input(tuple(shape[1:])), argument)
        for argument in shapes.values()
    )


@contextmanager
def _nodes_restored(model: keras.Model) -> Iterator[None]:
    """Names a model's layers uniquely, and afterwards gives back the old names.

    Takes back, too, the nodes that calling layers on new inputs adds to them.
    """
    operations = {id(layer): layer for layer in model._flatten_layers()}
    for layer in [*operations.values()]:
        operations |= {id(op): op for op in getattr(layer, "_operations", ())}
    nodes = [
        nodes for op in operations.values() for nodes in (op._inbound_nodes, op._outbound_nodes)
    ]
    lengths = [len(some) for some in nodes]
    names = {id(op): op.name for op in operations.values()}
    taken = {op.name: op for op in operations.values() if isinstance(op, layers.InputLayer)}
    for op in operations.values():
        if not isinstance(op, (keras.Model, layers.InputLayer)):
            op.name = _free(op.name, taken)
            taken[op.name] = op
    try:
        yield
    finally:
        for op in operations.values():
            op.name = names[id(op)]
        for some, length in zip(nodes, lengths, strict=True):
            del some[length:]


def _block(
    name: str,
    operation: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: tuple[Any, ...],
    shapes: list[tuple[Any, ...]],
) -> Block | None:
    """The block of one call, or None for an identity. `shapes` are those it takes."""
    if isinstance(operation, NOISE):
        return None
    plain = Block(name, operation, args=args, kwargs=kwargs, shape=shape)
    if isinstance(operation, layers.Layer):
        try:
            config = operation.get_config()
        except NotImplementedError as error:
            msg = f"The layer {name!r} ({type(operation).__name__}) needs a get_config: {error}"
            raise ValueError(msg) from error
        config.pop("name", None)
        config.pop("trainable", None)  # a copy of a frozen network, such as an average, trains
        weights = {key: np.asarray(w, np.float64) for key, w in named_weights(operation).items()}
        origins = {key: Origin((f"{name}/{key}",)) for key in weights}
        return replace(plain, layer=type(operation), config=config, arrays=weights, origins=origins)
    if type(operation).__name__ in ("ConvertToTensor", "Identity") or (
        type(operation).__name__ == "Cast" and "float" in str(operation.dtype)
    ):
        return None
    found = _layer_of(operation, args, kwargs, shapes)
    if found is None:
        return plain
    tensors = refs((args, kwargs))
    new_args = (tensors,) if len(tensors) > 1 else (tensors[0],)
    return replace(plain, layer=found[0], config=found[1], args=new_args, kwargs={})


def _layer_of(
    operation: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shapes: list[tuple[Any, ...]],
) -> tuple[Any, dict[str, Any]] | None:
    """Class and config of the layer that does the same as an operation of `keras.ops`."""
    kind = type(operation).__name__
    found: tuple[Any, dict[str, Any]] | None = None
    if kind in ACTIVATION_OPS and len(shapes) == 1:
        found = layers.Activation, {"activation": kind.lower()}
    elif kind == "LeakyRelu":
        found = layers.LeakyReLU, {"negative_slope": operation.negative_slope}
    elif kind == "Reshape":
        target = tuple(operation.newshape[1:])
        known = all(isinstance(n, int) for n in (*target, *shapes[0]))
        if known and math.prod(target) == math.prod(shapes[0]):  # the batch stays
            found = layers.Reshape, {"target_shape": target}
    elif kind == "Transpose" and operation.axes and operation.axes[0] == 0:
        found = layers.Permute, {"dims": tuple(operation.axes[1:])}
    elif kind == "Concatenate":
        found = layers.Concatenate, {"axis": operation.axis}
    elif kind in ("Add", "Multiply") and len(shapes) == 2 and len(shapes[0]) == len(shapes[1]):
        found = getattr(layers, kind), {}
    elif len(shapes) == 1:
        flat = [value for value in tree.flatten((args, kwargs)) if value is not None]
        constants = [value for value in flat if not isinstance(value, Ref)]
        first = bool(args) and isinstance(args[0], Ref)
        affine = _scale_and_offset(kind, constants, first=first)
        if affine:
            found = layers.Rescaling, dict(zip(("scale", "offset"), affine, strict=True))
    return found


def _scale_and_offset(
    kind: str, constants: list[Any], *, first: bool
) -> tuple[float, float] | None:
    """(scale, offset) of an affine operation with one number, its tensor `first` or second."""
    if kind == "Negative":
        return -1.0, 0.0
    if len(constants) != 1 or not isinstance(constants[0], (int, float, np.number)):
        return None
    c = float(constants[0])
    found = {"Add": (1.0, c), "Multiply": (c, 0.0)}.get(kind)
    if kind == "Subtract":
        found = (1.0, -c) if first else (-1.0, c)
    # Only a power of two has a reciprocal without rounding.
    elif kind in ("Divide", "TrueDivide") and first and math.frexp(c)[0] == 0.5:
        found = (1.0 / c, 0.0)
    return found


def named_weights(layer: Any) -> dict[str, Any]:
    """A layer's weights by name; where several have one name, by the end of the path that differs.

    Raises:
        ValueError: If two have one path.
    """
    paths = [w.path.split("/") for w in layer.weights]
    found = {}
    for path, weight in zip(paths, layer.weights, strict=True):
        length = 1
        while sum(other[-length:] == path[-length:] for other in paths) > 1 and length < len(path):
            length += 1
        found["/".join(path[-length:])] = weight
    if len(found) < len(paths):
        msg = f"The layer {layer.name!r} has two weights of one path: name its inner layers apart."
        raise ValueError(msg)
    return found


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
    if not isinstance(block.layer, type):  # an operation of keras.ops
        operation = copy.copy(block.layer)
        operation.name = block.name
        operation._inbound_nodes, operation._outbound_nodes = [], []
        return operation
    config = {**_with_dtype(block.config, dtype), "name": block.name, "dtype": dtype}
    make: Any = block.layer
    try:
        return make.from_config(config)
    except Exception as error:  # whatever the user's layer raises
        msg = f"The layer {block.name!r} ({block.kind}) cannot be made again: {error}"
        raise ValueError(msg) from error


def _with_dtype(config: Any, dtype: str) -> Any:
    """A config whose layers within, as wrappers have them, compute in `dtype`."""
    if not isinstance(config, dict):
        return config
    found = {key: _with_dtype(value, dtype) for key, value in config.items()}
    inner = found.get("config")
    if "class_name" in found and isinstance(inner, dict) and "dtype" in inner:
        found["config"] = {**inner, "dtype": dtype}
    return found


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


def is_functional(model: keras.Model) -> bool:
    """Whether the model is functional, or sequential and built."""
    built = isinstance(model, keras.Sequential) and model.built
    return built or type(model).__name__ == "Functional"


def in_float64(model: keras.Model) -> keras.Model:
    """A copy that computes in float64: what the float32 model would give without rounding.

    The model itself where there can be none: its call cannot be read, or a layer of the user's own
    takes float32 only. Its noise is then measured as 0, and the strictest tolerance holds.
    """
    return _in_precision(model, "float64")


def in_float32(model: keras.Model) -> keras.Model:
    """The model, or if it computes in mixed precision, a copy with its weights in float32.

    A model whose call cannot be read stays as it is.
    """
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    return _in_precision(model, "float32")


def _in_precision(model: keras.Model, dtype: str) -> keras.Model:
    try:
        return build(read(model), dtype)
    except (TypeError, ValueError):
        return model


# What it computes


def evaluate(
    network: Network, inputs: np.ndarray | Sequence[np.ndarray], *names: str
) -> list[np.ndarray]:
    """Outputs of blocks in float64.

    Args:
        network: The network.
        inputs: One array, or one for each of `network.inputs`.
        names: The blocks; without any, those that the network returns.

    Returns:
        One array a block.
    """
    part = network.upto(*names) if names else network
    return [value for (value,) in zip(*evaluated(part, inputs), strict=True)]


def evaluated(
    network: Network, inputs: np.ndarray | Sequence[np.ndarray], chunk: int | None = None
) -> Iterator[list[np.ndarray]]:
    """The network's outputs in float64, of `chunk` examples at a time."""
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    if len(arrays) != len(network.inputs):
        wanted = [block.name for block in network.inputs]
        msg = f"{len(arrays)} arrays for the inputs {wanted}: give one for each."
        raise ValueError(msg)
    arrays = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in arrays]
    model = build(network, "float64")
    size = chunk or max(1, len(arrays[0]))
    for start in range(0, len(arrays[0]), size):
        part = [x[start : start + size] for x in arrays]
        found = model(part if len(part) > 1 else part[0], training=False)
        yield [np.asarray(value) for value in tree.flatten(found)]
