"""Tiny VAEs and GANs to convert, and what holds of every conversion."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

import zoo
from tests.support.networks import shake
from zoo.convert.report import Report
from zoo.convert.writing import variables
from zoo.networks import conv

SHAPE, LATENT = (8, 8, 1), 4
EXACT = 5e-6
# The modules: the package has functions of the same names.
gan_to_vae, vae_to_gan = (sys.modules[f"zoo.convert.{n}"] for n in ("gan_to_vae", "vae_to_gan"))


def make_gan(name: str = "dcgan", **options: Any) -> Any:
    """Of few channels, unless a network is named."""
    if "network" not in options:
        norm = "none" if name == "wgan_gp" else "batch"
        options.setdefault("generator", conv.generator(SHAPE, LATENT, width=8))
        options.setdefault("discriminator", conv.discriminator(SHAPE, norm, width=8))
    gan = zoo.create(name, SHAPE, LATENT, **options)
    shake(gan.generator)
    if gan.ema_generator is not None:
        shake(gan.ema_generator, seed=1)
    return gan


def make_decoder(channels: tuple[int, int] = (8, 4), latent: int = LATENT) -> keras.Model:
    """Of the structure of `conv.decoder`."""
    inputs = keras.Input((latent,), name="latent")
    x = layers.Dense(4 * channels[1] * 4)(inputs)
    x = layers.ReLU()(layers.Reshape((4, 4, channels[1]))(x))
    x = layers.Conv2DTranspose(1, 4, 2, padding="same")(x)
    return keras.Model(inputs, x)


def make_vae(decoder: keras.Model | None = None, latent: int = LATENT, **options: Any) -> Any:
    """Of few channels, unless a decoder is given."""
    return zoo.create(
        "vae", SHAPE, latent,
        encoder=conv.encoder(SHAPE, latent, width=8),
        decoder=decoder or conv.decoder(SHAPE, latent, width=8), **options,
    )  # fmt: skip


def make_stack(*stack: layers.Layer, latent: int = LATENT) -> keras.Model:
    """A shaken functional model of layers in a row, which takes latents."""
    inputs = x = keras.Input((latent,))
    for layer in stack:
        x = layer(x)
    model = keras.Model(inputs, x)
    shake(model)
    return model


def values_of(model: keras.Model) -> list[np.ndarray]:
    """Copies of all variables."""
    return [np.asarray(variable).copy() for variable in model.variables]


def assert_unchanged(model: keras.Model, before: list[np.ndarray]) -> None:
    """All variables are what `values_of` gave, bit for bit."""
    for variable, value in zip(model.variables, before, strict=True):
        assert np.asarray(variable).tobytes() == value.tobytes(), variable.path


def assert_same_images(a: Any, b: Any) -> None:
    """Two models draw the same images for one seed."""
    np.testing.assert_allclose(a.generate(300, seed=7), b.generate(300, seed=7), atol=EXACT)


def assert_draws(vae: Any, generator: Callable, low: float = 0.0, latents: Any = None) -> None:
    """The VAE draws the images of a generator of N(0, I), in [low, 1]."""
    z = np.random.default_rng(3).normal(size=(100, LATENT)).astype(np.float32)
    wanted = (np.asarray(generator(z if latents is None else latents(z))) - low) / (1 - low)
    np.testing.assert_allclose(vae.generate_from(z), wanted, atol=EXACT)


def paths_of(model: keras.Model, network: str) -> set[str]:
    """The paths of a network's tensors in a report."""
    return {f"{network}/{path}" for path in variables(model)}


def assert_complete(report: Report, targets: set[str], of_source: set[str]) -> None:
    """Every tensor of the target once, and every one of the source used, or once as unused."""
    found = [row.target for row in report.rows if row.target]
    assert sorted(found) == sorted(targets)
    unused = [row.source for row in report.rows if not row.target]
    assert len(unused) == len(set(unused))
    assert {row.status for row in report.rows if not row.target} <= {"UNUSED"}
    used: set[str] = set()
    for row in report.rows:
        for part in row.source.split(" · ") if row.target and row.source else []:
            block, _, names = part.rpartition("/")
            used |= {f"{block}/{name}" for name in names.strip("{}").split(", ")}
    assert used | set(unused) == of_source
    assert not used & set(unused)


@keras.saving.register_keras_serializable("tests")
class OfLayers(keras.Model):
    """A subclassed generator whose `call` can be read."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = layers.Dense(12, activation="leaky_relu")
        self.norm = layers.BatchNormalization()
        self.pixels = layers.Dense(64, activation="sigmoid")

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.norm(self.hidden(x), training=training)
        return keras.ops.reshape(self.pixels(x), (-1, *SHAPE))


def of_layers() -> keras.Model:
    """A shaken `OfLayers`, built."""
    model = OfLayers()
    model(np.zeros((1, LATENT), np.float32))
    shake(model)
    return model
