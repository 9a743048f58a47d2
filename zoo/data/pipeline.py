"""Batches of float32 images, in an order that depends only on the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoo.data.images import printable
from zoo.data.sources import read, source_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.data.images import Images


def load(
    source: Any,
    *,
    split: str = "train",
    batch_size: int | None = None,
    image_shape: Sequence[int] | None = None,
    labels: bool = False,
    training: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """A data set for `fit` and `evaluate`.

    Args:
        source: As for `zoo.data.read`.
        split: Name of the split.
        batch_size: Images per batch; None gives single images.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        labels: Yield (image, int32 label) and not image alone.
        training: Shuffle anew each epoch, over the whole split, and drop the last partial batch.
            Else the images come in order, all of them.
        seed: Seed of the order.

    Returns:
        float32 [height, width, channels] or [batch, height, width, channels] in [0, 1].
        Its pipeline has no tuner (see `untuned`); nor has one that is made from it.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `zoo.data.read`; also if labels are asked
            for and absent, or no batch can be filled.

    Example:
        >>> import numpy as np, zoo
        >>> batches = zoo.data.load(np.zeros((10, 8, 8), "float32"), batch_size=4)
        >>> [tuple(images.shape) for images in batches]
        [(4, 8, 8, 1), (4, 8, 8, 1), (2, 8, 8, 1)]
    """
    images = _read(source, split, image_shape, labels=labels)
    indices = tf.data.Dataset.range(len(images.pixels))
    if training:
        _check_batch(images, batch_size or 1)
        indices = indices.shuffle(len(images.pixels), seed=seed)
    if batch_size is not None:
        indices = indices.batch(batch_size, drop_remainder=training)
    return _gather(images, indices, labels=labels)


def training_stream(
    source: Any,
    *,
    batch_size: int,
    image_shape: Sequence[int] | None = None,
    labels: bool = False,
    seed: int = 0,
    start_step: int = 0,
    share: tuple[int, int, int] = (0, 1, 1),
) -> tuple[tf.data.Dataset, int]:
    """Endless training batches for `fit(stream, steps_per_epoch=...)`.

    Batch t depends only on (source, seed, batch_size, t): a stream from `start_step` goes on
    exactly as one from 0 would have.

    Args:
        source: As for `zoo.data.read`; the split `train` is read.
        batch_size: Images per batch.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        labels: Yield (images, int32 labels).
        seed: Epoch e is shuffled by (seed, e).
        start_step: Number of the first batch.
        share: (first, n, of): cut every batch into `of` equal parts, and yield the n from `first`
            on, one after the other: what the replicas of one worker take.

    Returns:
        The stream, and the number of batches per epoch (the last partial one is dropped).

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `load`.

    Example:
        >>> import numpy as np, zoo
        >>> images = np.zeros((10, 8, 8), "float32")
        >>> stream, steps_per_epoch = zoo.data.training_stream(images, batch_size=4)
        >>> steps_per_epoch, tuple(next(iter(stream)).shape)
        (2, (4, 8, 8, 1))
    """
    images = _read(source, "train", image_shape, labels=labels)
    _check_batch(images, batch_size)
    there = len(images.pixels)
    steps_per_epoch = there // batch_size
    first, n, of = share
    epoch, done = divmod(start_step, steps_per_epoch)

    def one_epoch(number: Any) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(there, dtype=tf.int64), tf.stack([tf.constant(seed, tf.int64), number])
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)

    def parts(batch: Any) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(tf.reshape(batch, [of, -1])[first : first + n])

    epochs = tf.data.Dataset.range(epoch, np.iinfo(np.int64).max)
    batches = epochs.flat_map(one_epoch).skip(done)
    if of > 1:
        batches = batches.flat_map(parts)
    return _gather(images, batches, labels=labels), steps_per_epoch


def to_array(
    source: Any,
    *,
    split: str,
    limit: int | None = None,
    image_shape: Sequence[int] | None = None,
    labels: bool = False,
) -> Any:
    """A split as arrays.

    Args:
        source: As for `zoo.data.read`.
        split: Name of the split.
        limit: Take the first so many; None takes all.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        labels: Return (images, int32 labels [n]).

    Returns:
        float32 [n, height, width, channels] in [0, 1], with labels if asked for.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `load`.

    Example:
        >>> import zoo
        >>> zoo.data.to_array("fashion_mnist_sample", split="test", limit=5).shape
        (5, 28, 28, 1)
    """
    images = _read(source, split, image_shape, labels=labels)
    pixels = images.pixels[:limit].astype(np.float32)
    if images.pixels.dtype == np.uint8:
        pixels /= np.float32(255.0)
    if not labels or images.labels is None:
        return pixels
    return pixels, images.labels[:limit]


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set without the tuner of its pipeline, a thread that the end of `fit` may wait for.

    The tuner sleeps 10 ms, then twice as long each time, up to a minute: with it, 1.6 s of training
    took 2.55 s.

    Example:
        >>> import tensorflow as tf
        >>> import zoo
        >>> zoo.data.untuned(tf.data.Dataset.range(3)).options().autotune.enabled
        False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _read(source: Any, split: str, image_shape: Sequence[int] | None, *, labels: bool) -> Images:
    images = read(source, split=split, image_shape=image_shape)
    if labels and images.labels is None:
        msg = f"{printable(source_name(source))} has no labels."
        raise ValueError(msg)
    return images


def _check_batch(images: Images, batch_size: int) -> None:
    if not 1 <= batch_size <= len(images.pixels):
        msg = (
            f"batch_size={batch_size}: expected 1 to {len(images.pixels)}, the images there are "
            "(the last partial batch of an epoch is dropped). Choose a smaller batch size."
        )
        raise ValueError(msg)


def _gather(images: Images, indices: tf.data.Dataset, *, labels: bool) -> tf.data.Dataset:
    pixels = tf.constant(images.pixels)
    scale = 255.0 if images.pixels.dtype == np.uint8 else 1.0
    numbers = tf.constant(images.labels) if labels else None

    def look_up(index: Any) -> Any:
        image = tf.cast(tf.gather(pixels, index), tf.float32) / scale
        return image if numbers is None else (image, tf.gather(numbers, index))

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = indices.map(look_up, num_parallel_calls=tf.data.AUTOTUNE)  # here the cores, up to 16
    return untuned(dataset.with_options(options).prefetch(2))
