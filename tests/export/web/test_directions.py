"""The latent directions along which images change most."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import zoo
from export.web.directions import strongest_directions
from tests.cases import IMAGE_SHAPE
from zoo.core.contracts import unchecked


def _linear(matrix: np.ndarray) -> Any:
    """A GAN whose images are 0.5 + A z."""
    latents = keras.Input((matrix.shape[1],))
    dense = keras.layers.Dense(64)
    generator = keras.Model(latents, keras.layers.Reshape(IMAGE_SHAPE)(dense(latents)))
    dense.set_weights([matrix.T, np.full(64, 0.5, np.float32)])
    with unchecked():  # its images leave [0, 1]
        return zoo.create("dcgan", IMAGE_SHAPE, matrix.shape[1], generator=generator)


def test_directions_of_a_linear_generator_are_its_singular_vectors() -> None:
    matrix = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    _, singular, vectors = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    directions, shares = strongest_directions(_linear(matrix), count=3)
    assert directions.shape == (3, 5)
    assert directions.dtype == np.float32
    np.testing.assert_allclose(np.abs(np.sum(directions * vectors[:3], axis=1)), 1.0, atol=1e-5)
    np.testing.assert_allclose(shares, (singular**2 / np.sum(singular**2))[:3], rtol=1e-4)
    assert (directions.max(axis=1) >= -directions.min(axis=1)).all()


def test_a_generator_that_ignores_its_latents() -> None:
    directions, shares = strongest_directions(_linear(np.zeros((64, 3), np.float32)))
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(shares, 0.0)
