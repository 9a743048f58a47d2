"""Residual networks of SNGAN (arXiv 1802.05957, appendix B, tables 3 and 4).

The image side is halved until it is 4 to 7 pixels, as in `zoo.networks.conv`. Channels grow from
`width` next to the image to 4 `width`. A generator of 28 × 28 images has about 1 M weights. The
initialisation is that of the authors' code: Glorot, with doubled variances before the ReLUs of a
branch. Departures from the paper: as many blocks as the size needs, fewer channels, one block
without pooling at the end of the discriminator, and BatchNorm statistics over the global batch.

The encoder is the trunk of the discriminator, without normalisation: the posterior of an image must
not depend on the other images, and so few blocks train without it. Unlike a network with sum
pooling, the encoder keeps the places of the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import SelfAttention2D, SpectralConv2D, SpectralDense
from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
ATTENTION_SIDE = 32  # feature maps beyond it have no attention (arXiv 1805.08318, table 1)


def encoder(
    image_shape: Sequence[int],
    latent_dim: int,
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    attention: bool = False,
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), each [batch, latent_dim].

    With `num_classes` it takes images and labels int32 [batch]: one-hot planes join the channels
    (Sohn et al. 2015). With `attention` one feature map has `SelfAttention2D`, here as in the other
    networks.

    Example:
        >>> from zoo.networks import resnet
        >>> mean, log_variance = resnet.encoder((8, 8, 1), latent_dim=2).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    inputs, x = _heads.image_inputs(image_shape, num_classes)
    x = _trunk(x, image_shape, width, layers.Conv2D, attention=attention)
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    return _heads.model(inputs, _heads.posterior(x, latent_dim), "encoder")


def decoder(
    image_shape: Sequence[int],
    latent_dim: int,
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    attention: bool = False,
) -> keras.Model:
    """Makes the network from latents to image logits: the generator without BatchNorm and tanh.

    With `num_classes` it takes latents and labels int32 [batch]: one-hot rows join the latents.

    Example:
        >>> from zoo.networks import resnet
        >>> resnet.decoder((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents = _heads.latent_inputs(latent_dim, num_classes)
    return _heads.model(
        inputs, [_expand(latents, image_shape, width, attention=attention)], "decoder"
    )


def generator(
    image_shape: Sequence[int],
    latent_dim: int,
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    attention: bool = False,
    spectral: bool = False,
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    With `num_classes` it takes latents and labels int32 [batch]: one-hot rows join the latents, and
    BatchNorm has a gain and a bias for each class (arXiv 1802.05637). With `spectral` every kernel
    is divided by its spectral norm (arXiv 1805.08318, section 4.1).

    Example:
        >>> from zoo.networks import resnet
        >>> resnet.generator((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents, norm = _heads.generator_inputs(latent_dim, num_classes)
    logits = _expand(latents, image_shape, width, norm, attention=attention, spectral=spectral)
    images = _heads.unit_range(logits)
    return _heads.model(inputs, [images], "generator")


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "spectral",
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    latent_dim: int = 0,
    heads: Sequence[int] = (),
    attention: bool = False,
) -> keras.Model:
    """Makes the network from images to logits [batch, 1].

    The layer `features` gives φ(x), float32 [batch, channels]: the features summed over pixels.

    Args:
        image_shape: (height, width, channels).
        normalization: `"spectral"` (of every kernel), `"batch"` (in all but the first block) or
            `"none"`.
        width: Channels of the layer next to the image.
        num_classes: > 0: it takes [image, label] and projects (arXiv 1802.05637).
        latent_dim: > 0: it takes [image, latent] (arXiv 1605.09782).
        heads: Units of further outputs [batch, units] after the logit.
        attention: Whether one feature map has `SelfAttention2D`.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is unknown, the image size is impossible, or both
            `num_classes` and `latent_dim` are given.

    Example:
        >>> from zoo.networks import resnet
        >>> resnet.discriminator((8, 8, 1)).output_shape
        (None, 1)
    """
    _, conv = _heads.linear_layers(normalization)
    norm = _heads.batch_norm if normalization == "batch" else None
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = _trunk(x, image_shape, width, conv, norm, attention=attention)
    pixels = x.shape[1] * x.shape[2]
    x = layers.GlobalAveragePooling2D(dtype="float32", name="pixel_mean", **_heads.LAST)(x)
    x = layers.Rescaling(pixels, dtype="float32", name="features")(x)
    return _heads.discriminator(
        images, x, _relu, normalization=normalization, num_classes=num_classes,
        latent_dim=latent_dim, heads=heads,
    )  # fmt: skip


def _expand(
    latents: keras.KerasTensor,
    image_shape: Sequence[int],
    width: int,
    norm: _heads.Norm | None = None,
    *,
    attention: bool,
    spectral: bool = False,
) -> keras.KerasTensor:
    """Image logits of latents; `norm` makes the normalisation of a name, if there is to be any."""
    dense, conv = (SpectralDense, SpectralConv2D) if spectral else (layers.Dense, layers.Conv2D)
    stages = _heads.halvings(image_shape, "resnet")
    rows, columns = (size >> stages for size in image_shape[:2])
    channels = _channels(stages - 1, width)
    x = dense(rows * columns * channels, name="project")(latents)
    x = layers.Reshape((rows, columns, channels), name="reshape")(x)
    for i in reversed(range(stages)):
        if attention and i + 1 == _heads.attended(image_shape, stages, ATTENTION_SIDE):
            x = SelfAttention2D(spectral=spectral, name="attention")(x)
        x = _up_block(x, _channels(i, width), f"block_{i}", conv, norm)
    x = _activate(x, "output", norm)
    last = conv(image_shape[2], 3, padding="same", dtype="float32", name="logits", **_heads.LAST)
    return last(x)


def _up_block(
    x: keras.KerasTensor,
    channels: int,
    name: str,
    conv: type[layers.Layer],
    norm: _heads.Norm | None,
) -> keras.KerasTensor:
    """Doubles the side."""
    shortcut = layers.UpSampling2D(2, name=f"{name}_shortcut_upsample", **_heads.LAST)(x)
    shortcut = conv(channels, 1, name=f"{name}_shortcut", **_heads.LAST)(shortcut)
    x = _activate(x, f"{name}_0", norm)
    x = layers.UpSampling2D(2, name=f"{name}_upsample", **_heads.LAST)(x)
    x = _conv_3x3(conv, channels, f"{name}_conv_0")(x)
    x = _activate(x, f"{name}_1", norm)
    x = _conv_3x3(conv, channels, f"{name}_conv_1")(x)
    return layers.Add(name=name)([x, shortcut])


def _trunk(
    x: keras.KerasTensor,
    image_shape: Sequence[int],
    width: int,
    conv: type[layers.Layer],
    norm: _heads.Norm | None = None,
    *,
    attention: bool,
) -> keras.KerasTensor:
    """Features of 4 to 7 pixels' side."""
    stages = _heads.halvings(image_shape, "resnet")
    for i in range(stages):
        x = _down_block(x, _channels(i, width), f"block_{i}", conv, norm, first=i == 0)
        if attention and i + 1 == _heads.attended(image_shape, stages, ATTENTION_SIDE):
            x = SelfAttention2D(spectral=conv is SpectralConv2D, name="attention")(x)
    x = _down_block(x, x.shape[-1], f"block_{stages}", conv, norm, pool=False)
    return _activate(x, "output", norm)


def _down_block(
    x: keras.KerasTensor,
    channels: int,
    name: str,
    conv: type[layers.Layer],
    norm: _heads.Norm | None,
    *,
    first: bool = False,
    pool: bool = True,
) -> keras.KerasTensor:
    """Halves the side, or without `pool` keeps side and channels; the `first` takes an image.

    The shortcut is pooled before its convolution, which is the same and cheaper.
    """
    shortcut = x
    if first:
        norm = None
    else:
        x = _activate(x, f"{name}_0", norm)
    x = _conv_3x3(conv, channels, f"{name}_conv_0")(x)
    x = _activate(x, f"{name}_1", norm)
    x = _conv_3x3(conv, channels, f"{name}_conv_1")(x)
    if pool:
        x = layers.AveragePooling2D(2, name=f"{name}_pool", **_heads.LAST)(x)
        shortcut = layers.AveragePooling2D(2, name=f"{name}_shortcut_pool", **_heads.LAST)(shortcut)
        shortcut = conv(channels, 1, name=f"{name}_shortcut", **_heads.LAST)(shortcut)
    return layers.Add(name=name)([x, shortcut])


def _activate(x: keras.KerasTensor, name: str, norm: _heads.Norm | None) -> keras.KerasTensor:
    if norm:
        x = norm(f"{name}_batch_norm")(x)
    return _relu(f"{name}_relu")(x)


def _conv_3x3(conv: type[layers.Layer], channels: int, name: str) -> layers.Layer:
    init = keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform")
    return conv(channels, 3, padding="same", kernel_initializer=init, name=name, **_heads.LAST)


def _relu(name: str) -> Any:
    return layers.ReLU(name=name)


def _channels(stage: int, width: int) -> int:
    return min(width << stage, 4 * width)
