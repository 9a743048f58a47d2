"""BigGAN: orthogonal regularisation, truncated latents, standing statistics, errors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import zoo
from zoo.layers import truncated_normal

SHAPE, LATENT = (8, 8, 1), 4


def small(**options: Any) -> Any:
    return zoo.create("biggan", SHAPE, LATENT, **{"network": "mlp", "ema": None, **options})


# Truncation


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0])
def test_truncated_latents_are_those_of_scipy(threshold: float) -> None:
    """As a function of normal draws, and so in law."""
    normals = np.linspace(-5.0, 5.0, 1001)
    law = scipy.stats.truncnorm(-threshold, threshold)
    wanted = law.ppf(scipy.stats.norm.cdf(normals))
    found = np.asarray(truncated_normal(normals, threshold))
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    single = np.asarray(truncated_normal(normals.astype(np.float32), threshold))
    np.testing.assert_allclose(single, wanted, atol=2e-6)
    assert np.abs(single).max() <= np.float32(threshold)


def test_resampling_gives_this_law() -> None:
    """Section 3.1: draws beyond the threshold are drawn again."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=100_000)
    while (beyond := np.abs(values) > 0.7).any():
        values[beyond] = rng.normal(size=beyond.sum())
    found = np.asarray(truncated_normal(rng.normal(size=100_000), 0.7))
    assert scipy.stats.ks_2samp(values, found).statistic < 1.95 / np.sqrt(50_000)  # p = 0.001


def test_truncation_is_of_samples_alone(images: np.ndarray) -> None:
    model = small(truncation=0.5)
    latents = model.sample_latents(50, seed=3)
    assert np.abs(latents).max() <= 0.5
    np.testing.assert_array_equal(model.sample_latents(7, seed=3), latents[:7])
    noise = model.batch_noise(model.noise_source(tf.constant(images)))["latents"]
    assert np.abs(noise).max() > 1.0
    model.truncation = None
    free = model.sample_latents(50, seed=3)
    assert np.abs(free).max() > 1.0
    np.testing.assert_array_equal(np.argsort(free, axis=None), np.argsort(latents, axis=None))


def test_truncation_is_saved(tmp_path: Any) -> None:
    model = small(truncation=0.5)
    model.truncation = 0.25
    model.save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    assert loaded.truncation == 0.25
    np.testing.assert_array_equal(loaded.generate(3, seed=0), model.generate(3, seed=0))


@pytest.mark.parametrize("threshold", [0.0, -1.0, 2.5, float("nan"), float("inf")])
def test_truncation_out_of_range(threshold: float) -> None:
    model = small()
    with pytest.raises(ValueError, match=f"truncation={threshold}: expected a threshold of more"):
        model.truncation = threshold
    with pytest.raises(ValueError, match=r"truncation=.*: expected a"):
        small(truncation=threshold)
    with pytest.raises(ValueError, match="expected more than 0, and at most 2"):
        truncated_normal(np.zeros(3), threshold)
    assert model.truncation is None


# Orthogonal regularisation


@pytest.mark.slow
def test_the_generators_loss_has_the_regularisation(images: np.ndarray) -> None:
    """β Σ ‖WᵀW ⊙ (1 − I)‖²_F over its kernels in NumPy, without the class embedding's."""
    model = small(network="biggan-4", num_classes=3, orthogonal_weight=0.01)
    model.generator.get_layer("class_embedding").kernel.assign(np.full((3, 128), 9.0))
    total, count = 0.0, 0
    for layer in model.generator._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if kernel is None or layer.name == "class_embedding":
            continue
        kernel.assign(kernel + 0.01 * np.random.default_rng(count).normal(size=kernel.shape))
        matrix = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
        gram = matrix.T @ matrix
        total += np.sum(np.square(gram - np.diag(np.diag(gram))))
        count += 1
    assert count == 1 + 4 + 3 + 4 + 1  # project; gains and biases; the block; attention; logits
    batch = {"latents": tf.zeros([5, LATENT])}
    found = model.generator_penalty(batch)
    np.testing.assert_allclose(found, np.full(5, 0.01 * total), rtol=1e-4)
    batch |= {"images": tf.constant(images[:5]), "labels": tf.zeros([5], tf.int32)}
    logs = model._player_losses(batch, ("generator",), training=False)
    difference = logs["generator_total"] - logs["generator_loss"]
    np.testing.assert_allclose(difference, found, rtol=1e-3)
    assert small(orthogonal_weight=0).generator_penalty(batch) is None


def test_regularised_kernels_become_orthogonal() -> None:
    """Gradient descent on the penalty alone."""
    kernel = tf.Variable(np.random.default_rng(0).normal(0.0, 0.5, (3, 3, 2, 6)), dtype=tf.float32)

    def correlation() -> float:
        matrix = kernel.numpy().reshape(-1, 6)
        return float(np.abs(np.corrcoef(matrix.T) - np.eye(6)).max())

    before = correlation()
    for _ in range(300):
        with tf.GradientTape() as tape:
            penalty = zoo.losses.orthogonal_regularization(kernel)
        kernel.assign_sub(0.01 * tape.gradient(penalty, kernel))
    matrix = kernel.numpy().reshape(-1, 6)
    gram = matrix.T @ matrix
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 0.02
    assert before > 0.1


def test_weight_out_of_range() -> None:
    with pytest.raises(ValueError, match="orthogonal_weight=-1: expected at least 0"):
        small(orthogonal_weight=-1)


# Standing statistics


@pytest.mark.slow
def test_standing_statistics_are_those_of_the_truncation() -> None:
    model = small(network="biggan-4")
    norm = model.generator.get_layer("output_batch_norm")
    found = []
    for threshold in (None, 0.1):
        model.truncation = threshold
        zoo.standing_statistics(model, batches=2, batch_size=32)
        found.append(norm.moving_mean.numpy())
    assert np.abs(found[1] - found[0]).max() > 1e-3
