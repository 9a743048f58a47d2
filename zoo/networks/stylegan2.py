"""StyleGAN2's networks, configuration F (arXiv 1912.04958): for GANs only.

The generator maps latents to styles by `mapping` (8 layers) and `truncation`, and these to images
by `synthesis`: a learned constant, modulated convolutions with noise, and images of every size
added up (skip connections, figure 7b). Within `synthesis`, the model `by_layer` takes a style and
noise for each layer, as style mixing does. The discriminator is residual (figure 7c), with the
minibatch standard deviation of groups of 4. All layers are equalised, and all resampling is by the
filter [1, 3, 3, 1] (appendix B). A layer for images of r × r pixels has min(512, 32768 / r)
channels.

With classes the networks are those of arXiv 2006.06676: an embedding of the label joins the
normalised latent, and the discriminator's features are projected on a mapped embedding.

The smaller side is doubled from 4 to 7 pixels, as in `zoo.networks.conv`: a side of 28 is doubled
from 7, one of 96 from 6, and channels are those of the power of two below.

Departure from the paper: tanh at the end, for images in [0, 1].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import (
    EqualizedDense,
    FilteredUpSampling2D,
    HypersphereFromNormal,
    LatentPart,
    LearnedConstant,
    MinibatchDeviation,
    ModulatedConv2D,
    ModulatedUpConv2D,
    NoiseInjection,
    StoredNoise,
    StyleOfLayer,
    Truncation,
    scaled_leaky_relu,
)
from zoo.networks import _heads
from zoo.networks._equalized import conv_layer, mapped, residual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.io.types import Tensor

WIDTH = 512  # most channels of a layer
STYLE_DIM = 512
GROUP = 4  # images whose deviation the discriminator sees


def generator(
    image_shape: Sequence[int],
    latent_dim: int,
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    style_dim: int = STYLE_DIM,
    noise: bool = True,
) -> keras.Model:
    """Makes the network from latents to images in [0, 1].

    Its layers are `mapping` (latents to styles, float32 [batch, style_dim]), `truncation` and
    `synthesis` (styles to images, with stored noise). `by_layer` in `synthesis` takes the styles of
    all layers, float32 [batch, layers, style_dim], and behind them, if there is noise, that of each
    convolution, float32 [batch, height, width, 1], in the order of the network.

    Args:
        image_shape: (height, width, channels).
        latent_dim: Number of latent dimensions.
        width: Most channels of a layer; r × r pixels have 64 · `width` / r at most.
        num_classes: > 0: it takes latents and labels int32 [batch].
        style_dim: Number of dimensions of a style.
        noise: Whether its layers take noise.

    Returns:
        A functional model.

    Raises:
        ValueError: If the image size is impossible.

    Example:
        >>> from zoo.networks import stylegan2
        >>> stylegan2.generator((8, 8, 1), latent_dim=2, width=8, style_dim=4).output_shape
        (None, 8, 8, 1)
    """
    mapping = _mapping(latent_dim, num_classes, style_dim)
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in mapping.inputs]
    styles = Truncation(dtype="float32", name="truncation")(
        mapping(inputs if num_classes else inputs[0])
    )
    images = _synthesis(image_shape, width, style_dim, noise=noise)(styles)
    return _heads.model(inputs, [images], "generator")


def with_noise_in_latents(network: keras.Model, latent_dim: int) -> keras.Model:
    """The same generator, with the noise of its layers as further numbers of a latent.

    Args:
        network: A generator that takes noise, or a copy of it.
        latent_dim: Number of latent dimensions.

    Returns:
        A functional model of the same layers, from latents [batch, latent_dim + pixels of noise],
        and labels where the generator takes them.

    Example:
        >>> from zoo.networks import stylegan2
        >>> network = stylegan2.generator((8, 8, 1), latent_dim=2, width=8, style_dim=4)
        >>> stylegan2.with_noise_in_latents(network, 2).input_shape
        (None, 146)
    """
    by_layer = layered(network)
    shapes = noise_shapes(network)
    latents = keras.Input((latent_dim + sum(map(math.prod, shapes)),), name="latent")
    labels = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in network.inputs[1:]]
    z = LatentPart(0, (latent_dim,), dtype="float32", name="latent_part")(latents)
    style = network.get_layer("mapping")([z, *labels] if labels else z)
    style = network.get_layer("truncation")(style)
    taken = [network.get_layer("synthesis").get_layer("style_of_all_layers")(style)]
    start = latent_dim
    for i, shape in enumerate(shapes):
        part = LatentPart(start, shape, dtype="float32", name=f"noise_part_{i}")
        taken.append(part(latents))
        start += math.prod(shape)
    return _heads.model([latents, *labels], [by_layer(taken)], network.name)


def layered(network: keras.Model) -> keras.Model:
    """The part of a generator that takes a style and noise for each layer.

    Example:
        >>> from zoo.networks import stylegan2
        >>> network = stylegan2.generator((8, 8, 1), latent_dim=2, width=8, style_dim=4)
        >>> stylegan2.layered(network).inputs[0].shape
        (None, 4, 4)
    """
    return network.get_layer("synthesis").get_layer("by_layer")


def noise_shapes(network: keras.Model) -> list[tuple[int, ...]]:
    """Shape of one example of each noise that a generator takes, in the order of its layers.

    Example:
        >>> from zoo.networks import stylegan2
        >>> network = stylegan2.generator((8, 8, 1), latent_dim=2, width=8, style_dim=4)
        >>> stylegan2.noise_shapes(network)
        [(4, 4, 1), (8, 8, 1), (8, 8, 1)]
    """
    return [tuple(x.shape[1:]) for x in layered(network).inputs[1:]]


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "none",
    width: int = WIDTH,
    *,
    num_classes: int = 0,
    style_dim: int = STYLE_DIM,
) -> keras.Model:
    """Makes the network from images to logits [batch, 1].

    Args:
        image_shape: (height, width, channels).
        normalization: `"none"`: this architecture has no other.
        width: Most channels of a layer; r × r pixels have 64 · `width` / r at most.
        num_classes: > 0: it takes [image, label] and projects (arXiv 2006.06676).
        style_dim: Number of dimensions in which image and label meet.

    Returns:
        A functional model. In training its logits depend on the other images of the batch.

    Raises:
        ValueError: If `normalization` is not `"none"`, or the image size is impossible.

    Example:
        >>> from zoo.networks import stylegan2
        >>> stylegan2.discriminator((8, 8, 1), width=8).output_shape
        (None, 1)
    """
    _heads.check_no_normalization(normalization, "stylegan2")
    stages = _heads.halvings(image_shape, "stylegan2")
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = conv_layer(_channels(0, stages, width), 1, "from_rgb")(x)
    for i in range(stages):
        x = residual(x, _channels(i + 1, stages, width), f"block_{i}")
    x = MinibatchDeviation(GROUP, name="minibatch_deviation")(x)
    x = conv_layer(_channels(stages, stages, width), 3, "conv")(x)
    x = layers.Flatten(name="flatten", **_heads.LAST)(x)
    units = _channels(stages, stages, width)
    x = EqualizedDense(units, activation=scaled_leaky_relu, name="features")(x)
    if not num_classes:
        logit = EqualizedDense(1, dtype="float32", name="logit")(x)
        return _heads.model([images], [logit], "discriminator")
    label = _heads.label_input()
    x = EqualizedDense(style_dim, dtype="float32", name="joint_features")(x)
    y = mapped(_embedding(label, num_classes, style_dim), style_dim, "label_mapping")
    inner = layers.Dot(axes=1, dtype="float32", name="projection")([x, y])
    logit = layers.Rescaling(1.0 / math.sqrt(style_dim), dtype="float32", name="logit")(inner)
    return _heads.model([images, label], [logit], "discriminator")


def _mapping(latent_dim: int, num_classes: int, style_dim: int) -> keras.Model:
    """f: normalised latents to styles w, all in float32."""
    latents = keras.Input((latent_dim,), name="latent")
    inputs, x = [latents], HypersphereFromNormal(dtype="float32", name="normalize")(latents)
    if num_classes:
        inputs.append(_heads.label_input())
        embedded = _embedding(inputs[1], num_classes, style_dim)
        join = layers.Concatenate(dtype="float32", name="latent_and_label")
        x = join([x, embedded])
    return _heads.model(inputs, [mapped(x, style_dim, "mapping")], "mapping")


def _embedding(label: Tensor, num_classes: int, size: int) -> Tensor:
    """A label's vector, normalised as a latent is."""
    dense = EqualizedDense(size, dtype="float32", name="label_embedding")
    normalize = HypersphereFromNormal(dtype="float32", name="normalize_label")
    return normalize(dense(_heads.one_hot(label, num_classes)))


