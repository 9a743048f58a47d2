"""Networks of FastGAN (arXiv 2101.04775, section 3).

Generator: the side is doubled from 4 to 7 pixels by nearest neighbours, each time with one or, in
every other stage, two convolutions, BatchNorm and gated linear units. Skip-layer excitation (eq. 1)
lets features gate the channels of those with 16 times their side: they are pooled to 4 × 4 pixels,
convolved to one, and pass leaky ReLU of slope 0.1, a further convolution and a sigmoid. Features of
4, 8, 16 and 32 pixels gate those of 64 to 512. In images of less than 64 pixels the first features
gate the last.

Discriminator: residual blocks down to 8 pixels (5 to 7 for 20 to 28, 40 to 56 …), whose last ones
are gated by those three blocks before. It judges patches: its logit is the mean of theirs. Two
small decoders make images of its features, see `reconstructor`.

Channels are `width` times 16 at 4 pixels to 1/8 at 1024, as in the authors' code, where `width` is
64; sides in between count as the next power of two. Every kernel is divided by its spectral norm,
in the generator too. Sides are those of `zoo.networks.conv`.

Departures from the authors' code: no noise beside the latent, so that an image is a function of it;
no second output of 128 × 128 pixels and no second discriminator for it, of which the paper knows
nothing; and the discriminator's first stride for images of 512 and 1024 pixels is one of these
blocks. Encoder and decoder, which the paper has not, are the discriminator's blocks and the
generator, without BatchNorm and spectral norms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import AdaptiveAveragePooling, GatedLinearUnit, SpectralConv2D, SpectralDense
from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
# Sixteenths of a channel per `width`, by side; `nfc_multi` of the authors' code.
CHANNELS = {
    4: 256, 8: 128, 16: 64, 32: 32, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 2, 2048: 2,
}  # fmt: skip
SKIP = 4  # doublings from the features that gate to those that are gated
DISCRIMINATOR_SKIP = 3
GATED_SIDE = 512  # beyond it no features are gated
DECODED = 4  # doublings in a decoder, at most: from 8 to 128 pixels


def encoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), each [batch, latent_dim].

    With `num_classes` it takes images and labels int32 [batch]: one-hot planes join the channels.

    Example:
        >>> from zoo.networks import fastgan
        >>> mean, log_variance = fastgan.encoder((8, 8, 1), latent_dim=2, width=4).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    inputs, x = _heads.image_inputs(image_shape, num_classes)
    x = _trunk(x, image_shape, width, _Builder("none"))[-1]
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    return _heads.model(inputs, _heads.posterior(x, latent_dim), "encoder")


def decoder(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to image logits: the generator without norms and tanh.

    Example:
        >>> from zoo.networks import fastgan
        >>> fastgan.decoder((8, 8, 1), latent_dim=2, width=4).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents = _heads.latent_inputs(latent_dim, num_classes)
    logits = _expand(latents, image_shape, width, _Builder("none"))
    return _heads.model(inputs, [logits], "decoder")


def generator(
    image_shape: Sequence[int],
    latent_dim: int,
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    normalization: str = "batch",
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    With `num_classes` it takes latents and labels int32 [batch]: one-hot rows join the latents, and
    BatchNorm has a gain and a bias for each class (arXiv 1802.05637).

    Args:
        image_shape: (height, width, channels).
        latent_dim: Number of latent dimensions.
        width: Channels at 128 pixels.
        num_classes: K > 0 makes it conditional.
        normalization: `"batch"` as in the paper, or `"spectral"` without BatchNorm.

    Example:
        >>> from zoo.networks import fastgan
        >>> fastgan.generator((8, 8, 1), latent_dim=2, width=4).output_shape
        (None, 8, 8, 1)
    """
    inputs, latents, norm = _heads.generator_inputs(latent_dim, num_classes)
    builder = _Builder(normalization, norm)
    images = _heads.unit_range(_expand(latents, image_shape, width, builder))
    return _heads.model(inputs, [images], "generator")


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "batch",
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    features: bool = False,
) -> keras.Model:
    """Makes the network from images to logits [batch, 1], the means of those of their patches.

    Args:
        image_shape: (height, width, channels).
        normalization: `"batch"` (with spectral norms, as in the paper), `"spectral"` (these alone)
            or `"none"`.
        width: Channels at 128 pixels.
        num_classes: > 0: it takes [image, label] and projects (arXiv 1802.05637): the inner product
            of the label's embedding and the last features' mean adds to all logits.
        features: Whether there are further outputs: the patches' logits [batch, patches], and what
            `reconstructor` takes, the last feature maps and the last but one.

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is unknown, or the image size is impossible.

    Example:
        >>> from zoo.networks import fastgan
        >>> fastgan.discriminator((8, 8, 1), width=4).output_shape
        (None, 1)
    """
    build = _Builder(normalization)
    inputs = [keras.Input(image_shape, name="image")]
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(inputs[0])
    maps = _trunk(x, image_shape, width, build)
    x = build.conv(maps[-1], _channels(8, width), 1, "judge", norm=True)
    x = layers.LeakyReLU(0.2, name="judge_relu")(x)
    x = build.conv(x, 1, 4, "patch_logits", padding="valid", dtype="float32")
    patches = layers.Flatten(name="patches", dtype="float32", **_heads.LAST)(x)
    if num_classes:
        inputs.append(_heads.label_input())
        rows = _heads.one_hot(inputs[1], num_classes)
        units = maps[-1].shape[-1]
        embedded = build.dense(units, use_bias=False, dtype="float32", name="embedding")(rows)
        mean = layers.GlobalAveragePooling2D(dtype="float32", name="features", **_heads.LAST)
        inner = layers.Dot(axes=1, dtype="float32", name="projection")([embedded, mean(maps[-1])])
        patches = layers.Add(dtype="float32", name="conditional_patches")([patches, inner])
    column = layers.Reshape((-1, 1), dtype="float32", name="column")(patches)
    logit = layers.GlobalAveragePooling1D(
        dtype="float32", name="logit", data_format="channels_last"
    )(column)
    outputs = [logit, patches, maps[-1], maps[-2]] if features else [logit]
    return _heads.model(inputs, outputs, "discriminator")


