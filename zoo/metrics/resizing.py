"""How images are brought to a network's size: part of a metric's protocol (arXiv 2104.11222).

Two resizings of the same images give other figures, so each has a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from PIL import Image

from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable


def check_resize(name: str) -> None:
    """Raises ValueError unless `name` is one of `RESIZES`."""
    if name not in RESIZES:
        msg = f"Unknown resize {name!r}. {suggestion(name, sorted(RESIZES))}"
        raise ValueError(msg)


def in_colour(images: np.ndarray, network: str) -> np.ndarray:
    """Images [n, height, width, 1 or 3] with three channels; grey ones have three equal ones.

    Raises:
        ValueError: If they have other channels; `network` says what takes them.
    """
    if images.shape[-1] not in (1, 3):
        msg = f"Images of {images.shape[-1]} channels: {network} takes 1 or 3."
        raise ValueError(msg)
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def _tf1_bilinear(images: np.ndarray, size: int) -> Any:
    """TensorFlow 1's: pixel k of the result lies at k · height / size, and nothing is averaged."""
    return tf.raw_ops.ResizeBilinear(images=images, size=(size, size))


def _pytorch_bilinear(images: np.ndarray, size: int) -> Any:
    """PyTorch's: pixel k lies at (k + ½) · height / size − ½, and nothing is averaged."""
    return tf.raw_ops.ResizeBilinear(images=images, size=(size, size), half_pixel_centers=True)


def _clean(images: np.ndarray, size: int) -> np.ndarray:
    """clean-fid's: Pillow's bicubic on float channels, which averages where it shrinks."""
    n, _, _, channels = images.shape
    resized = np.empty((n, size, size, channels), np.float32)
    for i, image in enumerate(images.astype(np.float32)):
        for c in range(channels):
            channel = Image.fromarray(np.ascontiguousarray(image[..., c]))
            channel = channel.resize((size, size), Image.Resampling.BICUBIC)
            resized[i, :, :, c] = np.asarray(channel)
    return np.clip(resized, 0.0, 255.0, out=resized)


# Each takes uint8 [n, height, width, channels] and a size, and gives float32
# [n, size, size, channels] in [0, 255]. Nothing is rounded: neither do the references.
RESIZES: dict[str, Callable[[np.ndarray, int], Any]] = {
    "tf1-bilinear": _tf1_bilinear,  # the FID's authors, torch-fidelity, StyleGAN
    "clean": _clean,
    "pytorch-bilinear": _pytorch_bilinear,  # pytorch-fid
}
