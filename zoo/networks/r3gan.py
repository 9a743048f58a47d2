"""Residual networks of R3GAN, Config E (arXiv 2501.05441, section 3).

A block is an inverted bottleneck of a ResNeXt: 1 × 1 convolution to twice the channels, 3 × 3
convolution in groups of 16 channels, 1 × 1 convolution back; leaky ReLUs of slope 0.2 behind the
first two, which alone have biases. There is no normalisation: as in Fix-up (arXiv 1901.09321) the
last kernel of a block starts at 0 and the others are smaller by L^(-1/4), L being the network's
number of blocks. Two blocks a stage. Sides are doubled and halved by the filter [1, 3, 3, 1], which
is before the 1 × 1 convolution that changes the channels in the discriminator, and behind it in the
generator. The generator starts from a learned image of 4 × 4 pixels whose channels the latent
scales; the discriminator ends in a kernel per channel over all pixels.

`width` is the number of channels up to 32 pixels: 768 in the paper (1536 for ImageNet); from there
they halve as the side doubles. A machine without a GPU trains `"r3gan-64"`. The sides of the
smallest images are 4 to 7 pixels, as in `zoo.networks.conv`.

Departures from the authors' code: the generator ends in a tanh, for images in [0, 1]. Encoder and
decoder, which the paper has not, are the discriminator's blocks and the generator without the tanh.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import Blur, GroupedConv2D, LearnedConstant
from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 768
WIDE_SIDE = 32  # up to which channels are `width`
BLOCKS = 2  # in a stage
EXPANSION = 2
GROUP = 16  # channels
SLOPE = 0.2


def encoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), each [batch, latent_dim].

    With `num_classes` it takes images and labels int32 [batch]: one-hot planes join the channels.

    Example:
        >>> from zoo.networks import r3gan
        >>> mean, log_variance = r3gan.encoder((8, 8, 1), latent_dim=2, width=8).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    inputs, x = _heads.image_inputs(image_shape, num_classes)
    return _heads.model(
        inputs, _heads.posterior(_trunk(x, image_shape, width), latent_dim), "encoder"
    )


def decoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to image logits: the generator without the tanh.

    Example:
        >>> from zoo.networks import r3gan
        >>> r3gan.decoder((8, 8, 1), latent_dim=2, width=8).output_shape
        (None, 8, 8, 1)
    """
    inputs, x = _conditioned(latent_dim, num_classes)
    return _heads.model(inputs, [_expand(x, image_shape, width)], "decoder")


