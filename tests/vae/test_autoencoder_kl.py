"""The autoencoder of latent diffusion: grids of latents, any size, and the loss of its paper.

What its networks compute is compared with diffusers in `tests/hub/test_diffusers.py`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import zoo
from zoo.evaluation.measure import likelihood_metrics

SMALL: dict[str, Any] = {"channels": (4, 8), "groups": 2}
SHAPE = (8, 12, 3)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, *SHAPE), np.float32)


@pytest.fixture(scope="module")
def model() -> Any:
    return zoo.create("autoencoder_kl", SHAPE, 2, **SMALL, kl_weight=0.25)


def test_a_flat_latent_is_the_grid(model: Any) -> None:
    assert (model.grid, model.noise_dim) == ((4, 6, 2), 48)
    mean, log_variance = model.encode(IMAGES)
    flat, deviation = model.latent_code(IMAGES)
    np.testing.assert_array_equal(flat, np.reshape(mean, (3, 48)))
    np.testing.assert_allclose(deviation, np.exp(np.reshape(log_variance, (3, 48)) / 2), rtol=1e-6)
    np.testing.assert_array_equal(model.decode(flat), model.reconstruct(IMAGES))


def test_other_sizes(model: Any) -> None:
    """At inference every size that the factor divides; in training the model's own."""
    image = RNG.random((1, 18, 6, 3), np.float32)
    mean, _ = model.encode(image)
    assert mean.shape == (1, 9, 3, 2)
    assert model.decode(mean).shape == image.shape
    with pytest.raises(ValueError, match=r"7 × 12 images.*divisible by 2. Resize to 8 × 12"):
        model.encode(IMAGES[:, :7])
    with pytest.raises(ValueError, match=r"expected \[batch, height, width, 3\]"):
        model.encode(IMAGES[..., :2])
    with pytest.raises(ValueError, match="model was created with"):
        model.batch_of(tf.constant(image))


def test_the_loss(model: Any) -> None:
    """Absolute errors with a scale, and the weighted KL: against SciPy and its closed form."""
    noise = RNG.normal(size=(3, 48)).astype(np.float32)
    model.pixels.log_scale.assign(-1.0)
    terms = model.terms({"images": tf.constant(IMAGES), "posterior": noise}, training=True)
    mean, log_variance = (np.float64(np.reshape(x, (3, 48))) for x in model.encode(IMAGES))
    latents = mean + np.exp(log_variance / 2) * noise
    values = np.float64(model.logits(np.float32(latents)))
    distortion = -scipy.stats.laplace.logpdf(IMAGES, values, np.exp(-1)).sum(axis=(1, 2, 3))
    rate = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(terms["distortion"], distortion, rtol=1e-5)
    np.testing.assert_allclose(terms["rate"], rate, rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], distortion + 0.25 * rate, rtol=1e-5)
    model.pixels.log_scale.assign(0.0)


@pytest.mark.slow
def test_the_importance_weights(model: Any) -> None:
    noise = RNG.normal(size=(2, 3, 48)).astype(np.float32)
    found = model.log_weights(IMAGES, noise)
    mean, deviation = (np.float64(x) for x in model.latent_code(IMAGES))
    for k in range(2):
        latents = mean + deviation * noise[k]
        values = np.float64(model.logits(np.float32(latents)))
        wanted = scipy.stats.laplace.logpdf(IMAGES, values).sum(axis=(1, 2, 3))
        wanted += scipy.stats.norm.logpdf(latents).sum(axis=1)
        wanted -= scipy.stats.norm.logpdf(latents, mean, deviation).sum(axis=1)
        np.testing.assert_allclose(found[k], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": ()}, r"channels=\[\], blocks=1, groups=2: expected at least one level"),
        ({"blocks": 0}, "blocks=0"),
        ({"groups": 3}, "groups=3: expected a divisor of the channels of every level, 4, 8"),
        ({"channels": (4, 4, 4, 4)}, r"8 × 12 images: with 4 levels .* by 8. Resize to 8 × 16"),
        ({"kl_weight": -1.0}, "kl_weight=-1.0: expected at least 0"),
        ({"scaling_factor": 0.0}, "scaling_factor=0"),
        ({"num_classes": 3}, "num_classes=3: autoencoder_kl takes none"),
        ({"network": "conv"}, "network='conv': expected 'autoencoder_kl'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.create("autoencoder_kl", SHAPE, 2, **{**SMALL, **options})


@pytest.mark.slow
def test_it_learns_and_samples(model: Any) -> None:
    """Images of two grey blocks: reconstructed, and drawn by a sampler where N(0, I) fails."""
    grey = np.random.default_rng(0).random((256, 2, 1, 1), np.float32)
    images = np.kron(grey, np.ones((1, 4, 8, 1), np.float32))
    keras.utils.set_random_seed(0)
    vae = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(16, 32), groups=4)
    vae.compile(keras.optimizers.Adam(3e-3))
    vae.fit(images, batch_size=32, epochs=30, verbose=0)
    metrics = likelihood_metrics(vae, images[:64], 4, seed=0)
    assert metrics["mse"] < 0.1 * images.var()
    assert metrics["elbo"] <= metrics["iwae_bound"]
    drawn = vae.generate_from(zoo.fit_sampler(vae, images, "gmm", components=2).sample(64, seed=0))

    def off(x: np.ndarray) -> float:
        """Mean variance within a block; 0 for real images."""
        return float(x.reshape(-1, 2, 4, 8).var(axis=(2, 3)).mean())

    assert off(drawn) < off(vae.generate(64, seed=0))


@pytest.mark.slow
def test_the_size_of_stable_diffusions() -> None:
    options = {"channels": (128, 256, 512, 512), "blocks": 2, "groups": 32}
    vae = zoo.create("autoencoder_kl", (256, 256, 3), 4, **options)
    assert vae.grid == (32, 32, 4)
    counts = [network.count_params() for network in (vae.encoder, vae.decoder)]
    assert counts == [34_163_592 + 72, 49_490_179 + 20]  # 83,653,863 with both 1 × 1 convolutions
