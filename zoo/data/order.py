"""The order of the images in training: which ones batch t holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

FOREVER = np.iinfo(np.int64).max
# Rounds of the cipher behind the permutation. With 4, as in TensorFlow's wrapper, successive epochs
# resemble each other; from 12 on, tests of uniformity find nothing. They cost next to nothing.
ROUNDS = 24
AT_ONCE = 1024  # indices that are computed together where they are asked for one by one


def permuted(positions: Any, seed: Any, count: int) -> Any:
    """Where a pseudorandom permutation of 0 … count − 1 takes some positions, in O(1) memory.

    Args:
        positions: int64 [k], from 0 to count − 1.
        seed: int64 [2].
        count: Number of things that are permuted.

    Returns:
        int64 [k].

    Example:
        >>> import tensorflow as tf
        >>> from zoo.data.order import permuted
        >>> sorted(permuted(tf.range(5, dtype=tf.int64), [0, 1], 5).numpy().tolist())
        [0, 1, 2, 3, 4]
    """
    # The cipher takes as many low bits of its key as a number below `count` has: as few as 24 of
    # 96, so that plain (seed, epoch) would give the same order every 256 epochs.
    key = tf.random.stateless_uniform([3], seed, minval=None, maxval=None, dtype=tf.uint32)
    # Where the last index is a power of 4 from 4⁸ on, TensorFlow takes one bit too few and gives an
    # index twice. One more thing is permuted there, and what meets it takes its place.
    last = count - 1
    spare = last & (last - 1) == 0

    def shuffled(indices: Any) -> Any:
        return tf.raw_ops.RandomIndexShuffle(
            index=indices,
            seed=key,
            max_index=tf.constant(count if spare else last, tf.int64),
            rounds=ROUNDS,
        )

    shuffled_positions = shuffled(positions)
    if spare:
        count_ = tf.constant([count], tf.int64)
        shuffled_positions = tf.where(
            shuffled_positions == count_, shuffled(count_), shuffled_positions
        )
    return shuffled_positions


def index_shuffle(count: int, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Endless batches of indices; starting at any step costs the same, and no epoch is held.

    Args:
        count: Number of images.
        batch_size: Indices per batch; the rest of an epoch that fills no batch is left out.
        seed: Epoch e is permuted by (seed, e).
        start_step: Number of the first batch.

    Returns:
        int64 [batch_size].

    Example:
        >>> from zoo.data.order import index_shuffle
        >>> batch, *_ = index_shuffle(5, 5, seed=0, start_step=0).take(1)
        >>> sorted(batch.numpy().tolist())
        [0, 1, 2, 3, 4]
    """
    steps = count // batch_size

    def batch(step: Any) -> Any:
        epoch, done = step // steps, step % steps
        positions = done * batch_size + tf.range(batch_size, dtype=tf.int64)
        return permuted(positions, tf.stack([tf.constant(seed, tf.int64), epoch]), count)

    return tf.data.Dataset.range(start_step, FOREVER).map(batch)


def reshuffled(count: int, seed: int) -> tf.data.Dataset:
    """All indices, in another order each time they are gone through; no list of them is held.

    Args:
        count: Number of images.
        seed: Seed of the orders.

    Returns:
        int64, one at a time.

    Example:
        >>> from zoo.data.order import reshuffled
        >>> indices = reshuffled(5, seed=0)
        >>> [sorted(int(i) for i in indices) for _ in range(2)]
        [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    """

    def one_epoch(number: Any) -> tf.data.Dataset:
        def some(first: Any) -> Any:
            positions = tf.range(first, tf.minimum(first + AT_ONCE, count))
            return permuted(positions, tf.stack([tf.constant(seed, tf.int64), number]), count)

        return tf.data.Dataset.range(0, count, AT_ONCE).map(some).unbatch()

    numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
    return numbers.flat_map(one_epoch).apply(tf.data.experimental.assert_cardinality(count))


def stateless_shuffle(count: int, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """As `index_shuffle`, in the order of runs of earlier versions: it holds an epoch's indices."""
    epoch, done = divmod(start_step, count // batch_size)

    def one_epoch(number: Any) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), tf.stack([tf.constant(seed, tf.int64), number])
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)

    return tf.data.Dataset.range(epoch, FOREVER).flat_map(one_epoch).skip(done)


# By their names in config.json. A run that names none was begun under the earlier one.
ORDERS: dict[str, Callable[[int, int, int, int], tf.data.Dataset]] = {
    "index_shuffle": index_shuffle,
    "stateless_shuffle": stateless_shuffle,
}
DEFAULT = "index_shuffle"
EARLIER = "stateless_shuffle"
