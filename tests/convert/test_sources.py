"""Generators from outside the zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers

from tests.support.conversions import (
    LATENT,
    SHAPE,
    assert_draws,
    assert_same_images,
    assert_unchanged,
    make_gan,
    make_stack,
    of_layers,
    values_of,
)
from tests.support.networks import shake
from zoo import convert
from zoo.layers import prior_layer


def _nested() -> keras.Model:
    inner = make_stack(layers.Dense(16), layers.BatchNormalization(), layers.ReLU())
    return make_stack(inner, layers.Dense(64), layers.Reshape(SHAPE), layers.Activation("tanh"))


def _arithmetic() -> keras.Model:
    inputs = keras.Input((LATENT,))
    x = layers.Reshape(SHAPE)(layers.Dense(64)(layers.Dense(9, activation="relu")(inputs)))
    model = keras.Model(inputs, (keras.ops.tanh(x) + 1.0) / 2.0)
    shake(model)
    return model


def _channels_first() -> keras.Model:
    """As from PyTorch: [n, channels, height, width] within, permuted for Keras's layers."""
    return make_stack(
        layers.Dense(48), layers.Reshape((3, 4, 4)), layers.Permute((2, 3, 1)),
        layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2DTranspose(1, 4, 2, padding="same", use_bias=False), layers.Activation("tanh"),
    )  # fmt: skip


def _spectral() -> keras.Model:
    norm = layers.SpectralNormalization
    stack = norm(layers.Dense(64)), layers.Reshape((4, 4, 4)), layers.ReLU()
    last = norm(layers.Conv2DTranspose(1, 4, 2, padding="same"))
    model = make_stack(*stack, last, layers.Activation("sigmoid"))
    model(np.zeros((1, LATENT), np.float32), training=True)
    return model


OUTSIDE: dict[str, tuple[Callable[[], keras.Model], float]] = {
    "subclassed": (of_layers, 0.0),
    "nested": (_nested, -1.0),
    "keras.ops": (_arithmetic, 0.0),
    "channels first": (_channels_first, -1.0),
    "spectral norm": (_spectral, 0.0),
    "sequential": (
        lambda: keras.Sequential(
            [keras.Input((LATENT,)), layers.Dense(64, "tanh"), layers.Reshape(SHAPE)]
        ),
        -1.0,
    ),
    "sigmoid": (
        lambda: make_stack(layers.Dense(64, activation="sigmoid"), layers.Reshape(SHAPE)),
        0.0,
    ),
}


@pytest.mark.parametrize(
    ("make", "low"),
    [
        pytest.param(*values, id=name, marks=[] if name == "nested" else pytest.mark.slow)
        for name, values in OUTSIDE.items()
    ],
)
def test_generators_from_outside(
    make: Callable[[], keras.Model], low: float, tmp_path: Path
) -> None:
    """As a model and as a file."""
    generator = make()
    before = values_of(generator)
    vae, report = convert.gan_to_vae(generator)
    assert_draws(vae, generator, low)
    assert report.coverage == 1.0
    assert report.equivalence in ("bitwise", "tolerance")
    assert_unchanged(generator, before)
    generator.save(tmp_path / "generator.keras")
    again, report_again = convert.gan_to_vae(tmp_path / "generator.keras")
    assert_same_images(again, vae)
    assert [row.status for row in report_again.rows] == [row.status for row in report.rows]


def test_a_gan_of_the_zoo_with_a_subclassed_generator() -> None:
    gan = make_gan(generator=of_layers(), ema=0.9)
    vae, report = convert.gan_to_vae(gan)
    assert_same_images(vae, gan)
    assert report.weights == "ema"


def test_another_prior() -> None:
    """On carried latents the images are equal, and these have the prior's law."""
    generator = make_stack(layers.Dense(64, activation="sigmoid"), layers.Reshape(SHAPE))
    vae, report = convert.gan_to_vae(generator, prior="uniform")
    assert report.equivalence == "distributional"
    assert "uniform" in report.prior
    assert_draws(vae, generator, latents=prior_layer("uniform"))
    layer = vae.decoder.get_layer("uniform_from_normal")
    carried = np.asarray(layer(vae.sample_latents(2500, seed=0)))
    assert scipy.stats.kstest(carried.ravel(), scipy.stats.uniform(-1, 2).cdf).pvalue > 0.01
