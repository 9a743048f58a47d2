"""Checks and copies of networks, and what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core import contracts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from zoo.io.types import Tensor


def copy_network(network: keras.Model, inputs: Sequence[int], *, labels: bool = False) -> Any:
    """A copy with equal weights that does not train.

    Args:
        network: The model.
        inputs: Shape of one input example.
        labels: Whether it takes labels too.

    Example:
        >>> from zoo import networks
        >>> from zoo.core.network_tools import copy_network
        >>> copy = copy_network(networks.build("mlp", "decoder", (8, 8, 1), 2), (2,))
        >>> copy.trainable
        False
    """
    copy = type(network).from_config(network.get_config())
    copy(_zeros(1, inputs, labels))  # builds a subclassed network
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def check_network(
    network: Any,
    role: str,
    inputs: Sequence[int],
    outputs: Sequence[Sequence[int]],
    *,
    labels: bool = False,
    values: Sequence[str | None] = (),
) -> None:
    """Checks a network's shapes by running it on two zero examples, and what its values are.

    Args:
        network: The `keras.Model`.
        role: Its name in the error.
        inputs: Shape of one input example.
        outputs: Shapes of one example of each output.
        labels: Whether it takes int32 labels [batch] too.
        values: What each output holds: `kinds` of `contracts.check_values`.

    Raises:
        ValueError: If an output is missing, of another shape, or not such values; or TensorFlow
            cannot compute the network on this processor.

    Example:
        >>> from zoo import networks
        >>> from zoo.core.network_tools import check_network
        >>> decoder = networks.build("mlp", "decoder", (8, 8, 1), 2)
        >>> check_network(decoder, "decoder", (2,), [(8, 8, 3)])
        Traceback (most recent call last):
        ValueError: The decoder maps (2,) to [(8, 8, 1)]; expected [(8, 8, 3)].
    """

    def run(x: Tensor) -> list[Any]:
        given = tf.zeros([len(x)], tf.int32) if labels else None
        outputs = network(with_labels(x, given))
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    try:
        tensors = run(tf.zeros([2, *inputs]))
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
        if "NCHW" not in str(error) and "NHWC" not in str(error):
            raise
        msg = (
            f"The {role} convolves channels first, which TensorFlow does not compute in this "
            "process: set TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported, or build the "
            "network with data_format='channels_last'."
        )
        raise ValueError(msg) from error
    shapes = [tuple(tensor.shape[1:]) for tensor in tensors]
    if shapes != [tuple(shape) for shape in outputs]:
        msg = (
            f"The {role} maps {tuple(inputs)} to {shapes}; expected {[tuple(s) for s in outputs]}."
        )
        raise ValueError(msg)
    contracts.check_values(network, role, values, run, inputs)


def with_labels(x: Tensor, labels: Tensor) -> Any:
    """The input of a network: x, and labels where it takes them.

    Example:
        >>> from zoo.core.network_tools import with_labels
        >>> with_labels([[0.5]], None)
        [[0.5]]
    """
    # Keras takes no list in which arrays and tensors are mixed.
    return x if labels is None else [tf.convert_to_tensor(x), tf.convert_to_tensor(labels)]


def _zeros(n: int, inputs: Sequence[int], labels: bool) -> Any:  # noqa: FBT001
    return with_labels(tf.zeros([n, *inputs]), tf.zeros([n], tf.int32) if labels else None)
