"""Two hidden layers of 512 units, for any image size (the networks of arXiv 1312.6114, widened)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
from keras import layers

from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 512


def encoder(image_shape: Sequence[int], latent_dim: int, *, num_classes: int = 0) -> keras.Model:
    """Makes the network from images to (mean, log-variance), each [batch, latent_dim].

    With `num_classes` it takes images and labels int32 [batch]: one-hot rows join the pixels
    (Sohn et al. 2015).

    Example:
        >>> from zoo.networks import mlp
        >>> mean, log_variance = mlp.encoder((8, 8, 1), latent_dim=2).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    inputs = [keras.Input(image_shape, name="image")]
    x = layers.Flatten(name="flatten", **_heads.LAST)(inputs[0])
    if num_classes:
        inputs.append(_heads.label_input())
        rows = _heads.one_hot(inputs[1], num_classes)
        x = layers.Concatenate(name="image_and_label")([x, rows])
    for i in range(2):
        x = layers.Dense(WIDTH, activation="relu", name=f"hidden_{i}")(x)
    return _heads.model(inputs, _heads.posterior(x, latent_dim), "encoder")


def decoder(image_shape: Sequence[int], latent_dim: int, *, num_classes: int = 0) -> keras.Model:
    """Makes the network from latents to image logits.

    With `num_classes`, one-hot labels join the latents.

    Example:
        >>> from zoo.networks import mlp
        >>> mlp.decoder((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents = _heads.latent_inputs(latent_dim, num_classes)
    return _heads.model(inputs, [_expand(latents, image_shape)], "decoder")


def generator(image_shape: Sequence[int], latent_dim: int, *, num_classes: int = 0) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    With `num_classes`, one-hot labels join the latents.

    Example:
        >>> from zoo.networks import mlp
        >>> mlp.generator((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents = _heads.latent_inputs(latent_dim, num_classes)
    images = _heads.unit_range(_expand(latents, image_shape))
    return _heads.model(inputs, [images], "generator")


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "none",
    *,
    num_classes: int = 0,
    latent_dim: int = 0,
    heads: Sequence[int] = (),
) -> keras.Model:
    """Makes the network from images to logits [batch, 1].

    Args:
        image_shape: (height, width, channels).
        normalization: `"batch"` (in the second hidden layer), `"none"`, or `"spectral"` (of every
            kernel; arXiv 1802.05957).
        num_classes: > 0: it takes [image, label] and projects (arXiv 1802.05637).
        latent_dim: > 0: it takes [image, latent] (arXiv 1605.09782).
        heads: Units of further outputs [batch, units] after the logit.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is unknown, or both `num_classes` and `latent_dim` are given.

    Example:
        >>> from zoo.networks import mlp
        >>> mlp.discriminator((8, 8, 1)).output_shape
        (None, 1)
    """
    dense, _ = _heads.linear_layers(normalization)
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    for i in range(2):
        x = dense(WIDTH, name=f"hidden_{i}")(x)
        if normalization == "batch" and i == 1:
            x = layers.BatchNormalization(momentum=0.9, synchronized=True, name="batch_norm")(x)
        x = _heads.leaky_relu(f"leaky_relu_{i}")(x)
    return _heads.discriminator(
        images, x, _heads.leaky_relu, normalization=normalization, num_classes=num_classes,
        latent_dim=latent_dim, heads=heads,
    )  # fmt: skip


def _expand(latents: keras.KerasTensor, image_shape: Sequence[int]) -> keras.KerasTensor:
    x = latents
    for i in range(2):
        x = layers.Dense(WIDTH, activation="relu", name=f"hidden_{i}")(x)
    x = layers.Dense(math.prod(image_shape), dtype="float32", name="to_pixels")(x)
    return layers.Reshape(tuple(image_shape), dtype="float32", name="logits")(x)
