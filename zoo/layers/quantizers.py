"""Further quantizers: a codebook that is trained, codes of codes, and rounding without a codebook.

They have what a model asks of `VectorQuantizer`: `num_codes`, `code_dim`, `averaged`, `call`,
`embed` and `terms`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from zoo.layers.quantization import (
    Codebook,
    VectorQuantizer,
    check_channels,
    commitment_loss,
    nearest_codes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.io.types import Tensor

EPSILON = 1e-3  # by which the bound of `FiniteScalarQuantizer` stays off the next level
MOST_CODES = 1 << 24  # whose indices float32 holds exactly


@keras.saving.register_keras_serializable("zoo")
class ResidualQuantizer(VectorQuantizer):
    """Codes of codes: each is the nearest to what those before it left (arXiv 2203.01941, § 3.1).

    r_0 = z, k_d = the code nearest to r_(d−1), r_d = r_(d−1) − e(k_d), and the vector of a position
    is Σ e(k_d), for d from 1 to D (eq. 3 to 5). All depths share one codebook, which moves as that
    of `VectorQuantizer`, by what each depth was left with.

    Args:
        num_codes: K, at least 1.
        code_dim: Dimension of a code and channels of the features, at least 1.
        depth: D, codes per position, at least 1.
        **kwargs: Further arguments of `VectorQuantizer`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import layers
        >>> quantizer = layers.ResidualQuantizer(num_codes=16, code_dim=4, depth=3)
        >>> quantized, codes = quantizer(tf.zeros([2, 7, 7, 4]))
        >>> quantized.shape, codes.shape
        (TensorShape([2, 7, 7, 4]), TensorShape([2, 7, 7, 3]))
    """

    def __init__(self, num_codes: int, code_dim: int, depth: int = 4, **kwargs: Any) -> None:
        super().__init__(num_codes, code_dim, **kwargs)
        if depth < 1:
            msg = f"depth={depth}: expected at least 1, such as 4."
            raise ValueError(msg)
        self.depth = int(depth)

    def call(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Finds D codes per position.

        Args:
            features: [batch, height, width, code_dim].

        Returns:
            As of `VectorQuantizer`, but the codes are int32 [batch, height, width, depth].
        """
        check_channels(features, self.code_dim)
        features = tf.cast(features, tf.float32)
        left, codes = features, []
        for _ in range(self.depth):
            codes.append(nearest_codes(left, self.codebook))
            left -= tf.gather(self.codebook, codes[-1])
        every = tf.stack(codes, axis=-1)
        return self.embed(every) + (features - tf.stop_gradient(features)), every

    def embed(self, codes: Tensor) -> Tensor:
        """Maps codes int [..., depth] to the sum of their vectors, [..., code_dim], no gradient."""
        return tf.reduce_sum(super().embed(codes), axis=-2)

    def targets(self, features: Tensor, codes: Tensor) -> Tensor:
        """What each code stands for: r_(d−1), float32 [batch, height, width, depth, code_dim]."""
        before = tf.cumsum(super().embed(codes), axis=-2, exclusive=True)
        return tf.cast(features, tf.float32)[..., None, :] - before

    def terms(self, features: Tensor, quantized: Tensor, codes: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """`commitment`: Σ ‖z − sg[ẑ_d]‖², ẑ_d the sum of the first d codes (eq. 8), [batch]."""
        sums = tf.cumsum(super().embed(codes), axis=-2)
        errors = tf.cast(features, tf.float32)[..., None, :] - sums
        return {"commitment": tf.reduce_sum(tf.square(errors), axis=[1, 2, 3, 4])}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "depth": self.depth}


