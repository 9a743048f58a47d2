"""The Inception network behind published FIDs (arXiv 1512.00567, 1706.08500).

It is the network that TensorFlow released on 2015-12-05, which the FID's authors took. It departs
from Inception v3 as Keras and torchvision have it:

- Average pooling divides by the pixels that it covers; padding is not among them.
- The last block pools by maximum, not by average.
- BatchNormalization has ε = 0.001.
- The last layer has 1008 outputs, of which 1000 are ImageNet's classes.

Names are those of the published weights, so that each layer finds its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.io.downloads import published_weights
from zoo.io.torch_files import read_state_dict

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from zoo.io.types import Tensor

SIZE = 299
FEATURES = 2048
CLASSES = 1008
URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FLOAT32 = {"dtype": "float32"}  # whatever the global policy is
LAST = {"data_format": "channels_last"}  # whatever keras.json says


def inception() -> keras.Model:
    """The network, with random weights.

    Returns:
        A model of float32 images [batch, 299, 299, 3] in [-1, 1] with two outputs: features,
        float32 [batch, 2048], and logits without their bias, float32 [batch, 1008]. The authors'
        code computes Inception scores without the bias too (arXiv 1606.03498).
    """
    images = keras.Input((SIZE, SIZE, 3), name="image", **FLOAT32)
    x = _conv(images, "Conv2d_1a_3x3", 32, 3, strides=2, padding="valid")
    x = _conv(x, "Conv2d_2a_3x3", 32, 3, padding="valid")
    x = _conv(x, "Conv2d_2b_3x3", 64, 3)
    x = _max_pool(x, strides=2, padding="valid")
    x = _conv(x, "Conv2d_3b_1x1", 80, 1)
    x = _conv(x, "Conv2d_4a_3x3", 192, 3, padding="valid")
    x = _max_pool(x, strides=2, padding="valid")  # 35 × 35
    x = _block_35(x, "Mixed_5b", pooled=32)
    x = _block_35(x, "Mixed_5c", pooled=64)
    x = _block_35(x, "Mixed_5d", pooled=64)
    x = _reduce_to_17(x, "Mixed_6a")
    x = _block_17(x, "Mixed_6b", width=128)
    x = _block_17(x, "Mixed_6c", width=160)
    x = _block_17(x, "Mixed_6d", width=160)
    x = _block_17(x, "Mixed_6e", width=192)
    x = _reduce_to_8(x, "Mixed_7a")
    x = _block_8(x, "Mixed_7b", _average_pool)
    x = _block_8(x, "Mixed_7c", _max_pool)
    features = layers.GlobalAveragePooling2D(name="features", **FLOAT32, **LAST)(x)
    logits = layers.Dense(CLASSES, use_bias=False, name="fc", **FLOAT32)(features)
    return keras.Model(images, [features, logits], name="inception_fid")


def load_inception(weights: str | Path | None = None) -> keras.Model:
    """The network with its published weights.

    Args:
        weights: The file of the weights. By default it is downloaded once, into the cache.

    Returns:
        As `inception`.

    Raises:
        ValueError: If the file is not the published one.
        ConnectionError: If it cannot be downloaded.
        OSError: If it cannot be read.
    """
    remedy = (
        "Or give the file (96 MB): --extractor-weights FILE, load_extractor('inception_fid', "
        "weights=FILE)."
    )
    path = published_weights(URL, SHA256, weights, network="inception_fid", remedy=remedy)
    network = inception()
    set_weights(network, read_state_dict(path))
    return network


def set_weights(network: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Gives the network the weights of a PyTorch state dictionary.

    Args:
        network: Made by `inception`.
        state: The arrays of `pytorch_fid`'s or `torch_fidelity`'s network, by name.

    Raises:
        ValueError: If a weight is missing, left over or of another shape.
    """
    left = {name for name in state if not name.endswith("num_batches_tracked")} - {"fc.bias"}
    for layer in network.layers:
        names = _names(layer)
        try:
            values = [state[name] for name in names]
        except KeyError as error:
            raise ValueError(f"The weights lack {error}.") from error
        if isinstance(layer, layers.Conv2D):
            values = [values[0].transpose(2, 3, 1, 0)]  # [out, in, h, w] → [h, w, in, out]
        elif isinstance(layer, layers.Dense):
            values = [values[0].T]
        layer.set_weights(values)
        left -= set(names)
    if left:
        raise ValueError(f"The weights have {len(left)} arrays of no layer, such as {min(left)}.")


def _names(layer: keras.Layer) -> list[str]:
    """The names of a layer's weights in the published file."""
    if isinstance(layer, (layers.Conv2D, layers.Dense)):
        return [f"{layer.name}.weight"]
    if isinstance(layer, layers.BatchNormalization):
        parts = ("weight", "bias", "running_mean", "running_var")
        return [f"{layer.name}.{part}" for part in parts]
    return []


