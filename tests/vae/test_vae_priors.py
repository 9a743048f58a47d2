"""VampPrior and conditional VAE: what latents and images are drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import zoo
from export import endpoints
from tests.cases import IMAGE_SHAPE
from zoo import convert
from zoo.evaluation import measure as evaluation

SHAPE = (2, 2, 1)
CLASSES = 3


def _encoder(latent_dim: int, shift: float, scale: float, variance: float) -> keras.Model:
    """A fixed posterior N(shift + scale (x_j − ½), variance), of the first pixels x_j."""
    images = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(images)
    heads = [keras.layers.Dense(latent_dim, trainable=False) for _ in range(2)]
    encoder = keras.Model(images, [head(flat) for head in heads])
    heads[0].set_weights([scale * np.eye(4, latent_dim), np.full(latent_dim, shift - scale / 2)])
    heads[1].set_weights([np.zeros((4, latent_dim)), np.full(latent_dim, np.log(variance))])
    return encoder


# VampPrior


def _vamp(latent_dim: int = 3, components: int = 4, **options: Any) -> Any:
    return zoo.create(
        "vamp_prior", SHAPE, latent_dim, components=components, network="mlp", **options
    )


def _mixture(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the prior's components, from the weights."""
    pseudo_inputs = scipy.special.expit(np.asarray(model.pseudo_inputs))
    mean, log_variance = model.encoder(pseudo_inputs)
    return np.asarray(mean, np.float64), np.exp(0.5 * np.asarray(log_variance, np.float64))


def _log_mixture(latents: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    densities = [
        scipy.stats.multivariate_normal(m, np.diag(s**2)).pdf(latents)
        for m, s in zip(means, deviations, strict=True)
    ]
    return np.log(np.mean(densities, axis=0))


def test_prior_and_rate_are_those_of_the_paper() -> None:
    """Eq. 9, with densities of SciPy; the rate at the same draw that the decoder sees."""
    model = _vamp()
    model.pseudo_inputs.assign(3.0 * model.pseudo_inputs)  # further apart
    means, deviations = _mixture(model)
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(
        model.log_prior(latents), _log_mixture(latents, means, deviations), rtol=1e-5
    )
    batch = {"images": tf.constant(rng.random((6, *SHAPE), np.float32))}
    batch |= model.batch_noise(model.noise_source(batch["images"]))
    mean, log_variance = (np.asarray(x, np.float64) for x in model.encode(batch["images"]))
    noise = np.asarray(batch["posterior"], np.float64)
    z = mean + np.exp(0.5 * log_variance) * noise
    wanted = scipy.stats.norm.logpdf(noise).sum(1) - 0.5 * log_variance.sum(1)
    wanted -= _log_mixture(z, means, deviations)
    terms = model.terms(batch, training=True)
    # differences of log-densities of a few nats
    np.testing.assert_allclose(terms["rate"], wanted, atol=2e-6, rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], terms["distortion"] + terms["rate"], rtol=1e-6)


def test_a_component_that_is_standard_normal_gives_a_vae() -> None:
    networks = {"encoder": _encoder(3, 0.0, 2.0, 1.0)}
    vae = zoo.create("vae", SHAPE, 3, network="mlp", **networks)
    model = _vamp(components=1, **networks, decoder=vae.decoder)
    model.pseudo_inputs.assign(tf.zeros_like(model.pseudo_inputs))  # ½, where the mean is 0
    rng = np.random.default_rng(0)
    images = rng.random((5, *SHAPE), np.float32)
    noise = rng.normal(size=(4, 5, 3)).astype(np.float32)
    wanted = vae.log_weights(images, noise)
    np.testing.assert_allclose(model.log_weights(images, noise), wanted, rtol=1e-5)
    np.testing.assert_array_equal(model.sample_latents(9, seed=2), vae.sample_latents(9, seed=2))


def test_samples_are_of_the_mixture() -> None:
    """Kolmogorov–Smirnov in each dimension, against the mixture's distribution function."""
    model = _vamp(2, 3, encoder=_encoder(2, 0.5, 8.0, 0.3))
    means, deviations = _mixture(model)
    drawn = model.sample_latents(4000, seed=0)
    assert drawn.dtype == np.float32
    for j in range(2):

        def mixture(z: Any, j: int = j) -> Any:
            below = scipy.stats.norm.cdf(np.asarray(z)[..., None], means[:, j], deviations[:, j])
            return below.mean(-1)

        assert scipy.stats.kstest(drawn[:, j], mixture).pvalue > 1e-3
    assert means.std(0).max() > 0.5  # which no single normal has
    np.testing.assert_array_equal(model.sample_latents(4000, seed=0), drawn)
    assert np.abs(model.sample_latents(5) - model.sample_latents(5)).max() > 0
    with pytest.raises(ValueError, match="n=0"):
        model.sample_latents(0)


