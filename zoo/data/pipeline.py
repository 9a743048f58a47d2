"""Batches of float32 images, in an order that depends only on the seed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoo.data import augment
from zoo.data.contents import VERIFY
from zoo.data.floats import Floats, as_floats
from zoo.data.images import Images, cached
from zoo.data.order import DEFAULT, ORDERS, reshuffled
from zoo.data.sources import open  # noqa: A004  (as zoo.data has it)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zoo.data.records import Records


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
    images = cached(_open(source, split, image_shape, labels=labels))
    indices = tf.data.Dataset.range(len(images))
    if training:
        batches_per_epoch(images, batch_size or 1)
        indices = reshuffled(len(images), seed)
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
    order: str = DEFAULT,
    mirror: bool = False,
    random_crop: int = 0,
) -> tuple[tf.data.Dataset, int]:
    """Endless training batches for `fit(stream, steps_per_epoch=...)`.

    Batch t depends only on (source, seed, batch_size, t): a stream from `start_step` goes on
    exactly as one from 0 would have.

    Args:
        source: As for `zoo.data.read`; the split `train` is read.
        batch_size: Images per batch.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        labels: Yield (images, int32 labels).
        seed: Epoch e is permuted by (seed, e).
        start_step: Number of the first batch.
        share: (first, n, of): cut every batch into `of` equal parts, and yield the n from `first`
            on, one after the other: what the replicas of one worker take. Only these are read.
        order: One of `zoo.data.order.ORDERS`: "stateless_shuffle" is that of earlier versions.
        mirror: Turn left and right round in half of the images (`zoo.data.augment`).
        random_crop: Read images so many pixels higher and wider, and cut the excess off: how much
            of it on which side is left to chance. Without `image_shape`, the source's images are
            read as they are, and cut.

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
    if image_shape is not None:
        image_shape = augment.widened(image_shape, random_crop)
    images = cached(_open(source, "train", image_shape, labels=labels))
    augment.check_crop(images.shape, random_crop)
    steps = batches_per_epoch(images, batch_size)
    if order not in ORDERS:
        msg = f"order={order!r}: expected one of {', '.join(ORDERS)}."
        raise ValueError(msg)
    first, n, of = share

    def placed(step: Any, batch: Any) -> Any:
        return batch, step * batch_size + tf.range(batch_size, dtype=tf.int64)

    def parts(*batch: Any) -> tf.data.Dataset:
        shares = tuple(tf.reshape(each, [of, -1])[first : first + n] for each in batch)
        return tf.data.Dataset.from_tensor_slices(shares)

    def change(pixels: Any, positions: Any) -> Any:
        return augment.augment(pixels, positions, seed, mirror=mirror, random_crop=random_crop)

    batches = ORDERS[order](len(images), batch_size, seed, start_step)
    batches = batches.enumerate(start_step).map(placed)
    if of > 1:
        batches = batches.flat_map(parts)
    return _gather(images, batches, labels=labels, change=change), steps


def batches_per_epoch(images: Records, batch_size: int) -> int:
    """The number of whole batches of a split.

    Raises:
        ValueError: If there is none.

    Example:
        >>> import numpy as np, zoo
        >>> from zoo.data.pipeline import batches_per_epoch
        >>> batches_per_epoch(zoo.data.open(np.zeros((10, 8, 8), "float32")), 4)
        2
    """
    if not 1 <= batch_size <= len(images):
        msg = (
            f"batch_size={batch_size}: expected 1 to {len(images)}, the images there are "
            "(the last partial batch of an epoch is dropped). Choose a smaller batch size."
        )
        raise ValueError(msg)
    return len(images) // batch_size


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
    images = _open(source, split, image_shape, labels=labels)
    count = len(images) if limit is None else min(limit, len(images))
    pixels, done = np.empty((count, *images.shape), np.float32), 0
    for chunk in images.chunks(count):
        pixels[done : done + len(chunk)] = as_floats(chunk)
        done += len(chunk)
    if not labels or images.labels is None:
        return pixels
    return pixels, images.labels[:count]


