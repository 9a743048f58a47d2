"""What each layer of a synthesis network takes: a style, and noise of one value per pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class StoredNoise(layers.Layer):
    """The same noise for each example: one image from N(0, 1), a weight that is not trained.

    The authors' code calls it `noise_const`.

    Args:
        target_shape: (height, width).
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import StoredNoise
        >>> StoredNoise((4, 4))(tf.zeros([2, 5])).shape
        TensorShape([2, 4, 4, 1])
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)

    def build(self, input_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Draws the image."""
        self.image = self.add_weight(
            name="image",
            shape=(*self.target_shape, 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Repeats the image for each of `inputs` [batch, ...]: [batch, height, width, 1]."""
        return ops.broadcast_to(self.image, (ops.shape(inputs)[0], *self.target_shape, 1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The image's, behind the batch axis."""
        return (input_shape[0], *self.target_shape, 1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "target_shape": self.target_shape}


@keras.saving.register_keras_serializable("zoo")
class NoiseInjection(layers.Layer):
    """Adds noise, of one channel, times a strength that is learned (arXiv 1912.04958, § 2.1).

    The strength is a scalar and starts as 0.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import NoiseInjection
        >>> NoiseInjection()(tf.zeros([2, 8, 8, 3]), tf.ones([2, 8, 8, 1])).shape
        TensorShape([2, 8, 8, 3])
    """

    def build(self, inputs_shape: Any, noise_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Creates the strength."""
        self.strength = self.add_weight(name="strength", shape=(), initializer="zeros")

    def call(self, inputs: Tensor, noise: Any) -> Tensor:
        """Adds noise [batch, height, width, 1] to each channel of the inputs."""
        return inputs + self.strength * ops.cast(noise, self.compute_dtype)

    def compute_output_shape(self, inputs_shape: Any, noise_shape: Any = None) -> Any:  # noqa: ARG002
        """The shape of the inputs."""
        return inputs_shape


@keras.saving.register_keras_serializable("zoo")
class StyleOfLayer(layers.Layer):
    """Picks the style of one layer.

    Args:
        index: Number of the layer, from 0.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import StyleOfLayer
        >>> StyleOfLayer(1)(tf.zeros([2, 4, 8])).shape
        TensorShape([2, 8])
    """

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = index

    def call(self, inputs: Tensor) -> Tensor:
        """Maps styles [batch, layers, style_dim] to [batch, style_dim]."""
        return inputs[:, self.index]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, style_dim]."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "index": self.index}


@keras.saving.register_keras_serializable("zoo")
class LatentPart(layers.Layer):
    """Takes some numbers of a latent, as an image or a shorter latent.

    Args:
        start: The first of them.
        target_shape: Shape of the result per example.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import LatentPart
        >>> LatentPart(3, (2, 2, 1))(tf.zeros([5, 9])).shape
        TensorShape([5, 2, 2, 1])
    """

    def __init__(self, start: int, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.target_shape = tuple(target_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Maps latents [batch, noise_dim] to [batch, *target_shape]."""
        part = inputs[:, self.start : self.start + math.prod(self.target_shape)]
        return ops.reshape(part, (-1, *self.target_shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, *target_shape]."""
        return (input_shape[0], *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "start": self.start, "target_shape": self.target_shape}
