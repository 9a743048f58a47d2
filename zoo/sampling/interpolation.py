"""Paths between latents, and the images along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from zoo.core.model import ZooModel
    from zoo.io.types import Tensor


def interpolate(model: ZooModel, rows: int = 6, steps: int = 10, seed: int = 0) -> np.ndarray:
    """Images along great circles between draws from the prior.

    Args:
        model: A model of the zoo. A conditional one draws one class per row.
        rows: Pairs of latents.
        steps: Images per row, both ends included.
        seed: The same seed gives the same images.

    Returns:
        float32 [rows · steps, height, width, channels] in [0, 1], row by row.

    Example:
        >>> import zoo
        >>> from zoo.sampling.interpolation import interpolate
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> interpolate(model, rows=2, steps=3).shape
        (6, 8, 8, 1)
    """
    latents = model.sample_latents(2 * rows, seed)
    fractions = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    path = slerp(latents[:rows, None], latents[rows:, None], fractions).numpy()
    labels = model.sample_labels(rows, seed)
    labels = None if labels is None else np.repeat(labels, steps)
    return model.generate_from(path.reshape(-1, model.noise_dim), labels)


def slerp(first: Tensor, second: Tensor, fraction: Any) -> Tensor:
    """Spherical interpolation (arXiv 1609.04468), which keeps to the shell where latents live.

    Args:
        first: float32 [..., latent_dim].
        second: float32 [..., latent_dim].
        fraction: In [0, 1], float32 [..., 1].

    Returns:
        float32 tensor [..., latent_dim].

    Example:
        >>> import numpy as np
        >>> from zoo.sampling.interpolation import slerp
        >>> slerp(np.float32([[1, 0]]), np.float32([[0, 1]]), np.float32([[0.5]])).numpy().round(3)
        array([[0.707, 0.707]], dtype=float32)
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
