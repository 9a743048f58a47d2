"""Updates that are left out where the gradient explodes, on all replicas alike."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def apply_below(
    optimizer: keras.optimizers.Optimizer, gradients: list[Any], variables: list[Any], norm: float
) -> Any:
    """Applies gradients whose norm is below `norm`. Otherwise it moves nothing.

    Neither the variables nor the optimizer's slots and count of updates move then.

    Args:
        optimizer: It must be built. With a loss scale, the norm is that of the gradients without
            it; those that are not finite are left to the optimizer, which skips them too.
        gradients: Those of the variables, summed over replicas: the same on each.
        variables: Keras's variables.
        norm: Smallest norm of the whole gradient, not clipped, that is skipped.

    Returns:
        1 if the update was skipped, else 0; scalar float32, the same on each replica.

    Example:
        >>> import keras
        >>> import tensorflow as tf
        >>> from zoo.core.skipping import apply_below
        >>> weight, sgd = keras.Variable(1.0), keras.optimizers.SGD(1.0)
        >>> sgd.build([weight])
        >>> [float(apply_below(sgd, [tf.constant(g)], [weight], 5.0)) for g in (4.0, 6.0)]
        [0.0, 1.0]
        >>> float(weight), int(sgd.iterations)
        (-3.0, 1)
    """
    scale = optimizer.scale_loss(1.0)
    length = tf.linalg.global_norm([gradient / scale for gradient in gradients])
    small = length < norm
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        small |= ~tf.math.is_finite(length)

    def apply(gradients: Any) -> None:
        optimizer.apply(gradients, variables)

    if tf.__internal__.distribute.strategy_supports_no_merge_call():
        _if(small, lambda: apply(gradients))
    else:
        # The optimizer merges replicas, which it cannot do within a replica's conditional.
        def merged(distribution: Any, gradients: Any, small: Any) -> None:
            first = distribution.experimental_local_results(small)[0]
            every = distribution.extended.call_for_each_replica
            _if(first, lambda: every(apply, args=(gradients,)))

        tf.distribute.get_replica_context().merge_call(merged, args=(gradients, small))
    return 1.0 - tf.cast(length < norm, tf.float32)


def _if(condition: Any, do: Any) -> None:
    def done() -> Any:
        do()
        return tf.constant(0)

    tf.cond(condition, done, lambda: tf.constant(0))
