"""Self-attention over the pixels of a feature map (arXiv 1805.08318)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from zoo.layers.spectral import SpectralConv2D

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class SelfAttention2D(layers.Layer):
    """Every pixel looks at all others: y = γ o + x (arXiv 1805.08318, section 3, eq. 1 to 3).

    For pixel j, o_j = v(Σ_i β_ji h(x_i)), where β_ji = softmax_i(f(x_i) · g(x_j)). The maps f and g
    have C/8 channels, h has C/2, and v returns to C; all are 1 × 1 convolutions without a bias. As
    in the authors' code f and h are max-pooled 2 × 2, so that memory grows with a quarter of the
    pixels squared. γ is 0 at first: the layer begins as the identity. The softmax is computed in
    float32.

    Args:
        spectral: Whether the four kernels are divided by their spectral norms, as in the paper.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import SelfAttention2D
        >>> SelfAttention2D()(tf.ones([2, 8, 8, 16])).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(self, *, spectral: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spectral = spectral

    def build(self, input_shape: Any) -> None:
        """Creates f, g, h, v and γ for features [batch, height, width, C]."""
        channels = input_shape[-1]
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        convolution = SpectralConv2D if self.spectral else layers.Conv2D

        def mapping(name: str, units: int, taken: int) -> layers.Layer:
            layer = convolution(
                units, 1, use_bias=False, data_format="channels_last", dtype=self.dtype_policy,
                name=name,
            )  # fmt: skip
            layer.build((*input_shape[:-1], taken))
            return layer

        self.key, self.query = mapping("f", narrow, channels), mapping("g", narrow, channels)
        self.value, self.out = mapping("h", half, channels), mapping("v", channels, half)
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001
        """Features [batch, height, width, C] to features of the same shape."""
        options = {"training": training} if self.spectral else {}
        rows, columns = inputs.shape[1:3]
        keys = _rows(_pooled(self.key(inputs, **options)))
        values = _rows(_pooled(self.value(inputs, **options)))
        scores = ops.matmul(_rows(self.query(inputs, **options)), ops.transpose(keys, (0, 2, 1)))
        weights = ops.softmax(ops.cast(scores, "float32"))
        seen = ops.matmul(ops.cast(weights, values.dtype), values)
        seen = ops.reshape(seen, (-1, rows, columns, values.shape[-1]))
        return self.gamma * self.out(seen, **options) + inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "spectral": self.spectral}


def _pooled(x: Tensor) -> Tensor:
    return ops.max_pool(x, 2, 2, padding="same", data_format="channels_last")


def _rows(x: Tensor) -> Tensor:
    """[batch, height, width, C] as [batch, height · width, C]."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


@keras.saving.register_keras_serializable("zoo")
class PositionAttention(layers.Layer):
    """Attention of one head over the positions of feature maps (arXiv 1706.03762, eq. 1).

    For queries Q, keys K and values V, a row per position, it is softmax(Q Kᵀ / √C) V. It takes
    maps of every size; memory grows with the square of the number of positions. The softmax is
    computed in float32. It has no weights.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import PositionAttention
        >>> maps = tf.random.normal([2, 3, 4, 16])
        >>> PositionAttention()([maps, maps, maps]).shape
        TensorShape([2, 3, 4, 16])
    """

    def call(self, inputs: Any) -> Tensor:
        """Queries, keys [batch, height, width, C] and values [..., D] to [..., D]."""
        shape = ops.shape(inputs[2])
        positions = shape[1] * shape[2]
        query, key, value = (ops.reshape(x, (-1, positions, x.shape[-1])) for x in inputs)
        scaled = query * query.shape[-1] ** -0.5
        scores = ops.matmul(scaled, ops.transpose(key, (0, 2, 1)))
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32")), value.dtype)
        return ops.reshape(ops.matmul(weights, value), (-1, *shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the values."""
        return input_shape[2]