def reconstructor(
    whole: Sequence[int],
    part: Sequence[int],
    image_shape: Sequence[int],
    width: int = WIDTH,
    normalization: str = "batch",
) -> keras.Model:
    """Makes the two decoders of the discriminator's features (section 3.2, figure 4).

    Args:
        whole: Shape of one image's last feature maps, [rows, columns, channels].
        part: Shape of a quadrant of the last but one.
        image_shape: (height, width, channels) of the discriminator's images.
        width: As of the discriminator; decoders have half as many channels.
        normalization: As of the discriminator.

    Returns:
        A functional model from both to two images in [0, 1]: the whole one and the quadrant, each
        at its own size, or at a half, a quarter and so on that is 16 times that of its features.

    Example:
        >>> from zoo.networks import fastgan
        >>> model = fastgan.reconstructor((4, 4, 8), (4, 4, 8), (16, 16, 1), width=4)
        >>> model.output_shape
        [(None, 16, 16, 1), (None, 8, 8, 1)]
    """
    build = _Builder(normalization)
    inputs = [
        keras.Input(shape, name=f"{name}_features")
        for shape, name in ((whole, "whole"), (part, "part"))
    ]
    rows, channels = image_shape[0], image_shape[2]
    outputs = [
        _decoded(inputs[0], rows, channels, width, "whole", build),
        _decoded(inputs[1], rows // 2, channels, width, "part", build),
    ]
    return keras.Model(inputs, outputs, name="reconstructor")


def _decoded(
    x: keras.KerasTensor, rows: int, channels: int, width: int, name: str, build: _Builder
) -> keras.KerasTensor:
    """An image in [0, 1] of feature maps, of that many rows or fewer."""
    doublings = (rows // x.shape[1]).bit_length() - 1
    for i in range(min(doublings, DECODED)):
        x = layers.UpSampling2D(2, name=f"{name}_upsample_{i}", **_heads.LAST)(x)
        x = build.gated(x, max(_channels(16 << i, width) // 2, 1), f"{name}_conv_{i}")
    x = build.conv(x, channels, 3, f"{name}_to_rgb", dtype="float32")
    x = layers.Activation("tanh", dtype="float32", name=f"{name}_tanh")(x)
    return layers.Rescaling(0.5, 0.5, dtype="float32", name=f"{name}_image")(x)


class _Builder:
    """Makes layers under one normalisation."""

    def __init__(self, normalization: str, norm: _heads.Norm = _heads.batch_norm) -> None:
        _heads.linear_layers(normalization)  # refuses what is none
        spectral = normalization != "none"
        self.norm = norm if normalization == "batch" else None
        self.use_bias = self.norm is None
        self.dense = SpectralDense if spectral else layers.Dense
        self.convolution = SpectralConv2D if spectral else layers.Conv2D

    def conv(
        self, x: Any, filters: int, side: int, name: str, *, norm: bool = False, **options: Any
    ) -> Any:
        """A convolution, without a bias as in the authors' code; perhaps BatchNorm."""
        biased = norm and self.norm is None
        options = {"padding": "same", "use_bias": biased, **_heads.LAST, **options}
        x = self.convolution(filters, side, name=name, **options)(x)
        return self.norm(f"{name}_batch_norm")(x) if norm and self.norm else x

    def gated(self, x: Any, filters: int, name: str) -> Any:
        """A convolution, BatchNorm and gated linear units: `filters` channels."""
        return GatedLinearUnit(name=f"{name}_glu")(self.conv(x, 2 * filters, 3, name, norm=True))

    def excited(self, x: Any, low: Any, name: str) -> Any:
        """F(x_low) · x (eq. 1)."""
        channels = x.shape[-1]
        gate = AdaptiveAveragePooling(4, name=f"{name}_pool")(low)
        gate = self.conv(gate, channels, 4, f"{name}_squeeze", padding="valid")
        gate = layers.LeakyReLU(0.1, name=f"{name}_relu")(gate)
        gate = self.conv(gate, channels, 1, f"{name}_excite")
        gate = layers.Activation("sigmoid", name=f"{name}_sigmoid")(gate)
        return layers.Multiply(name=name)([x, gate])


def _expand(
    latents: keras.KerasTensor, image_shape: Sequence[int], width: int, build: _Builder
) -> keras.KerasTensor:
    """Image logits of latents."""
    stages = _heads.halvings(image_shape, "fastgan")
    rows, columns = (size >> stages for size in image_shape[:2])
    channels = 2 * _channels(min(rows, columns), width)
    dense = build.dense(rows * columns * channels, use_bias=build.use_bias, name="project")
    x = layers.Reshape((rows, columns, channels), name="reshape")(dense(latents))
    if build.norm:
        x = build.norm("batch_norm")(x)
    maps = [GatedLinearUnit(name="start")(x)]
    skip = min(SKIP, stages)
    for done in range(1, stages + 1):
        name = f"block_{stages - done}"
        x = layers.UpSampling2D(2, name=f"{name}_upsample", **_heads.LAST)(maps[-1])
        side = min(x.shape[1:3])
        for i in range(2 if done % 2 else 1):
            x = build.gated(x, _channels(side, width), f"{name}_conv_{i}")
        if done >= skip and side <= GATED_SIDE:
            x = build.excited(x, maps[done - skip], f"{name}_excitation")
        maps.append(x)
    return build.conv(maps[-1], image_shape[2], 3, "logits", dtype="float32")


def _trunk(
    x: keras.KerasTensor, image_shape: Sequence[int], width: int, build: _Builder
) -> list[keras.KerasTensor]:
    """Feature maps of an image, from its own size to 5 to 8 pixels; at least two."""
    stages = _heads.halvings(image_shape, "fastgan")
    if min(image_shape[:2]) == 4 << stages:
        stages -= 1
    side = min(image_shape[:2])
    x = build.conv(x, _channels(2 * side, width), 3, "from_rgb")
    maps = [layers.LeakyReLU(0.2, name="from_rgb_relu")(x)]
    skip = min(DISCRIMINATOR_SKIP, stages)
    for done in range(1, stages + 1):
        x = _down(maps[-1], _channels(2 * (side >> done), width), f"block_{done - 1}", build)
        if done >= skip and done > stages - DISCRIMINATOR_SKIP:
            x = build.excited(x, maps[done - skip], f"block_{done - 1}_excitation")
        maps.append(x)
    return maps if stages else [*maps, *maps]


def _down(x: keras.KerasTensor, channels: int, name: str, build: _Builder) -> keras.KerasTensor:
    """Halves the side: the mean of two convolutions and of a pooled shortcut."""
    shortcut = layers.AveragePooling2D(2, name=f"{name}_pool", **_heads.LAST)(x)
    shortcut = build.conv(shortcut, channels, 1, f"{name}_shortcut", norm=True)
    shortcut = layers.LeakyReLU(0.2, name=f"{name}_shortcut_relu")(shortcut)
    x = build.conv(x, channels, 4, f"{name}_conv_0", norm=True, strides=2)
    x = layers.LeakyReLU(0.2, name=f"{name}_relu_0")(x)
    x = build.conv(x, channels, 3, f"{name}_conv_1", norm=True)
    x = layers.LeakyReLU(0.2, name=f"{name}_relu_1")(x)
    return layers.Average(name=name)([x, shortcut])


def _channels(side: int, width: int) -> int:
    """Of features with this shorter side."""
    power = 1 << (side - 1).bit_length()
    return max(CHANNELS[min(power, 2048)] * width // 16, 1)