def to_floats(
    source: Any,
    *,
    split: str,
    image_shape: Sequence[int] | None = None,
    labels: bool = False,
) -> Any:
    """As `to_array`, but images that are too many for memory are read when they are sliced.

    Args:
        source: As for `zoo.data.read`.
        split: Name of the split.
        image_shape: (height, width, channels) to convert to; None keeps the source's.
        labels: Return (images, int32 labels [n]).

    Returns:
        What `to_array` returns; of more than `zoo.data.images.MEMORY_LIMIT` bytes the images are
        `zoo.data.floats.Floats`, of which a slice is an array.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `load`; and when they are sliced.

    Example:
        >>> import zoo
        >>> images = zoo.data.to_floats("fashion_mnist_sample", split="test")
        >>> images[:5].shape
        (5, 28, 28, 1)
    """
    images = cached(_open(source, split, image_shape, labels=labels))
    if isinstance(images, Images):
        return to_array(images, split=split, labels=labels)
    if not labels or images.labels is None:
        return Floats(images)
    return Floats(images), images.labels


@contextmanager
def named_faults(*records: Records | None) -> Iterator[None]:
    """Raises what was wrong with an image as it was said, and not as TensorFlow words it.

    Args:
        *records: The open sources of the batches that are used within; None is none.

    Raises:
        ValueError: If an image could not be read; it is named, and what finds others like it.

    Example:
        >>> import numpy as np, zoo
        >>> images = zoo.data.open(np.zeros((10, 8, 8), "float32"))
        >>> with zoo.data.named_faults(images):
        ...     batches = list(zoo.data.load(images, batch_size=5))
    """
    try:
        yield
    except tf.errors.OpError as error:
        for fault in (each.fault for each in records if each is not None):
            if fault is not None and not isinstance(fault, ValueError):
                raise fault from error
            if fault is not None:
                raise ValueError(f"{fault} {VERIFY}") from fault
        raise


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


def _open(source: Any, split: str, image_shape: Sequence[int] | None, *, labels: bool) -> Records:
    images = open(source, split=split, image_shape=image_shape)
    if labels and images.labels is None:
        msg = f"{images.what}: the source has no labels."
        raise ValueError(msg)
    return images


def _gather(
    images: Records,
    indices: tf.data.Dataset,
    *,
    labels: bool,
    change: Callable[[Any, Any], Any] | None = None,
) -> tf.data.Dataset:
    """The images of an index or of a batch of them, from memory or read as they are needed.

    With `change` the indices come with positions, and the images are what it makes of both.
    """
    in_memory = isinstance(images, Images)
    pixels_of = _from_memory(images) if isinstance(images, Images) else _from_records(images)
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    numbers = tf.constant(images.labels) if labels else None

    def look_up(index: Any, *positions: Any) -> Any:
        image = pixels_of(index)
        if change is not None:
            image = change(image, *positions)
        image = tf.cast(image, tf.float32) / scale
        return image if numbers is None else (image, tf.gather(numbers, index))

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # From memory AUTOTUNE is here the cores, up to 16. Records are read by a thread per core
    # already: with a second batch these do not wait for the slowest image of the first.
    dataset = indices.map(look_up, num_parallel_calls=tf.data.AUTOTUNE if in_memory else 2)
    return untuned(dataset.with_options(options).prefetch(2))


def _from_memory(images: Images) -> Any:
    pixels = tf.constant(images.pixels)
    return lambda index: tf.gather(pixels, index)


def _from_records(images: Records) -> Any:
    def take(index: np.ndarray) -> np.ndarray:
        try:
            return images.take(index.reshape(-1)).reshape(*index.shape, *images.shape)
        except Exception as error:
            images.fault = error  # TensorFlow passes on no more than its words: see `named_faults`
            raise

    def pixels_of(index: Any) -> Any:
        pixels = tf.numpy_function(take, [index], images.dtype, stateful=False)
        pixels.set_shape([*index.shape, *images.shape])
        return pixels

    return pixels_of
