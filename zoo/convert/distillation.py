"""Training a decoder of any architecture to draw a generator's images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo import data
from zoo.core.adam import Adam

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

BATCH = 128


def distill(
    images: Callable[[np.ndarray], np.ndarray],
    decoder: keras.Model,
    latent_dim: int,
    *,
    steps: int,
    seed: int = 0,
) -> None:
    """Fits a decoder, in place, to E_z ‖sigmoid(D(z)) − G(z)‖² under the prior.

    Args:
        images: G, float32 latents [n, latent_dim] to images in [0, 1].
        decoder: D, latents to logits.
        latent_dim: Number of latent dimensions.
        steps: Training steps, of 128 new latents each; Adam from 2e-3 to 0 by a cosine.
        seed: Seed of the latents.
    """

    def pair(step: Any) -> tuple[Any, Any]:
        latents = tf.random.stateless_normal([BATCH, latent_dim], tf.stack([seed, step]))
        target = tf.numpy_function(images, [latents], tf.float32, stateful=False)
        return latents, tf.ensure_shape(target, [BATCH, *decoder.output_shape[1:]])

    drawn = keras.Model(decoder.inputs[0], keras.ops.sigmoid(decoder.outputs[0]))
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    drawn.compile(Adam(rate), "mse")
    drawn.fit(data.untuned(tf.data.Dataset.range(steps).map(pair)), epochs=1, verbose=0)
