"""Names for types that checkers cannot see: TensorFlow and Keras ship none."""

from typing import Any, TypeAlias

# A `tf.Tensor` or what becomes one: a variable, a KerasTensor, a NumPy array.
Tensor: TypeAlias = Any
