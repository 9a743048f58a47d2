"""Encoder and decoder of VQ-VAE: images to a grid of feature vectors and back (arXiv 1711.00937).

The encoder has two strided 4 × 4 convolutions and two residual blocks, the decoder the reverse
(section 4.1). The side of the grid is a quarter of that of the image: 28 → 7, 32 → 8, 128 → 32.
Departures from the paper: a width of 64 and not 256, and, as in the authors' later code, a 1 × 1
convolution to the dimensions of a code and a 3 × 3 one from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
BLOCKS = 2
STRIDE = 4  # of both strided convolutions together


def grid_shape(image_shape: Sequence[int]) -> tuple[int, int]:
    """The (height, width) of the grid for an image: a quarter of its sides.

    Raises:
        ValueError: If a side is less than 8, or not divisible by 4.

    Example:
        >>> from zoo.networks.grid import grid_shape
        >>> grid_shape((28, 28, 1))
        (7, 7)
    """
    sides = image_shape[:2]
    if min(sides) < 2 * STRIDE or any(side % STRIDE for side in sides):
        near = [max(2 * STRIDE, (side + STRIDE // 2) // STRIDE * STRIDE) for side in sides]
        msg = (
            f"The grid network cannot make {sides[0]} × {sides[1]} images: both sides must be at "
            f"least {2 * STRIDE} and divisible by {STRIDE}. Resize to {near[0]} × {near[1]}."
        )
        raise ValueError(msg)
    return sides[0] // STRIDE, sides[1] // STRIDE


def encoder(image_shape: Sequence[int], code_dim: int, width: int = WIDTH) -> keras.Model:
    """Makes the network from images to features float32 [batch, height / 4, width / 4, code_dim].

    Raises:
        ValueError: As `grid_shape`.

    Example:
        >>> from zoo.networks import grid
        >>> grid.encoder((28, 28, 1), code_dim=4, width=8).output_shape
        (None, 7, 7, 4)
    """
    grid_shape(image_shape)
    images = x = keras.Input(image_shape, name="image")
    for i in range(2):
        x = layers.Conv2D(
            width, 4, strides=2, padding="same", kernel_initializer="he_normal", name=f"conv_{i}",
            activation="relu" if i == 0 else None, **_heads.LAST,
        )(x)  # fmt: skip
    x = _residual_blocks(x, width)
    return keras.Model(
        images,
        layers.Conv2D(code_dim, 1, dtype="float32", name="features", **_heads.LAST)(x),
        name="encoder",
    )


def decoder(image_shape: Sequence[int], code_dim: int, width: int = WIDTH) -> keras.Model:
    """Makes the network from features to image logits.

    Raises:
        ValueError: As `grid_shape`.

    Example:
        >>> from zoo.networks import grid
        >>> grid.decoder((28, 28, 1), code_dim=4, width=8).output_shape
        (None, 28, 28, 1)
    """
    features = keras.Input((*grid_shape(image_shape), code_dim), name="features")
    x = layers.Conv2D(width, 3, padding="same", name="conv", **_heads.LAST)(features)
    x = _residual_blocks(x, width)
    x = layers.Conv2DTranspose(
        width, 4, strides=2, padding="same", kernel_initializer="he_normal", activation="relu",
        name="conv_transpose", **_heads.LAST,
    )(x)  # fmt: skip
    logits = layers.Conv2DTranspose(
        image_shape[2], 4, strides=2, padding="same", dtype="float32", name="logits", **_heads.LAST
    )(x)
    return keras.Model(features, logits, name="decoder")


def _residual_blocks(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Blocks of ReLU, 3 × 3 convolution, ReLU, 1 × 1 convolution, and a last ReLU."""
    for i in range(BLOCKS):
        y = layers.ReLU(name=f"block_{i}_relu_0")(x)
        y = layers.Conv2D(width, 3, padding="same", name=f"block_{i}_conv_0", **_heads.LAST)(y)
        y = layers.ReLU(name=f"block_{i}_relu_1")(y)
        y = layers.Conv2D(width, 1, name=f"block_{i}_conv_1", **_heads.LAST)(y)
        x = layers.Add(name=f"block_{i}")([x, y])
    return layers.ReLU(name="blocks_relu")(x)
