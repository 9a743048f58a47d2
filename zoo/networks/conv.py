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

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
MAX_WIDTH = 512


def encoder(image_shape: Sequence[int], latent_dim: int, width: int = WIDTH) -> keras.Model:
    """Images to (mean, log-variance), each [batch, latent_dim]."""
    images = keras.Input(image_shape, name="image")
    x = images
    for i in range(_stages(image_shape)):
        x = layers.Conv2D(
            _channels(i, width), 4, strides=2, padding="same", activation="relu", name=f"conv_{i}"
        )(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="hidden")(x)
    mean = layers.Dense(latent_dim, dtype="float32", name="mean")(x)
    log_variance = layers.Dense(latent_dim, dtype="float32", name="log_variance")(x)
    return keras.Model(images, [mean, log_variance], name="encoder")


def decoder(image_shape: Sequence[int], latent_dim: int, width: int = WIDTH) -> keras.Model:
    """Latents to image logits: the generator without BatchNorm and tanh."""
    latents = keras.Input((latent_dim,), name="latent")
    return keras.Model(
        latents, _expand(latents, image_shape, width, batch_norm=False), name="decoder"
    )


def generator(image_shape: Sequence[int], latent_dim: int, width: int = WIDTH) -> keras.Model:
    """Latents to images in [0, 1]: BatchNorm and ReLU in all but the output layer, then tanh."""
    latents = keras.Input((latent_dim,), name="latent")
    x = _expand(latents, image_shape, width, batch_norm=True)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    images = layers.Rescaling(0.5, 0.5, dtype="float32", name="to_unit_range")(x)
    return keras.Model(latents, images, name="generator")


def discriminator(
    image_shape: Sequence[int], normalization: str = "batch", width: int = WIDTH
) -> keras.Model:
    """Images to logits [batch, 1].

    Args:
        image_shape: (height, width, channels).
        normalization: `"batch"` (in all but the input layer, as in the paper) or `"none"`
            (a gradient penalty is per example, which BatchNorm would break).
        width: Channels beside the image.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is neither.
    """
    if normalization not in ("batch", "none"):
        msg = f"normalization={normalization!r}: expected 'batch' or 'none'."
        raise ValueError(msg)
    images = keras.Input(image_shape, name="image")
    # 0.02 relies on BatchNorm to restore the scale; without it, signals need He's.
    init = _normal() if normalization == "batch" else "he_normal"
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    for i in range(_stages(image_shape)):
        batch_norm = normalization == "batch" and i > 0
        x = layers.Conv2D(
            _channels(i, width), 4, strides=2, padding="same", use_bias=not batch_norm,
            kernel_initializer=init, name=f"conv_{i}",
        )(x)  # fmt: skip
        if batch_norm:
            x = _batch_norm(f"batch_norm_{i}")(x)
        x = layers.LeakyReLU(0.2, name=f"leaky_relu_{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    logits = layers.Dense(1, kernel_initializer=_normal(), dtype="float32", name="logit")(x)
    return keras.Model(images, logits, name="discriminator")


def _expand(
    latents: keras.KerasTensor, image_shape: Sequence[int], width: int, *, batch_norm: bool
) -> keras.KerasTensor:
    stages = _stages(image_shape)
    rows, columns = (size >> stages for size in image_shape[:2])
    init = _normal() if batch_norm else "he_normal"
    channels = _channels(stages - 1, width)
    x = layers.Dense(
        rows * columns * channels, use_bias=not batch_norm, kernel_initializer=init, name="project"
    )(latents)
    x = layers.Reshape((rows, columns, channels), name="reshape")(x)
    for i in reversed(range(stages)):
        if batch_norm:
            x = _batch_norm(f"batch_norm_{i}")(x)
        x = layers.ReLU(name=f"relu_{i}")(x)
        last = i == 0
        x = layers.Conv2DTranspose(
            image_shape[2] if last else _channels(i - 1, width), 4, strides=2, padding="same",
            use_bias=last or not batch_norm,
            kernel_initializer=_normal() if last else init,
            dtype="float32" if last else None,
            name="logits" if last else f"conv_transpose_{i}",
        )(x)  # fmt: skip
    return x


def _stages(image_shape: Sequence[int]) -> int:
    """Number of halvings that leave the smaller side at 4 to 7 pixels."""
    height, width, _ = image_shape
    stages = (min(height, width) // 4).bit_length() - 1
    if stages < 1 or height % (1 << stages) or width % (1 << stages):
        step = 1 << max(stages, 1)
        near = [max(8, (size + step // 2) // step * step) for size in (height, width)]
        msg = (
            f"The conv network cannot make {height} × {width} images: both sides must be at least "
            f"8 and divisible by {step}. Resize to {near[0]} × {near[1]}, or use network='mlp'."
        )
        raise ValueError(msg)
    return stages


def _channels(stage: int, width: int) -> int:
    return min(width << stage, MAX_WIDTH)


def _normal() -> keras.initializers.Initializer:
    """N(0, 0.02²), the paper's initialisation."""
    return keras.initializers.RandomNormal(stddev=0.02)


def _batch_norm(name: str) -> layers.Layer:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True, name=name)
