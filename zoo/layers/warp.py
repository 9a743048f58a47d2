"""Affine warps of images: whole pixels by an index, all else between a wavelet's filters.

Coordinates are in pixels from the image's centre, x to the right and y downwards. A matrix is the
*inverse* of a transform: it maps a pixel of the result to where it comes from. An image goes on
beyond its edges as its reflection, without end.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from zoo.io.types import Tensor

# The low-pass filter of the wavelet sym6, for decomposition.
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
MARGIN = 3  # pixels around the result that its filter takes


def product(first: Tensor, second: Tensor) -> Tensor:
    """Products of small matrices, [..., m, k] and [..., k, n] to [..., m, n].

    By sums, and not by `tf.matmul`, which a GPU may compute with 10 bits of precision: too few for
    the coordinates of pixels.
    """
    return tf.reduce_sum(first[..., :, :, None] * second[..., None, :, :], axis=-2)


def reflected(index: Tensor, size: int) -> Tensor:
    """The pixel, 0 to `size` − 1, that is seen at any whole position, int32 like `index`."""
    if size == 1:
        return tf.zeros_like(index)
    index = tf.math.floormod(index, 2 * size - 2)
    return tf.minimum(index, 2 * size - 2 - index)


def blit(images: Tensor, inverse: Tensor) -> Tensor:
    """Moves whole pixels: exactly, for flips, quarter turns and translations by whole pixels.

    Args:
        images: float32 [batch, height, width, channels].
        inverse: Inverse transforms, float32 [batch, 3, 3]. Positions are rounded.
    """
    height, width = images.shape[1:3]
    x, y = _sources(inverse, _centred(height), _centred(width))

    def whole(position: Tensor, size: int) -> Tensor:
        return reflected(tf.cast(tf.round(position + (size - 1) / 2), tf.int32), size)

    return _pixels(images, whole(y, height), whole(x, width))


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Warps each image: upsampled twice, sampled bilinearly, downsampled (arXiv 2006.06676, B).

    Both filters are sym6's, whose even shifts are orthogonal: without a transform the image comes
    back, up to float32's rounding.

    Args:
        images: float32 [batch, height, width, channels].
        inverse: Inverse transforms, float32 [batch, 3, 3].

    Returns:
        Images like `images`. Differentiable in the images, twice.
    """
    height, width = images.shape[1:3]
    finer = _apply(images, _upsampling(height), _upsampling(width))
    rows, columns = (_centred(2 * (size + 2 * MARGIN)) / 2.0 for size in (height, width))
    x, y = (2.0 * at for at in _sources(inverse, rows, columns))
    finer = _bilinear(finer, y + (height - 0.5), x + (width - 0.5))
    return _apply(finer, _downsampling(height), _downsampling(width))


def _centred(size: int) -> np.ndarray:
    """Coordinates of a row's pixels, [size]."""
    return (np.arange(size) - (size - 1) / 2).astype(np.float32)


def _sources(inverse: Tensor, rows: np.ndarray, columns: np.ndarray) -> tuple[Tensor, Tensor]:
    """Where the pixels of a result come from: x and y, each [batch, rows, columns]."""
    m = inverse[:, :2, :, None, None]
    at = m[:, :, 0] * columns + m[:, :, 1] * rows[:, None] + m[:, :, 2]
    return at[:, 0], at[:, 1]


def _apply(images: Tensor, of_rows: np.ndarray, of_columns: np.ndarray) -> Tensor:
    """Two linear maps, of the rows and of the columns of each image."""
    images = tf.einsum("ih,bhwc->biwc", of_rows, images)
    return tf.einsum("jw,biwc->bijc", of_columns, images)


def _bilinear(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Samples images, which repeat without end, at any positions [batch, rows, columns]."""
    top, left = tf.floor(y), tf.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]

    def at(row: Tensor, column: Tensor) -> Tensor:
        height, width = images.shape[1:3]
        of_row = tf.math.floormod(tf.cast(row, tf.int32), height)
        return _pixels(images, of_row, tf.math.floormod(tf.cast(column, tf.int32), width))

    upper = (1.0 - right) * at(top, left) + right * at(top, left + 1.0)
    lower = (1.0 - right) * at(top + 1.0, left) + right * at(top + 1.0, left + 1.0)
    return (1.0 - down) * upper + down * lower


def _pixels(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Pixels by their rows and columns, int32 [batch, rows, columns] each."""
    height, width, channels = images.shape[1:]
    flat = tf.reshape(images, [-1, height * width, channels])
    return tf.gather(flat, row * width + column, axis=1, batch_dims=1)


# The linear maps of a row of pixels, as matrices


@functools.cache
def _upsampling(size: int) -> np.ndarray:
    """From `size` pixels to one period of the reflected row at twice the rate."""
    period = max(2 * size - 2, 1)
    matrix = np.zeros((2 * period, size))
    for row in range(2 * period):
        for tap, weight in enumerate(SYM6):
            source, between = divmod(row + 5 - tap, 2)
            if not between:
                matrix[row, _mirror(source, size)] += np.sqrt(2.0) * weight
    return matrix.astype(np.float32)


@functools.cache
def _downsampling(size: int) -> np.ndarray:
    """From twice `size` + 2 · `MARGIN` pixels to `size`."""
    matrix = np.zeros((size, 2 * (size + 2 * MARGIN)))
    for row in range(size):
        matrix[row, 2 * row + 1 : 2 * row + 1 + len(SYM6)] = np.divide(SYM6, np.sqrt(2.0))
    return matrix.astype(np.float32)


def _mirror(index: int, size: int) -> int:
    """As `reflected`, of one number."""
    index %= max(2 * size - 2, 1)
    return min(index, 2 * size - 2 - index) if size > 1 else 0


def convolution(taps: np.ndarray, size: int) -> np.ndarray:
    """Convolution of a reflected row with a filter of an odd length, as a matrix.

    Args:
        taps: The filter, [2 k + 1].
        size: Pixels of the row.

    Returns:
        float32 [size, size].
    """
    matrix = np.zeros((size, size))
    for row in range(size):
        for tap, weight in enumerate(taps):
            matrix[row, _mirror(row + len(taps) // 2 - tap, size)] += weight
    return matrix.astype(np.float32)
