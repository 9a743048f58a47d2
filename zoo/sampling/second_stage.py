"""The second stage of a two-stage VAE: a VAE of latents (arXiv 1903.05789).

The aggregate posterior q(z) of the first VAE fills all dimensions of its latents. So a second VAE
with as many latents u can match it, and then its own aggregate posterior is p(u) = N(0, I) (section
4.1). To sample, draw u ~ N(0, I), then z ~ p(z | u) = N(μ(u), γI), then the image of z.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo import data, losses
from zoo.core.adam import Adam
from zoo.vae._likelihoods import MIN_VARIANCE

if TYPE_CHECKING:
    from zoo.io.types import Tensor

WIDTH = 256
BATCH = 256
LEARNING_RATE = 1e-3
FIRST_LOG_VARIANCE = -4.0


class SecondStage(keras.Model):
    """VAE of latents z, with as many latents u. Both networks are MLPs that also pass their input.

    γ has the value that is optimal for each batch, the mean squared error. It is a constant in the
    gradient, which is then that of d/2 log MSE (arXiv 2006.13202, eq. 5). The paper trains γ: that
    ends at the same value, but takes more steps than are taken here.

    q(u | z) begins narrow. With a log-variance of 0 the decoder would see noise and learn the mean,
    with γ = 1, the variance of the data. Training hardly leaves that point.

    Args:
        dims: d, dimensions of z and of u.
        seed: Seed of the initial weights.

    Example:
        >>> import numpy as np
        >>> from zoo.sampling.second_stage import SecondStage
        >>> z = np.zeros((5, 2), np.float32)
        >>> SecondStage(2)([z, z]).shape
        TensorShape([5])
    """

    def __init__(self, dims: int, seed: int = 0) -> None:
        super().__init__()
        self.encoder = _mlp(dims, 2 * dims, 2 * seed)
        self.decoder = _mlp(dims, dims, 2 * seed + 1)
        first = np.repeat([0.0, FIRST_LOG_VARIANCE], dims)
        self.encoder.layers[-1].bias.assign(first)

    def call(self, inputs: Tensor) -> Tensor:
        """Squared error per dimension, float32 [batch], for latents z and noise ε, each [batch, d].

        Adds the loss −E[log p(z | u)] + KL(q(u | z) ‖ N(0, I)), in nats.
        """
        z, noise = inputs
        mean, log_variance = tf.split(self.encoder(z), 2, axis=1)
        decoded = self.decoder(mean + tf.exp(0.5 * log_variance) * noise)
        error = tf.reduce_mean(tf.square(z - decoded), axis=1)
        gamma = tf.maximum(tf.stop_gradient(tf.reduce_mean(error)), MIN_VARIANCE)
        log_likelihood = losses.normal_log_density(z, decoded, tf.math.log(gamma))
        rate = losses.kl_standard_normal(mean, log_variance)
        self.add_loss(tf.reduce_mean(rate - log_likelihood))
        return error


def fit_second_stage(
    means: np.ndarray, deviations: np.ndarray, *, steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Trains a second stage on an aggregate posterior, for `sample_second_stage`.

    Args:
        means: Posterior means of the first VAE, float [n, d].
        deviations: Standard deviations, like `means`. z is drawn anew for every batch.
        steps: Number of updates, at least 1. The learning rate falls to 0.
        seed: Seed of weights, order and noise.

    Returns:
        `shift` and `scale`, float32 [d], which give q(z) unit variance for the networks; `gamma` in
        those units; and `decoder_0`, …, the weights of μ.

    Example:
        >>> import numpy as np
        >>> from zoo.sampling.second_stage import fit_second_stage, sample_second_stage
        >>> means = np.random.default_rng(0).normal(size=(30, 2))
        >>> arrays = fit_second_stage(means, np.full((30, 2), 0.1), steps=2, seed=0)
        >>> sample_second_stage(arrays, 5, seed=0).shape
        (5, 2)
    """
    if steps < 1:
        msg = f"steps={steps}: expected at least 1."
        raise ValueError(msg)
    dims = means.shape[1]
    shift = means.mean(axis=0)
    scale = np.sqrt(means.var(axis=0) + np.square(deviations).mean(axis=0))
    batches = _batches((means - shift) / scale, deviations / scale, seed)
    model = SecondStage(dims, seed)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(optimizer=Adam(rate))
    model.fit(batches.take(steps), shuffle=False, verbose=0)
    errors = [model(inputs) for (inputs,) in batches.skip(steps).take(20)]
    arrays = {"shift": shift, "scale": scale, "gamma": np.mean(errors)}
    arrays |= {f"decoder_{i}": w for i, w in enumerate(model.decoder.get_weights())}
    return {name: np.asarray(value, np.float32) for name, value in arrays.items()}


def sample_second_stage(arrays: dict[str, np.ndarray], n: int, seed: int) -> np.ndarray:
    """Draws latents z, float32 [n, d]: u, then z given u.

    Args:
        arrays: What `fit_second_stage` returned. `zoo.presets.sampler.read_sampler` checks those of
            a file.
        n: Number of latents.
        seed: The same seed gives the same latents.

    Example:
        >>> import numpy as np
        >>> from zoo.sampling.second_stage import fit_second_stage, sample_second_stage
        >>> means = np.random.default_rng(0).normal(size=(30, 2))
        >>> arrays = fit_second_stage(means, np.full((30, 2), 0.1), steps=1, seed=0)
        >>> sample_second_stage(arrays, 4, seed=0).dtype
        dtype('float32')
    """
    weights = [arrays[f"decoder_{i}"] for i in range(len(arrays) - 3)]
    dims = len(arrays["shift"])
    decoder = _mlp(dims, dims, seed=0)
    decoder.set_weights(weights)
    u, noise = np.random.default_rng(seed).standard_normal((2, n, dims), np.float32)
    z = decoder(u).numpy() + np.sqrt(arrays["gamma"]) * noise
    return arrays["shift"] + arrays["scale"] * z


def _batches(means: np.ndarray, deviations: np.ndarray, seed: int) -> tf.data.Dataset:
    """Endless ((z, ε),), each float32 [BATCH, d]; batch t depends on the seed and t alone."""
    mean, deviation = (tf.constant(x, tf.float32) for x in (means, deviations))
    n, dims = means.shape

    def batch(step: Any) -> Any:
        seeds = tf.stack([tf.constant(seed, tf.int64), step])
        rows = tf.random.stateless_uniform([BATCH], seeds, 0, n, tf.int32)
        of_z, of_u = tf.unstack(tf.random.stateless_normal([2, BATCH, dims], seeds))
        return ((tf.gather(mean, rows) + tf.gather(deviation, rows) * of_z, of_u),)

    return data.untuned(tf.data.Dataset.range(np.iinfo(np.int64).max).map(batch))


def _mlp(dims: int, outputs: int, seed: int) -> keras.Model:
    """[batch, dims] to [batch, outputs]."""
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=3).tolist())

    def dense(units: int, activation: str | None = None) -> keras.layers.Layer:
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        return keras.layers.Dense(units, activation, kernel_initializer=initializer)

    inputs = keras.Input([dims])
    x = dense(WIDTH, "relu")(inputs)
    x = dense(WIDTH, "relu")(x)
    return keras.Model(inputs, dense(outputs)(keras.layers.Concatenate()([inputs, x])))
