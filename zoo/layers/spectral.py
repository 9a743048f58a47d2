"""Dense and convolution with spectral normalisation (arXiv 1802.05957)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor


class SpectralLayer(layers.Layer):
    """A linear layer that computes with W / σ(W) (arXiv 1802.05957, eq. 8 and algorithm 1).

    σ(W) = vᵀ W u is the spectral norm of the kernel W [fan_in, out]. v follows from u, and each
    call in training moves u by one power iteration. Unlike Keras's `SpectralNormalization`, this
    layer leaves W as it is, and the gradient flows through σ too (eq. 9): only u and v are
    constants. Under mixed precision σ is computed in float32.

    Example:
        >>> import keras
        >>> from zoo.layers import SpectralDense, SpectralLayer
        >>> layer = SpectralDense(3)
        >>> layer.build((None, 4))
        >>> isinstance(layer, SpectralLayer), tuple(layer.u.shape)
        (True, (3,))
    """

    kernel: Any

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Keeps the kernel from being cast before σ is known."""
        return super().add_weight(*args, **{**kwargs, "autocast": kwargs.get("name") == "bias"})

    def build(self, input_shape: Any) -> None:
        """Creates the kernel and u, a random unit vector [out]."""
        super().build(input_shape)
        self.u = self.add_weight(
            name="u", shape=(self.kernel.shape[-1],), trainable=False,
            initializer=lambda shape, dtype: _unit(keras.random.normal(shape, dtype=dtype)),
        )  # fmt: skip

    # Dense and Conv2D save kernel and bias by name, and nothing else.

    def save_own_variables(self, store: Any) -> None:
        """Saves u too."""
        layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saves."""
        layers.Layer.load_own_variables(self, store)

    def normalized_kernel(self, *, training: bool | None) -> Tensor:
        """W / σ(W), of the kernel's shape; in training, moves u first."""
        kernel = ops.convert_to_tensor(self.kernel)
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        fixed, u = ops.stop_gradient(matrix), ops.convert_to_tensor(self.u)
        v = _unit(ops.matmul(fixed, u))
        if training and self.trainable:  # a frozen layer stays as it is
            u = _unit(ops.matmul(v, fixed))
            self.u.assign(u)
        sigma = ops.sum(v * ops.matmul(matrix, u))
        return ops.cast(kernel / sigma, self.compute_dtype)


@keras.saving.register_keras_serializable("zoo")
class SpectralDense(SpectralLayer, layers.Dense):
    """A Dense layer with a spectrally normalised kernel; see `SpectralLayer`.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import SpectralDense
        >>> SpectralDense(3)(tf.ones([2, 4])).shape
        TensorShape([2, 3])
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001
        """Like `Dense`."""
        x = ops.matmul(inputs, self.normalized_kernel(training=training))
        return self.activation(x if self.bias is None else x + self.bias)


@keras.saving.register_keras_serializable("zoo")
class SpectralConv2D(SpectralLayer, layers.Conv2D):
    """A Conv2D layer (channels last) with a spectrally normalised kernel; see `SpectralLayer`.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import SpectralConv2D
        >>> SpectralConv2D(3, 3, padding="same")(tf.ones([2, 8, 8, 1])).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        kwargs = {"data_format": "channels_last", **kwargs}
        super().__init__(filters, kernel_size, *args, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001
        """Like `Conv2D`."""
        x = self.convolution_op(inputs, self.normalized_kernel(training=training))
        return self.activation(x if self.bias is None else x + self.bias)


def _unit(vector: Any) -> Any:
    return vector / ops.maximum(ops.norm(vector), 1e-12)
