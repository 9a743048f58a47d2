"""Paths between latents."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def slerp(first: Any, second: Any, fraction: Any) -> Any:
    """Spherical interpolation (arXiv 1609.04468), which keeps to the shell where latents live.

    Args:
        first: float32 [..., latent_dim].
        second: float32 [..., latent_dim].
        fraction: In [0, 1], float32 [..., 1].

    Returns:
        float32 tensor [..., latent_dim].

    Example:
        >>> from zoo.sampling.interpolation import slerp
        >>> slerp([1.0, 0.0], [0.0, 1.0], 0.5).numpy().round(3).tolist()
        [0.707, 0.707]
    """
    unit = [tf.math.l2_normalize(x, axis=-1) for x in (first, second)]  # of 0, 0
    cosine = tf.reduce_sum(unit[0] * unit[1], axis=-1, keepdims=True)
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    sine = tf.sin(angle)
    # Parallel latents, always so in one dimension, have no great circle: interpolate linearly.
    straight = sine < 1e-3
    sine = tf.where(straight, 1.0, sine)
    weight = tf.where(straight, fraction, tf.sin(fraction * angle) / sine)
    rest = tf.where(straight, 1.0 - fraction, tf.sin((1.0 - fraction) * angle) / sine)
    return rest * first + weight * second
