"""Likelihoods, divergences, adversarial losses and gradient penalties: pure functions to [batch].

Everything is float32 and unreduced; likelihoods and divergences are in nats per example.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_2_PI = math.log(2.0 * math.pi)


def sum_per_example(values: Any) -> Any:
    """Sums [batch, ...] over all axes but the first: [batch]."""
    return tf.reduce_sum(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)


# Likelihoods (negative, in nats)


def gaussian_nll(images: Any, mean: Any, variance: Any) -> Any:
    """−log N(x; μ, σ²I) with one σ² for all pixels (arXiv 1312.6114, appendix C.2).

    Args:
        images: x, float32 [batch, height, width, channels].
        mean: μ, like `images`.
        variance: σ², scalar.

    Returns:
        float32 [batch], nats.
    """
    dims = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), tf.float32)
    squared_error = sum_per_example(tf.square(images - mean))
    return 0.5 * (dims * (LOG_2_PI + tf.math.log(variance)) + squared_error / variance)


def bernoulli_nll(images: Any, logits: Any) -> Any:
    """Cross-entropy −Σ x log p + (1 − x) log(1 − p), p = sigmoid(logits) (arXiv 1312.6114, C.1).

    A likelihood for binary pixels. For grey ones it is the customary stand-in, not a density:
    its values do not compare with those of a Gaussian.

    Args:
        images: x, float32 [batch, height, width, channels] in [0, 1].
        logits: Like `images`.

    Returns:
        float32 [batch], nats.
    """
    return sum_per_example(tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits))


# Divergences (in nats)


def kl_standard_normal(mean: Any, log_variance: Any) -> Any:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − 1 − log σ²) (arXiv 1312.6114, eq. 10).

    Args:
        mean: μ, float32 [batch, latent_dim].
        log_variance: log σ², float32 [batch, latent_dim].

    Returns:
        float32 [batch], nats.
    """
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, axis=1)


def normal_log_density(latents: Any, mean: Any, log_variance: Any) -> Any:
    """Log N(z; μ, diag σ²).

    Args:
        latents: z, float32 [..., latent_dim].
        mean: μ, broadcastable to `latents`.
        log_variance: log σ², broadcastable to `latents`.

    Returns:
        float32 [...], nats.
    """
    squared = tf.square(latents - mean) * tf.exp(-log_variance)
    return -0.5 * tf.reduce_sum(squared + log_variance + LOG_2_PI, axis=-1)


# Adversarial losses (logits [batch, 1] to [batch])


def non_saturating_generator_loss(fake_logits: Any) -> Any:
    """−log D(G(z)), D = sigmoid(logits) (arXiv 1406.2661, section 3).

    Args:
        fake_logits: float32 [batch, 1].

    Returns:
        float32 [batch].
    """
    return sum_per_example(tf.nn.softplus(-fake_logits))


def minimax_discriminator_loss(real_logits: Any, fake_logits: Any) -> Any:
    """−log D(x) − log(1 − D(G(z))) (arXiv 1406.2661, eq. 1).

    Args:
        real_logits: float32 [batch, 1].
        fake_logits: float32 [batch, 1].

    Returns:
        float32 [batch].
    """
    return sum_per_example(tf.nn.softplus(-real_logits) + tf.nn.softplus(fake_logits))


def wasserstein_critic_loss(real_logits: Any, fake_logits: Any) -> Any:
    """f(G(z)) − f(x): the negative of the Wasserstein-1 estimate (arXiv 1701.07875, eq. 2).

    Args:
        real_logits: f(x), float32 [batch, 1].
        fake_logits: f(G(z)), float32 [batch, 1].

    Returns:
        float32 [batch].
    """
    return sum_per_example(fake_logits - real_logits)


# Gradient penalties


def gradient_norm_penalty(critic: Callable[[Any], Any], real: Any, fake: Any, mix: Any) -> Any:
    """(‖∇f(x̂)‖₂ − 1)² at x̂ = ε x + (1 − ε) G(z) (arXiv 1704.00028, eq. 3 and algorithm 1).

    Args:
        critic: f, maps images [batch, height, width, channels] to logits [batch, 1].
        real: x, float32 [batch, height, width, channels].
        fake: G(z), like `real`.
        mix: ε ~ U(0, 1), one an example, float32 [batch, 1, 1, 1].

    Returns:
        float32 [batch], without the factor λ.
    """
    between = mix * real + (1.0 - mix) * fake
    with tf.GradientTape() as tape:
        tape.watch(between)
        logits = critic(between)
    # A ReLU critic may be flat at a point, where √ has no derivative: 1e-12 keeps it finite.
    squared_norm = sum_per_example(tf.square(tape.gradient(logits, between)))
    return tf.square(tf.sqrt(squared_norm + 1e-12) - 1.0)
