"""Bilinear resizing as two matrix products: differentiable any number of times, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class BilinearResize(layers.Layer):
    """Resizes feature maps [batch, height, width, channels] to a height and a width.

    Args:
        height: Pixels of the result, at least 1.
        width: Likewise.
        align_corners: Whether the outermost pixels of both maps lie on each other, as in PyTorch's
            `interpolate(..., align_corners=True)`. Else pixels are squares that fill the same area;
            the result is then that of `tf.image.resize(..., antialias=True)`.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import BilinearResize
        >>> BilinearResize(1, 3)(tf.constant([[[[0.0], [2.0]]]]))[0, 0, :, 0].numpy()
        array([0., 1., 2.], dtype=float32)
    """

    def __init__(
        self, height: int, width: int, *, align_corners: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.height = int(height)
        self.width = int(width)
        self.align_corners = align_corners

    def call(self, inputs: Tensor) -> Tensor:
        """Maps [batch, height, width, channels] to maps of the new size."""
        rows, columns = inputs.shape[1:3]
        down = _matrix(rows, self.height, align_corners=self.align_corners)
        across = _matrix(columns, self.width, align_corners=self.align_corners)
        down, across = (ops.cast(matrix, inputs.dtype) for matrix in (down, across))
        x = ops.einsum("ph,nhwc->npwc", down, inputs)
        return ops.einsum("qw,npwc->npqc", across, x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs with another height and width."""
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        options = {"height": self.height, "width": self.width, "align_corners": self.align_corners}
        return {**super().get_config(), **options}


def _matrix(size: int, new: int, *, align_corners: bool) -> np.ndarray:
    """Row i holds the weights of the `size` pixels in pixel i of `new`, float32 [new, size]."""
    position = np.arange(new)
    if align_corners:
        centres = position * ((size - 1) / max(new - 1, 1))
    else:
        centres = (position + 0.5) * (size / new) - 0.5
    reach = max(1.0, size / new)  # a shrunken pixel averages all that it covers
    weights = np.maximum(1.0 - np.abs(np.arange(size) - centres[:, None]) / reach, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
