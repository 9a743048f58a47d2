"""Vector quantization, with a codebook that moves by running averages (arXiv 1711.00937)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import tensorflow as tf
from keras import layers

if TYPE_CHECKING:
    from zoo.io.types import Tensor

# A code is dead if its share of the positions falls below this part of 1 / K.
DEAD = 0.1


class Codebook(layers.Layer):
    """What quantizers with a codebook share: each feature vector becomes the nearest of K codes.

    The layer computes in float32, whatever the precision of the features.

    Args:
        num_codes: K, at least 1.
        code_dim: Dimension of a code and channels of the features, at least 1.
        trained: Whether a loss trains the codebook.
        **kwargs: `name` and `dtype`, as of any Keras layer.

    Raises:
        ValueError: If a size is less than 1.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers.quantization import Codebook
        >>> Codebook(3, 2, trained=True).embed(tf.constant([[0, 2]])).shape
        TensorShape([1, 2, 2])
    """

    def __init__(self, num_codes: int, code_dim: int, *, trained: bool, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if min(num_codes, code_dim) < 1:
            msg = f"num_codes={num_codes}, code_dim={code_dim}: expected at least 1 of each."
            raise ValueError(msg)
        self.num_codes, self.code_dim = int(num_codes), int(code_dim)
        small = keras.initializers.RandomUniform(-1.0 / num_codes, 1.0 / num_codes)
        shape = (self.num_codes, self.code_dim)
        self.codebook = self.float32_weight("codebook", shape, small, trainable=trained)

    def float32_weight(
        self, name: str, shape: tuple[int, ...], initializer: Any, *, trainable: bool
    ) -> Any:
        """Adds a weight that stays float32 in mixed precision."""
        return self.add_weight(
            name=name, shape=shape, initializer=initializer,
            dtype="float32", autocast=False, trainable=trainable,
        )  # fmt: skip

    def call(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the nearest codes in squared Euclidean distance; among equals, the first.

        Args:
            features: z_e(x), [batch, height, width, code_dim].

        Returns:
            The vectors of the codes, float32 of the shape of `features`, whose gradient passes
            unchanged to the features (straight-through, section 3.2); and the codes, int32
            [batch, height, width].

        Raises:
            ValueError: If the features do not have `code_dim` channels.
        """
        check_channels(features, self.code_dim)
        features = tf.cast(features, tf.float32)
        codes = nearest_codes(features, self.codebook)
        # In this order the value equals that of `embed` to the last bit.
        quantized = self.embed(codes) + (features - tf.stop_gradient(features))
        return quantized, codes

    def embed(self, codes: Tensor) -> Tensor:
        """Maps codes int [...] to their vectors float32 [..., code_dim], without a gradient."""
        return tf.stop_gradient(tf.gather(self.codebook, codes))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        sizes = {"num_codes": self.num_codes, "code_dim": self.code_dim}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("zoo")
