"""Grouped convolution that can be trained on every device (arXiv 1611.05431)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class GroupedConv2D(layers.Conv2D):
    """A Conv2D layer (channels last) whose channels are in groups that do not see each other.

    It has the weights of `Conv2D(groups=...)`: one kernel [height, width, channels / groups,
    filters]. It computes a convolution per group, as the aggregated transformations of
    arXiv 1611.05431 (figure 3, b) are defined. TensorFlow's own grouped kernels have no gradient
    on some processors, and Keras compiles them with XLA, which ONNX does not know.

    Args:
        filters: Output channels, divisible by `groups`.
        kernel_size: Side of the kernel.
        groups: Number of groups; the input's channels are divisible by it too.
        **kwargs: Arguments of `Conv2D`.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import GroupedConv2D
        >>> layer = GroupedConv2D(6, 3, groups=2, padding="same")
        >>> layer(tf.ones([2, 8, 8, 4])).shape, tuple(layer.kernel.shape)
        (TensorShape([2, 8, 8, 6]), (3, 3, 2, 6))
    """

    def __init__(self, filters: int, kernel_size: Any, groups: int = 1, **kwargs: Any) -> None:
        kwargs = {"data_format": "channels_last", **kwargs}
        super().__init__(filters, kernel_size, groups=groups, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Like `Conv2D`."""
        parts = zip(
            ops.split(inputs, self.groups, axis=-1),
            ops.split(ops.convert_to_tensor(self.kernel), self.groups, axis=-1),
            strict=True,
        )
        x = ops.concatenate([self.convolution_op(part, kernel) for part, kernel in parts], axis=-1)
        return self.activation(x if self.bias is None else x + self.bias)
