"""What every loss does with its arguments and its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from zoo.io.types import Tensor


def sum_per_example(values: Tensor) -> Tensor:
    """Sums [batch, ...] over all axes but the first: [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> losses.sum_per_example(np.ones((2, 8, 8, 1))).numpy()
        array([64., 64.])
    """
    return tf.reduce_sum(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)


def full_precision(values: Tensor) -> Tensor:
    """A tensor of `values`: float32 if they are of half precision, else of their own dtype.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> losses.full_precision(np.ones(3, np.float16)).dtype.name
        'float32'
    """
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype.size < tf.float32.size else values
