"""From a Keras model to a network of blocks.

Models within models are flattened, subclassed ones included, and operations of `keras.ops` that
have a layer are written as that layer: two networks that compute alike look alike.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, tree

from zoo.convert.blocks import Block, Network, Origin, Ref, free_name, refs

if TYPE_CHECKING:
    from collections.abc import Iterator

# Identities in inference.
NOISE = (
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.ActivityRegularization,
)
ACTIVATION_OPS = ("Tanh", "Sigmoid", "Relu", "Relu6", "Silu", "Softplus", "Softsign", "Elu", "Selu")


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
    with nodes_restored(model):
        return _read(flattened(model, role))


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
        given = names[id(value)]
        return renamed.get(given, given)

    for node in nodes:
        operation = node.operation
        name = free_name(operation.name, blocks)
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


def flattened(model: keras.Model, role: str) -> Any:
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
    return flattened(keras.Model(inputs, outputs, name=model.name), role)


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
def nodes_restored(model: keras.Model) -> Iterator[None]:
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
            op.name = free_name(op.name, taken)
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
    layer = _layer_of(operation, args, kwargs, shapes)
    if layer is None:
        return plain
    tensors = refs((args, kwargs))
    new_args = (tensors,) if len(tensors) > 1 else (tensors[0],)
    return replace(plain, layer=layer[0], config=layer[1], args=new_args, kwargs={})


def _layer_of(
    operation: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shapes: list[tuple[Any, ...]],
) -> tuple[Any, dict[str, Any]] | None:
    """Class and config of the layer that does the same as an operation of `keras.ops`."""
    kind = type(operation).__name__
    layer: tuple[Any, dict[str, Any]] | None = None
    if kind in ACTIVATION_OPS and len(shapes) == 1:
        layer = layers.Activation, {"activation": kind.lower()}
    elif kind == "LeakyRelu":
        layer = layers.LeakyReLU, {"negative_slope": operation.negative_slope}
    elif kind == "Reshape":
        target = tuple(operation.newshape[1:])
        known = all(isinstance(n, int) for n in (*target, *shapes[0]))
        if known and math.prod(target) == math.prod(shapes[0]):  # the batch stays
            layer = layers.Reshape, {"target_shape": target}
    elif kind == "Transpose" and operation.axes and operation.axes[0] == 0:
        layer = layers.Permute, {"dims": tuple(operation.axes[1:])}
    elif kind == "Concatenate":
        layer = layers.Concatenate, {"axis": operation.axis}
    elif kind in ("Add", "Multiply") and len(shapes) == 2 and len(shapes[0]) == len(shapes[1]):
        layer = getattr(layers, kind), {}
    elif len(shapes) == 1:
        flat = [value for value in tree.flatten((args, kwargs)) if value is not None]
        constants = [value for value in flat if not isinstance(value, Ref)]
        first = bool(args) and isinstance(args[0], Ref)
        affine = _scale_and_offset(kind, constants, first=first)
        if affine:
            layer = layers.Rescaling, dict(zip(("scale", "offset"), affine, strict=True))
    return layer


def _scale_and_offset(
    kind: str, constants: list[Any], *, first: bool
) -> tuple[float, float] | None:
    """(scale, offset) of an affine operation with one number, its tensor `first` or second."""
    if kind == "Negative":
        return -1.0, 0.0
    if len(constants) != 1 or not isinstance(constants[0], (int, float, np.number)):
        return None
    c = float(constants[0])
    affine = {"Add": (1.0, c), "Multiply": (c, 0.0)}.get(kind)
    if kind == "Subtract":
        affine = (1.0, -c) if first else (-1.0, c)
    # Only a power of two has a reciprocal without rounding.
    elif kind in ("Divide", "TrueDivide") and first and math.frexp(c)[0] == 0.5:
        affine = (1.0 / c, 0.0)
    return affine


def _automatic_names(layer: Any) -> set[str]:
    """What Keras calls variables, generators and the layers within a layer, but for the number."""
    inner = {type(each).__name__ for each in layer._flatten_layers(include_self=False)}
    # Keras's own way from the name of a class to that of an instance.
    words = {re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name))
             for name in inner}  # fmt: skip
    return {"variable", "seed_generator", *(name.lower() for name in words)}


def _renumbered(paths: list[list[str]], automatic: set[str]) -> list[list[str]]:
    """Paths whose automatic names are numbered by their order beside each other."""
    renumbered = [list(path) for path in paths]
    orders: dict[tuple[str, ...], list[str]] = {}
    for path, new in zip(paths, renumbered, strict=True):
        for i, name in enumerate(path):
            base = re.sub(r"_\d+$", "", name)
            if base not in automatic:
                continue
            order = orders.setdefault((*path[:i], base), [])
            if name not in order:
                order.append(name)
            new[i] = f"{base}_{order.index(name)}" if order.index(name) else base
    return renumbered


def named_weights(layer: Any) -> dict[str, Any]:
    """A layer's weights by name; where several have one name, by the end of the path that differs.

    Numbers in names that Keras gives by itself, which differ from one copy of the layer to the
    next, are replaced by their order: `variable_12` and `variable_13` by `variable` and
    `variable_1`.

    Raises:
        ValueError: If two have one path.
    """
    paths = _renumbered([w.path.split("/") for w in layer.weights], _automatic_names(layer))
    weights = {}
    for path, weight in zip(paths, layer.weights, strict=True):
        length = 1
        while sum(other[-length:] == path[-length:] for other in paths) > 1 and length < len(path):
            length += 1
        weights["/".join(path[-length:])] = weight
    if len(weights) < len(paths):
        msg = f"The layer {layer.name!r} has two weights of one path: name its inner layers apart."
        raise ValueError(msg)
    return weights