def _block_35(x: Tensor, name: str, pooled: int) -> Tensor:
    """Figure 5 of the paper: a 5 × 5 branch, and one of two 3 × 3."""
    one = _conv(x, f"{name}.branch1x1", 64, 1)
    five = _conv(x, f"{name}.branch5x5_1", 48, 1)
    five = _conv(five, f"{name}.branch5x5_2", 64, 5)
    double = _conv(x, f"{name}.branch3x3dbl_1", 64, 1)
    double = _conv(double, f"{name}.branch3x3dbl_2", 96, 3)
    double = _conv(double, f"{name}.branch3x3dbl_3", 96, 3)
    pool = _conv(_average_pool(x), f"{name}.branch_pool", pooled, 1)
    return _join(one, five, double, pool)


def _reduce_to_17(x: Tensor, name: str) -> Tensor:
    """Figure 10: strided convolutions beside pooling."""
    three = _conv(x, f"{name}.branch3x3", 384, 3, strides=2, padding="valid")
    double = _conv(x, f"{name}.branch3x3dbl_1", 64, 1)
    double = _conv(double, f"{name}.branch3x3dbl_2", 96, 3)
    double = _conv(double, f"{name}.branch3x3dbl_3", 96, 3, strides=2, padding="valid")
    return _join(three, double, _max_pool(x, strides=2, padding="valid"))


def _block_17(x: Tensor, name: str, width: int) -> Tensor:
    """Figure 6: 7 × 7 as 1 × 7 and 7 × 1."""
    one = _conv(x, f"{name}.branch1x1", 192, 1)
    seven = _conv(x, f"{name}.branch7x7_1", width, 1)
    seven = _conv(seven, f"{name}.branch7x7_2", width, (1, 7))
    seven = _conv(seven, f"{name}.branch7x7_3", 192, (7, 1))
    double = _conv(x, f"{name}.branch7x7dbl_1", width, 1)
    double = _conv(double, f"{name}.branch7x7dbl_2", width, (7, 1))
    double = _conv(double, f"{name}.branch7x7dbl_3", width, (1, 7))
    double = _conv(double, f"{name}.branch7x7dbl_4", width, (7, 1))
    double = _conv(double, f"{name}.branch7x7dbl_5", 192, (1, 7))
    pool = _conv(_average_pool(x), f"{name}.branch_pool", 192, 1)
    return _join(one, seven, double, pool)


def _reduce_to_8(x: Tensor, name: str) -> Tensor:
    three = _conv(x, f"{name}.branch3x3_1", 192, 1)
    three = _conv(three, f"{name}.branch3x3_2", 320, 3, strides=2, padding="valid")
    seven = _conv(x, f"{name}.branch7x7x3_1", 192, 1)
    seven = _conv(seven, f"{name}.branch7x7x3_2", 192, (1, 7))
    seven = _conv(seven, f"{name}.branch7x7x3_3", 192, (7, 1))
    seven = _conv(seven, f"{name}.branch7x7x3_4", 192, 3, strides=2, padding="valid")
    return _join(three, seven, _max_pool(x, strides=2, padding="valid"))


def _block_8(x: Tensor, name: str, pooling: Any) -> Tensor:
    """Figure 7: wide at the coarsest grid."""
    one = _conv(x, f"{name}.branch1x1", 320, 1)
    three = _conv(x, f"{name}.branch3x3_1", 384, 1)
    wide = _conv(three, f"{name}.branch3x3_2a", 384, (1, 3))
    high = _conv(three, f"{name}.branch3x3_2b", 384, (3, 1))
    double = _conv(x, f"{name}.branch3x3dbl_1", 448, 1)
    double = _conv(double, f"{name}.branch3x3dbl_2", 384, 3)
    double_wide = _conv(double, f"{name}.branch3x3dbl_3a", 384, (1, 3))
    double_high = _conv(double, f"{name}.branch3x3dbl_3b", 384, (3, 1))
    pool = _conv(pooling(x), f"{name}.branch_pool", 192, 1)
    return _join(one, wide, high, double_wide, double_high, pool)


def _conv(
    x: Tensor, name: str, width: int, kernel: Any, strides: int = 1, padding: str = "same"
) -> Tensor:
    x = layers.Conv2D(
        width, kernel, strides, padding, use_bias=False, name=f"{name}.conv", **FLOAT32, **LAST
    )(x)
    x = layers.BatchNormalization(epsilon=0.001, name=f"{name}.bn", **FLOAT32)(x)
    return layers.ReLU(**FLOAT32)(x)


def _average_pool(x: Tensor) -> Tensor:
    """3 × 3; at a border the mean of those pixels that exist, as TensorFlow does."""
    return layers.AveragePooling2D(3, 1, "same", **FLOAT32, **LAST)(x)


def _max_pool(x: Tensor, strides: int = 1, padding: str = "same") -> Tensor:
    return layers.MaxPooling2D(3, strides, padding, **FLOAT32, **LAST)(x)


def _join(*branches: Tensor) -> Tensor:
    return layers.Concatenate(axis=-1, **FLOAT32)(branches)
