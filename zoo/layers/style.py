"""Layers of StyleGAN2 (arXiv 1912.04958): equalised, modulated, truncated.

An equalised layer stores w ~ N(0, 1) and computes with w / √fan_in (arXiv 1710.10196, section 4.1).
Adam's steps have one size for all weights, so they are then equally large in each layer. He's
factor √2 is in the activation, as in the authors' code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor

EPSILON = 1e-8  # ε of eq. 3
FILTER = (1.0, 3.0, 3.0, 1.0)  # of all resampling (arXiv 1912.04958, appendix B)


@keras.saving.register_keras_serializable("zoo")
def scaled_leaky_relu(x: Tensor) -> Tensor:
    """√2 · leaky ReLU of slope 0.2, which keeps the scale of signals.

    Example:
        >>> from zoo.layers import scaled_leaky_relu
        >>> print(scaled_leaky_relu([-5.0, 1.0]).numpy().round(3))
        [-1.414  1.414]
    """
    return ops.leaky_relu(x, 0.2) * math.sqrt(2.0)


@keras.saving.register_keras_serializable("zoo")
class EqualizedDense(layers.Dense):
    """A Dense layer with an equalised learning rate.

    Args:
        units: Number of outputs.
        rate: Learning rate as a multiple of that of other layers. Weights start as N(0, 1 / rate²),
            and the layer computes with weights and biases times `rate`.
        **kwargs: Arguments of `Dense`.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import EqualizedDense
        >>> EqualizedDense(3, rate=0.01)(tf.ones([2, 4])).shape
        TensorShape([2, 3])
    """

    def __init__(self, units: int, rate: float = 1.0, **kwargs: Any) -> None:
        kwargs.setdefault("kernel_initializer", _normal(1.0 / rate))
        super().__init__(units, **kwargs)
        self.rate = rate

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: ARG002, FBT001
        """Maps [batch, fan_in] to [batch, units]."""
        x = ops.matmul(inputs, self.kernel * (self.rate / _root_fan_in(self.kernel)))
        return self.activation(x if self.bias is None else x + self.rate * self.bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("zoo")
class EqualizedConv2D(layers.Conv2D):
    """A Conv2D layer (channels last) with an equalised learning rate.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import EqualizedConv2D
        >>> EqualizedConv2D(3, 3, padding="same")(tf.ones([2, 8, 8, 1])).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(self, filters: int, kernel_size: Any, **kwargs: Any) -> None:
        kwargs = {"kernel_initializer": _normal(), "data_format": "channels_last", **kwargs}
        super().__init__(filters, kernel_size, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Like `Conv2D`."""
        x = self.convolution_op(inputs, self.kernel / _root_fan_in(self.kernel))
        return self.activation(x if self.bias is None else x + self.bias)


@keras.saving.register_keras_serializable("zoo")
class ModulatedConv2D(layers.Conv2D):
    """An equalised convolution whose weights each example scales (arXiv 1912.04958, eq. 1 to 3).

    w'_ijk = s_i w_ijk for input channel i, output channel j and place k, and with demodulation
    w''_ijk = w'_ijk / √(Σ_ik w'_ijk² + ε). Scaling the inputs by s and the outputs by the
    root is the same, and takes one convolution for the whole batch.

    Args:
        filters: Output channels.
        kernel_size: Side of the kernel; padding is "same" unless given.
        demodulate: Whether to compute with w'' and not with w'.
        **kwargs: Arguments of `Conv2D`.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import ModulatedConv2D
        >>> ModulatedConv2D(3, 3)(tf.ones([2, 8, 8, 4]), tf.ones([2, 4])).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self, filters: int, kernel_size: Any, *, demodulate: bool = True, **kwargs: Any
    ) -> None:
        fixed = {"padding": "same", "data_format": "channels_last"}
        kwargs = {**fixed, "kernel_initializer": _normal(), **kwargs}
        super().__init__(filters, kernel_size, **kwargs)
        self.demodulate = demodulate

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Keeps the kernel from being cast before its squares are summed."""
        return super().add_weight(*args, **{**kwargs, "autocast": kwargs.get("name") == "bias"})

    def build(self, inputs_shape: Any, scales_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Creates the kernel and the bias."""
        super().build(inputs_shape)

    def call(self, inputs: Tensor, scales: Any) -> Tensor:
        """Convolves [batch, height, width, channels] by weights scaled by s [batch, channels]."""
        kernel = ops.convert_to_tensor(self.kernel) / _root_fan_in(self.kernel)
        x = inputs * scales[:, None, None, :]
        x = self.convolution_op(x, ops.cast(kernel, self.compute_dtype))
        if self.demodulate:
            squares = ops.square(ops.cast(scales, kernel.dtype))
            power = ops.matmul(squares, ops.sum(ops.square(kernel), axis=(0, 1)))
            x *= ops.cast(ops.rsqrt(power + EPSILON), self.compute_dtype)[:, None, None, :]
        return self.activation(x if self.bias is None else x + self.bias)

    def compute_output_shape(self, inputs_shape: Any, scales_shape: Any = None) -> Any:  # noqa: ARG002
        """As of `Conv2D`."""
        return super().compute_output_shape(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "demodulate": self.demodulate}


