"""Where BigGAN's and BigGAN-deep's networks are alike (arXiv 1809.11096, appendix B).

Gains and biases of a generator's BatchNorms are linear in a condition: the latent, or a chunk of
it, joined by the embedding of the class, which all layers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

from zoo.layers import FeatureModulation, FeatureSlice, SpectralConv2D, SpectralDense
from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Conv = Callable[..., layers.Layer]

EMBEDDING = 128  # units of the class embedding
ATTENTION_SIDE = 64  # of the feature map with attention
EPSILON = 1e-4  # of BatchNorm (appendix C)
# Channels by halvings of the side, from 0 on, as multiples of the width (tables 4 to 9 for 128, 256
# and 512 pixels, which are 5 to 7 halvings).
LARGE = {4: (2, 4, 8, 16, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16),
         7: (1, 1, 2, 4, 8, 8, 16, 16)}  # fmt: skip


def channels_of(image_shape: Sequence[int], width: int, architecture: str) -> list[int]:
    """Channels of the feature maps by halvings of the side, from the image's side on.

    Raises:
        ValueError: If the sides cannot be halved, or the smaller one is above 896 pixels.
    """
    stages = _heads.halvings(image_shape, architecture)
    if stages > max(LARGE):
        height, across, _ = image_shape
        factor = 1 << (stages - max(LARGE))
        msg = (
            f"The {architecture} network makes images of up to 512 × 512 pixels, and not "
            f"{height} × {across}. Resize to {height // factor} × {across // factor}, or take "
            "another network."
        )
        raise ValueError(msg)
    return [width * multiple for multiple in LARGE.get(stages, (4,) * (stages + 1))]


def attended(image_shape: Sequence[int], stages: int) -> int:
    """How often the side of the feature map with attention is halved: at least once."""
    return _heads.attended(image_shape, stages, ATTENTION_SIDE)


def linear_layers(*, spectral: bool) -> tuple[Conv, Conv]:
    """What makes Dense and Conv2D layers, with orthogonal initial kernels."""
    dense, conv = (SpectralDense, SpectralConv2D) if spectral else (layers.Dense, layers.Conv2D)

    def make_dense(units: int, **options: Any) -> layers.Layer:
        return dense(units, kernel_initializer="orthogonal", **options)

    def make_conv(filters: int, size: int, **options: Any) -> layers.Layer:
        options = {"padding": "same", "kernel_initializer": "orthogonal", **_heads.LAST, **options}
        return conv(filters, size, **options)

    return make_dense, make_conv


def conditions(
    latent_dim: int, num_classes: int
) -> tuple[list[keras.KerasTensor], keras.KerasTensor, Callable[[Any, str], Any]]:
    """A generator's inputs, its latents, and what joins the embedding of the class to features."""
    if not num_classes:
        inputs, latents = _heads.latent_inputs(latent_dim, 0)
        return inputs, latents, lambda x, _: x
    inputs = [*_heads.latent_inputs(latent_dim, 0)[0], _heads.label_input()]
    rows = _heads.one_hot(inputs[1], num_classes)
    # A linear layer of one-hot rows: a lookup's sparse gradient could not be accumulated.
    embedding = layers.Dense(
        EMBEDDING, use_bias=False, kernel_initializer="orthogonal", name="class_embedding"
    )(rows)
    return inputs, inputs[0], lambda x, name: layers.Concatenate(name=name)([x, embedding])


def chunks(
    latents: keras.KerasTensor, count: int, architecture: str, image_shape: Sequence[int]
) -> list[keras.KerasTensor]:
    """The latents in chunks, as equal as they can be: the first ones have a dimension more.

    Raises:
        ValueError: If there are fewer dimensions than chunks.
    """
    size = latents.shape[1]
    if size < count:
        height, across, _ = image_shape
        msg = (
            f"latent_dim={size}: the {architecture} network of {height} × {across} images splits "
            f"the latents into {count} chunks. Take at least {count}."
        )
        raise ValueError(msg)
    ends = np.cumsum([len(part) for part in np.array_split(np.arange(size), count)])
    bounds = zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
    return [
        FeatureSlice(start, stop, name=f"latent_chunk_{i}")(latents)
        for i, (start, stop) in enumerate(bounds)
    ]


def modulation(
    condition: keras.KerasTensor, dense: Conv, *, batch_norm: bool
) -> Callable[[Any, str], Any]:
    """What normalises features and modulates them by a condition, then takes the ReLU."""

    def activate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if batch_norm:
            x = norm(f"{name}_batch_norm", center=False, scale=False)(x)
        gains, biases = (
            dense(x.shape[-1], use_bias=False, name=f"{name}_{part}")(condition)
            for part in ("gain", "bias")
        )
        return relu(f"{name}_relu")(FeatureModulation(name=f"{name}_modulation")(x, gains, biases))

    return activate


def norm(name: str, **options: Any) -> layers.Layer:
    """BatchNorm over the global batch."""
    return layers.BatchNormalization(
        momentum=0.9, epsilon=EPSILON, synchronized=True, name=name, **options
    )


def relu(name: str) -> layers.Layer:
    """The activation of all of BigGAN's networks."""
    return layers.ReLU(name=name)


def activation(*, batch_norm: bool) -> Callable[[Any, str], Any]:
    """What a trunk takes between its convolutions: BatchNorm, if there is to be any, and ReLU."""

    def activate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if batch_norm:
            x = norm(f"{name}_batch_norm")(x)
        return relu(f"{name}_relu")(x)

    return activate


def to_logits(
    x: keras.KerasTensor, channels: int, conv: Conv, *, batch_norm: bool
) -> keras.KerasTensor:
    """Image logits of the last features; their BatchNorm knows neither latent nor class."""
    x = activation(batch_norm=batch_norm)(x, "output")
    return conv(channels, 3, dtype="float32", name="logits")(x)


def discriminator(
    trunk: Callable[..., Any],
    image_shape: Sequence[int],
    normalization: str,
    width: int,
    **outputs: Any,
) -> keras.Model:
    """A discriminator of `trunk`, whose outputs are those of `_heads.discriminator`."""
    _heads.linear_layers(normalization)  # refuses an unknown one
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = trunk(x, image_shape, width, normalization)
    return _heads.discriminator(
        images, _pixel_sum(x), relu, normalization=normalization, initializer="orthogonal",
        **outputs,
    )  # fmt: skip


def _pixel_sum(x: keras.KerasTensor) -> keras.KerasTensor:
    """Features φ, float32 [batch, channels], of a discriminator: the sums over pixels."""
    pixels = x.shape[1] * x.shape[2]
    x = layers.GlobalAveragePooling2D(dtype="float32", name="pixel_mean", **_heads.LAST)(x)
    return layers.Rescaling(pixels, dtype="float32", name="features")(x)
