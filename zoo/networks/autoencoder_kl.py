"""The autoencoder of latent diffusion: images to a grid of latents and back (arXiv 2112.10752).

Each level but the last halves the sides, so that L levels make a grid of 1 / 2^(L − 1) of the
image's sides. A block is GroupNorm, SiLU, 3 × 3 convolution, twice, beside a shortcut. The middle
has two blocks, and between them attention over all positions. The networks compute what the class
`AutoencoderKL` of the package diffusers does, and take its weights: see `zoo.hub.diffusers`.

One network takes images of every height and width that the factor divides. Inside of it pixels are
in [−1, 1]: the encoder takes them to 2 x − 1, the decoder from y to (y + 1) / 2. The downsampling
pads zeros below and to the right alone. The initialisation of kernels is PyTorch's; biases are 0.

Departures from the paper: the default channels, blocks and groups, which are small, for two CPU
cores. The paper's, for a factor of 8, are channels of (128, 256, 512, 512), 2 blocks, 32 groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from zoo.layers import FeatureSlice, PositionAttention
from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANNELS = (32, 64, 64)
BLOCKS = 1
GROUPS = 8
EPSILON = 1e-6
LOG_VARIANCES = (-30.0, 20.0)  # the authors' code keeps log σ² within


def factor(channels: Sequence[int]) -> int:
    """The side of an image over that of its grid of latents.

    Example:
        >>> from zoo.networks import autoencoder_kl
        >>> autoencoder_kl.factor((128, 256, 512, 512))
        8
    """
    return 1 << (len(channels) - 1)


def grid_shape(image_shape: Sequence[int], channels: Sequence[int] = CHANNELS) -> tuple[int, int]:
    """The (height, width) of the grid of latents for an image.

    Args:
        image_shape: (height, width), and what else.
        channels: Those of each level.

    Raises:
        ValueError: If the factor does not divide a side.

    Example:
        >>> from zoo.networks import autoencoder_kl
        >>> autoencoder_kl.grid_shape((28, 32, 1))
        (7, 8)
    """
    by = factor(channels)
    height, width = image_shape[:2]
    if height % by or width % by:
        near = [max(by, (side + by // 2) // by * by) for side in (height, width)]
        msg = (
            f"The autoencoder_kl network cannot take {height} × {width} images: with "
            f"{len(channels)} levels both sides must be divisible by {by}. Resize to {near[0]} × "
            f"{near[1]}, or give other channels."
        )
        raise ValueError(msg)
    return height // by, width // by


def encoder(
    image_shape: Sequence[int],
    latent_dim: int,
    *,
    channels: Sequence[int] = CHANNELS,
    blocks: int = BLOCKS,
    groups: int = GROUPS,
    attention: bool = True,
    quant_conv: bool = True,
    moments: bool = True,
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), float32, a latent per position.

    For VQGAN (arXiv 2012.09841), whose positions have codes, it gives one output, the features.

    Args:
        image_shape: (height, width, channels). The network takes other sizes too.
        latent_dim: c, latent channels of the outputs [batch, height / f, width / f, c].
        channels: Channels of each level, the one of the whole image first.
        blocks: Residual blocks per level.
        groups: Groups of channels that are normalised together.
        attention: Whether the middle has attention.
        quant_conv: Whether a 1 × 1 convolution comes last.
        moments: Whether the outputs are mean and log-variance, not features.

    Raises:
        ValueError: If the factor does not divide a side, the groups do not divide the channels, or
            an option is less than 1.

    Example:
        >>> from zoo.networks import autoencoder_kl
        >>> mean, _ = autoencoder_kl.encoder((8, 8, 1), 2, channels=(8, 16), groups=4).outputs
        >>> mean.shape
        (None, None, None, 2)
    """
    check_levels(channels, blocks, groups)
    grid_shape(image_shape, channels)
    images = keras.Input((None, None, image_shape[2]), name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = _conv(channels[0], 3, "input")(x)
    for i, width in enumerate(channels):
        for j in range(blocks):
            x = _block(x, width, groups, f"down_{i}_block_{j}")
        if i < len(channels) - 1:
            # Sides are even here, where "same" pads a zero at their end alone.
            x = _conv(width, 3, f"down_{i}_downsample", strides=2)(x)
    x = _middle(x, groups, attention=attention)
    outputs = (2 if moments else 1) * latent_dim
    x = _conv(outputs, 3, "output", dtype="float32")(_activated(x, groups, "output_norm"))
    if quant_conv:
        x = _conv(outputs, 1, "quant", dtype="float32")(x)
    if not moments:
        return keras.Model(images, x, name="encoder")
    mean = FeatureSlice(0, latent_dim, dtype="float32", name="mean")(x)
    log_variance = FeatureSlice(latent_dim, 2 * latent_dim, dtype="float32", name="log_variance")(x)
    return keras.Model(images, [mean, ops.clip(log_variance, *LOG_VARIANCES)], name="encoder")


def decoder(
    image_shape: Sequence[int],
    latent_dim: int,
    *,
    channels: Sequence[int] = CHANNELS,
    blocks: int = BLOCKS,
    groups: int = GROUPS,
    attention: bool = True,
    post_quant_conv: bool = True,
) -> keras.Model:
    """Makes the network from latents to the values of pixels, float32, any real numbers.

    For the likelihood `laplace_linear` they are the pixels, and for the others logits.

    Args:
        image_shape: As `encoder` takes it; the channels are those of the output.
        latent_dim: c, channels of the latents [batch, height / f, width / f, c].
        channels: As `encoder` takes them; the first is that of the whole image here too.
        blocks: Residual blocks per level of the encoder. The decoder has one more.
        groups: As in `encoder`.
        attention: As in `encoder`.
        post_quant_conv: Whether a 1 × 1 convolution comes first.

    Raises:
        ValueError: As `encoder`.

    Example:
        >>> from zoo.networks import autoencoder_kl
        >>> autoencoder_kl.decoder((8, 8, 1), 2, channels=(8, 16), groups=4).output_shape
        (None, None, None, 1)
    """
    check_levels(channels, blocks, groups)
    grid_shape(image_shape, channels)
    latents = x = keras.Input((None, None, latent_dim), name="latent")
    if post_quant_conv:
        x = _conv(latent_dim, 1, "post_quant")(x)
    x = _conv(channels[-1], 3, "input")(x)
    x = _middle(x, groups, attention=attention)
    for i, width in enumerate(reversed(channels)):
        for j in range(blocks + 1):
            x = _block(x, width, groups, f"up_{i}_block_{j}")
        if i < len(channels) - 1:
            x = layers.UpSampling2D(2, name=f"up_{i}_nearest", **_heads.LAST)(x)
            x = _conv(width, 3, f"up_{i}_upsample")(x)
    x = _activated(x, groups, "output_norm")
    x = _conv(image_shape[2], 3, "output", dtype="float32")(x)
    values = layers.Rescaling(0.5, 0.5, dtype="float32", name="to_unit_range")(x)
    return keras.Model(latents, values, name="decoder")


def check_levels(channels: Sequence[int], blocks: int, groups: int) -> None:
    """Raises ValueError if there can be no such networks, whatever the images.

    Example:
        >>> from zoo.networks import autoencoder_kl
        >>> autoencoder_kl.check_levels((8, 16), blocks=1, groups=3)
        Traceback (most recent call last):
        ValueError: groups=3: expected a divisor of the channels of every level, 8, 16.
    """
    if not channels or min(channels) < 1 or blocks < 1 or groups < 1:
        msg = (
            f"channels={list(channels)}, blocks={blocks}, groups={groups}: expected at least one "
            "level of channels, and numbers of at least 1."
        )
        raise ValueError(msg)
    if any(width % groups for width in channels):
        msg = (
            f"groups={groups}: expected a divisor of the channels of every level, "
            f"{', '.join(map(str, channels))}."
        )
        raise ValueError(msg)


def _conv(filters: int, size: int, name: str, **options: Any) -> layers.Layer:
    return layers.Conv2D(
        filters, size, padding="same", kernel_initializer=_initializer(), name=name,
        **_heads.LAST, **options,
    )  # fmt: skip


def _initializer() -> Any:
    """PyTorch's: U(−1 / √n, 1 / √n) for n inputs."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def _norm(groups: int, name: str) -> layers.Layer:
    return layers.GroupNormalization(groups, axis=-1, epsilon=EPSILON, name=name)


def _activated(x: keras.KerasTensor, groups: int, name: str) -> keras.KerasTensor:
    return layers.Activation("silu", name=f"{name}_silu")(_norm(groups, name)(x))


def _block(x: keras.KerasTensor, width: int, groups: int, name: str) -> keras.KerasTensor:
    """Two convolutions beside a shortcut, 1 × 1 where the channels change."""
    shortcut = x
    for k in range(2):
        x = _conv(width, 3, f"{name}_conv_{k}")(_activated(x, groups, f"{name}_norm_{k}"))
    if shortcut.shape[-1] != width:
        shortcut = _conv(width, 1, f"{name}_shortcut")(shortcut)
    return layers.Add(name=name)([shortcut, x])


def _middle(x: keras.KerasTensor, groups: int, *, attention: bool) -> keras.KerasTensor:
    width = x.shape[-1]
    x = _block(x, width, groups, "middle_block_0")
    if attention:

        def linear(name: str) -> layers.Layer:
            return layers.Dense(width, kernel_initializer=_initializer(), name=f"attention_{name}")

        y = _norm(groups, "attention_norm")(x)
        y = PositionAttention(name="attention_seen")(
            [linear(name)(y) for name in ("query", "key", "value")]
        )
        x = layers.Add(name="attention")([x, linear("output")(y)])
    return _block(x, width, groups, "middle_block_1")
