"""Networks given channels first, where TensorFlow computes no such convolutions.

On a CPU, TensorFlow convolves [batch, channels, height, width] with oneDNN alone: in float32, never
in float64, and in less than float32 on some processors. Keras keeps the kernels of both layouts
alike, so that a network between transpositions computes the same.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import layers, tree

if TYPE_CHECKING:
    from zoo.io.types import Tensor

FIRST, LAST = "channels_first", "channels_last"
# Layers without weights that compute each number by itself, or from those at the same place.
ELEMENTWISE = (
    layers.Activation,
    layers.Add,
    layers.Average,
    layers.Dropout,
    layers.ELU,
    layers.LeakyReLU,
    layers.Multiply,
    layers.ReLU,
    layers.Subtract,
)


@cache
def runs_channels_first(dtype: str = "float32") -> bool:
    """Whether TensorFlow convolves images of this type channels first in this process.

    Example:
        >>> from zoo.core.channels import runs_channels_first
        >>> isinstance(runs_channels_first(), bool)
        True
    """
    images, kernel = (tf.zeros((1, 1, n, n), dtype) for n in (2, 1))
    try:
        tf.nn.conv2d(images, kernel, 1, "SAME", data_format="NCHW")
    except tf.errors.OpError:  # not implemented
        return False
    return True


def is_channels_first(config: dict[str, Any]) -> bool:
    """Whether a layer's config, or that of the layer it wraps, asks for channels first.

    Example:
        >>> from zoo.core.channels import is_channels_first
        >>> is_channels_first({"data_format": "channels_first"})
        True
    """
    inner = config.get("layer")
    inner = inner.get("config", {}) if isinstance(inner, dict) else {}
    return FIRST in (config.get("data_format"), inner.get("data_format"))


def with_channels_last(config: dict[str, Any]) -> dict[str, Any]:
    """The config for channels last, in the layer that it wraps too.

    Example:
        >>> from zoo.core.channels import with_channels_last
        >>> with_channels_last({"filters": 4, "data_format": "channels_first"})
        {'filters': 4, 'data_format': 'channels_last'}
    """
    changed = {
        key: LAST if value == FIRST else with_channels_last(value)
        for key, value in config.items()
        if value == FIRST or isinstance(value, dict)
    }
    # A wrapped layer's build_config would build it for channels first.
    return {key: v for key, v in {**config, **changed}.items() if key != "build_config"}


def has_channels_first(network: keras.Model) -> bool:
    """Whether a layer of the network, at any depth, is channels first; Flatten does not count.

    Example:
        >>> import keras
        >>> from zoo.core.channels import has_channels_first
        >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> has_channels_first(network)
        False
    """
    return bool(_channels_first(network))


def can_run(network: keras.Model) -> bool:
    """Whether TensorFlow computes the network's channels-first layers, if any, in this process.

    Example:
        >>> import keras
        >>> from zoo.core.channels import can_run
        >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> can_run(network)
        True
    """
    return all(runs_channels_first(layer.compute_dtype) for layer in _channels_first(network))


def _channels_first(network: keras.Model) -> list[Any]:
    return [
        layer
        for layer in network._flatten_layers()
        if getattr(layer, "data_format", None) == FIRST and not isinstance(layer, layers.Flatten)
    ]


def runnable(network: keras.Model | None, role: str) -> keras.Model | None:
    """The network, or a copy in channels last if TensorFlow cannot compute it as it is.

    The copy takes and gives the same tensors, and has the same weights. A warning says that it is
    trained in place of the given network.

    Args:
        network: Given by the user, or None for none. Only functional and sequential models can be
            copied; others are returned as they are.
        role: What to call it in the warning.

    Raises:
        ValueError: If it is no Keras model, or the copy would keep its layers in another order, so
            that weights could not be loaded into it.

    Example:
        >>> import keras
        >>> from zoo.core.channels import runnable
        >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> runnable(network, "encoder") is network
        True
    """
    if network is not None and not isinstance(network, keras.Model):
        msg = f"{role}={network!r}: expected a keras.Model. Make one in Python, or leave it out."
        raise ValueError(msg)
    if network is None or can_run(network):
        return network
    graph = type(network).__name__ == "Functional"
    if not (graph or (isinstance(network, keras.Sequential) and network.built)):
        return network
    made = channels_last(network)
    warnings.warn(
        f"The {role} {network.name!r} has channels-first layers, which TensorFlow does not compute "
        "in this process: on a CPU it needs TF_ENABLE_ONEDNN_OPTS=1. The model trains a copy of "
        f"it in channels last, as model.{role}.",
        stacklevel=2,
    )
    return made


def channels_last(network: Any) -> Any:
    """A copy with the same weights that trains alike, whose layers are channels last.

    Raises:
        ValueError: If the copy would have its layers in another order.

    Example:
        >>> import keras
        >>> from zoo.core.channels import channels_last
        >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> channels_last(network).output_shape
        (None, 6, 6, 4)
    """
    graph = network
    if isinstance(network, keras.Sequential):
        graph = keras.Model(network.inputs, network.outputs, name=network.name)
    turner = _Turner()
    made = keras.models.clone_model(graph, clone_function=turner.copy, call_function=turner.call)
    for layer, copy in turner.copies:
        copy.set_weights(layer.get_weights())
    order = [[layer.name for layer in each.layers if layer.weights] for each in (graph, made)]
    if order[0] != order[1]:
        msg = (
            f"The network {network.name!r} has channels-first layers, and cannot be turned to "
            "channels last: set TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported, or build it "
            "with data_format='channels_last'."
        )
        raise ValueError(msg)
    # Its class is part of where a file keeps the weights of a network within a network.
    sequential = isinstance(network, keras.Sequential)
    return keras.Sequential(made.layers, name=network.name) if sequential else made


class _Turner:
    """Copies the layers of a network and calls the copies, channels last where they may be."""

    def __init__(self) -> None:
        self.copies: list[tuple[Any, Any]] = []
        self.turned: set[int] = set()  # ids of the copies that take channels last
        # By id: a channels-first tensor (which so stays alive), and the same channels last.
        self.last: dict[int, tuple[Any, Any]] = {}

    def copy(self, layer: Any) -> Any:
        """A layer, or a whole network within the network, that takes channels last."""
        if type(layer).__name__ == "Functional" or isinstance(layer, keras.Sequential):
            return channels_last(layer)
        config = layer.get_config()
        turned = not isinstance(layer, layers.Flatten) and is_channels_first(config)
        if turned:
            config = with_channels_last(config)
        elif isinstance(layer, layers.BatchNormalization) and config["axis"] == 1:
            turned, config = True, {**config, "axis": -1}
        made = type(layer).from_config(config)
        if turned:
            self.turned.add(id(made))
        if isinstance(layer, layers.Layer):  # and no operation of keras.ops
            self.copies.append((layer, made))
        return made

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a copy on tensors that are channels first outside of it."""
        if id(layer) not in self.turned and not self._may_turn(layer, args):
            return layer(*args, **kwargs)
        return self._to_first(layer(*tree.map_structure(self._to_last, args), **kwargs))

    def _may_turn(self, layer: Any, args: Any) -> bool:
        softmax = getattr(layer, "activation", None) is keras.activations.softmax
        known = all(id(tensor) in self.last for tensor in tree.flatten(args))
        return known and type(layer) in ELEMENTWISE and not softmax

    def _to_last(self, tensor: Tensor) -> Any:
        if id(tensor) not in self.last:
            axes = range(2, len(tensor.shape))
            last = layers.Permute((*axes, 1))(tensor) if axes else tensor
            self.last[id(tensor)] = (tensor, last)
        return self.last[id(tensor)][1]

    def _to_first(self, tensor: Tensor) -> Any:
        rank = len(tensor.shape)
        if rank < 3:
            return tensor
        first = layers.Permute((rank - 1, *range(1, rank - 1)))(tensor)
        self.last[id(first)] = (first, tensor)
        return first
