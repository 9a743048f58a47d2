"""From a network of blocks to a Keras model, and what the network computes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, tree

from zoo.convert.blocks import Block, Network, Ref, map_refs
from zoo.convert.layout import to_channels_last
from zoo.convert.reading import named_weights, read
from zoo.core import channels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def build(network: Network, dtype: str = "float32") -> keras.Model:
    """Builds a Keras model of new layers with the network's weights.

    Layers that are channels first are built channels last where TensorFlow cannot compute them.

    Args:
        network: The network.
        dtype: Type of weights and computation. float64 shows what float32 would give without
            rounding. A layer that takes float32 only stays in it: see `float32_layers`.

    Returns:
        A functional model, its weights rounded once from the network's arrays.

    Raises:
        ValueError: If a layer cannot be made again from its configuration.
    """
    if not channels.runs_channels_first(dtype):
        network = to_channels_last(network)
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
        arguments = map_refs(tensors.__getitem__, (block.args, dict(block.kwargs)))
        shared = made.get(block.shares or "")
        operation, output = _called(block, shared, arguments, dtype)
        made[block.name] = operation
        values = tree.flatten(output)
        tensors |= {Ref(block.name, index): tensor for index, tensor in enumerate(values)}
        _set_weights(operation, block)
    outputs = [tensors[ref] for ref in network.outputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=network.name,
    )


def float32_layers(model: keras.Model) -> list[str]:
    """Names of the layers that `build` could make in float32 only."""
    return [
        layer.name
        for layer in model.layers
        if getattr(layer, "compute_dtype", "float64") == "float32"
        and not isinstance(layer, layers.InputLayer)
    ]


def _called(block: Block, shared: Any, arguments: Any, dtype: str) -> tuple[Any, Any]:
    """(the operation of a block, its symbolic output), the `shared` one if there is one."""
    args, kwargs = arguments
    if dtype == "float32" or not isinstance(block.layer, type):
        operation = shared or _make(block, dtype)
        return operation, operation(*args, **kwargs)
    try:
        operation = shared or _make(block, dtype)
        output = operation(*args, **kwargs)
        if not shared and not _is_known(operation):
            # A layer that declares its output's shape is not traced: only a run tells.
            some = tree.map_structure(_zeros_like, arguments)
            operation(*some[0], **some[1])
    except Exception:  # noqa: BLE001  (whatever a user's layer raises: of a float32 constant, say)
        operation = shared or _make(block, "float32")
        args, kwargs = tree.map_structure(_in_float32, arguments)
        output = operation(*args, **kwargs)
    return operation, output


def _is_known(layer: Any) -> bool:
    """Whether it, and what is in it, is of Keras or the zoo: these compute in any precision."""
    modules = {type(each).__module__.partition(".")[0] for each in layer._flatten_layers()}
    return modules <= {"keras", "zoo"}


def _zeros_like(value: Any) -> Any:
    if not isinstance(value, keras.KerasTensor):
        return value
    return keras.ops.zeros([size or 1 for size in value.shape], value.dtype)


def _in_float32(value: Any) -> Any:
    tensor = isinstance(value, keras.KerasTensor) and "float" in str(value.dtype)
    return keras.ops.cast(value, "float32") if tensor else value


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
    changed = {key: _with_dtype(value, dtype) for key, value in config.items()}
    inner = changed.get("config")
    if "class_name" in changed and isinstance(inner, dict) and "dtype" in inner:
        changed["config"] = {**inner, "dtype": dtype}
    return changed


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
    """Whether the model is functional, or sequential and built.

    Example:
        >>> import keras
        >>> from zoo.convert import is_functional
        >>> is_functional(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
        True
    """
    built = isinstance(model, keras.Sequential) and model.built
    return built or type(model).__name__ == "Functional"


def in_float64(model: keras.Model) -> keras.Model:
    """A copy that computes in float64: what the float32 model would give without rounding.

    Where a model's call cannot be read, the model itself: its noise is then measured as 0, and the
    strictest tolerance holds. A layer that takes float32 only stays in it.

    Example:
        >>> import keras
        >>> from zoo.convert import in_float64
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> in_float64(model).layers[-1].compute_dtype
        'float64'
    """
    check_keras(model)
    return _in_precision(model, "float64")


def in_float32(model: keras.Model) -> keras.Model:
    """The model, or a copy with its weights in float32, channels last where it must be.

    A copy is made if the model computes in mixed precision, or TensorFlow cannot compute it on this
    processor. A model whose call cannot be read stays as it is.

    Example:
        >>> import keras
        >>> from zoo.convert import in_float32
        >>> half = keras.layers.Dense(3, dtype="mixed_float16")
        >>> in_float32(keras.Sequential([keras.Input((2,)), half])).layers[-1].compute_dtype
        'float32'
    """
    check_keras(model)
    if channels.can_run(model) and all(
        layer.compute_dtype == "float32" for layer in model._flatten_layers()
    ):
        return model
    return _in_precision(model, "float32")


def in_channels_last(model: keras.Model) -> keras.Model:
    """The model in float32; a copy without channels-first layers, where it has any.

    Every processor and server can compute it, whether with oneDNN or not. A model whose call cannot
    be read stays as it is.

    Example:
        >>> import keras
        >>> from zoo.convert import in_channels_last
        >>> first = keras.layers.Conv2D(3, 1, data_format="channels_first")
        >>> last = in_channels_last(keras.Sequential([keras.Input((1, 8, 8)), first]))
        >>> [layer.data_format for layer in last.layers if hasattr(layer, "data_format")]
        ['channels_last']
    """
    model = in_float32(model)
    if not channels.has_channels_first(model):
        return model
    try:
        return build(to_channels_last(read(model)))
    except (TypeError, ValueError):
        return model


def check_keras(model: Any) -> None:
    """Raises TypeError if an argument is no Keras model, nor a layer, which is read as one.

    Example:
        >>> from zoo.convert.building import check_keras
        >>> check_keras(None)
        Traceback (most recent call last):
        TypeError: model=None: expected a Keras model.
    """
    if not isinstance(model, keras.layers.Layer):
        msg = f"model={model!r}: expected a Keras model."
        raise TypeError(msg)


def _in_precision(model: keras.Model, dtype: str) -> keras.Model:
    try:
        return build(read(model), dtype)
    except (TypeError, ValueError):
        return model


def evaluate(
    network: Network, inputs: np.ndarray | Sequence[np.ndarray], *names: str
) -> list[np.ndarray]:
    """Outputs of blocks in float64.

    Args:
        network: The network.
        inputs: One array, or one for each of `network.inputs`.
        names: The blocks; without any, those that the network returns.

    Returns:
        One array per block.
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
        outputs = model(part if len(part) > 1 else part[0], training=False)
        yield [np.asarray(value) for value in tree.flatten(outputs)]
