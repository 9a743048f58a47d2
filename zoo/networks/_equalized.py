"""Equalised parts that the two StyleGAN2 architectures share (arXiv 1912.04958, section 4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from keras import layers

from zoo.layers.style import Blur, EqualizedConv2D, EqualizedDense, scaled_leaky_relu

if TYPE_CHECKING:
    from zoo.io.types import Tensor

DEPTH = 8  # layers of the mapping
MAPPING_RATE = 0.01  # learning rate of the mapping, as a multiple of that of other layers


def mapped(x: Tensor, size: int, name: str) -> Tensor:
    """What the mapping's layers make of x: float32 [batch, size]."""
    for i in range(DEPTH):
        x = EqualizedDense(
            size, MAPPING_RATE, activation=scaled_leaky_relu, dtype="float32", name=f"{name}_{i}"
        )(x)
    return x


def residual(x: Tensor, channels: int, name: str) -> Tensor:
    """Halves the side; blurred before each stride, so that it does not alias."""
    shortcut = Blur(1, strides=2, name=f"{name}_shortcut_blur")(x)
    shortcut = EqualizedConv2D(channels, 1, use_bias=False, name=f"{name}_shortcut")(shortcut)
    x = conv_layer(x.shape[-1], 3, f"{name}_conv_0")(x)
    x = Blur(2, name=f"{name}_blur")(x)
    x = EqualizedConv2D(
        channels, 3, strides=2, activation=scaled_leaky_relu, name=f"{name}_conv_1"
    )(x)
    x = layers.Add(name=f"{name}_sum")([x, shortcut])
    return layers.Rescaling(math.sqrt(0.5), name=name)(x)


def conv_layer(channels: int, size: int, name: str) -> layers.Layer:
    """An equalised convolution that keeps the side, and its activation."""
    return EqualizedConv2D(channels, size, padding="same", activation=scaled_leaky_relu, name=name)
