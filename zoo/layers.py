"""Layers that Keras lacks: of other priors, of classes, and with spectral normalisation.

Layers that carry N(0, I) to other priors, so that a network of another prior takes N(0, I), have no
weights, keep shapes, compute in float32 and float64, and export to ONNX: TensorFlow's `erfinv` and
`ndtri` do not, so the inverse error function is a polynomial.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
import numpy as np
import scipy.special
from keras import layers, ops

LIMIT = 5.0  # erf(ε / √2) of float32 is 1 from about 5.4 on
TRUNCATION = 2.0  # TensorFlow's and Keras's truncated normal
DEGREE = 14


@keras.saving.register_keras_serializable("zoo")
class UniformFromNormal(layers.Layer):
    """N(0, 1) to U(−1, 1), each number by itself: u = erf(ε / √2), with |ε| clipped at 5."""

    def call(self, inputs: Any) -> Any:
        """Maps draws of N(0, 1) to draws of U(−1, 1)."""
        return ops.erf(ops.clip(inputs, -LIMIT, LIMIT) * math.sqrt(0.5))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes stay."""
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class TruncatedNormalFromNormal(layers.Layer):
    """N(0, 1) to the normal within ±2, by its inverse distribution function.

    z = √2 erfinv(c · erf(ε / √2)) with c = erf(√2): the median stays, and |z| < 2.
    """

    def call(self, inputs: Any) -> Any:
        """Maps draws of N(0, 1) to draws of N(0, 1) within ±2."""
        probability = math.erf(TRUNCATION / math.sqrt(2.0)) * ops.erf(inputs * math.sqrt(0.5))
        return math.sqrt(2.0) * _erfinv(probability)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes stay."""
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class HypersphereFromNormal(layers.Layer):
    """N(0, I) in d dimensions to the sphere of radius √d: z = √d ε / ‖ε‖; 0 stays 0."""

    def call(self, inputs: Any) -> Any:
        """Maps vectors [batch, d] to vectors of norm √d."""
        mean_square = ops.mean(ops.square(inputs), axis=-1, keepdims=True)
        return inputs / ops.sqrt(ops.maximum(mean_square, 1e-30))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes stay."""
        return input_shape


FROM_NORMAL: dict[str, type[layers.Layer]] = {
    "standard_normal": layers.Identity,
    "uniform": UniformFromNormal,
    "truncated_normal": TruncatedNormalFromNormal,
    "hypersphere": HypersphereFromNormal,
}
PRIORS = tuple(FROM_NORMAL)


def prior_layer(prior: str) -> layers.Layer:
    """The layer that carries N(0, I) to a prior.

    Args:
        prior: One of `PRIORS`.

    Raises:
        ValueError: If it is none of them.
    """
    if prior not in FROM_NORMAL:
        msg = f"prior={prior!r}: expected one of {', '.join(map(repr, PRIORS))}."
        raise ValueError(msg)
    return FROM_NORMAL[prior]()


def _series(limit: float) -> tuple[float, list[float]]:
    """Largest w and Chebyshev coefficients of erfinv(x) / x for |x| ≤ erf(limit / √2)."""
    top = -math.log1p(-(math.erf(limit / math.sqrt(2.0)) ** 2))

    def ratio(w: np.ndarray) -> np.ndarray:
        x = np.sqrt(-np.expm1(-w))
        return scipy.special.erfinv(x) / x

    series = np.polynomial.Chebyshev.interpolate(ratio, DEGREE, domain=[0.0, top])
    return top, [float(c) for c in series.coef]


TOP, COEFFICIENTS = _series(TRUNCATION)


def _erfinv(x: Any) -> Any:
    """Inverse error function for |x| ≤ erf(√2): x · p(w) with w = −log(1 − x²).

    The form of Giles (2010), "Approximating the erfinv function", with p by Chebyshev
    interpolation, summed by Clenshaw's recurrence. Relative error 1e-14 in float64.
    """
    t = -ops.log((1.0 - x) * (1.0 + x)) * (2.0 / TOP) - 1.0  # tf2onnx has no log1p
    last, total = ops.zeros_like(t), ops.zeros_like(t)
    for coefficient in COEFFICIENTS[:0:-1]:
        last, total = total, 2.0 * t * total - last + coefficient
    return x * (t * total - last + COEFFICIENTS[0])


