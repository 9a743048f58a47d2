"""Augmentation on the way in: mirrored images and windows at random places.

What happens to an image depends on the seed and on its position in the stream of all batches, and
on nothing else: a resumed run, and each of several replicas, gets what one device would have got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence

# SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195): its constants.
GAMMA = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MIRROR, ROW, COLUMN = range(3)  # what is drawn, each from a stream of its own


def augment(
    images: Any, positions: Any, seed: int, *, mirror: bool = False, random_crop: int = 0
) -> tf.Tensor:
    """Images as they are trained on: mirrored with probability ½, and cut at a random place.

    Args:
        images: [k, height, width, channels] of any dtype.
        positions: int64 [k]: each image's place in the stream of all batches, batch size · t + its
            row in batch t.
        seed: Seed of the run.
        mirror: Whether to turn left and right round in half of the images.
        random_crop: Cut this many rows and columns off each image, so many of them at the top and
            the left as chance will have it; below height and width.

    Returns:
        [k, height − random_crop, width − random_crop, channels] of the same dtype.

    Example:
        >>> import numpy as np
        >>> from zoo.data.augment import augment
        >>> images = np.arange(6.0).reshape(1, 1, 6, 1)
        >>> [augment(images, [i], 0, mirror=True).numpy().item(0) for i in range(6)]
        [5.0, 0.0, 0.0, 5.0, 0.0, 0.0]
    """
    images = tf.convert_to_tensor(images)
    positions = tf.convert_to_tensor(positions, tf.int64)
    if random_crop:
        height, width = (size - random_crop for size in images.shape[1:3])
        for axis, stream, size in ((1, ROW, height), (2, COLUMN, width)):
            start = _below(random_crop + 1, random_bits(positions, seed, stream))
            kept = start[:, None] + tf.range(size, dtype=tf.int64)
            images = tf.gather(images, kept, axis=axis, batch_dims=1)
    if mirror:
        turned = _below(2, random_bits(positions, seed, MIRROR)) == 1
        images = _turned(images, turned)
    return images


def widened(image_shape: Sequence[int], random_crop: int) -> tuple[int, int, int]:
    """The shape that images have before `random_crop` rows and columns are cut off.

    Raises:
        ValueError: If `random_crop` is less than 0.

    Example:
        >>> from zoo.data.augment import widened
        >>> widened((28, 28, 1), 4)
        (32, 32, 1)
    """
    if random_crop < 0:
        msg = f"random_crop={random_crop}: expected at least 0."
        raise ValueError(msg)
    height, width, channels = image_shape
    return height + random_crop, width + random_crop, channels


def check_crop(shape: Sequence[int], random_crop: int) -> None:
    """Raises ValueError if so many rows and columns cannot be cut off images of a shape."""
    most = min(shape[:2]) - 1
    if not 0 <= random_crop <= most:
        msg = f"random_crop={random_crop}: expected 0 to {most}, for images of {tuple(shape)}."
        raise ValueError(msg)


def random_bits(positions: Any, seed: int, stream: int = 0) -> tf.Tensor:
    """Values of SplitMix64, whose state begins at a hash of the seed and the stream.

    Args:
        positions: int64 [k], from 0 on: which of its values.
        seed: Seed.
        stream: Number of the stream: each has other values.

    Returns:
        uint64 [k].

    Example:
        >>> import numpy as np
        >>> from zoo.data.augment import random_bits
        >>> random_bits(np.array([0, 1]), seed=0).dtype.name
        'uint64'
    """
    begin = _mixed(np.uint64((seed * GAMMA + stream) % 2**64))
    return splitmix64(begin, positions)


def splitmix64(begin: Any, positions: Any) -> tf.Tensor:
    """The values that SplitMix64 gives at some positions, counted from 0.

    Args:
        begin: Its state at first, uint64.
        positions: int64 [k].

    Returns:
        uint64 [k].

    Example:
        >>> import numpy as np
        >>> from zoo.data.augment import splitmix64
        >>> hex(splitmix64(np.uint64(0), [0])[0].numpy())
        '0xe220a8397b1dcdaf'
    """
    counts = tf.cast(tf.convert_to_tensor(positions, tf.int64) + 1, tf.uint64)
    return _mixed(begin + counts * _constant(GAMMA))


def _turned(images: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """The images, some of them with left and right turned round."""
    # `tf.where` with a condition per image takes four times as long, and so does `tf.reverse` of
    # more than three axes.
    places = tf.dynamic_partition(tf.range(tf.size(turned)), tf.cast(turned, tf.int32), 2)
    rest, chosen = (tf.gather(images, part) for part in places)
    rows = tf.reverse(tf.reshape(chosen, [-1, *images.shape[2:]]), [1])
    whole = tf.dynamic_stitch(places, [rest, tf.reshape(rows, tf.shape(chosen))])
    return tf.reshape(whole, tf.shape(images))


def _mixed(x: Any) -> tf.Tensor:
    x = tf.convert_to_tensor(x, tf.uint64)
    for shift, factor in ((30, FIRST), (27, SECOND)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _constant(shift)))
        x *= _constant(factor)
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _constant(31)))


def _below(limit: int, bits: tf.Tensor) -> tf.Tensor:
    """int64 from 0 to limit − 1, by the upper 32 bits; limit < 2³¹."""
    upper = tf.cast(tf.bitwise.right_shift(bits, _constant(32)), tf.int64)
    return (upper * limit) // 2**32


def _constant(value: int) -> tf.Tensor:
    return tf.constant(np.uint64(value))
