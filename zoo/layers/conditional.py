"""BatchNorm with parameters per class (arXiv 1802.05637)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class ConditionalBatchNormalization(layers.Layer):
    """BatchNorm with a gain and a bias for each class, as in the generators of arXiv 1802.05637.

    y = γ_label (x − E x) / √(Var x + ε) + β_label. At first γ = 1 and β = 0. The statistics are
    those of the global batch, over all classes together.

    Args:
        num_classes: Number of classes.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import layers
        >>> normalize = layers.ConditionalBatchNormalization(num_classes=10)
        >>> normalize(tf.zeros([2, 8, 8, 3]), tf.constant([0, 9])).shape
        TensorShape([2, 8, 8, 3])
    """

    statistics: ClassVar[dict[str, Any]] = {"momentum": 0.9, "epsilon": 1e-5, "synchronized": True}

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.normalize = layers.BatchNormalization(
            **self.statistics, center=False, scale=False, dtype=self.dtype_policy, name="normalize"
        )

    def build(self, inputs_shape: Any, labels_shape: Any) -> None:  # noqa: ARG002  (Keras passes it)
        """Creates γ and β, each [num_classes, channels]."""
        shape = (self.num_classes, inputs_shape[-1])
        self.normalize.build(inputs_shape)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")

    def call(self, inputs: Tensor, labels: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001
        """Normalises [batch, ..., channels], and scales and shifts by int32 labels [batch]."""
        # A lookup's gradient is sparse, and sparse ones cannot be added up over parts of a batch.
        rows = ops.one_hot(labels, self.num_classes, dtype=self.compute_dtype)
        shape = (-1, *[1] * (len(inputs.shape) - 2), inputs.shape[-1])
        gamma, beta = (ops.reshape(rows @ table, shape) for table in (self.gamma, self.beta))
        training = training and self.trainable  # a frozen layer keeps its statistics
        return gamma * self.normalize(inputs, training=training) + beta

    def compute_output_shape(self, inputs_shape: Any, labels_shape: Any) -> Any:  # noqa: ARG002
        """The shape of the inputs."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
