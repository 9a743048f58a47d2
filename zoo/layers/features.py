"""Layers without weights on the features of a network: some of them, or all scaled and shifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class FeatureSlice(layers.Layer):
    """Features `start` to `stop` − 1 of the last axis, such as a chunk of a latent.

    Args:
        start: The first feature, from 0.
        stop: The first feature that is left out.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import FeatureSlice
        >>> FeatureSlice(1, 3)(tf.constant([[5.0, 6.0, 7.0, 8.0]])).numpy().tolist()
        [[6.0, 7.0]]
    """

    def __init__(self, start: int, stop: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start, self.stop = int(start), int(stop)

    def call(self, inputs: Tensor) -> Tensor:
        """[batch, ..., features] to [batch, ..., stop − start]."""
        return inputs[..., self.start : self.stop]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs, with fewer features."""
        return (*input_shape[:-1], self.stop - self.start)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@keras.saving.register_keras_serializable("zoo")
class FeatureModulation(layers.Layer):
    """y = (1 + g) x + b: a gain and a bias per example and channel (FiLM, arXiv 1709.07871).

    BigGAN's conditional BatchNorm is a BatchNorm without parameters and this layer, whose gains and
    biases are linear in the latent and the class (arXiv 1809.11096, section 3.1).

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import FeatureModulation
        >>> x, gains, biases = tf.ones([1, 2, 2, 1]), tf.constant([[0.5]]), tf.constant([[2.0]])
        >>> FeatureModulation()(x, gains, biases).numpy().ravel().tolist()
        [3.5, 3.5, 3.5, 3.5]
    """

    def call(self, inputs: Tensor, gains: Tensor, biases: Tensor) -> Tensor:
        """Features [batch, ..., channels], and gains and biases [batch, channels]."""
        shape = (-1, *[1] * (len(inputs.shape) - 2), inputs.shape[-1])
        return (1.0 + ops.reshape(gains, shape)) * inputs + ops.reshape(biases, shape)

    def compute_output_shape(self, inputs_shape: Any, gains_shape: Any, biases_shape: Any) -> Any:  # noqa: ARG002
        """The shape of the inputs."""
        return inputs_shape
