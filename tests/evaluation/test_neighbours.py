"""Neighbours of samples among the training images, and a model that copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

import zoo
from zoo import metrics
from zoo.evaluation import nearest_training_images
from zoo.metrics import features

SHAPE = (8, 8, 1)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extractor whose features are the pixels."""
    monkeypatch.setattr(features, "_factories", dict(features._factories))
    network = metrics.FeatureExtractor("pixels", 64, SHAPE, lambda x: np.reshape(x, (-1, 64)))
    metrics.register_extractor("pixels", lambda: network)


def images(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, *SHAPE), np.float32)


@pytest.mark.usefixtures("pixels")
def test_a_model_that_copies_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = images(0, 600), images(1, 90)
    np.savez(tmp_path / "data.npz", x_train=train, x_test=test)
    vae = zoo.create("vae", SHAPE, 2, network="mlp")
    latents = vae.sample_latents(40, seed=3)

    def copies(z: Any) -> Any:
        """Of 550, 551, …: beyond the first batch of training images."""
        which = tf.argmin(tf.reduce_sum((z[:, None] - latents) ** 2, axis=-1), axis=1)
        return tf.gather(tf.constant(train[550:590]), which)

    monkeypatch.setattr(vae, "images_from_latents", copies)
    found = nearest_training_images(
        vae, tmp_path / "data.npz", samples=40, shown=5, k=2, extractor="pixels", seed=3
    )
    assert (found.memorization_score, found.extractor) == (1.0, "pixels")
    np.testing.assert_array_equal(found.distances[:, 0], 0.0)
    np.testing.assert_array_equal(found.neighbours[:, 0], train[550:555])
    np.testing.assert_array_equal(found.samples, train[550:555])
    search = NearestNeighbors(n_neighbors=2).fit(train.reshape(600, 64))
    second = search.kneighbors(train[550:555].reshape(5, 64))[1][:, 1]
    np.testing.assert_array_equal(found.neighbours[:, 1], train[second])
    np.testing.assert_array_equal(found.sheet()[3:6], [train[551], train[551], train[second[1]]])


@pytest.mark.usefixtures("pixels")
def test_shapes_and_refusals(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=images(0, 60), x_test=images(1, 30))
    vae = zoo.create("vae", SHAPE, 2, network="mlp")
    found = nearest_training_images(vae, tmp_path / "data.npz", samples=20, extractor="pixels")
    assert found.samples.shape == (16, *SHAPE)
    assert found.neighbours.shape == (16, 4, *SHAPE)
    assert (np.diff(found.distances, axis=1) >= 0.0).all()
    with pytest.raises(ValueError, match="k=0: expected a whole number of at least 1"):
        nearest_training_images(vae, tmp_path / "data.npz", k=0)
    for given in ({"k": None}, {"samples": 2.5}, {"shown": "3"}, {"seed": None}):
        with pytest.raises(ValueError, match="expected a whole number"):
            nearest_training_images(vae, tmp_path / "data.npz", extractor="pixels", **given)
    for given in ({"extractor_weights": "x.pth"}, {"resize": "clean"}):
        with pytest.raises(ValueError, match="the extractor pixels has no choice of it"):
            nearest_training_images(vae, tmp_path / "data.npz", extractor="pixels", **given)
    with pytest.raises(ValueError, match="Name one, and not none"):
        nearest_training_images(vae, tmp_path / "data.npz", extractor="none")
    with pytest.raises(ValueError, match="60 training images; expected at least k=61"):
        nearest_training_images(vae, tmp_path / "data.npz", samples=2, k=61, extractor="pixels")
