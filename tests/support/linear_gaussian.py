"""A VAE whose likelihood is known exactly."""

from __future__ import annotations

import keras
import numpy as np
import scipy.special
import scipy.stats

import zoo


def linear_gaussian(noise: float = 0.01) -> tuple[keras.Model, scipy.stats.rv_continuous]:
    """A VAE with linear networks, the exact posterior, and its exact p(x) = N(b, A Aᵀ + σ² I).

    The logits move so little that the sigmoid is linear to 1e-5.
    """
    rng = np.random.default_rng(0)
    loadings = 0.004 * rng.normal(size=(2, 4))
    middle = np.full(4, 0.3)
    slope = scipy.special.expit(middle) * (1 - scipy.special.expit(middle))
    a = (loadings * slope).T  # [pixels, latents]
    precision = np.eye(2) + a.T @ a / noise**2
    covariance = np.linalg.inv(precision)
    # A diagonal posterior needs orthogonal loadings: rotate the latents until it is one.
    _, vectors = np.linalg.eigh(precision)
    a, loadings = a @ vectors, vectors.T @ loadings
    covariance = np.linalg.inv(np.eye(2) + a.T @ a / noise**2)
    gain = covariance @ a.T / noise**2
    images = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(images)
    mean = keras.layers.Dense(2, name="mean")
    log_variance = keras.layers.Dense(2, name="log_variance")
    encoder = keras.Model(images, [mean(flat), log_variance(flat)])
    mean.set_weights([gain.T, -gain @ scipy.special.expit(middle)])
    log_variance.set_weights([np.zeros((4, 2)), np.log(np.diag(covariance))])
    dense = keras.layers.Dense(4)
    decoder = keras.Sequential([keras.Input((2,)), dense, keras.layers.Reshape((2, 2, 1))])
    dense.set_weights([loadings, middle])
    vae = zoo.create("vae", (2, 2, 1), 2, encoder=encoder, decoder=decoder)
    vae.pixels.variance.assign(noise**2)
    exact = scipy.stats.multivariate_normal(
        scipy.special.expit(middle), a @ a.T + noise**2 * np.eye(4)
    )
    return vae, exact