class VectorQuantizer(Codebook):
    """Replaces each feature vector by the nearest of K codes e (arXiv 1711.00937, eq. 1 and 2).

    The codebook has no gradient: `update` moves it by exponential averages (appendix A.1). The
    layer computes in float32, whatever the precision of the features.

    Attributes:
        codebook: e, [num_codes, code_dim].
        cluster_sizes: N, [num_codes]: the average number of positions per batch that take a code.
        cluster_sums: m, [num_codes, code_dim]: the average sum of their features.

    Args:
        num_codes: K, at least 1.
        code_dim: Dimension of a code and channels of the features, at least 1.
        decay: γ of eq. 6 and 7, in [0, 1).
        epsilon: Count that is added to each code, so that no sum is divided by 0.
        **kwargs: `name` and `dtype`, as of any Keras layer.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import layers
        >>> quantizer = layers.VectorQuantizer(num_codes=16, code_dim=4)
        >>> quantized, codes = quantizer(tf.zeros([2, 7, 7, 4]))
        >>> quantized.shape, codes.shape
        (TensorShape([2, 7, 7, 4]), TensorShape([2, 7, 7]))
    """

    averaged: ClassVar[bool] = True  # whether `update` moves the codebook

    def __init__(
        self,
        num_codes: int,
        code_dim: int,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_codes, code_dim, trained=False, **kwargs)
        if not 0.0 <= decay < 1.0:
            msg = f"decay={decay}: expected at least 0 and less than 1."
            raise ValueError(msg)
        if epsilon <= 0.0:
            msg = f"epsilon={epsilon}: expected more than 0, such as 1e-5."
            raise ValueError(msg)
        self.decay, self.epsilon = float(decay), float(epsilon)
        # From 0 the first update is a step of k-means, and revives all codes it left unused.
        self.cluster_sizes = self._average("cluster_sizes", (self.num_codes,))
        self.cluster_sums = self._average("cluster_sums", self.codebook.shape)
        self.built = True

    def _average(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.float32_weight(name, shape, "zeros", trainable=False)

    def targets(self, features: Tensor, codes: Tensor) -> Tensor:  # noqa: ARG002
        """What each code stands for: the features."""
        return features

    def terms(self, features: Tensor, quantized: Tensor, codes: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """What a loss has beside the rest, [batch] by name: `commitment`, without its weight."""
        return {"commitment": commitment_loss(features, quantized)}

    def statistics(self, features: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """What `update` needs from a batch. Statistics of several batches or replicas add up.

        Args:
            features: What the codes stand for, as `targets` gives it: [..., code_dim].
            codes: The codes, int32 [...].

        Returns:
            The number of positions that take each code, float32 [num_codes], and the sum of their
            features, float32 [num_codes, code_dim].
        """
        flat = tf.reshape(tf.cast(features, tf.float32), [-1, self.code_dim])
        codes = tf.reshape(codes, [-1])
        counts = code_counts(codes, self.num_codes)
        return counts, tf.math.unsorted_segment_sum(flat, codes, self.num_codes)

    def update(self, counts: Any, sums: Any, candidates: Any, draws: Any) -> None:
        """Moves the codebook (eq. 6 to 8), and puts dead codes onto features.

        The division of eq. 8 is by counts with Laplace smoothing: (N + ε) ΣN / (ΣN + K ε). A code
        is dead where N < 0.1 ΣN / K, a tenth of even usage. It is set to a candidate (as in arXiv
        2005.00341, section 3.1), and its N to ΣN / K: unused, it dies again after ln 0.1 / ln γ
        updates, 230 at γ = 0.99.

        All arguments belong to the global batch, so that replicas update their copies alike. A
        batch that overflowed moves nothing, as its update of the networks is skipped too.

        Args:
            counts: From `statistics`, [num_codes], not all 0.
            sums: From `statistics`, [num_codes, code_dim].
            candidates: Features that dead codes may take, [m, code_dim].
            draws: A draw from U[0, 1) per code, which chooses its candidate; float32 [num_codes].
        """
        sizes = self.decay * self.cluster_sizes + (1.0 - self.decay) * counts
        sums = self.decay * self.cluster_sums + (1.0 - self.decay) * sums
        total = tf.reduce_sum(sizes)
        smoothed = (sizes + self.epsilon) * total / (total + self.num_codes * self.epsilon)
        codebook = sums / smoothed[:, None]

        mean = total / self.num_codes
        dead = sizes < DEAD * mean
        number = tf.shape(candidates)[0]
        chosen = tf.minimum(tf.cast(draws * tf.cast(number, tf.float32), tf.int32), number - 1)
        reborn = tf.gather(tf.cast(candidates, tf.float32), chosen)
        sane = tf.reduce_all(tf.math.is_finite(sums))
        for variable, value in (
            (self.codebook, tf.where(dead[:, None], reborn, codebook)),
            (self.cluster_sizes, tf.where(dead, mean, sizes)),
            (self.cluster_sums, tf.where(dead[:, None], mean * reborn, sums)),
        ):
            variable.assign(tf.where(sane, value, variable))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "decay": self.decay, "epsilon": self.epsilon}


def check_channels(features: Tensor, code_dim: int) -> None:
    """Raises ValueError if features do not have `code_dim` channels.

    Example:
        >>> import numpy as np
        >>> from zoo.layers.quantization import check_channels
        >>> check_channels(np.zeros([2, 7, 7, 4]), 4)
    """
    if features.shape[-1] != code_dim:
        msg = f"features of shape {tuple(features.shape)}: expected {code_dim} channels."
        raise ValueError(msg)


def nearest_codes(features: Tensor, codebook: Any) -> Tensor:
    """The nearest codes in squared Euclidean distance; among equals, the first.

    Args:
        features: float32 [..., code_dim].
        codebook: float32 [num_codes, code_dim].

    Returns:
        int32 [...].

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers.quantization import nearest_codes
        >>> nearest_codes(tf.constant([[0.2], [0.9]]), tf.constant([[0.0], [1.0]])).numpy().tolist()
        [0, 1]
    """
    codebook = tf.convert_to_tensor(codebook)
    flat = tf.reshape(features, [-1, codebook.shape[1]])
    # ‖z − e‖² = ‖z‖² − 2 z·e + ‖e‖², whose first term is the same for all codes.
    products = tf.matmul(flat, codebook, transpose_b=True)
    distances = tf.reduce_sum(tf.square(codebook), axis=1) - 2.0 * products
    codes = tf.argmin(distances, axis=1, output_type=tf.int32)
    return tf.reshape(codes, tf.shape(features)[:-1])


def code_counts(codes: Tensor, num_codes: int) -> Tensor:
    """How often each code occurs, float32 [num_codes].

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers.quantization import code_counts
        >>> code_counts(tf.constant([[0, 2], [2, 2]]), 3).numpy().tolist()
        [1.0, 0.0, 3.0]
    """
    flat = tf.reshape(codes, [-1])
    return tf.math.unsorted_segment_sum(tf.ones_like(flat, tf.float32), flat, num_codes)


def commitment_loss(features: Tensor, quantized: Tensor) -> Tensor:
    """‖z_e(x) − sg[e]‖² (arXiv 1711.00937, eq. 3, third term, without β).

    Args:
        features: z_e(x), float32 [batch, height, width, code_dim].
        quantized: e, like `features`.

    Returns:
        float32 [batch]: the sum over positions and channels, just as likelihoods sum over pixels.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import commitment_loss
        >>> commitment_loss(tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3])).numpy().tolist()
        [12.0]
    """
    return tf.reduce_sum(tf.square(features - tf.stop_gradient(quantized)), axis=[1, 2, 3])


def perplexity(counts: Any) -> Any:
    """The exponential of the entropy of the usage of codes.

    Args:
        counts: The number of positions that take each code, float32 [num_codes].

    Returns:
        Scalar float32, from 1 (at most one code is used) to num_codes (all are used evenly).

    Example:
        >>> from zoo.layers import perplexity
        >>> float(perplexity([5.0, 5.0, 0.0]))
        2.0
    """
    usage = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    return tf.exp(-tf.reduce_sum(tf.math.xlogy(usage, usage)))
