"""The networks of BigGAN-deep (arXiv 1809.11096, figure 16, tables 7 to 9).

Two bottleneck blocks per halving of the image's side: the first keeps it. A block's convolutions
have a quarter of the channels. Shortcuts have no weights where channels do not grow: a generator
drops the channels that are too many, and a discriminator adds those that are missing, from a 1 × 1
convolution. The latents are not split: the whole of them, joined by the embedding of the class,
makes the smallest feature map and the gains and biases of all BatchNorms but the last.

Sizes, channels, attention, normalisation, initialisation, encoder and decoder are as in
`zoo.networks.biggan`. The paper's width is 128.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import FeatureSlice, SelfAttention2D
from zoo.networks import _heads, _modulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.networks._modulation import Conv

WIDTH = 64
BOTTLENECK = 4  # a block's channels over those of its convolutions


def encoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), as `biggan.encoder` does.

    Example:
        >>> from zoo.networks import biggan_deep
        >>> mean, log_variance = biggan_deep.encoder((8, 8, 1), latent_dim=2, width=4).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    inputs, x = _heads.image_inputs(image_shape, num_classes)
    x = _trunk(x, image_shape, width, "none")
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    return _heads.model(inputs, _heads.posterior(x, latent_dim), "encoder")


def decoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to image logits, as `biggan.decoder` does.

    Raises:
        ValueError: If the image size or the width is impossible.

    Example:
        >>> from zoo.networks import biggan_deep
        >>> biggan_deep.decoder((8, 8, 1), latent_dim=2, width=4).output_shape
        (None, 8, 8, 1)
    """
    inputs, logits = _expand(image_shape, latent_dim, width, num_classes, adversarial=False)
    return _heads.model(inputs, [logits], "decoder")


