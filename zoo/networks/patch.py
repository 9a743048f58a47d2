"""PatchGAN: a discriminator whose logits each judge one patch of an image (arXiv 1611.07004).

It computes what the class `NLayerDiscriminator` of VQGAN's authors does (arXiv 2012.09841; their
code has it from pix2pix). L convolutions of stride 2 and two of stride 1, all of 4 × 4 pixels with
a zero around the map, double the channels up to eight times the first, with leaky ReLUs of slope
0.2 between. The first and the last convolution have no normalisation. With three layers a logit
sees 70 × 70 pixels. Inside of it pixels are in [−1, 1].

Departures: the scales of BatchNorm start at 1, not at N(1, 0.02), and biases at 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 64
LAYERS = 3
MOST = 8  # times the first channels: no layer has more
KERNEL = 4


def map_shape(image_shape: Sequence[int], layer_count: int = LAYERS) -> tuple[int, int]:
    """The (rows, columns) of logits for an image.

    Args:
        image_shape: (height, width), and what else.
        layer_count: L, the number of convolutions of stride 2.

    Raises:
        ValueError: If the image is too small to have a logit.

    Example:
        >>> from zoo.networks import patch
        >>> patch.map_shape((256, 64, 3))
        (30, 6)
    """
    height, width = image_shape[:2]
    rows, columns = (side // 2**layer_count - 2 for side in (height, width))
    if min(rows, columns) < 1:
        msg = (
            f"discriminator_layers={layer_count}: the patch discriminator then needs sides of at "
            f"least {3 * 2**layer_count} pixels, and images are {height} × {width}. Take fewer "
            "layers, or larger images."
        )
        raise ValueError(msg)
    return rows, columns


def discriminator(
    image_shape: Sequence[int],
    *,
    width: int = WIDTH,
    layer_count: int = LAYERS,
    normalization: str = "batch",
) -> keras.Model:
    """Makes the network from images in [0, 1] to logits [batch, rows, columns, 1], float32.

    Args:
        image_shape: (height, width, channels).
        width: Channels of the first layer; 64 in the authors' code.
        layer_count: L, the number of convolutions of stride 2; 3 there.
        normalization: "batch" as there, "spectral", or "none".

    Raises:
        ValueError: If the image is too small, a number is less than 1, or there is no such
            normalisation.

    Example:
        >>> from zoo.networks import patch
        >>> patch.discriminator((24, 32, 3), width=4).output_shape
        (None, 1, 2, 1)
    """
    if min(width, layer_count) < 1:
        msg = (
            f"discriminator_width={width}, discriminator_layers={layer_count}: expected at least "
            "1 of each."
        )
        raise ValueError(msg)
    _, convolution = _heads.linear_layers(normalization)
    map_shape(image_shape, layer_count)

    def convolved(
        x: keras.KerasTensor, filters: int, strides: int, name: str, **options: object
    ) -> keras.KerasTensor:
        x = layers.ZeroPadding2D(1, name=f"{name}_padding", **_heads.LAST)(x)
        return convolution(
            filters, KERNEL, strides=strides, name=name, **_heads.LAST, **options,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        )(x)  # fmt: skip

    images = keras.Input(tuple(image_shape), name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = _heads.leaky_relu("activation_0")(convolved(x, width, 2, "conv_0"))
    for i in range(1, layer_count + 1):
        filters, strides = width * min(2**i, MOST), 2 if i < layer_count else 1
        x = convolved(x, filters, strides, f"conv_{i}", use_bias=normalization != "batch")
        if normalization == "batch":
            x = _heads.batch_norm(f"norm_{i}")(x)
        x = _heads.leaky_relu(f"activation_{i}")(x)
    return keras.Model(images, convolved(x, 1, 1, "logits", dtype="float32"), name="discriminator")
