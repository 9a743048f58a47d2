"""Layers that map N(0, I) to other priors, so that a network with another prior takes N(0, I).

They have no weights, keep the shape, and compute in float32 and float64. They export to ONNX:
TensorFlow's `erfinv` and `ndtri` do not, so the inverse error function is a polynomial here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import scipy.special
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor

LIMIT = 5.0  # from about 5.4 on, erf(ε / √2) is 1 in float32
TRUNCATION = 2.0  # TensorFlow's and Keras's truncated normal
DEGREE = 14


@keras.saving.register_keras_serializable("zoo")
class UniformFromNormal(layers.Layer):
    """Maps N(0, 1) to U(−1, 1), elementwise: u = erf(ε / √2), with |ε| clipped at 5.

    Example:
        >>> import numpy as np
        >>> from zoo.layers import UniformFromNormal
        >>> UniformFromNormal()(np.array([[-9.0, 0.0, 9.0]])).numpy().round(3).tolist()
        [[-1.0, 0.0, 1.0]]
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Maps draws of N(0, 1) to draws of U(−1, 1)."""
        return ops.erf(ops.clip(inputs, -LIMIT, LIMIT) * math.sqrt(0.5))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class TruncatedNormalFromNormal(layers.Layer):
    """Maps N(0, 1) to the normal distribution truncated at ±2, elementwise.

    z = √2 erfinv(c · erf(ε / √2)) with c = erf(√2): the median stays, and |z| < 2.

    Example:
        >>> import numpy as np
        >>> from zoo.layers import TruncatedNormalFromNormal
        >>> TruncatedNormalFromNormal()(np.array([[-4.0, 0.0, 4.0]])).numpy().round(1).tolist()
        [[-2.0, 0.0, 2.0]]
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Maps draws of N(0, 1) to draws of N(0, 1) within ±2."""
        return truncated_normal(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class HypersphereFromNormal(layers.Layer):
    """Maps N(0, I) in d dimensions to the sphere of radius √d: z = √d ε / ‖ε‖; 0 stays 0.

    Example:
        >>> import numpy as np
        >>> from zoo.layers import HypersphereFromNormal
        >>> HypersphereFromNormal()(np.array([[3.0, 0.0, 0.0, 0.0]])).numpy().tolist()
        [[2.0, 0.0, 0.0, 0.0]]
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Maps vectors [batch, d] to vectors of norm √d."""
        mean_square = ops.mean(ops.square(inputs), axis=-1, keepdims=True)
        return inputs / ops.sqrt(ops.maximum(mean_square, 1e-30))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape


FROM_NORMAL: dict[str, type[layers.Layer]] = {
    "standard_normal": layers.Identity,
    "uniform": UniformFromNormal,
    "truncated_normal": TruncatedNormalFromNormal,
    "hypersphere": HypersphereFromNormal,
}
PRIORS = tuple(FROM_NORMAL)


def truncated_normal(normals: Tensor, threshold: float = TRUNCATION) -> Tensor:
    """Maps draws of N(0, 1) to the normal distribution truncated at ± `threshold`, elementwise.

    z = √2 erfinv(c · erf(ε / √2)) with c = erf(threshold / √2). It is the law of draws that are
    drawn again until they are within the threshold, and a growing function of ε.

    Args:
        normals: ε, float of any shape.
        threshold: More than 0, at most 2.

    Returns:
        z, |z| ≤ threshold, of the same shape.

    Raises:
        ValueError: If the threshold is out of range.

    Example:
        >>> import numpy as np
        >>> from zoo.layers import truncated_normal
        >>> truncated_normal(np.array([-4.0, 0.0, 4.0]), 0.5).numpy().round(2).tolist()
        [-0.5, 0.0, 0.5]
    """
    if not 0.0 < threshold <= TRUNCATION:
        msg = f"threshold={threshold}: expected more than 0, and at most {TRUNCATION:g}."
        raise ValueError(msg)
    probability = math.erf(threshold / math.sqrt(2.0)) * ops.erf(normals * math.sqrt(0.5))
    return ops.clip(math.sqrt(2.0) * _erfinv(probability), -threshold, threshold)


def prior_layer(prior: str) -> layers.Layer:
    """Makes the layer that maps N(0, I) to a prior.

    Args:
        prior: One of `PRIORS`.

    Raises:
        ValueError: If the prior is none of them.

    Example:
        >>> from zoo.layers import prior_layer
        >>> type(prior_layer("uniform")).__name__
        'UniformFromNormal'
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


def _erfinv(x: Tensor) -> Tensor:
    """Inverse error function for |x| ≤ erf(√2): x · p(w) with w = −log(1 − x²).

    The form of Giles (2010), "Approximating the erfinv function", with p by Chebyshev
    interpolation, summed by Clenshaw's recurrence. Relative error 1e-14 in float64.
    """
    t = -ops.log((1.0 - x) * (1.0 + x)) * (2.0 / TOP) - 1.0  # tf2onnx has no log1p
    last, total = ops.zeros_like(t), ops.zeros_like(t)
    for coefficient in COEFFICIENTS[:0:-1]:
        last, total = total, 2.0 * t * total - last + coefficient
    return x * (t * total - last + COEFFICIENTS[0])
