"""DCGAN-style convolutions (arXiv 1511.06434, section 3): strides, no pooling.

The image side is halved until it is 4 to 7 pixels, so sides need not be powers of two:
28 → 14 → 7, 48 → 24 → 12 → 6. Channels double as the side halves, from `width` up to 512.
Departures from the paper, all common: 4 × 4 kernels, which overlap evenly at stride 2, and
BatchNorm statistics over the global batch, so that replicas compute what one device would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
MAX_WIDTH = 512


def encoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), each [batch, latent_dim].

    With `num_classes` it takes images and labels int32 [batch]: one-hot planes join the channels
    (Sohn et al. 2015).

    Example:
        >>> from zoo.networks import conv
        >>> mean, log_variance = conv.encoder((8, 8, 1), latent_dim=2).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    inputs, x = _heads.image_inputs(image_shape, num_classes)
    for i in range(_heads.halvings(image_shape, "conv")):
        x = layers.Conv2D(
            _channels(i, width),
            4,
            strides=2,
            padding="same",
            activation="relu",
            name=f"conv_{i}",
            **_heads.LAST,
        )(x)
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    x = layers.Dense(256, activation="relu", name="hidden")(x)
    return _heads.model(inputs, _heads.posterior(x, latent_dim), "encoder")


def decoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to image logits: the generator without BatchNorm and tanh.

    With `num_classes` it takes latents and labels int32 [batch]: one-hot rows join the latents.

    Example:
        >>> from zoo.networks import conv
        >>> conv.decoder((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents = _heads.latent_inputs(latent_dim, num_classes)
    return _heads.model(inputs, [_expand(latents, image_shape, width)], "decoder")


def generator(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    It has BatchNorm and ReLU in all but the output layer, then tanh. With `num_classes` it takes
    latents and labels int32 [batch]: one-hot rows join the latents, and BatchNorm has a gain and a
    bias for each class (arXiv 1802.05637). In so few layers, gains and biases alone would change
    shades and no shapes.

    Example:
        >>> from zoo.networks import conv
        >>> conv.generator((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents, norm = _heads.generator_inputs(latent_dim, num_classes)
    images = _heads.unit_range(_expand(latents, image_shape, width, norm))
    return _heads.model(inputs, [images], "generator")


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "batch",
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    latent_dim: int = 0,
    heads: Sequence[int] = (),
) -> keras.Model:
    """Makes the network from images to logits [batch, 1].

    Args:
        image_shape: (height, width, channels).
        normalization: `"batch"` (in all but the input layer, as in the paper), `"none"` (a gradient
            penalty is per example, which BatchNorm would break), or `"spectral"` (of every kernel;
            arXiv 1802.05957).
        width: Channels of the layer next to the image.
        num_classes: > 0: it takes [image, label] and projects (arXiv 1802.05637).
        latent_dim: > 0: it takes [image, latent] (arXiv 1605.09782).
        heads: Units of further outputs [batch, units] after the logit.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is unknown, the image size is impossible, or both
            `num_classes` and `latent_dim` are given.

    Example:
        >>> from zoo.networks import conv
        >>> conv.discriminator((8, 8, 1)).output_shape
        (None, 1)
    """
    _, conv = _heads.linear_layers(normalization)
    images = keras.Input(image_shape, name="image")
    # 0.02 relies on normalisation to restore the scale; without it, signals need He's.
    init = "he_normal" if normalization == "none" else _normal()
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    for i in range(_heads.halvings(image_shape, "conv")):
        batch_norm = normalization == "batch" and i > 0
        x = conv(
            _channels(i, width), 4, strides=2, padding="same", use_bias=not batch_norm,
            kernel_initializer=init, name=f"conv_{i}", **_heads.LAST,
        )(x)  # fmt: skip
        if batch_norm:
            x = _heads.batch_norm(f"batch_norm_{i}")(x)
        x = _heads.leaky_relu(f"leaky_relu_{i}")(x)
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    return _heads.discriminator(
        images, x, _heads.leaky_relu, normalization=normalization, num_classes=num_classes,
        latent_dim=latent_dim, heads=heads, initializer=_normal(),
    )  # fmt: skip


def _expand(
    latents: keras.KerasTensor,
    image_shape: Sequence[int],
    width: int,
    norm: _heads.Norm | None = None,
) -> keras.KerasTensor:
    """Image logits of latents; `norm` makes the normalisation of a name, if there is to be any."""
    stages = _heads.halvings(image_shape, "conv")
    rows, columns = (size >> stages for size in image_shape[:2])
    init = _normal() if norm else "he_normal"
    channels = _channels(stages - 1, width)
    x = layers.Dense(
        rows * columns * channels, use_bias=not norm, kernel_initializer=init, name="project"
    )(latents)
    x = layers.Reshape((rows, columns, channels), name="reshape")(x)
    for i in reversed(range(stages)):
        if norm:
            x = norm(f"batch_norm_{i}")(x)
        x = layers.ReLU(name=f"relu_{i}")(x)
        last = i == 0
        x = layers.Conv2DTranspose(
            image_shape[2] if last else _channels(i - 1, width), 4, strides=2, padding="same",
            use_bias=last or not norm,
            kernel_initializer=_normal() if last else init,
            dtype="float32" if last else None,
            name="logits" if last else f"conv_transpose_{i}", **_heads.LAST,
        )(x)  # fmt: skip
    return x


def _channels(stage: int, width: int) -> int:
    return min(width << stage, MAX_WIDTH)


def _normal() -> keras.initializers.Initializer:
    """N(0, 0.02²), the paper's initialisation."""
    return keras.initializers.RandomNormal(stddev=0.02)
