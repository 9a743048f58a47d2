"""Divergences of latents from a prior: per example, in nats where they are of densities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.losses.per_example import full_precision

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor

LOG_2_PI = math.log(2.0 * math.pi)
# Of the WAE authors' code: one kernel of a fixed width sees only latents that are about as far.
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − 1 − log σ²) (arXiv 1312.6114, eq. 10).

    Args:
        mean: μ, float32 [batch, latent_dim].
        log_variance: log σ², float32 [batch, latent_dim].

    Returns:
        float32 [batch], nats.

    Example:
        >>> from zoo import losses
        >>> losses.kl_standard_normal([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]).numpy()
        array([0. , 0.5], dtype=float32)
    """
    mean, log_variance = map(full_precision, (mean, log_variance))
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, axis=1)


def kl_normals(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor
) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(m, diag s²)) = ½ Σ (log s²/σ² + (σ² + (μ − m)²) / s² − 1).

    Args:
        mean: μ, float32 [..., latent_dim].
        log_variance: log σ², like `mean`.
        prior_mean: m, broadcastable to `mean`.
        prior_log_variance: log s², broadcastable to `mean`.

    Returns:
        float32 [...], nats.

    Example:
        >>> from zoo import losses
        >>> losses.kl_normals([[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]).numpy()
        array([0.5], dtype=float32)
    """
    mean, log_variance = map(full_precision, (mean, log_variance))
    prior_mean, prior_log_variance = map(full_precision, (prior_mean, prior_log_variance))
    log_ratio = log_variance - prior_log_variance
    shift = tf.square(mean - prior_mean) * tf.exp(-prior_log_variance)
    return 0.5 * tf.reduce_sum(tf.exp(log_ratio) - 1.0 - log_ratio + shift, axis=-1)


def normal_log_density(latents: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log N(z; μ, diag σ²).

    Args:
        latents: z, float32 [..., latent_dim].
        mean: μ, broadcastable to `latents`.
        log_variance: log σ², broadcastable to `latents`.

    Returns:
        float32 [...], nats.

    Example:
        >>> from zoo import losses
        >>> losses.normal_log_density([[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]).numpy().round(3)
        array([-1.838], dtype=float32)
    """
    return tf.reduce_sum(_log_densities(latents, mean, log_variance), axis=-1)


def total_correlation_terms(
    latents: Tensor, mean: Tensor, log_variance: Tensor, dataset_size: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The three parts of the rate, estimated on a minibatch (arXiv 1802.04942, eq. 2).

    Index-code mutual information log q(z|x) − log q(z), total correlation log q(z) − Σ log q(z_j)
    and dimension-wise KL Σ log q(z_j) − Σ log p(z_j): single draws, whose sum is exactly
    log q(z|x) − log p(z). By minibatch-weighted sampling (appendix C.1),

        log q(z) ≈ log Σ_m q(z | x_m) − log(N M)

    and likewise for each z_j. These are lower bounds in expectation, not close ones: with the
    whole data set as the batch each is short by log N, so in d dimensions the total correlation
    comes out (d − 1) log N too large. That leaves gradients as they are; to measure it with a
    batch that is the data set, pass N = 1.

    Args:
        latents: z ~ q(z | x), float32 [M, latent_dim]: the whole batch, of all replicas.
        mean: μ(x), like `latents`.
        log_variance: log σ²(x), like `latents`.
        dataset_size: N, number of training examples, scalar.

    Returns:
        Mutual information, total correlation and dimension-wise KL, each float32 [M], nats.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> z = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
        >>> [x.shape for x in losses.total_correlation_terms(z, z, z, 1000)]
        [TensorShape([16]), TensorShape([16]), TensorShape([16])]
    """
    latents, mean, log_variance = map(full_precision, (latents, mean, log_variance))
    # [M, M, latent_dim]: log q(z_j of example i | x of example m)
    pairs = _log_densities(latents[:, None], mean, log_variance)
    log_count = tf.math.log(tf.cast(tf.shape(mean)[0], pairs.dtype)) + tf.math.log(
        tf.cast(dataset_size, pairs.dtype)
    )
    conditional = normal_log_density(latents, mean, log_variance)
    joint = tf.reduce_logsumexp(tf.reduce_sum(pairs, axis=2), axis=1) - log_count
    marginals = tf.reduce_sum(tf.reduce_logsumexp(pairs, axis=1) - log_count, axis=1)
    zeros = tf.zeros_like(latents)
    prior = normal_log_density(latents, zeros, zeros)
    return conditional - joint, joint - marginals, marginals - prior


def maximum_mean_discrepancy(
    latents: Tensor, prior_latents: Tensor, kernel: Callable[[Any, Any], Any]
) -> Tensor:
    """Unbiased estimate of MMD² between two samples (Gretton et al. 2012, JMLR 13, eq. 3).

    The penalty of arXiv 1711.01558 (WAE, algorithm 2) and arXiv 1706.02262 (InfoVAE). Being
    unbiased, it is often negative where the distributions are equal.

    Args:
        latents: float32 [n, latent_dim], the whole batch, of all replicas.
        prior_latents: Draws of the prior, like `latents`.
        kernel: Maps [n, latent_dim] and [m, latent_dim] to [n, m].

    Returns:
        float32 [n], whose mean is the estimate. A single example makes no pairs: the terms
        within a sample are 0.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> z, prior = np.random.default_rng(0).normal(size=(2, 100, 2)).astype(np.float32)
        >>> mmd = losses.maximum_mean_discrepancy(z + 9.0, prior, losses.gaussian_kernel)
        >>> bool(np.mean(mmd) > 1.0)
        True
    """
    latents, prior_latents = map(full_precision, (latents, prior_latents))
    within = _mean_to_others(kernel(latents, latents))
    within += _mean_to_others(kernel(prior_latents, prior_latents))
    return within - 2.0 * tf.reduce_mean(kernel(latents, prior_latents), axis=1)


def inverse_multiquadratic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Σ_s C s / (C s + ‖x − y‖²), C = 2 d for N(0, I) in d dimensions (arXiv 1711.01558, § 4).

    C is the expected ‖x − y‖² of two draws of the prior. The scales s, 0.1 to 10, are those of the
    authors' code; the paper has s = 1 alone.

    Args:
        x: float32 [n, latent_dim].
        y: float32 [m, latent_dim].

    Returns:
        float32 [n, m] in (0, 7].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> z = np.zeros((3, 2), np.float32)
        >>> losses.inverse_multiquadratic_kernel(z, z[:1]).numpy()
        array([[7.],
               [7.],
               [7.]], dtype=float32)
    """
    distances, dims = _squared_distances(x, y)
    return tf.add_n([2.0 * dims * s / (2.0 * dims * s + distances) for s in SCALES])


def gaussian_kernel(x: Tensor, y: Tensor) -> Tensor:
    """exp(−‖x − y‖² / (2σ²)) with 2σ² = d², d the latent dimension (arXiv 1706.02262).

    The paper leaves σ open; this one is of the authors' code (ShengjiaZhao/MMD-Variational-
    Autoencoder), which divides the mean square of x − y by d.

    Args:
        x: float32 [n, latent_dim].
        y: float32 [m, latent_dim].

    Returns:
        float32 [n, m] in (0, 1].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> z = np.float32([[0.0, 0.0], [2.0, 0.0]])
        >>> losses.gaussian_kernel(z, z).numpy().round(3)
        array([[1.   , 0.368],
               [0.368, 1.   ]], dtype=float32)
    """
    distances, dims = _squared_distances(x, y)
    return tf.exp(-distances / tf.square(dims))


def _log_densities(latents: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log N(z_j; μ_j, σ_j²) of each dimension by itself."""
    latents, mean, log_variance = map(full_precision, (latents, mean, log_variance))
    squared = tf.square(latents - mean) * tf.exp(-log_variance)
    return -0.5 * (squared + log_variance + LOG_2_PI)


def _squared_distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """‖x_i − y_j‖² [n, m], and the dimension.

    By differences: ‖x‖² + ‖y‖² − 2 x·y is a matrix product, which GPUs round to TensorFloat-32.
    """
    x, y = full_precision(x), full_precision(y)
    dims = tf.cast(tf.shape(x)[1], x.dtype)
    return tf.reduce_sum(tf.math.squared_difference(x[:, None], y), axis=2), dims


def _mean_to_others(kernel: Tensor) -> Tensor:
    """Mean of each row of [n, n] without its diagonal."""
    others = tf.linalg.set_diag(kernel, tf.zeros_like(kernel[0]))
    count = tf.cast(tf.maximum(tf.shape(kernel)[0] - 1, 1), kernel.dtype)
    return tf.reduce_sum(others, axis=1) / count
