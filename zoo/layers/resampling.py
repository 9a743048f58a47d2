"""Upsampling by StyleGAN2's filter [1, 3, 3, 1] (arXiv 1912.04958, appendix B).

Upsampling puts a zero behind each pixel and filters: that is a transposed convolution. What is
outside of an image counts as zero, so that pixels at the edges are darker, as in the authors' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from zoo.layers.style import FILTER, ModulatedConv2D

if TYPE_CHECKING:
    from zoo.io.types import Tensor

LAST = {"data_format": "channels_last"}  # whatever keras.json says
# Along one axis; of sum 2, for every second pixel is a zero.
TAPS = 2.0 * np.array(FILTER) / sum(FILTER)


@keras.saving.register_keras_serializable("zoo")
class FilteredUpSampling2D(layers.Layer):
    """Doubles the sides of images by the filter [1, 3, 3, 1] (arXiv 1912.04958, appendix B).

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import FilteredUpSampling2D
        >>> FilteredUpSampling2D()(tf.ones([1, 2, 1, 1]))[0, :, 0, 0].numpy().tolist()
        [0.5625, 0.75, 0.75, 0.5625]
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Maps [batch, height, width, channels] to [batch, 2 height, 2 width, channels]."""
        each = np.eye(inputs.shape[-1])[None, None]
        kernel = ops.convert_to_tensor(_taps() * each, self.compute_dtype)
        return ops.conv_transpose(inputs, kernel, strides=2, padding="same", **LAST)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, height, width, channels], with doubled sides."""
        batch, height, width, channels = input_shape
        return (batch, 2 * height, 2 * width, channels)


@keras.saving.register_keras_serializable("zoo")
class ModulatedUpConv2D(ModulatedConv2D):
    """A modulated convolution that doubles the sides (arXiv 1912.04958, appendix B).

    It convolves the pixels with zeros between them, which is a transposed convolution, and then
    filters by [1, 3, 3, 1]. Arguments and weights are those of `ModulatedConv2D` with a kernel of
    3 × 3.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import ModulatedUpConv2D
        >>> ModulatedUpConv2D(3)(tf.ones([2, 8, 8, 4]), tf.ones([2, 4])).shape
        TensorShape([2, 16, 16, 3])
    """

    def __init__(self, filters: int, kernel_size: Any = 3, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        if tuple(self.kernel_size) != (3, 3):
            msg = f"kernel_size={kernel_size}: upsampling takes 3, whose sides then fit the filter."
            raise ValueError(msg)

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Maps [batch, height, width, channels] to [batch, 2 height, 2 width, filters]."""
        mirrored = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))
        x = ops.conv_transpose(inputs, mirrored, strides=2, padding="valid", **LAST)
        taps = np.tile(_taps()[..., 0, None], (1, 1, self.filters, 1))
        return ops.depthwise_conv(
            ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
            ops.convert_to_tensor(taps, self.compute_dtype),
            **LAST,
        )

    def compute_output_shape(self, inputs_shape: Any, scales_shape: Any = None) -> Any:  # noqa: ARG002
        """[batch, height, width, filters], with doubled sides."""
        batch, height, width, _ = inputs_shape
        return (batch, 2 * height, 2 * width, self.filters)


def _taps() -> np.ndarray:
    """The filter along both axes, float64 [4, 4, 1, 1]."""
    return np.outer(TAPS, TAPS)[:, :, None, None]
