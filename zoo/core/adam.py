"""Adam (arXiv 1412.6980) by TensorFlow's kernel, which updates a variable in one pass.

Keras spells it in a dozen operations, each with a pass over memory of its own.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("zoo")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` in less time: its arguments and slots, and its updates to rounding.

    Another result only where Keras's is wrong: of several gradients of one row, as a lookup's, it
    sums the squares, and not the parts. With `amsgrad`, which the kernel lacks, it is Keras's own.

    Example:
        >>> from zoo.core.adam import Adam
        >>> Adam(2e-4, beta_1=0.5).beta_1
        0.5
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Updates the variables; what does not depend on a variable is computed once for all."""
        self._scalars = functools.cache(self._new_scalars)
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a variable and its two moments, in place."""
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            lr=tf.cast(learning_rate, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
            **self._scalars(dtype),
        )

    def _new_scalars(self, dtype: str) -> dict[str, Any]:
        """What the kernel takes besides, and which is the same for all variables of a dtype."""
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        return {
            "beta1_power": beta_1**step,
            "beta2_power": beta_2**step,
            "beta1": beta_1,
            "beta2": beta_2,
            "epsilon": tf.cast(self.epsilon, dtype),
        }