@keras.saving.register_keras_serializable("zoo")
class LearnedConstant(layers.Layer):
    """The same trained image for each example (arXiv 1912.04958, figure 2).

    Args:
        target_shape: (height, width, channels).
        initializer: Its first values; None draws them from N(0, 1).
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import LearnedConstant
        >>> LearnedConstant((4, 4, 3))(tf.zeros([2, 5])).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(self, target_shape: Any, initializer: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        self.initializer = initializer

    def build(self, input_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Creates the image."""
        self.image = self.add_weight(
            name="image", shape=self.target_shape, initializer=self.initializer or _normal()
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Repeats the image for each of `inputs` [batch, ...]: [batch, height, width, channels]."""
        return ops.broadcast_to(self.image, (ops.shape(inputs)[0], *self.target_shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The image's, behind the batch axis."""
        return (input_shape[0], *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        options = {"initializer": self.initializer} if self.initializer else {}
        return {**super().get_config(), "target_shape": self.target_shape, **options}


@keras.saving.register_keras_serializable("zoo")
class Truncation(layers.Layer):
    """w̄ + ψ (w − w̄), the truncation trick in W (arXiv 1812.04948, appendix B); not in training.

    w̄ and ψ are weights that are not trained, at first 0 and 1. They are saved and exported. The
    model that trains the network keeps w̄ up to date.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import Truncation
        >>> truncation = Truncation()
        >>> truncation.build((None, 2))
        >>> _ = truncation.psi.assign(0.5)
        >>> truncation(tf.constant([[2.0, 4.0]])).numpy().tolist()
        [[1.0, 2.0]]
    """

    def build(self, input_shape: Any) -> None:
        """Creates w̄ and ψ."""
        self.average = self.add_weight(
            name="average", shape=(input_shape[-1],), initializer="zeros", trainable=False
        )
        self.psi = self.add_weight(name="psi", shape=(), initializer="ones", trainable=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001
        """Truncates styles [batch, style_dim]."""
        return inputs if training else self.average + self.psi * (inputs - self.average)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class Blur(layers.Layer):
    """Filters each channel by `FILTER` ⊗ `FILTER` of sum 1 (arXiv 1912.04958, appendix B).

    Args:
        padding: Zeros at each edge; the filter shortens each axis by 3 pixels.
        strides: Distance of the outputs in pixels.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import Blur
        >>> Blur(padding=2)(tf.ones([1, 8, 8, 1])).shape
        TensorShape([1, 9, 9, 1])
    """

    def __init__(self, padding: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = padding
        self.strides = strides

    def call(self, inputs: Tensor) -> Tensor:
        """Maps [batch, height, width, channels] to fewer pixels."""
        edge, channels = (self.padding, self.padding), inputs.shape[-1]
        taps = np.outer(FILTER, FILTER) / sum(FILTER) ** 2
        kernel = np.tile(taps[:, :, None, None], (1, 1, channels, 1))
        return ops.depthwise_conv(
            ops.pad(inputs, ((0, 0), edge, edge, (0, 0))),
            ops.convert_to_tensor(kernel, self.compute_dtype),
            strides=self.strides,
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, height, width, channels], smaller."""
        batch, *sides, channels = input_shape
        longer = 2 * self.padding - len(FILTER)
        return (batch, *((side + longer) // self.strides + 1 for side in sides), channels)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "padding": self.padding, "strides": self.strides}


def _root_fan_in(kernel: Tensor) -> float:
    return math.sqrt(math.prod(kernel.shape[:-1]))


def _normal(stddev: float = 1.0) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev)
