"""EfficientNet-Lite0, whose ImageNet weights come with this package.

The architecture is B0 of arXiv 1905.11946 (table 1) with the departures that its authors made for
phones and named "Lite": ReLU6 in place of swish, no squeeze-and-excitation, and a stem and a head
that larger versions do not widen. 4,652,008 parameters, 75.1 % top-1 on ImageNet as its authors
state (github.com/tensorflow/tpu, models/official/efficientnet/lite).

`benchmarks/convert_efficientnet.py` wrote the weights, as float16. All computes in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from zoo.io import schemas
from zoo.io.files import sha256
from zoo.io.records import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.io.types import Tensor

FOLDER = Path(__file__).parent / "classifiers" / "efficientnet_lite0"
WEIGHTS = "weights.npz"
CONFIG = "config.json"
SIZE = 224  # pixels on a side, as it was trained
CLASSES = 1000
# Repeats, kernel, stride, expansion and channels of the seven stages (arXiv 1905.11946, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# The last stages before the image is halved again: at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.
LEVELS = (0, 1, 2, 4, 6)
STEM, HEAD = 32, 1280
FLOAT32 = {"dtype": "float32"}  # whatever the global policy: figures must compare
LAST = {"data_format": "channels_last"}  # whatever keras.json says


def efficientnet_lite0() -> keras.Model:
    """The network, with random weights.

    Returns:
        A model from float32 images [batch, height, width, 3] in [0, 1], of any size, to a dict:
        `level_1` to `level_5`, the ends of the stages at 1/2 to 1/32 of the size, float32 [batch,
        height, width, 16, 24, 40, 112 or 320], not rectified; `features`, the pooled last layer,
        [batch, 1280]; and `logits` of ImageNet's classes, [batch, 1000].
    """
    images = keras.Input((None, None, 3), name="images", **FLOAT32)
    # The authors' mean of 127 and deviation of 128, for bytes.
    x = layers.Rescaling(255.0 / 128.0, -127.0 / 128.0, name="rescaling", **FLOAT32)(images)
    x = _convolution(x, "stem", STEM, 3, strides=2)
    outputs, block = {}, 0
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        for repeat in range(repeats):
            x = _block(
                x, f"block_{block}", kernel, stride if repeat == 0 else 1, expansion, channels
            )
            block += 1
        if stage in LEVELS:
            outputs[f"level_{LEVELS.index(stage) + 1}"] = x
    x = _convolution(x, "head", HEAD, 1)
    features = layers.GlobalAveragePooling2D(name="pool", **FLOAT32, **LAST)(x)
    outputs["features"] = features
    outputs["logits"] = layers.Dense(CLASSES, name="logits", **FLOAT32)(features)
    return keras.Model(images, outputs, name="efficientnet_lite0")


def pretrained_efficientnet_lite0() -> keras.Model:
    """`efficientnet_lite0` with the weights of this package, not to be trained.

    Raises:
        ValueError: If the file of the weights is not the one that was published.
        FileNotFoundError: If it is not there.
    """
    if not (FOLDER / WEIGHTS).is_file():
        msg = f"{FOLDER / WEIGHTS}, which comes with this package, is not there. Reinstall it."
        raise FileNotFoundError(msg)
    published = read_json(FOLDER / CONFIG, schemas.CLASSIFIER)["sha256"]
    actual = sha256(FOLDER / WEIGHTS)
    if actual != published:
        msg = f"{FOLDER / WEIGHTS} has sha256 {actual}, but {published} was published. Reinstall."
        raise ValueError(msg)
    network = efficientnet_lite0()
    with np.load(FOLDER / WEIGHTS, allow_pickle=False) as weights:
        assign(network, weights)
    network.trainable = False
    return network


def assign(network: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Sets every weight of a network by its name, such as `stem_norm/gamma`.

    Raises:
        ValueError: If a name is missing or left over, or a shape differs.
    """
    variables = named_weights(network)
    if variables.keys() != weights.keys():
        differing = sorted(variables.keys() ^ weights.keys())
        msg = f"Weights that only the network or only the file has: {', '.join(differing)}."
        raise ValueError(msg)
    for name, variable in variables.items():
        variable.assign(weights[name].astype(np.float32))


def named_weights(network: keras.Model) -> dict[str, Any]:
    """The variables of a network by LAYER/NAME."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in network.layers
        for variable in layer.weights
    }


def resized(images: Tensor, size: int = SIZE) -> Tensor:
    """Images as the network was trained to see them.

    Args:
        images: float32 [batch, height, width, 1 or 3] in [0, 1]. Grey becomes three equal channels.
        size: Height and width of the result; the resize is bilinear, and antialiased where the
            image shrinks. It does not keep the ratio of the sides.

    Returns:
        float32 [batch, size, size, 3].
    """
    images = tf.image.resize(images, (size, size), antialias=True)
    return images if images.shape[-1] == 3 else tf.repeat(images, 3, axis=-1)


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """MBConv: a narrow input is widened, convolved by channel, and narrowed without ReLU."""
    inputs, width = x, x.shape[-1] * expansion
    if expansion != 1:
        x = _convolution(x, f"{name}_expand", width, 1)
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv",
        **FLOAT32, **LAST,
    )(x)  # fmt: skip
    x = _relu6(_norm(x, f"{name}_depthwise"), f"{name}_depthwise")
    x = _convolution(x, f"{name}_project", channels, 1, rectified=False)
    if stride == 1 and channels == inputs.shape[-1]:
        x = layers.Add(name=f"{name}_add", **FLOAT32)([x, inputs])
    return x


def _convolution(
    x: Any, name: str, channels: int, kernel: int, strides: int = 1, *, rectified: bool = True
) -> Any:
    x = layers.Conv2D(
        channels, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv",
        **FLOAT32, **LAST,
    )(x)  # fmt: skip
    x = _norm(x, name)
    return _relu6(x, name) if rectified else x


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm", **FLOAT32)(x)


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(6.0, name=f"{name}_relu6", **FLOAT32)(x)