@keras.saving.register_keras_serializable("zoo")
class ConditionalBatchNormalization(layers.Layer):
    """BatchNorm with a gain and a bias for each class, as in the generators of arXiv 1802.05637.

    y = γ_label (x − E x) / √(Var x + ε) + β_label, with γ = 1 and β = 0 at first. Statistics are
    those of the global batch, of all classes together.

    Args:
        num_classes: Number of classes.
        **kwargs: Arguments of any Keras layer.
    """

    statistics: ClassVar[dict[str, Any]] = {"momentum": 0.9, "epsilon": 1e-5, "synchronized": True}

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.normalize = layers.BatchNormalization(
            **self.statistics, center=False, scale=False, dtype=self.dtype_policy, name="normalize"
        )

    def build(self, inputs_shape: Any, labels_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Creates γ and β, each [num_classes, channels]."""
        shape = (self.num_classes, inputs_shape[-1])
        self.normalize.build(inputs_shape)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")

    def call(self, inputs: Any, labels: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Normalises [batch, ..., channels], and scales and shifts by int32 labels [batch]."""
        # A lookup's gradient is sparse, and sparse ones cannot be added up over parts of a batch.
        rows = ops.one_hot(labels, self.num_classes, dtype=self.compute_dtype)
        shape = (-1, *[1] * (len(inputs.shape) - 2), inputs.shape[-1])
        gamma, beta = (ops.reshape(rows @ table, shape) for table in (self.gamma, self.beta))
        return gamma * self.normalize(inputs, training=training) + beta

    def compute_output_shape(self, inputs_shape: Any, labels_shape: Any) -> Any:  # noqa: ARG002
        """Shapes stay."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}


class SpectralLayer(layers.Layer):
    """A linear layer that computes with W / σ(W) (arXiv 1802.05957, eq. 8 and algorithm 1).

    σ(W) = vᵀ W u is the kernel's spectral norm, W being [fan_in, out]: v follows from u, and every
    call in training moves u by one power iteration. Unlike with Keras's `SpectralNormalization`,
    W stays as it is, and the gradient goes through σ too (eq. 9): u and v alone are constants.
    σ is computed in float32 under mixed precision.
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

    def normalized_kernel(self, *, training: bool | None) -> Any:
        """W / σ(W), of the kernel's shape; in training, moves u first."""
        kernel = ops.convert_to_tensor(self.kernel)
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        fixed, u = ops.stop_gradient(matrix), ops.convert_to_tensor(self.u)
        v = _unit(ops.matmul(fixed, u))
        if training:
            u = _unit(ops.matmul(v, fixed))
            self.u.assign(u)
        sigma = ops.sum(v * ops.matmul(matrix, u))
        return ops.cast(kernel / sigma, self.compute_dtype)


@keras.saving.register_keras_serializable("zoo")
class SpectralDense(SpectralLayer, layers.Dense):
    """A Dense layer with a spectrally normalised kernel; see `SpectralLayer`."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Like `Dense`."""
        x = ops.matmul(inputs, self.normalized_kernel(training=training))
        return self.activation(x if self.bias is None else x + self.bias)


@keras.saving.register_keras_serializable("zoo")
class SpectralConv2D(SpectralLayer, layers.Conv2D):
    """A Conv2D layer (channels last) with a spectrally normalised kernel; see `SpectralLayer`."""

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        kwargs = {"data_format": "channels_last", **kwargs}
        super().__init__(filters, kernel_size, *args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Like `Conv2D`."""
        x = self.convolution_op(inputs, self.normalized_kernel(training=training))
        return self.activation(x if self.bias is None else x + self.bias)


def _unit(vector: Any) -> Any:
    return vector / ops.maximum(ops.norm(vector), 1e-12)