def generator(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    With `num_classes` it takes latents and labels int32 [batch]: an embedding of as many numbers as
    the latent's joins it.

    Example:
        >>> from zoo.networks import r3gan
        >>> r3gan.generator((8, 8, 1), latent_dim=2, width=8).output_shape
        (None, 8, 8, 1)
    """
    inputs, x = _conditioned(latent_dim, num_classes)
    return _heads.model(inputs, [_heads.unit_range(_expand(x, image_shape, width))], "generator")


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "none",
    width: int = WIDTH,
    *,
    num_classes: int = 0,
) -> keras.Model:
    """Makes the network from images to logits [batch, 1].

    Args:
        image_shape: (height, width, channels).
        normalization: `"none"`: this architecture has no other.
        width: Channels up to 32 pixels.
        num_classes: > 0: it takes [image, label], and the logit is ⟨embed(y), W φ(x)⟩.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is not `"none"`, or the image size is impossible.

    Example:
        >>> from zoo.networks import r3gan
        >>> r3gan.discriminator((8, 8, 1), width=8).output_shape
        (None, 1)
    """
    _heads.check_no_normalization(normalization, "r3gan")
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = _trunk(x, image_shape, width)
    if not num_classes:
        return _heads.model([images], [_dense(1, "logit", dtype="float32")(x)], "discriminator")
    label = _heads.label_input()
    units = x.shape[-1]
    x = _dense(units, "projected", dtype="float32")(x)
    rows = _heads.one_hot(label, num_classes)
    embedded = _dense(units, "embedding", units**-0.5, dtype="float32")(rows)
    logit = layers.Dot(axes=1, dtype="float32", name="logit")([embedded, x])
    return _heads.model([images, label], [logit], "discriminator")


def _conditioned(latent_dim: int, num_classes: int) -> tuple[list[Any], keras.KerasTensor]:
    """The inputs of a generator, and the vector it starts from."""
    latents = keras.Input((latent_dim,), name="latent")
    if not num_classes:
        return [latents], latents
    label = _heads.label_input()
    embedded = _dense(latent_dim, "embedding")(_heads.one_hot(label, num_classes))
    joined = layers.Concatenate(name="latent_and_label")([latents, embedded])
    return [latents, label], joined


def _expand(x: keras.KerasTensor, image_shape: Sequence[int], width: int) -> keras.KerasTensor:
    """Image logits of latents."""
    stages = _heads.halvings(image_shape, "r3gan")
    rows, columns = (size >> stages for size in image_shape[:2])
    channels = _channels(image_shape, stages, width)
    basis = LearnedConstant((rows, columns, channels), name="basis")(x)
    scales = layers.Reshape((1, 1, channels), name="scales")(_dense(channels, "project")(x))
    x = layers.Multiply(name="start")([basis, scales])
    for stage in reversed(range(stages + 1)):
        if stage < stages:
            x = _conv_1x1(x, _channels(image_shape, stage, width), f"block_{stage}_up")
            x = _upsample(x, f"block_{stage}")
        x = _blocks(x, stage, stages)
    return _kernel_1x1(image_shape[2], "logits", dtype="float32")(x)


def _trunk(x: keras.KerasTensor, image_shape: Sequence[int], width: int) -> keras.KerasTensor:
    """Features [batch, channels] of images."""
    stages = _heads.halvings(image_shape, "r3gan")
    x = _kernel_1x1(_channels(image_shape, 0, width), "from_rgb")(x)
    for stage in range(stages + 1):
        x = _blocks(x, stage, stages)
        if stage < stages:
            x = Blur(1, strides=2, name=f"block_{stage}_blur")(x)
            x = _conv_1x1(x, _channels(image_shape, stage + 1, width), f"block_{stage}_down")
    rows, columns = x.shape[1:3]
    basis = layers.DepthwiseConv2D(
        (rows, columns), use_bias=False, name="basis", **_heads.LAST,
        depthwise_initializer=keras.initializers.RandomNormal(stddev=(rows * columns) ** -0.5),
    )  # fmt: skip
    return layers.Flatten(name="features", **_heads.LAST)(basis(x))


def _blocks(x: keras.KerasTensor, stage: int, stages: int) -> keras.KerasTensor:
    """The residual blocks of a stage."""
    channels = x.shape[-1]
    expanded = EXPANSION * channels
    # He's gain behind a leaky ReLU, and Fix-up's factor for blocks of three layers.
    gain = math.sqrt(2.0 / (1.0 + SLOPE**2)) * (BLOCKS * (stages + 1)) ** -0.25
    groups = math.gcd(expanded, max(expanded // GROUP, 1))
    for i in range(BLOCKS):
        name = f"block_{stage}_{i}"
        y = _kernel_1x1(expanded, f"{name}_expand", gain, use_bias=True)(x)
        y = layers.LeakyReLU(SLOPE, name=f"{name}_relu_0")(y)
        grouped = GroupedConv2D(
            expanded, 3, groups, padding="same", kernel_initializer=_normal(gain),
            name=f"{name}_grouped",
        )  # fmt: skip
        y = layers.LeakyReLU(SLOPE, name=f"{name}_relu_1")(grouped(y))
        y = _kernel_1x1(channels, f"{name}_project", 0.0)(y)
        x = layers.Add(name=f"{name}_sum")([x, y])
    return x


def _upsample(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Doubles the side by [1, 3, 3, 1] / 4, with zeros around the image: bilinear, but there."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pad", **_heads.LAST)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_upsample", **_heads.LAST)(x)
    return layers.Cropping2D(2, name=f"{name}_crop", **_heads.LAST)(x)


def _conv_1x1(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """To other channels, if they are others."""
    return x if x.shape[-1] == channels else _kernel_1x1(channels, name)(x)


def _kernel_1x1(channels: int, name: str, gain: float = 1.0, **options: Any) -> layers.Layer:
    options = {"use_bias": False, **_heads.LAST, **options}
    return layers.Conv2D(channels, 1, kernel_initializer=_normal(gain), name=name, **options)


def _dense(units: int, name: str, gain: float = 1.0, **options: Any) -> layers.Layer:
    return layers.Dense(
        units, use_bias=False, kernel_initializer=_normal(gain), name=name, **options
    )


def _normal(gain: float) -> Any:
    """N(0, gain² / fan_in)."""
    if not gain:
        return "zeros"
    return keras.initializers.VarianceScaling(gain**2, "fan_in", "untruncated_normal")


def _channels(image_shape: Sequence[int], stage: int, width: int) -> int:
    """Where the side is halved `stage` times."""
    doublings = (min(image_shape[:2]) >> stage) // WIDE_SIDE
    return max(width >> max(doublings.bit_length() - 1, 0), 1)
