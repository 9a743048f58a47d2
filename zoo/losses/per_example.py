"""What every loss does with its arguments and its result."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def sum_per_example(values: Any) -> Any:
    """Sums [batch, ...] over all axes but the first: [batch]."""
    return tf.reduce_sum(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)


def full_precision(values: Any) -> Any:
    """A tensor of `values`: float32 if they are of half precision, else of their own dtype."""
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype.size < tf.float32.size else values
