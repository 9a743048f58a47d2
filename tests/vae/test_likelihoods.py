"""Every likelihood of a decoder is what it says: a density or a mass, around its mean image."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.evaluation.measure import likelihood_metrics
from zoo.losses import sum_per_example
from zoo.vae._likelihoods import LIKELIHOODS, LearnedGaussian

# Where each is a density; others are on the whole line.
SUPPORT = {"continuous_bernoulli": (0.0, 1.0)}
FAR = 60.0  # in units of a density whose scale is about 1


class Laplace(LearnedGaussian):
    """p(x | z) = Π exp(−|x − μ| / b) / 2b, as a user would write it."""

    def nll(self, images: Any, logits: Any, statistic: Any) -> Any:
        """−log p(x | z), [batch] in nats."""
        distance = tf.abs(images - self.mean(logits)) / tf.exp(self._bounded())
        return sum_per_example(distance + self._bounded() + math.log(2.0))

    def pixel_deviation(self) -> Any:
        """√2 b."""
        return math.sqrt(2.0) * tf.exp(self._bounded())


class Unnormalised(Laplace):
    """As a mistake would have it: with log b where log 2b belongs."""

    def nll(self, images: Any, logits: Any, statistic: Any) -> Any:
        """−log p(x | z), short of log 2."""
        return super().nll(images, logits, statistic) - math.log(2.0)


def _check_values(kind: type, logit: float, support: tuple[float, float]) -> None:
    """Mass 1, the mean image for a mean, and the deviation that it states."""
    pixels = kind(keras.layers.Layer().add_weight)
    if pixels.levels is None:
        x, weight = np.array([0.0, 1.0]), np.ones(2)
    elif pixels.levels == 1:
        x, weight = np.arange(256) / 255, np.ones(256)
    else:  # by the midpoint rule, which is exact to its last digit for smooth densities
        low, high = support
        weight = np.full(200_000, (high - low) / 200_000)
        x = low + (np.arange(len(weight)) + 0.5) * weight
    images = np.float32(x).reshape(-1, 1, 1, 1)
    logits = np.full((len(x), 1, 1, pixels.logits_per_pixel(1)), logit, np.float32)
    nll = np.asarray(pixels.nll(images, logits, None), np.float64)
    assert nll.shape == (len(x),)
    density = weight * np.exp(-nll)
    assert density.sum() == pytest.approx(1.0, abs=1e-5)
    mean = float(pixels.mean(logits)[0, 0, 0, 0])
    if pixels.levels != 1 or logit == 0.0:  # the last levels, 0 and 255, take whole tails
        assert density @ x == pytest.approx(mean, abs=1e-5)
    deviation = float(pixels.pixel_deviation())
    if deviation and pixels.levels != 1:
        assert np.sqrt(density @ (x - mean) ** 2) == pytest.approx(deviation, rel=1e-4)


@pytest.mark.parametrize("logit", [0.0, -1.5, 0.8])
@pytest.mark.parametrize("name", [*LIKELIHOODS, "laplace"])
def test_values(name: str, logit: float) -> None:
    kind = {**LIKELIHOODS, "laplace": Laplace}[name]
    if name == "laplace_linear":  # whose logits are pixels
        logit = 0.5 + 0.3 * logit
    _check_values(kind, logit, SUPPORT.get(name, (-FAR, FAR)))


def test_the_mass_of_colours() -> None:
    """Channels that depend on each other: 256² colours of a mixture have mass 1 in all."""
    pixels = LIKELIHOODS["discretized_logistic_mixture"](keras.layers.Layer().add_weight)
    levels = np.arange(256) / 255
    colours = np.stack(np.meshgrid(levels, levels), axis=-1).reshape(-1, 1, 1, 2)
    rng = np.random.default_rng(0)
    one = 2 * rng.normal(size=(1, 1, 1, pixels.logits_per_pixel(2)))
    logits = np.broadcast_to(one, (len(colours), 1, 1, one.size))
    mass = np.exp(-np.float64(pixels.nll(np.float32(colours), np.float32(logits), None)))
    assert mass.sum() == pytest.approx(1.0, abs=1e-5)
    found = pixels.mean(np.float32(one))[0, 0, 0, 0]  # the first channel depends on no other
    assert mass @ colours[:, 0, 0, 0] == pytest.approx(float(found), abs=0.5 / 255)


@pytest.mark.parametrize("name", ["vae", "vq_vae"])
def test_a_mixture_has_many_logits(name: str, images: np.ndarray) -> None:
    """Thirty for a grey pixel. Every VAE takes them, and makes images of them."""
    network = {"vae": "mlp", "vq_vae": "grid-4"}[name]
    model = zoo.create(
        name, (8, 8, 1), 3, network=network, likelihood="discretized_logistic_mixture"
    )
    assert model.decoder.output_shape == (None, 8, 8, 30)
    assert model.reconstruct(images[:3]).shape == (3, 8, 8, 1)


def test_a_wrong_density_is_seen() -> None:
    with pytest.raises(AssertionError, match=r"1\.99.* == 1\.0"):
        _check_values(Unnormalised, 0.8, (-FAR, FAR))


@pytest.mark.parametrize("name", [*LIKELIHOODS, "laplace"])
def test_an_image_is_the_product_of_its_pixels(name: str) -> None:
    pixels = {**LIKELIHOODS, "laplace": Laplace}[name](keras.layers.Layer().add_weight)
    rng = np.random.default_rng(0)
    images = np.float32(np.round(rng.random((3, 2, 4, 1)) * 255) / 255)
    logits = rng.normal(size=(3, 2, 4, pixels.logits_per_pixel(1))).astype(np.float32)
    single = pixels.nll(images.reshape(24, 1, 1, 1), logits.reshape(24, 1, 1, -1), None)
    wanted = np.asarray(single).reshape(3, 8).sum(axis=1)
    np.testing.assert_allclose(pixels.nll(images, logits, None), wanted, rtol=1e-5)


def test_linear_pixels_are_cut_off_but_their_density_is_not() -> None:
    pixels = LIKELIHOODS["laplace_linear"](keras.layers.Layer().add_weight)
    logits = np.float32([-0.5, 0.25, 1.5]).reshape(3, 1, 1, 1)
    assert pixels.mean(logits).numpy().ravel().tolist() == [0.0, 0.25, 1.0]
    nll = pixels.nll(np.zeros((3, 1, 1, 1), np.float32), logits, None)
    np.testing.assert_allclose(nll, np.log(2) + np.abs(logits.ravel()), rtol=1e-6)


@pytest.mark.slow
def test_a_likelihood_of_ones_own(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Named in the table, it trains its scale, is measured in bits, saved and loaded."""
    monkeypatch.setitem(LIKELIHOODS, "laplace", Laplace)
    model = zoo.create("vae", (8, 8, 1), 3, network="mlp", likelihood="laplace")
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(images, batch_size=20, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert float(model.pixels.pixel_deviation()) < 1.3  # from √2
    results = likelihood_metrics(model, images, 4, seed=0)
    bits = -results["iwae_bound"] / (64 * math.log(2)) + 8
    assert results["bits_per_dim"] == pytest.approx(bits, rel=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.pixels.log_scale, model.pixels.log_scale)
    np.testing.assert_array_equal(again.reconstruct(images[:3]), model.reconstruct(images[:3]))
