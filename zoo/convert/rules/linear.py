"""Kernels and biases of Dense, Conv2D and Conv2DTranspose blocks, and the walk to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.core import channels

if TYPE_CHECKING:
    from zoo.convert.blocks import Block, Network

ACTIVATIONS = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
)
# f(S(x)) = S(f(x)) for every elementwise f: they only move or repeat values.
MOVING = (layers.Reshape, layers.Flatten, layers.Permute, layers.Cropping2D)
# S(c x) = c S(x).
HOMOGENEOUS = (
    *MOVING,
    layers.UpSampling2D,
    layers.ZeroPadding2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
)


def output_axis(block: Block) -> int:
    """The kernel's axis of output channels: Conv2DTranspose has (h, w, out, in)."""
    return -2 if block.layer is layers.Conv2DTranspose else -1


def input_axis(block: Block) -> int:
    """The kernel's axis of input channels."""
    return -1 if block.layer is layers.Conv2DTranspose else -2


def outputs_of(block: Block) -> int:
    """Units or filters."""
    return block.arrays["kernel"].shape[output_axis(block)]


def is_channels_first(block: Block) -> bool:
    """Whether its images, or those of the layer it wraps, are [batch, channels, height, width]."""
    return channels.is_channels_first(dict(block.config))


def moves_values(block: Block) -> bool:
    """Whether the block only moves or repeats values."""
    nearest = block.layer is layers.UpSampling2D and block.config["interpolation"] == "nearest"
    return block.layer in MOVING or nearest


def is_plain(network: Network, block: Block | None) -> bool:
    """Whether it is a linear layer without activation, called once."""
    return (
        block is not None
        and block.is_linear
        and block.activation == "linear"
        and not network.is_shared(block.name)
    )


def with_weights(
    block: Block, kernel: np.ndarray, bias: np.ndarray | None, rule: str, *others: Block
) -> Block:
    """A linear block with another kernel, and bias or none."""
    arrays = {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}
    return block.with_config(use_bias=bias is not None).with_arrays(arrays, rule, *others)


def after_affine(
    block: Block, scale: np.ndarray | float, shift: np.ndarray | None, rule: str, *others: Block
) -> Block:
    """A linear block followed by scale · y + shift, of one number per channel or one for all.

    Where channels repeat in the layer's outputs (Dense → Reshape), scale and shift are tiled.
    """
    outputs = outputs_of(block)

    def tiled(values: np.ndarray | float) -> np.ndarray:
        values = np.atleast_1d(np.asarray(values, np.float64))
        return np.tile(values, outputs // len(values))

    axis = output_axis(block)
    kernel = block.arrays["kernel"] * (tiled(scale)[:, None] if axis == -2 else tiled(scale))
    bias = None if shift is None else tiled(shift)
    if "bias" in block.arrays:
        bias = (0.0 if bias is None else bias) + tiled(scale) * block.arrays["bias"]
    return with_weights(block, kernel, bias, rule, *others)
