"""What gates features: linear units (arXiv 1612.08083), channels (arXiv 2101.04775), GELU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
def erf_gelu(x: Tensor) -> Tensor:
    """Exact GELU, x Φ(x) (arXiv 1606.08415), by erf; Keras takes erfc, which ONNX has not.

    Args:
        x: Of any shape.

    Example:
        >>> from zoo.layers import erf_gelu
        >>> print(erf_gelu([-1.0, 0.0, 1.0]).numpy().round(4))
        [-0.1587  0.      0.8413]
    """
    x = ops.convert_to_tensor(x)
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


@keras.saving.register_keras_serializable("zoo")
class GatedLinearUnit(layers.Layer):
    """a ⊙ sigmoid(b) of channels [a, b] (arXiv 1612.08083, eq. 1): half as many come out.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import GatedLinearUnit
        >>> GatedLinearUnit()(tf.constant([[2.0, 0.0]])).numpy().tolist()
        [[1.0]]
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Maps [batch, ..., 2 C] to [batch, ..., C]."""
        values, gates = ops.split(inputs, 2, axis=-1)
        return values * ops.sigmoid(gates)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, ..., C]."""
        return (*input_shape[:-1], input_shape[-1] // 2)


@keras.saving.register_keras_serializable("zoo")
class AdaptiveAveragePooling(layers.Layer):
    """Averages an image over `side` × `side` windows that cover it, whatever its size.

    Window i of n pixels goes from ⌊i n / side⌋ to ⌈(i + 1) n / side⌉, as in PyTorch's layer of
    this name. Windows overlap where n is not divisible.

    Args:
        side: Height and width of what comes out.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import AdaptiveAveragePooling
        >>> AdaptiveAveragePooling(4)(tf.ones([2, 14, 7, 3])).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(self, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs: Tensor) -> Tensor:
        """Maps [batch, height, width, channels] to [batch, side, side, channels]."""
        rows, columns, channels = inputs.shape[1:]
        x = ops.reshape(inputs, (-1, rows, columns * channels))
        x = ops.matmul(self._windows(rows), x)
        x = ops.reshape(x, (-1, self.side, columns, channels))
        return ops.matmul(self._windows(columns), x)

    def _windows(self, size: int) -> Any:
        """Weights of the pixels in each window, [side, size]."""
        pixels = np.arange(size)[None]
        window = np.arange(self.side)[:, None]
        inside = (pixels >= window * size // self.side) & (
            pixels < -(-(window + 1) * size // self.side)
        )
        weights = inside / inside.sum(axis=1, keepdims=True)
        return ops.convert_to_tensor(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, side, side, channels]."""
        return (input_shape[0], self.side, self.side, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "side": self.side}