def _synthesis(
    image_shape: Sequence[int], width: int, style_dim: int, *, noise: bool
) -> keras.Model:
    """g: a style for all layers to images, with stored noise."""
    by_layer = _by_layer(image_shape, width, style_dim, noise=noise)
    styles = keras.Input((style_dim,), name="style")
    inputs, *noises = by_layer.inputs
    repeated = layers.RepeatVector(inputs.shape[1], name="style_of_all_layers")(styles)
    stored = [StoredNoise(x.shape[1:3], name=f"stored_{x.name}")(styles) for x in noises]
    return keras.Model(
        styles, by_layer([repeated, *stored] if stored else repeated), name="synthesis"
    )


def _by_layer(
    image_shape: Sequence[int], width: int, style_dim: int, *, noise: bool
) -> keras.Model:
    """The styles and the noise of all layers to images.

    A layer to_rgb has the style of the convolution that comes next, as in the authors' code.
    """
    stages = _heads.halvings(image_shape, "stylegan2")
    rows, columns = (size >> stages for size in image_shape[:2])
    styles = keras.Input((2 * stages + 2, style_dim), name="styles")
    inputs = [styles]

    def styled(x: Tensor, layer: Any, index: int) -> Tensor:
        """A convolution with noise, by the style of a number."""
        x = layer(x, _scales(styles, index, x, layer.name))
        if noise:
            inputs.append(keras.Input((*x.shape[1:3], 1), name=f"noise_{index}"))
            x = NoiseInjection(name=f"{layer.name}_noise")(x, inputs[-1])
        return layers.Activation(scaled_leaky_relu, name=f"{layer.name}_activation")(x)

    def to_rgb(x: Tensor, stage: int, index: int) -> Tensor:
        """Linear and without demodulation."""
        name = f"to_rgb_{stage}"
        conv = ModulatedConv2D(image_shape[2], 1, demodulate=False, dtype="float32", name=name)
        return conv(x, _scales(styles, index, x, name))

    channels = _channels(stages, stages, width)
    x = LearnedConstant((rows, columns, channels), name="constant")(styles)
    x = styled(x, ModulatedConv2D(channels, 3, name=f"conv_{stages}"), 0)
    image = to_rgb(x, stages, 1)
    for i in reversed(range(stages)):
        index, channels = 2 * (stages - i) - 1, _channels(i, stages, width)
        x = styled(x, ModulatedUpConv2D(channels, name=f"conv_{i}_0"), index)
        x = styled(x, ModulatedConv2D(channels, 3, name=f"conv_{i}_1"), index + 1)
        image = FilteredUpSampling2D(dtype="float32", name=f"upsample_image_{i}")(image)
        image = layers.Add(dtype="float32", name=f"image_{i}")([image, to_rgb(x, i, index + 2)])
    return _heads.model(inputs, [_heads.unit_range(image)], "by_layer")


def _scales(styles: Tensor, index: int, x: Tensor, name: str) -> Tensor:
    """s, one per channel of x, of the style of one layer."""
    style = StyleOfLayer(index, dtype="float32", name=f"{name}_style_of_layer")(styles)
    dense = EqualizedDense(x.shape[-1], bias_initializer="ones", name=f"{name}_affine")
    return dense(style)


def _channels(stage: int, stages: int, width: int) -> int:
    """min(width, 64 width / r) for sides r, which are halved `stage` times, and 4 at last."""
    return min(width, max(64 * width // (4 << stages - stage), 1))
