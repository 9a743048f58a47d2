"""LPIPS over VGG16, as papers report it (arXiv 1801.03924, version 0.1 of its authors' package).

VGG16 (arXiv 1409.1556, configuration D) has the weights of torchvision, for which the linear
weights were fitted. Keras's VGG16 was trained otherwise, and would give other figures. The linear
weights come with this package; VGG16's are downloaded once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from zoo.io.downloads import published_weights
from zoo.io.torch_files import read_state_dict
from zoo.metrics.perceptual import in_parts, level_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo.io.types import Tensor

URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
LINEAR = Path(__file__).parent / "lpips_weights" / "vgg16.npz"
# Convolutions of each block by torchvision's numbers, and their channels. A block ends in a level.
BLOCKS = (
    ((0, 2), 64),
    ((5, 7), 128),
    ((10, 12, 14), 256),
    ((17, 19, 21), 512),
    ((24, 26, 28), 512),
)
SMALLEST = 16  # pixels on a side, which four poolings halve
PART = 10  # images at a time, which bounds the memory
# Of ImageNet's pixels in [-1, 1], as the authors' package has them.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
FLOAT32 = {"dtype": "float32"}  # whatever the global policy is
LAST = {"data_format": "channels_last"}  # whatever keras.json says


def lpips(
    images: np.ndarray, others: np.ndarray, *, weights: str | Path | None = None
) -> np.ndarray:
    """LPIPS with VGG16, at the images' own size, as the package lpips computes it (`net="vgg"`).

    Args:
        images: float [n, height, width, 1 or 3] in [0, 1], at least 16 pixels on a side. Grey is
            taken as three equal channels.
        others: The images to compare them with, one by one; the same shape.
        weights: torchvision's file `vgg16-397923af.pth`. By default it is downloaded once (528 MB),
            into the cache.

    Returns:
        float32 [n], at least 0; 0 for equal images.

    Raises:
        ValueError: If the shapes differ, the images are too small, have other channels than 1 or 3
            or are not finite in [0, 1], or the file is not the published one.
        ConnectionError: If VGG16's weights cannot be downloaded.
        OSError: If the file cannot be read.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> images = np.zeros((1, 8, 8, 3))
        >>> try:
        ...     metrics.lpips(images, images)
        ... except ValueError as error:
        ...     print(error)
        ...
        Images of shape (8, 8, 3): LPIPS needs 16 pixels on a side.
    """
    shape = np.shape(images)
    if len(shape) == 4 and min(shape[1:3]) < SMALLEST:
        msg = f"Images of shape {shape[1:]}: LPIPS needs {SMALLEST} pixels on a side."
        raise ValueError(msg)
    place = None if weights is None else Path(weights)
    return in_parts(lambda: _distance(place), images, others, PART)


def vgg16_levels(state: Mapping[str, np.ndarray]) -> keras.Model:
    """VGG16 up to the last ReLU of each of its five blocks.

    Args:
        state: torchvision's weights by name; those of the last, dense layers are not used.

    Returns:
        A model from float32 images [batch, height, width, 3] in [0, 1] to a list of five levels
        [batch, height, width, channels], at 1 to 1/16 of the size.

    Raises:
        ValueError: If a weight is missing, or has another shape.
    """
    images = keras.Input((None, None, 3), name="images", **FLOAT32)
    # (2 x − 1 − shift) / scale
    x = layers.Rescaling(
        [2.0 / scale for scale in SCALE],
        [(-1.0 - shift) / scale for shift, scale in zip(SHIFT, SCALE, strict=True)],
        **FLOAT32,
    )(images)
    levels: list[Any] = []
    for convolutions, channels in BLOCKS:
        if levels:
            x = layers.MaxPooling2D(2, **FLOAT32, **LAST)(x)
        for i in convolutions:
            name = f"features.{i}"
            x = layers.Conv2D(
                channels, 3, padding="same", activation="relu", name=name, **FLOAT32, **LAST
            )(x)
        levels.append(x)
    network = keras.Model(images, levels, name="vgg16_levels")
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D):
            try:
                kernel, bias = state[f"{layer.name}.weight"], state[f"{layer.name}.bias"]
            except KeyError as error:
                raise ValueError(f"The weights of VGG16 lack {error}.") from error
            layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    network.trainable = False
    return network


@cache
def _distance(weights: Path | None) -> Callable[[Any, Any], Tensor]:
    """LPIPS as a graph. The weights take seconds to load, so they are kept."""
    remedy = (
        "Or give the file (528 MB): lpips(…, weights=FILE). perceptual_distance needs no download."
    )
    path = published_weights(URL, SHA256, weights, network="VGG16", remedy=remedy)
    network = vgg16_levels(read_state_dict(path))
    with np.load(LINEAR, allow_pickle=False) as file:
        linear = [tf.constant(file[f"level_{i + 1}"]) for i in range(len(BLOCKS))]
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)] * 2

    @tf.function(input_signature=signature, autograph=False)
    def distance(images: Tensor, others: Tensor) -> Tensor:
        return level_distance(
            network(images, training=False), network(others, training=False), linear
        )

    return distance