def generator(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to images in [0, 1], as `biggan.generator` does.

    Raises:
        ValueError: If the image size or the width is impossible.

    Example:
        >>> from zoo.networks import biggan_deep
        >>> biggan_deep.generator((8, 8, 1), latent_dim=2, width=4).output_shape
        (None, 8, 8, 1)
    """
    inputs, logits = _expand(image_shape, latent_dim, width, num_classes, adversarial=True)
    return _heads.model(inputs, [_heads.unit_range(logits)], "generator")


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "spectral",
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    latent_dim: int = 0,
    heads: Sequence[int] = (),
) -> keras.Model:
    """Makes the network from images to logits [batch, 1], as `biggan.discriminator` does.

    Raises:
        ValueError: As `biggan.discriminator`, or if the width is impossible.

    Example:
        >>> from zoo.networks import biggan_deep
        >>> biggan_deep.discriminator((8, 8, 1), width=4).output_shape
        (None, 1)
    """
    return _modulation.discriminator(
        _trunk, image_shape, normalization, width,
        num_classes=num_classes, latent_dim=latent_dim, heads=heads,
    )  # fmt: skip


def _channels(image_shape: Sequence[int], width: int) -> list[int]:
    if width < BOTTLENECK:
        msg = (
            f"width={width}: the convolutions of a biggan_deep have a quarter of the channels. "
            f"Take at least {BOTTLENECK}, such as network='biggan_deep-{BOTTLENECK}'."
        )
        raise ValueError(msg)
    return _modulation.channels_of(image_shape, width, "biggan_deep")


def _expand(
    image_shape: Sequence[int], latent_dim: int, width: int, num_classes: int, *, adversarial: bool
) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    """Inputs and image logits: of a generator, or of a decoder without norms."""
    channels = _channels(image_shape, width)
    stages = len(channels) - 1
    dense, conv = _modulation.linear_layers(spectral=adversarial)
    inputs, latents, joined = _modulation.conditions(latent_dim, num_classes)
    condition = joined(latents, "condition")
    activate = _modulation.modulation(condition, dense, batch_norm=adversarial)
    rows, columns = (size >> stages for size in image_shape[:2])
    x = dense(rows * columns * channels[stages], name="project")(condition)
    x = layers.Reshape((rows, columns, channels[stages]), name="reshape")(x)
    for i in reversed(range(stages)):
        if i + 1 == _modulation.attended(image_shape, stages):
            x = SelfAttention2D(spectral=adversarial, name="attention")(x)
        x = _up_block(x, channels[i + 1], f"block_{i}_keep", conv, activate, upsample=False)
        x = _up_block(x, channels[i], f"block_{i}", conv, activate)
    return inputs, _modulation.to_logits(x, image_shape[2], conv, batch_norm=adversarial)


def _up_block(
    x: keras.KerasTensor,
    channels: int,
    name: str,
    conv: Conv,
    activate: Any,
    *,
    upsample: bool = True,
) -> keras.KerasTensor:
    """Doubles the side, or keeps it (figure 16 b)."""
    shortcut, narrow = x, x.shape[-1] // BOTTLENECK
    if channels < x.shape[-1]:
        shortcut = FeatureSlice(0, channels, name=f"{name}_shortcut")(shortcut)
    x = conv(narrow, 1, name=f"{name}_conv_0")(activate(x, f"{name}_0"))
    x = activate(x, f"{name}_1")
    if upsample:
        x = layers.UpSampling2D(2, name=f"{name}_upsample", **_heads.LAST)(x)
        shortcut = layers.UpSampling2D(2, name=f"{name}_shortcut_upsample", **_heads.LAST)(shortcut)
    x = conv(narrow, 3, name=f"{name}_conv_1")(x)
    x = conv(narrow, 3, name=f"{name}_conv_2")(activate(x, f"{name}_2"))
    x = conv(channels, 1, name=f"{name}_conv_3")(activate(x, f"{name}_3"))
    return layers.Add(name=name)([x, shortcut])


def _trunk(
    x: keras.KerasTensor, image_shape: Sequence[int], width: int, normalization: str
) -> keras.KerasTensor:
    """Features of 4 to 7 pixels' side: two blocks per halving."""
    channels = _channels(image_shape, width)
    stages, spectral = len(channels) - 1, normalization == "spectral"
    _, conv = _modulation.linear_layers(spectral=spectral)
    activate = _modulation.activation(batch_norm=normalization == "batch")
    x = conv(channels[0], 3, name="from_image")(x)
    for i in range(stages):
        x = _down_block(x, channels[i + 1], f"block_{i}", conv, activate)
        x = _down_block(x, channels[i + 1], f"block_{i}_keep", conv, activate, pool=False)
        if i + 1 == _modulation.attended(image_shape, stages):
            x = SelfAttention2D(spectral=spectral, name="attention")(x)
    return activate(x, "output")


def _down_block(
    x: keras.KerasTensor,
    channels: int,
    name: str,
    conv: Conv,
    activate: Any,
    *,
    pool: bool = True,
) -> keras.KerasTensor:
    """Halves the side, or keeps it (figure 16 c)."""
    shortcut, narrow = x, channels // BOTTLENECK
    for i, size in enumerate((1, 3, 3)):
        x = conv(narrow, size, name=f"{name}_conv_{i}")(activate(x, f"{name}_{i}"))
    x = activate(x, f"{name}_3")
    if pool:
        x = layers.AveragePooling2D(2, name=f"{name}_pool", **_heads.LAST)(x)
        shortcut = layers.AveragePooling2D(2, name=f"{name}_shortcut_pool", **_heads.LAST)(shortcut)
    x = conv(channels, 1, name=f"{name}_conv_3")(x)
    if more := channels - shortcut.shape[-1]:
        added = conv(more, 1, name=f"{name}_shortcut")(shortcut)
        shortcut = layers.Concatenate(name=f"{name}_shortcut_join")([shortcut, added])
    return layers.Add(name=name)([x, shortcut])
