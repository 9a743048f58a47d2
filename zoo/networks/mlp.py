"""Two hidden layers of 512 units, for any image size (the networks of arXiv 1312.6114, widened)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
from keras import layers

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 512


def encoder(image_shape: Sequence[int], latent_dim: int) -> keras.Model:
    """Images to (mean, log-variance), each [batch, latent_dim]."""
    images = keras.Input(image_shape, name="image")
    x = layers.Flatten(name="flatten")(images)
    for i in range(2):
        x = layers.Dense(WIDTH, activation="relu", name=f"hidden_{i}")(x)
    mean = layers.Dense(latent_dim, dtype="float32", name="mean")(x)
    log_variance = layers.Dense(latent_dim, dtype="float32", name="log_variance")(x)
    return keras.Model(images, [mean, log_variance], name="encoder")


def decoder(image_shape: Sequence[int], latent_dim: int) -> keras.Model:
    """Latents to image logits."""
    latents = keras.Input((latent_dim,), name="latent")
    return keras.Model(latents, _expand(latents, image_shape), name="decoder")


def generator(image_shape: Sequence[int], latent_dim: int) -> keras.Model:
    """Latents to images in [0, 1], through tanh as in arXiv 1511.06434."""
    latents = keras.Input((latent_dim,), name="latent")
    x = _expand(latents, image_shape)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    images = layers.Rescaling(0.5, 0.5, dtype="float32", name="to_unit_range")(x)
    return keras.Model(latents, images, name="generator")


def discriminator(image_shape: Sequence[int], normalization: str = "none") -> keras.Model:
    """Images to logits [batch, 1].

    Args:
        image_shape: (height, width, channels).
        normalization: `"batch"` (in the second hidden layer) or `"none"`.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is neither.
    """
    if normalization not in ("batch", "none"):
        msg = f"normalization={normalization!r}: expected 'batch' or 'none'."
        raise ValueError(msg)
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = layers.Flatten(name="flatten")(x)
    for i in range(2):
        x = layers.Dense(WIDTH, name=f"hidden_{i}")(x)
        if normalization == "batch" and i == 1:
            x = layers.BatchNormalization(momentum=0.9, synchronized=True, name="batch_norm")(x)
        x = layers.LeakyReLU(0.2, name=f"leaky_relu_{i}")(x)
    logits = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(images, logits, name="discriminator")


def _expand(latents: keras.KerasTensor, image_shape: Sequence[int]) -> keras.KerasTensor:
    x = latents
    for i in range(2):
        x = layers.Dense(WIDTH, activation="relu", name=f"hidden_{i}")(x)
    x = layers.Dense(math.prod(image_shape), dtype="float32", name="to_pixels")(x)
    return layers.Reshape(tuple(image_shape), dtype="float32", name="logits")(x)