@pytest.mark.slow
def test_pseudo_inputs_learn_the_aggregate_posterior() -> None:
    """Two images whose posteriors are far apart: the best prior costs log 2, N(0, I) far more."""
    encoder = _encoder(1, 0.0, 6.0, 0.04)
    images = np.repeat(np.float32([0.1, 0.9]), 4).reshape(2, *SHAPE)
    images = np.tile(images, (32, 1, 1, 1))
    vae = zoo.create("vae", SHAPE, 1, network="mlp", encoder=encoder)
    vae.decoder.trainable = False
    model = _vamp(1, 2, encoder=encoder, decoder=vae.decoder)
    model.pseudo_inputs.assign(
        0.1 * np.float32([1, -1])[:, None, None, None] + tf.zeros((2, *SHAPE))
    )
    assert model.trainable_variables == [model.pseudo_inputs]
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(images, batch_size=64, epochs=60, verbose=0)
    noise = np.random.default_rng(0).normal(size=(20, 64, 1)).astype(np.float32)
    vae.pixels.variance.assign(model.pixels.variance)
    elbo, standard = (float(np.mean(m.log_weights(images, noise))) for m in (model, vae))
    np.testing.assert_allclose(np.sort(_mixture(model)[0][:, 0]), [-2.4, 2.4], atol=0.1)
    # KL(N(±2.4, 0.2²) ‖ N(0, 1)) against log 2, at the same distortion
    wanted = 0.5 * (0.04 + 2.4**2 - 1 - np.log(0.04)) - np.log(2)
    assert elbo - standard == pytest.approx(wanted, abs=0.1)


def test_vamp_prior_refuses_what_contradicts_it() -> None:
    for options, message in (
        ({"components": 0}, "components=0"),
        ({"num_classes": 3}, "num_classes=3"),
        ({"free_bits": 0.5}, "free_bits=0.5"),
        ({"transfer": (1.0, 1.0, 1.0, 1.0)}, "no transfer"),
    ):
        with pytest.raises(ValueError, match=message):
            zoo.create("vamp_prior", SHAPE, 3, network="mlp", **options)
    with pytest.raises(ValueError, match="its prior is vamp"):
        convert.vae_to_gan(_vamp())


# Conditional VAE


def _cvae(**options: Any) -> Any:
    return zoo.create("cvae", IMAGE_SHAPE, 2, num_classes=CLASSES, network="conv-4", **options)


def _labelled(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Images of the grey level of their class, with a stripe that is bright or dark by chance."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int32) % CLASSES
    images = np.broadcast_to(0.25 * (1 + labels)[:, None, None, None], (n, *IMAGE_SHAPE)).copy()
    images[:, :2] += 0.2 * rng.choice([-1, 1], size=(n, 1, 1, 1))
    return images.astype(np.float32), labels


def _linear_networks() -> dict[str, keras.Model]:
    """Encoder and decoder, each linear in its input and the one-hot label, for quick learning."""
    images, latents = keras.Input(IMAGE_SHAPE), keras.Input((2,))
    label = keras.Input((), dtype="int32")
    one_hot = keras.layers.CategoryEncoding(CLASSES, output_mode="one_hot")(label)
    seen = keras.layers.Concatenate()([keras.layers.Flatten()(images), one_hot])
    known = keras.layers.Concatenate()([latents, one_hot])
    pixels = keras.layers.Reshape(IMAGE_SHAPE)(keras.layers.Dense(64)(known))
    return {
        "encoder": keras.Model([images, label], [keras.layers.Dense(2)(seen) for _ in range(2)]),
        "decoder": keras.Model([latents, label], pixels),
    }


def test_needs_classes() -> None:
    for options, message in (({}, "cvae is conditional"), ({"num_classes": 1}, "num_classes=1")):
        with pytest.raises(ValueError, match=message):
            zoo.create("cvae", IMAGE_SHAPE, 2, **options)


@pytest.mark.slow
def test_draws_the_class_that_is_asked_for() -> None:
    """And leaves to the latent what the class does not say."""
    model = _cvae(**_linear_networks())
    images, labels = _labelled()
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(images, labels, batch_size=12, epochs=60, verbose=0)
    asked = np.arange(30) % CLASSES
    drawn = model.generate(30, seed=0, labels=asked)
    level = drawn[:, 2:].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.round(level / 0.25 - 1), asked)
    assert np.round(model.generate(4, seed=0, labels=2)[:, 2:].mean() / 0.25 - 1) == 2
    # an image given another class keeps its stripe
    mean, _ = model.encode(images, labels)
    other = (labels + 1) % CLASSES
    moved = np.asarray(model.decode(mean, other))
    stripe = images[:, :2].mean(axis=(1, 2, 3)) - images[:, 2:].mean(axis=(1, 2, 3))
    found = moved[:, :2].mean(axis=(1, 2, 3)) - moved[:, 2:].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(found > 0, stripe > 0)
    np.testing.assert_array_equal(np.round(moved[:, 2:].mean(axis=(1, 2, 3)) / 0.25 - 1), other)