@keras.saving.register_keras_serializable("zoo")
class StraightThroughQuantizer(Codebook):
    """Nearest codes of a codebook that the loss trains (arXiv 1711.00937, eq. 3; VQGAN's).

    `terms` has what trains it. The layer computes in float32.

    Attributes:
        codebook: e, [num_codes, code_dim], trainable.

    Args:
        num_codes: K, at least 1.
        code_dim: Dimension of a code and channels of the features, at least 1.
        temperature: τ of `usage`, more than 0.
        **kwargs: `name` and `dtype`, as of any Keras layer.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import layers
        >>> quantizer = layers.StraightThroughQuantizer(num_codes=16, code_dim=4)
        >>> quantized, codes = quantizer(tf.zeros([2, 7, 7, 4]))
        >>> quantized.shape, codes.shape
        (TensorShape([2, 7, 7, 4]), TensorShape([2, 7, 7]))
    """

    averaged: ClassVar[bool] = False

    def __init__(
        self, num_codes: int, code_dim: int, temperature: float = 0.01, **kwargs: Any
    ) -> None:
        super().__init__(num_codes, code_dim, trained=True, **kwargs)
        if temperature <= 0:
            msg = f"temperature={temperature}: expected more than 0, such as 0.01."
            raise ValueError(msg)
        self.temperature = float(temperature)
        self.built = True

    def terms(self, features: Tensor, quantized: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """`codebook`, ‖sg[z] − e‖², and `commitment`, ‖z − sg[e]‖²: [batch] each.

        Both are sums over positions and channels (arXiv 2012.09841, eq. 4, second and third term).
        """
        fixed = tf.stop_gradient(tf.cast(features, tf.float32))
        errors = tf.gather(self.codebook, codes) - fixed
        return {
            "commitment": commitment_loss(features, quantized),
            "codebook": tf.reduce_sum(tf.square(errors), axis=[1, 2, 3]),
        }

    def usage(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """How surely, and how evenly, features take codes: what an entropy term is made of.

        With q = softmax(−‖z − e‖² / τ) per position, the term of arXiv 2310.05737, eq. 6, is
        mean H(q) − H(mean q): it falls when each feature has one code, and all have many.

        Args:
            features: [batch, height, width, code_dim].

        Returns:
            The mean of q over positions, float32 [batch, num_codes]; and that of its entropy H,
            [batch] in nats.
        """
        features, codebook = tf.cast(features, tf.float32), tf.convert_to_tensor(self.codebook)
        products = tf.einsum("bhwd,kd->bhwk", features, codebook)
        distances = tf.reduce_sum(tf.square(codebook), axis=1) - 2.0 * products
        logs = tf.nn.log_softmax(-distances / self.temperature)
        shares = tf.exp(logs)
        entropies = -tf.reduce_sum(shares * logs, axis=-1)
        return tf.reduce_mean(shares, axis=[1, 2]), tf.reduce_mean(entropies, axis=[1, 2])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("zoo")
class FiniteScalarQuantizer(layers.Layer):
    """Rounds each feature to one of a few levels: FSQ (arXiv 2309.15505, § 3 and appendix A.1).

    Feature i is bounded to L_i values, f(z) = tanh(z + tan(o / h)) h − o with h = (L − 1)(1 − ε) /
    2, o = ½ for even L and 0 for odd; then rounded with a straight-through gradient, and divided by
    ⌊L / 2⌋. The code is Σ (digit_i + ⌊L_i / 2⌋) L_1 ⋯ L_(i−1). There are no weights, and no losses.

    Args:
        levels: L, at least 2 each; one per channel of the features. The paper has (8, 6, 5) for 240
            codes and (8, 5, 5, 5) for 1,000.
        **kwargs: `name` and `dtype`, as of any Keras layer.

    Raises:
        ValueError: If there are no levels, one is less than 2, or the codes are more than 2²⁴.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import layers
        >>> quantizer = layers.FiniteScalarQuantizer([5, 3])
        >>> quantizer.num_codes, quantizer.embed(tf.constant([0, 7, 14])).numpy().tolist()
        (15, [[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    """

    averaged: ClassVar[bool] = False

    def __init__(self, levels: Sequence[int], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if not levels or min(levels) < 2 or math.prod(levels) > MOST_CODES:
            msg = (
                f"levels={list(levels)}: expected one number per feature, each at least 2, and a "
                f"product of at most {MOST_CODES:,}; such as 8, 6, 5."
            )
            raise ValueError(msg)
        self.levels = [int(level) for level in levels]
        self.num_codes, self.code_dim = math.prod(self.levels), len(self.levels)
        self.half_widths = np.array(self.levels) // 2
        self.places = np.cumprod([1, *self.levels[:-1]])
        self.built = True

    def bounded(self, features: Tensor) -> Tensor:
        """f(z), float32 like the features: within half a level of the outermost ones."""
        levels = np.array(self.levels)
        half = (levels - 1) * (1 - EPSILON) / 2
        offset = np.where(levels % 2 == 1, 0.0, 0.5)
        shift = np.tan(offset / half).astype(np.float32)
        bounded = tf.tanh(tf.cast(features, tf.float32) + shift)
        return bounded * half.astype(np.float32) - offset.astype(np.float32)

    def call(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Rounds.

        Args:
            features: [batch, height, width, channels], a channel per level.

        Returns:
            The levels' values, float32 in [−1, 1] of the shape of `features`, whose gradient is
            that of f; and the codes, int32 [batch, height, width].

        Raises:
            ValueError: If the features have other channels.
        """
        check_channels(features, self.code_dim)
        bounded = self.bounded(features)
        digits = tf.cast(tf.round(bounded), tf.int32) + self.half_widths.astype(np.int32)
        digits = tf.clip_by_value(digits, 0, np.array(self.levels, np.int32) - 1)  # for NaN alone
        codes = tf.reduce_sum(digits * self.places.astype(np.int32), axis=-1)
        straight = (bounded - tf.stop_gradient(bounded)) / self.half_widths.astype(np.float32)
        return self.embed(codes) + straight, codes

    def embed(self, codes: Tensor) -> Tensor:
        """Maps codes int [...] to the values of their levels, float32 [..., channels]."""
        codes = tf.cast(codes, tf.int32)[..., None]
        digits = codes // self.places.astype(np.int32) % np.array(self.levels, np.int32)
        half = self.half_widths.astype(np.float32)
        return (tf.cast(digits, tf.float32) - half) / half

    def terms(self, features: Tensor, quantized: Tensor, codes: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """No losses."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "levels": self.levels}
