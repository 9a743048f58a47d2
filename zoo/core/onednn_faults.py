"""What oneDNN computes wrongly, refused. Delete each check when TensorFlow's oneDNN is mended.

Numbers are issues of uxlfoundation/oneDNN.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from zoo.core.environment import ONEDNN, onednn_is_on

BLOCK = 16  # channels that oneDNN computes together with AVX-512; 8 with AVX2


def check_convolutions(model: keras.Model) -> None:
    """Refuses to train convolutions whose gradients oneDNN computes wrongly.

    Issue 6035: the gradient of the kernel of a 1 × 1 convolution with strides, channels last and
    fewer channels than a block, writes past its workspace. Values are wrong without a word, or the
    process crashes.

    Args:
        model: With all its networks.

    Raises:
        ValueError: If a layer that trains is such a convolution, no GPU is there, and oneDNN is on.

    Example:
        >>> import keras
        >>> from zoo.core.onednn_faults import check_convolutions
        >>> images = keras.Input((8, 8, 3))
        >>> check_convolutions(keras.Sequential([images, keras.layers.Conv2D(4, 3, strides=2)]))
    """
    if not onednn_is_on() or tf.config.list_logical_devices("GPU"):
        return
    for layer in model._flatten_layers():
        if _is_wrong(layer):
            msg = (
                f"{layer.name}: oneDNN computes wrong gradients for a 1 x 1 convolution with "
                f"strides={layer.strides} over {layer.kernel.shape[2]} channels (fewer than "
                f"{BLOCK}; oneDNN issue 6035). Take every second pixel first, by "
                "AveragePooling2D(1, strides=2) and a convolution without strides, or take a "
                f"larger kernel, or set {ONEDNN}=0."
            )
            raise ValueError(msg)


def _is_wrong(layer: Any) -> bool:
    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.built
        and layer.trainable
        and layer.data_format == "channels_last"
        and tuple(layer.kernel_size) == (1, 1)
        and max(layer.strides) > 1
        and layer.kernel.shape[2] < BLOCK
    )
