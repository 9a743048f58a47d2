"""The networks of BigGAN (arXiv 1809.11096, figure 15, tables 4 to 6).

A generator halves the image's side in its blocks' order backwards, until it is 4 to 7 pixels. The
latents are split into as many chunks as there are blocks and one more. Each is joined by the
embedding of the class, which all share. The first makes the smallest feature map; every other one
gives the gains and biases of the BatchNorms in its block. Attention is where the paper has it: on
the largest feature map of at most 64 × 64 pixels that is smaller than the image. All kernels but
the embedding's are divided by their spectral norms. The initialisation is orthogonal.

Channels are those of the paper's tables, `width` being its ch, for 128, 256 and 512 pixels. At 64
pixels they are 2, 4, 8, 16 and 16 times the width, and below they are 4 times the width everywhere.
Departures from the paper: a smaller default width (the paper's is 96), the further sizes, chunks
that differ by a dimension where the latents cannot be split evenly, and label planes for an
encoder.

Encoder and decoder have neither BatchNorm nor spectral norms. The decoder is otherwise the
generator: its features are scaled and shifted as the chunks say. The encoder is the trunk of the
discriminator, as in `resnet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import SelfAttention2D
from zoo.networks import _heads, _modulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.networks._modulation import Conv

WIDTH = 64


def encoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), each [batch, latent_dim].

    With `num_classes` it takes images and labels int32 [batch]: one-hot planes join the channels
    (Sohn et al. 2015).

    Example:
        >>> from zoo.networks import biggan
        >>> mean, log_variance = biggan.encoder((8, 8, 1), latent_dim=2, width=4).outputs
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
    """Makes the network from latents to image logits: the generator without BatchNorm and tanh.

    With `num_classes` it takes latents and labels int32 [batch].

    Raises:
        ValueError: If the image size is impossible, or there are fewer latents than chunks.

    Example:
        >>> from zoo.networks import biggan
        >>> biggan.decoder((8, 8, 1), latent_dim=2, width=4).output_shape
        (None, 8, 8, 1)
    """
    inputs, logits = _expand(image_shape, latent_dim, width, num_classes, adversarial=False)
    return _heads.model(inputs, [logits], "decoder")


def generator(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    With `num_classes` it takes latents and labels int32 [batch].

    Raises:
        ValueError: If the image size is impossible, or there are fewer latents than chunks.

    Example:
        >>> from zoo.networks import biggan
        >>> biggan.generator((8, 8, 1), latent_dim=2, width=4).output_shape
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
    """Makes the network from images to logits [batch, 1].

    The layer `features` gives φ(x), float32 [batch, channels]: the features summed over pixels.

    Args:
        image_shape: (height, width, channels).
        normalization: `"spectral"` (of every kernel), `"batch"` (in all but the first block) or
            `"none"`.
        width: The paper's ch.
        num_classes: > 0: it takes [image, label] and projects (arXiv 1802.05637).
        latent_dim: > 0: it takes [image, latent] (arXiv 1605.09782).
        heads: Units of further outputs [batch, units] after the logit.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is unknown, the image size is impossible, or both
            `num_classes` and `latent_dim` are given.

    Example:
        >>> from zoo.networks import biggan
        >>> biggan.discriminator((8, 8, 1), width=4).output_shape
        (None, 1)
    """
    return _modulation.discriminator(
        _trunk, image_shape, normalization, width,
        num_classes=num_classes, latent_dim=latent_dim, heads=heads,
    )  # fmt: skip


def _expand(
    image_shape: Sequence[int], latent_dim: int, width: int, num_classes: int, *, adversarial: bool
) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    """Inputs and image logits: of a generator, or of a decoder without norms."""
    channels = _modulation.channels_of(image_shape, width, "biggan")
    stages = len(channels) - 1
    dense, conv = _modulation.linear_layers(spectral=adversarial)
    inputs, latents, joined = _modulation.conditions(latent_dim, num_classes)
    first, *others = [
        joined(chunk, f"condition_{i}")
        for i, chunk in enumerate(_modulation.chunks(latents, stages + 1, "biggan", image_shape))
    ]
    rows, columns = (size >> stages for size in image_shape[:2])
    x = dense(rows * columns * channels[stages], name="project")(first)
    x = layers.Reshape((rows, columns, channels[stages]), name="reshape")(x)
    for i, condition in zip(reversed(range(stages)), others, strict=True):
        if i + 1 == _modulation.attended(image_shape, stages):
            x = SelfAttention2D(spectral=adversarial, name="attention")(x)
        activate = _modulation.modulation(condition, dense, batch_norm=adversarial)
        x = _up_block(x, channels[i], f"block_{i}", conv, activate)
    return inputs, _modulation.to_logits(x, image_shape[2], conv, batch_norm=adversarial)


def _up_block(
    x: keras.KerasTensor, channels: int, name: str, conv: Conv, activate: Any
) -> keras.KerasTensor:
    """Doubles the side (figure 15 b)."""
    shortcut = layers.UpSampling2D(2, name=f"{name}_shortcut_upsample", **_heads.LAST)(x)
    shortcut = conv(channels, 1, name=f"{name}_shortcut")(shortcut)
    x = activate(x, f"{name}_0")
    x = layers.UpSampling2D(2, name=f"{name}_upsample", **_heads.LAST)(x)
    x = conv(channels, 3, name=f"{name}_conv_0")(x)
    x = activate(x, f"{name}_1")
    x = conv(channels, 3, name=f"{name}_conv_1")(x)
    return layers.Add(name=name)([x, shortcut])


def _trunk(
    x: keras.KerasTensor, image_shape: Sequence[int], width: int, normalization: str
) -> keras.KerasTensor:
    """Features of 4 to 7 pixels' side: a block per halving, and one that keeps the side."""
    channels = _modulation.channels_of(image_shape, width, "biggan")
    stages, spectral = len(channels) - 1, normalization == "spectral"
    _, conv = _modulation.linear_layers(spectral=spectral)
    activate = _modulation.activation(batch_norm=normalization == "batch")
    for i in range(stages):
        x = _down_block(x, channels[i], f"block_{i}", conv, activate, first=i == 0)
        if i + 1 == _modulation.attended(image_shape, stages):
            x = SelfAttention2D(spectral=spectral, name="attention")(x)
    x = _down_block(x, channels[stages], f"block_{stages}", conv, activate, pool=False)
    return activate(x, "output")


def _down_block(
    x: keras.KerasTensor,
    channels: int,
    name: str,
    conv: Conv,
    activate: Any,
    *,
    first: bool = False,
    pool: bool = True,
) -> keras.KerasTensor:
    """Halves the side (figure 15 c), or without `pool` keeps it; the `first` takes an image.

    The shortcut is pooled before its convolution, which is the same and cheaper.
    """
    shortcut = x
    if first:
        activate = _modulation.activation(batch_norm=False)
    else:
        x = activate(x, f"{name}_0")
    x = conv(channels, 3, name=f"{name}_conv_0")(x)
    x = conv(channels, 3, name=f"{name}_conv_1")(activate(x, f"{name}_1"))
    if pool:
        x = layers.AveragePooling2D(2, name=f"{name}_pool", **_heads.LAST)(x)
        shortcut = layers.AveragePooling2D(2, name=f"{name}_shortcut_pool", **_heads.LAST)(shortcut)
    if pool or shortcut.shape[-1] != channels:
        shortcut = conv(channels, 1, name=f"{name}_shortcut")(shortcut)
    return layers.Add(name=name)([x, shortcut])
