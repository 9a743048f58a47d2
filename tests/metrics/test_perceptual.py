"""The perceptual distance of EfficientNet-Lite0: its formula, its gradient, its order."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_images
from sklearn.preprocessing import normalize

from zoo import metrics
from zoo.metrics import perceptual
from zoo.metrics.efficientnet_lite import pretrained_efficientnet_lite0, resized
from zoo.metrics.perceptual import level_distance


def test_level_distance_by_hand() -> None:
    """Against scikit-learn's normalisation of rows; a pixel of zeros stays one."""
    rng = np.random.default_rng(0)
    shapes = [(2, 4, 6, 3), (2, 2, 3, 5)]
    first, second = ([rng.normal(size=s).astype(np.float32) for s in shapes] for _ in range(2))
    first[0][0, 0, 0] = 0.0
    weights = [rng.random(shape[-1]).astype(np.float32) for shape in shapes]
    expected = np.zeros(2)
    for a, b, w in zip(first, second, weights, strict=True):
        rows = [normalize(x.reshape(-1, x.shape[-1])).reshape(x.shape) for x in (a, b)]
        expected += (w * (rows[0] - rows[1]) ** 2).sum(axis=-1).mean(axis=(1, 2))
    np.testing.assert_allclose(level_distance(first, second, weights), expected, rtol=1e-5)


def test_gradient_is_finite_where_all_channels_are_zero() -> None:
    level, other = tf.zeros([1, 2, 2, 3]), tf.ones([1, 2, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(level)
        distance = level_distance([level], [other])
    assert np.isfinite(tape.gradient(distance, level)).all()


def test_gradient_is_the_slope() -> None:
    """By central differences, in float64."""
    rng = np.random.default_rng(0)
    level, other, direction = (tf.constant(rng.normal(size=(1, 2, 2, 3))) for _ in range(3))
    with tf.GradientTape() as tape:
        tape.watch(level)
        distance = level_distance([level], [other])
    slope = tf.reduce_sum(tape.gradient(distance, level) * direction)
    step = 1e-5
    ends = [level_distance([level + s * step * direction], [other]) for s in (1.0, -1.0)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1])[0] / (2 * step), rtol=1e-6)


@pytest.mark.slow
def test_distance_grows_with_the_damage() -> None:
    """Photographs, shrunk to 48 pixels; noise of two strengths; and another photograph."""
    china, flower = (
        resized(np.float32(image)[None] / 255.0, 48).numpy()
        for image in load_sample_images().images
    )
    noise = np.random.default_rng(0).standard_normal(china.shape)
    others = [china, *(np.clip(china + s * noise, 0, 1) for s in (0.02, 0.1)), flower]
    distances = metrics.perceptual_distance(np.repeat(china, 4, axis=0), np.concatenate(others))
    assert distances[0] == 0.0
    assert distances[0] < distances[1] < distances[2] < distances[3]
    # Neighbours in the order of the samples are the pairs: 0 and 0.02, 0.1 and the flower.
    diversity = metrics.perceptual_diversity(np.concatenate(others))
    pairs = metrics.perceptual_distance(np.concatenate(others[::2]), np.concatenate(others[1::2]))
    assert diversity == pytest.approx(float(np.mean(pairs)))
    with pytest.raises(ValueError, match="n ≥ 1"):
        metrics.perceptual_diversity(china)


@pytest.mark.slow
def test_levels_lead_an_image_to_another() -> None:
    """As a loss: gradient steps on the pixels bring the distance down, in grey too."""
    network = metrics.perceptual_levels()
    assert not network.trainable_variables
    target = resized(np.float32(load_sample_images().images[1])[None] / 255.0, 32)[..., :1]
    image = tf.Variable(tf.fill(target.shape, 0.5))
    optimizer = keras.optimizers.Adam(0.02)
    losses = []
    for _ in range(8):
        with tf.GradientTape() as tape:
            loss = metrics.perceptual_loss(network, image, target)
        optimizer.apply([tape.gradient(loss, image)], [image])
        losses.append(float(loss[0]))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_distance_is_that_of_the_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "PART", 2)
    images, others = np.random.default_rng(0).random((2, 3, 16, 16, 1), np.float32)
    network = pretrained_efficientnet_lite0()
    first, second = (network(resized(x), training=False) for x in (images, others))
    names = [f"level_{i}" for i in range(1, 6)]
    expected = level_distance([first[n] for n in names], [second[n] for n in names])
    np.testing.assert_allclose(metrics.perceptual_distance(images, others), expected, rtol=1e-3)
