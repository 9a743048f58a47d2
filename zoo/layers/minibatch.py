"""The minibatch standard deviation, by which a discriminator sees that images are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import layers

if TYPE_CHECKING:
    from zoo.io.types import Tensor

EPSILON = 1e-8  # under the root, as in the authors' code
MOMENTUM = 0.9  # of the average for inference


@keras.saving.register_keras_serializable("zoo")
class MinibatchDeviation(layers.Layer):
    """Adds a channel: how much the examples of a group differ (arXiv 1710.10196, section 3).

    It is the standard deviation of each feature at each place over a group of the batch, averaged
    over features and places. The batch is that of all replicas. Its n examples form ⌈n / size⌉
    groups, and example i belongs to group i mod ⌈n / size⌉: the authors' groups, where n is a
    multiple of `size`.

    Inference takes a moving average in place of the deviation: what is said of an image then
    depends on no other image. The average is saved, and moves in training.

    Args:
        size: Examples per group, at most.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.layers import MinibatchDeviation
        >>> x = tf.constant([0.0, 2.0])[:, None, None, None]
        >>> MinibatchDeviation()(x, training=True)[..., 1].numpy().ravel().tolist()
        [1.0, 1.0]
    """

    def __init__(self, size: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Creates the average."""
        self.average = self.add_weight(
            name="average", shape=(), initializer="zeros", trainable=False, autocast=False
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001
        """Maps [batch, height, width, channels] to one more channel."""
        batch, height, width, _ = tf.unstack(tf.shape(inputs))
        if training:
            deviation = self._deviations(tf.cast(inputs, tf.float32))
        else:
            deviation = tf.fill([batch], tf.convert_to_tensor(self.average.value))
        plane = tf.cast(deviation, inputs.dtype)[:, None, None, None]
        return tf.concat([inputs, tf.tile(plane, [1, height, width, 1])], axis=-1)

    def _deviations(self, x: Any) -> Any:
        """Each example's group's mean standard deviation, [batch]; moves the average."""
        batch = tf.shape(x)[0]
        start, total = _place(batch)
        groups = (total + self.size - 1) // self.size
        group = (start + tf.range(batch)) % groups

        def mean(values: Any) -> Any:
            """The groups' means, over all replicas."""
            return _all_sum(tf.math.unsorted_segment_sum(values, group, groups)) / counts

        counts = _all_sum(tf.math.unsorted_segment_sum(tf.ones([batch, 1, 1, 1]), group, groups))
        variances = mean(tf.square(x - tf.gather(mean(x), group)))
        deviations = tf.reduce_mean(tf.sqrt(variances + EPSILON), axis=[1, 2, 3])
        if self.trainable:
            seen = tf.reduce_mean(tf.stop_gradient(deviations))
            self.average.assign(MOMENTUM * self.average + (1.0 - MOMENTUM) * seen)
        return tf.gather(deviations, group)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs, with one more channel."""
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "size": self.size}


def _all_sum(x: Any) -> Any:
    """The sum over replicas, the same on each; gradients are summed likewise."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def _place(batch: Any) -> tuple[Any, Any]:
    """(first row of this replica, rows of all) in the global batch."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0, batch
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    counts = _all_sum(tf.one_hot(replica, context.num_replicas_in_sync, dtype=tf.int32) * batch)
    return tf.reduce_sum(counts[:replica]), tf.reduce_sum(counts)
