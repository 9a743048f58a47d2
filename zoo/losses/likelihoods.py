"""Negative log-likelihoods of images given a decoder's output: [batch], in nats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.losses.per_example import full_precision, sum_per_example

if TYPE_CHECKING:
    from zoo.io.types import Tensor

LOG_2_PI = math.log(2.0 * math.pi)
# Below this |logit| the continuous Bernoulli's closed forms are 0/0 or nearly: series stand in,
# whose first omitted terms are below float32's resolution.
SERIES_BELOW = 0.3
HALF_LEVEL = 0.5 / 255.0
# Wider or narrower scales would overflow float32; those of images are e^-7 to e^0.
MAX_LOG_SCALE = 20.0
MIN_LOG_SCALE = -7.0  # of a mixture's components, on the scale of images in [−1, 1]


def gaussian_nll(images: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """−log N(x; μ, σ²I) with one σ² for all pixels (arXiv 1312.6114, appendix C.2).

    Args:
        images: x, float32 [batch, height, width, channels].
        mean: μ, like `images`.
        variance: σ², scalar.

    Returns:
        float32 [batch], nats.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> x = np.zeros((2, 8, 8, 1), np.float32)
        >>> losses.gaussian_nll(x, x, 1.0).numpy().round(2)
        array([58.81, 58.81], dtype=float32)
    """
    images, mean, variance = map(full_precision, (images, mean, variance))
    dims = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), images.dtype)
    squared_error = sum_per_example(tf.square(images - mean))
    return 0.5 * (dims * (LOG_2_PI + tf.math.log(variance)) + squared_error / variance)


def laplace_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """−Σ log p(x) = Σ |x − μ| / b + log 2b, of Laplace distributions with one scale b.

    It is the absolute error of latent diffusion's autoencoder (arXiv 2112.10752, appendix G; its
    code learns log b).

    Args:
        images: x, float32 [batch, height, width, channels].
        mean: μ, like `images`.
        log_scale: log b, scalar.

    Returns:
        float32 [batch], nats.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> x = np.zeros((2, 8, 8, 1), np.float32)
        >>> losses.laplace_nll(x, x + 1.0, 0.0).numpy().round(2)
        array([108.36, 108.36], dtype=float32)
    """
    images, mean, log_scale = map(full_precision, (images, mean, log_scale))
    distance = tf.abs(images - mean) * tf.exp(-log_scale)
    return sum_per_example(distance + log_scale + math.log(2.0))


def bernoulli_nll(images: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy −Σ x log p + (1 − x) log(1 − p), p = sigmoid(logits) (arXiv 1312.6114, C.1).

    A likelihood for binary pixels. For grey ones it is the customary stand-in, not a density:
    its values do not compare with those of a Gaussian.

    Args:
        images: x, float32 [batch, height, width, channels] in [0, 1].
        logits: Like `images`.

    Returns:
        float32 [batch], nats.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> x = np.zeros((2, 8, 8, 1), np.float32)
        >>> losses.bernoulli_nll(x, x).numpy().round(2)
        array([44.36, 44.36], dtype=float32)
    """
    images, logits = map(full_precision, (images, logits))
    return sum_per_example(tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits))