def test_labels_are_checked_wherever_they_are_taken() -> None:
    model = _cvae()
    images, labels = _labelled(6)
    latents = np.zeros((6, 2), np.float32)
    wrong = labels.copy()
    wrong[4] = CLASSES
    model.compile()
    for call in (
        lambda y: model.encode(images, y),
        lambda y: model.decode(latents, y),
        lambda y: model.reconstruct(images, y),
        lambda y: model.generate_from(latents, y),
    ):
        with pytest.raises(ValueError, match="label 3 at index 4: expected a class from 0 to 2"):
            call(wrong)
        with pytest.raises(ValueError, match="cvae has 3 classes: expected labels"):
            call(None)
        with pytest.raises(ValueError, match=r"expected one for all, or \[6\]"):
            call(labels[:4])
        np.testing.assert_array_equal(call(1), call(np.ones(6, np.int64)))
    with pytest.raises(ValueError, match="label 3"):
        model.generate(6, labels=wrong)
    with pytest.raises(ValueError, match="label 3 at index 4: expected a class from 0 to 2"):
        model.fit(images, wrong, verbose=0)
    with pytest.raises(ValueError, match="num_classes=3: expected integer labels"):
        model.fit(images, verbose=0)
    with pytest.raises(ValueError, match="expected labels"):
        model.predict(images, verbose=0)
    plain = zoo.create("vae", IMAGE_SHAPE, 2, network="conv-4")
    with pytest.raises(ValueError, match="created without num_classes"):
        plain.encode(images, labels)


def test_predicting_reconstructs_with_labels() -> None:
    model = _cvae()
    images, labels = _labelled(6)
    predicted = model.predict([images, labels], verbose=0)
    np.testing.assert_allclose(predicted, model.reconstruct(images, labels), atol=1e-6)
    assert np.abs(predicted - model.reconstruct(images, (labels + 1) % CLASSES)).max() > 1e-4


def test_every_exported_function_takes_a_label() -> None:
    for endpoint in endpoints(_cvae()):
        spec = endpoint.signature()[-1]
        shape = [] if endpoint.name == "sample" else [None]  # there one for all
        assert (spec.name, spec.dtype, spec.shape.as_list()) == ("label", tf.int32, shape)


@pytest.mark.slow
def test_evaluation_uses_the_labels_of_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 28, 28, 1), np.uint8)
    labels = np.arange(40) % CLASSES
    np.savez(tmp_path / "x.npz", x_test=pixels, y_test=labels)
    model = zoo.create("cvae", (28, 28, 1), 2, num_classes=CLASSES, network="conv-4")
    options: dict[str, Any] = {"importance_samples": 2, "samples": 20}
    options["extractor"] = "fashion_mnist_classifier"
    measured = evaluation.evaluate(model, tmp_path / "x.npz", **options)
    images = (pixels / 255.0).astype(np.float32)
    error = np.square(images - np.asarray(model.reconstruct(images, labels)))
    assert measured["metrics"]["mse"] == pytest.approx(error.mean(), rel=1e-4)
    assert {"elbo", "iwae_bound", "gilbo"} <= set(measured["metrics"])
    np.savez(tmp_path / "y.npz", x_test=pixels)
    with pytest.raises(ValueError, match="has no labels"):
        evaluation.evaluate(model, tmp_path / "y.npz", **options)
