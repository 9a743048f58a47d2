"""VAE/GAN and Soft-IntroVAE: their losses written out in NumPy, and who is moved by which."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM


def _model(name: str, **options: Any) -> Any:
    return zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)


def _batch(model: Any, images: np.ndarray) -> dict[str, Any]:
    return {"images": tf.constant(images), **model.draws(model.drawing(tf.constant(images)))}


def _numpy(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64)


def _kl(mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    return 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)[:, 0]


def test_vae_gan_is_algorithm_1(images: np.ndarray) -> None:
    model = _model("vae_gan", normalization="none", gamma=0.3)
    batch = _batch(model, images[:7])
    found = model.terms(batch, training=False)
    mean, log_variance = (_numpy(x) for x in model.encode(images[:7]))
    z = mean + np.exp(0.5 * log_variance) * _numpy(batch["posterior"])
    again = model.decode(tf.constant(z, tf.float32))
    sample = model.decode(batch["prior"])
    features = keras.Model(model.discriminator.input, model.discriminator.layers[-1].input)
    shift = _numpy(features(images[:7])) - _numpy(features(again))
    distortion = -scipy.stats.norm.logpdf(shift).sum(axis=1)
    real, rebuilt, drawn = (_numpy(model.discriminator(x)) for x in (images[:7], again, sample))
    fooled = _softplus(-rebuilt) + _softplus(-drawn)
    told = _softplus(-real) + _softplus(rebuilt) + _softplus(drawn)
    np.testing.assert_allclose(found["rate"], _kl(mean, log_variance), rtol=1e-4)
    np.testing.assert_allclose(found["distortion"], distortion, rtol=1e-4)
    np.testing.assert_allclose(found["loss"], distortion + _kl(mean, log_variance), rtol=1e-4)
    np.testing.assert_allclose(found["decoder_loss"], 0.3 * distortion + fooled, rtol=1e-4)
    np.testing.assert_allclose(found["discriminator_loss"], told, rtol=1e-4)


def test_soft_intro_vae_is_equation_5(images: np.ndarray) -> None:
    weights = {"beta_rec": 0.7, "beta_kl": 0.4, "beta_neg": 3.0, "gamma_r": 0.2}
    model = _model("soft_intro_vae", **weights)
    x = images[:7]
    batch = _batch(model, x)
    found = model.terms(batch, training=False)

    def bound(of: Any, noise: str) -> tuple[np.ndarray, np.ndarray, Any]:
        mean, log_variance = (_numpy(m) for m in model.encode(of))
        z = mean + np.exp(0.5 * log_variance) * _numpy(batch[noise])
        again = model.decode(tf.constant(z, tf.float32))
        error = ((_numpy(of) - _numpy(again)) ** 2).sum(axis=(1, 2, 3))
        return error, _kl(mean, log_variance), again

    error, rate, again = bound(x, "posterior")
    s = 1.0 / x[0].size
    encoder, decoder = s * (0.7 * error + 0.4 * rate), s * 0.7 * error
    for noise, fake in (("reconstruction", again), ("sample", model.decode(batch["prior"]))):
        fake_error, fake_rate, _ = bound(fake, noise)
        encoder += 0.25 * np.exp(-2.0 * s * (0.7 * fake_error + 3.0 * fake_rate))
        decoder += 0.5 * s * (0.2 * 0.7 * fake_error + 0.4 * fake_rate)
        np.testing.assert_allclose(found[f"{noise}_rate"], fake_rate, rtol=1e-4)
    np.testing.assert_allclose(found["loss"], encoder, rtol=1e-4)
    np.testing.assert_allclose(found["decoder_loss"], decoder, rtol=1e-4)
    np.testing.assert_allclose(found["distortion"], error, rtol=1e-4)


@pytest.mark.parametrize("name", ["vae_gan", "soft_intro_vae"])
def test_each_optimizer_moves_its_own_network(name: str, images: np.ndarray) -> None:
    options = {"normalization": "none"} if name == "vae_gan" else {}
    model = _model(name, **options)
    for moving in model.optimizer_names:
        rates = {
            n: keras.optimizers.SGD(0.01 if n == moving else 0.0) for n in model.optimizer_names
        }
        model.compile(**rates)
        networks = [n.removesuffix("_optimizer") for n in model.optimizer_names]
        before = {n: getattr(model, n).get_weights() for n in networks}
        model.train_on_batch(images[:20])
        for n in networks:
            pairs = zip(before[n], getattr(model, n).get_weights(), strict=True)
            moved = any(np.abs(a - b).max() > 0 for a, b in pairs)
            assert moved == (f"{n}_optimizer" == moving), (moving, n)


def test_the_encoder_tells_fakes_from_images(images: np.ndarray) -> None:
    """Soft-IntroVAE's encoder alone: the rate of samples rises above that of images."""
    model = _model("soft_intro_vae")
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.SGD(0.0))

    def gap() -> float:
        found = model.evaluate(images, batch_size=60, verbose=0, return_dict=True)
        return found["sample_rate"] - found["rate"]

    before = gap()
    model.fit(images, batch_size=20, epochs=40, verbose=0)
    assert gap() > before + 0.5


@pytest.mark.parametrize("name", ["vae_gan", "soft_intro_vae"])
def test_what_it_has_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="likelihood='bernoulli'"):
        _model(name, likelihood="bernoulli")
    with pytest.raises(ValueError, match="transfer"):
        _model(name, transfer=(1.0, 1.0, 0.0, 0.0))