def continuous_bernoulli_nll(images: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy minus Σ log C(λ), λ = sigmoid(logits): a density (arXiv 1907.06845, eq. 3–4).

    Its C(λ) = 2 artanh(1 − 2λ) / (1 − 2λ), 2 at λ = ½, is l / tanh(l / 2) in the logit l.

    Args:
        images: x, float32 [batch, height, width, channels] in [0, 1].
        logits: Like `images`.

    Returns:
        float32 [batch], nats; a density on [0, 1], so it may be negative.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> x = np.ones((2, 8, 8, 1), np.float32)
        >>> losses.continuous_bernoulli_nll(x, 2.0 * x).numpy().round(2)
        array([-53.67, -53.67], dtype=float32)
    """
    logits = full_precision(logits)
    near, far, square = _near_and_far(logits)
    series = math.log(2.0) + square * (1 / 12 + square * (-7 / 1440 + square * (31 / 90720)))
    exact = tf.math.log(far / tf.tanh(0.5 * far))
    return bernoulli_nll(images, logits) - sum_per_example(tf.where(near, series, exact))


def continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """Mean λ / (2λ − 1) + 1 / (2 artanh(1 − 2λ)), ½ at λ = ½ (arXiv 1907.06845, eq. 8).

    It is ½ + ½ / tanh(l / 2) − 1 / l in the logit l of λ.

    Args:
        logits: float32, of any shape.

    Returns:
        Like `logits`, in [0, 1].

    Example:
        >>> from zoo import losses
        >>> losses.continuous_bernoulli_mean([-5.0, 0.0, 5.0]).numpy().round(3)
        array([0.193, 0.5  , 0.807], dtype=float32)
    """
    logits = full_precision(logits)
    near, far, square = _near_and_far(logits)
    series = 0.5 + logits * (1 / 12 + square * (-1 / 720 + square * (1 / 30240)))
    return tf.where(near, series, 0.5 + 0.5 / tf.tanh(0.5 * far) - 1.0 / far)


def discretized_logistic_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """−log P(x) for the mass of a logistic on each of 256 grey levels (arXiv 1701.05517, eq. 2).

    P(x) = F(x + ½) − F(x − ½) in grey levels, F(x) = sigmoid((x − μ) / s); the levels 0 and 255
    take the tails. One component, as in arXiv 1606.04934, section 5.1.

    Args:
        images: x, float32 [batch, height, width, channels], k / 255 with k = 0, …, 255.
        mean: μ, like `images`, on their scale: 0 is black and 1 white.
        log_scale: log s on that scale too; scalar or broadcastable to `images`. Kept within ±20.

    Returns:
        float32 [batch], nats of a discrete distribution: at least 0.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> x = np.zeros((2, 8, 8, 1), np.float32)
        >>> losses.discretized_logistic_nll(x, x, -3.0).numpy().round(2)
        array([43.11, 43.11], dtype=float32)
    """
    images, mean, log_scale = map(full_precision, (images, mean, log_scale))
    return sum_per_example(_discretized_logistic(images, mean, log_scale))


def mixture_size(channels: int) -> int:
    """Number of logits that describe one component of the mixture below, for a pixel.

    They are its weight, a mean and a scale per channel, and a coefficient per pair of channels.

    Example:
        >>> from zoo.losses.likelihoods import mixture_size
        >>> mixture_size(1), mixture_size(3)
        (3, 10)
    """
    return 1 + 2 * channels + channels * (channels - 1) // 2


def discretized_logistic_mixture_nll(images: Tensor, logits: Tensor) -> Tensor:
    """−log P(x) of a mixture of discretized logistics per pixel (arXiv 1701.05517, eq. 1 to 3).

    A component has all channels of a pixel. Given the channels before it, a channel is a
    logistic around μ_c + Σ_b tanh(κ_bc) x_b, with x in [−1, 1] (eq. 3). Its mass on each grey level
    is that of `discretized_logistic_nll`. As in the authors' code log s is at least −7.

    Args:
        images: x, float32 [batch, height, width, channels], k / 255 with k = 0, …, 255.
        logits: float32 [batch, height, width, K · `mixture_size(channels)`]: K logits of the
            weights; then μ and log s, K for each channel; then κ, K for each pair of channels
            (0, 1), (0, 2), (1, 2), ….

    Returns:
        float32 [batch], nats of a discrete distribution: at least 0.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> x = np.zeros((2, 8, 8, 3), np.float32)
        >>> logits = np.zeros((2, 8, 8, 20), np.float32)
        >>> losses.discretized_logistic_mixture_nll(x, logits).numpy().round(1)
        array([251.6, 251.6], dtype=float32)
    """
    images, logits = map(full_precision, (images, logits))
    weights, means, log_scales, coefficients = _components(logits, images.shape[-1])
    signed = 2.0 * images - 1.0
    nll = -tf.nn.log_softmax(weights)
    for c, (mean, log_scale) in enumerate(zip(means, log_scales, strict=True)):
        shifts = [coefficients[b, c] * signed[..., b, None] for b in range(c)]
        # On the scale of the images, which is half as wide.
        center, log_width = 0.5 * (sum(shifts, mean) + 1.0), log_scale - math.log(2.0)
        nll += _discretized_logistic(images[..., c, None], center, log_width)
    return sum_per_example(-tf.reduce_logsumexp(-nll, axis=-1))


def discretized_logistic_mixture_mean(logits: Tensor, channels: int) -> Tensor:
    """Mean images of `discretized_logistic_mixture_nll`, up to the rounding to grey levels.

    A component's channel has the mean of its logistic with the tails beyond 0 and 1 moved there,
    s [softplus(μ / s) − softplus((μ − 1) / s)]. A later channel takes the mean of the earlier ones
    for their values, which is exact but for the tails.

    Args:
        logits: As there.
        channels: Number of channels of the images.

    Returns:
        [batch, height, width, channels] in [0, 1], of the dtype of `logits`, at least float32.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> logits = np.zeros((2, 8, 8, 20), np.float32)
        >>> losses.discretized_logistic_mixture_mean(logits, 3).shape
        TensorShape([2, 8, 8, 3])
    """
    weights, means, log_scales, coefficients = _components(full_precision(logits), channels)
    drawn: list[Any] = []  # of each component
    for c, (mean, log_scale) in enumerate(zip(means, log_scales, strict=True)):
        shifts = [coefficients[b, c] * (2.0 * drawn[b] - 1.0) for b in range(c)]
        center, scale = 0.5 * (sum(shifts, mean) + 1.0), 0.5 * tf.exp(log_scale)
        above = tf.nn.softplus(center / scale) - tf.nn.softplus((center - 1.0) / scale)
        drawn.append(tf.clip_by_value(scale * above, 0.0, 1.0))  # against rounding
    return tf.stack([tf.reduce_sum(tf.nn.softmax(weights) * x, axis=-1) for x in drawn], axis=-1)


def _components(logits: Tensor, channels: int) -> tuple[Any, list[Any], list[Any], dict[Any, Any]]:
    """Weights' logits, μ and log s by channel, tanh κ by pair of channels; each [..., K]."""
    weights, *parts = tf.split(logits, mixture_size(channels), axis=-1)
    means, log_scales = parts[:channels], parts[channels : 2 * channels]
    pairs = ((b, c) for c in range(channels) for b in range(c))
    coefficients = dict(zip(pairs, map(tf.tanh, parts[2 * channels :]), strict=True))
    return weights, means, [tf.maximum(x, MIN_LOG_SCALE) for x in log_scales], coefficients


def _discretized_logistic(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """−log P(x) of each value, as `discretized_logistic_nll` describes it."""
    inverse_scale = tf.exp(-tf.clip_by_value(log_scale, -MAX_LOG_SCALE, MAX_LOG_SCALE))
    above = tf.nn.softplus((mean - images - HALF_LEVEL) * inverse_scale)  # −log F(x + ½)
    below = tf.nn.softplus((images - mean - HALF_LEVEL) * inverse_scale)  # −log(1 − F(x − ½))
    # F(a) − F(b) = F(a) (1 − F(b)) (1 − e^(b − a)): no difference of nearly equal numbers.
    width = -tf.math.log(-tf.math.expm1(-2.0 * HALF_LEVEL * inverse_scale))
    white = images > 1.0 - HALF_LEVEL
    inner = tf.where(white, below, above + below + width)
    return tf.where(images < HALF_LEVEL, above, inner)


def _near_and_far(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where a series holds, logits safe for the closed form, and squares safe for the series.

    Both branches of `tf.where` get finite arguments: a NaN in the unused one would reach the
    gradient as 0 × NaN.
    """
    near = tf.abs(logits) < SERIES_BELOW
    far = tf.where(near, tf.ones_like(logits), logits)
    return near, far, tf.square(tf.where(near, logits, tf.zeros_like(logits)))
