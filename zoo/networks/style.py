"""Style-based networks of StyleGAN2 (arXiv 1912.04958, sections 2 and 4): for GANs only.

The generator maps latents to styles by the layers `mapping` and `truncation`, and these to images
by `synthesis`: a learned constant, modulated convolutions, and images of every size added up (skip
connections, figure 7b). The discriminator is residual (figure 7c). All layers are equalised. The
image side is doubled from 4 to 7 pixels, as in `zoo.networks.conv`; channels grow from `width`
beside the image to 8 `width`. For 28 × 28 images the two have 1.6 M weights.

Departures from the paper: no noise beside the latent, so that an image is a function of it; no
minibatch standard deviation, which would couple a discriminator's examples; tanh at the end, for
images in [0, 1]; and bilinear upsampling before a convolution, which is the paper's filter
[1, 3, 3, 1] after a transposed one but for the edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from zoo.layers import HypersphereFromNormal
from zoo.layers.style import (
    EqualizedDense,
    LearnedConstant,
    ModulatedConv2D,
    Truncation,
    scaled_leaky_relu,
)
from zoo.networks import _heads
from zoo.networks._equalized import conv_layer, mapped, residual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.io.types import Tensor

WIDTH = 32
STYLE_DIM = 128  # 512 in the paper


def generator(
    image_shape: Sequence[int], latent_dim: int, width: int = WIDTH, *, num_classes: int = 0
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    Its layers are `mapping` (latents to styles, float32 [batch, STYLE_DIM]), `truncation` and
    `synthesis` (styles to images). With `num_classes` it takes latents and labels int32 [batch]:
    one-hot rows join the latents.

    Example:
        >>> from zoo.networks import style
        >>> style.generator((8, 8, 1), latent_dim=2).output_shape
        (None, 8, 8, 1)
    """
    mapping = _mapping(latent_dim, num_classes)
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in mapping.inputs]
    styles = Truncation(dtype="float32", name="truncation")(
        mapping(inputs if num_classes else inputs[0])
    )
    images = _synthesis(image_shape, width)(styles)
    return _heads.model(inputs, [images], "generator")


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
        width: Channels of the layer next to the image.
        num_classes: > 0: it takes [image, label] and projects (arXiv 1802.05637).

    Returns:
        A functional model.

    Raises:
        ValueError: If `normalization` is not `"none"`, or the image size is impossible.

    Example:
        >>> from zoo.networks import style
        >>> style.discriminator((8, 8, 1)).output_shape
        (None, 1)
    """
    _heads.check_no_normalization(normalization, "style")
    stages = _heads.halvings(image_shape, "style")
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = conv_layer(_channels(0, width), 1, "from_rgb")(x)
    for i in range(stages):
        x = residual(x, _channels(i + 1, width), f"block_{i}")
    x = conv_layer(x.shape[-1], 3, "conv")(x)
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    units = _channels(stages, width)
    x = EqualizedDense(units, activation=scaled_leaky_relu, name="features")(x)
    logit = EqualizedDense(1, dtype="float32", name="logit")(x)
    if not num_classes:
        return _heads.model([images], [logit], "discriminator")
    label = _heads.label_input()
    rows = _heads.one_hot(label, num_classes)
    embedded = EqualizedDense(units, use_bias=False, dtype="float32", name="embedding")(rows)
    inner = layers.Dot(axes=1, dtype="float32", name="projection")([embedded, x])
    logit = layers.Add(dtype="float32", name="conditional_logit")([inner, logit])
    return _heads.model([images, label], [logit], "discriminator")


def _mapping(latent_dim: int, num_classes: int) -> keras.Model:
    """f: normalised latents to styles w, all in float32."""
    latents = keras.Input((latent_dim,), name="latent")
    inputs, x = [latents], HypersphereFromNormal(dtype="float32", name="normalize")(latents)
    if num_classes:
        inputs.append(_heads.label_input())
        joined = [x, _heads.one_hot(inputs[1], num_classes)]
        x = layers.Concatenate(dtype="float32", name="latent_and_label")(joined)
    return _heads.model(inputs, [mapped(x, STYLE_DIM, "mapping")], "mapping")


def _synthesis(image_shape: Sequence[int], width: int) -> keras.Model:
    """g: styles to images."""
    stages = _heads.halvings(image_shape, "style")
    rows, columns = (size >> stages for size in image_shape[:2])
    styles = keras.Input((STYLE_DIM,), name="style")
    x = LearnedConstant((rows, columns, _channels(stages, width)), name="constant")(styles)
    x = _styled(x, styles, _channels(stages, width), f"conv_{stages}")
    image = _to_rgb(x, styles, image_shape[2], stages)
    for i in reversed(range(stages)):
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"upsample_{i}", **_heads.LAST)(x)
        x = _styled(x, styles, _channels(i, width), f"conv_{i}_0")
        x = _styled(x, styles, _channels(i, width), f"conv_{i}_1")
        image = layers.UpSampling2D(
            2, interpolation="bilinear", dtype="float32", name=f"upsample_image_{i}", **_heads.LAST
        )(image)
        image = layers.Add(dtype="float32", name=f"image_{i}")(
            [image, _to_rgb(x, styles, image_shape[2], i)]
        )
    return keras.Model(styles, _heads.unit_range(image), name="synthesis")


def _styled(x: Tensor, styles: Tensor, channels: int, name: str) -> Tensor:
    conv = ModulatedConv2D(channels, 3, activation=scaled_leaky_relu, name=name)
    return conv(x, _scales(styles, x, name))


def _to_rgb(x: Tensor, styles: Tensor, channels: int, stage: int) -> Tensor:
    """Linear and without demodulation."""
    name = f"to_rgb_{stage}"
    conv = ModulatedConv2D(channels, 1, demodulate=False, dtype="float32", name=name)
    return conv(x, _scales(styles, x, name))


def _scales(styles: Tensor, x: Tensor, name: str) -> Tensor:
    """A: a scale for each channel of x, about 1 at first."""
    return EqualizedDense(x.shape[-1], bias_initializer="ones", name=f"{name}_affine")(styles)


def _channels(stage: int, width: int) -> int:
    return min(width << stage, 8 * width)
