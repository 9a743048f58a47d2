"""What Keras gets wrong for these models, put right. Delete each fix when Keras no longer needs it.

Numbers are issues of keras-team/keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo.core.replicas import is_multi_worker

if TYPE_CHECKING:
    from zoo.core.running_means import RunningMeans


class KerasFixes(keras.Model):
    """Keras's loops, mended for several replicas."""

    train_function: Any
    steps_per_execution: int
    running_means: RunningMeans

    def make_train_function(self, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        """What `fit` calls with an iterator over batches.

        Issue 19246: Keras puts each of several steps into a conditional, in which nothing can be
        summed over replicas.
        """
        if not self._several_steps_of_replicas():
            super().make_train_function(force)
        elif self.train_function is None or force:

            def one(count: Any, iterator: Any) -> Any:
                self.distribute_strategy.run(self.train_step, args=(iterator.get_next(),))
                return (count + 1,)

            def several(iterator: Any) -> Any:
                size = self.steps_per_execution
                tf.while_loop(lambda n: n < size, lambda n: one(n, iterator), [tf.constant(0)])
                return self.running_means.result()

            self.train_function = tf.function(several, reduce_retracing=True)
        return self.train_function

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Step by step with several replicas, for the data may end within an execution (19246)."""
        size: int = self.steps_per_execution
        if self._several_steps_of_replicas():
            kwargs.pop("_use_cached_eval_dataset", None)  # which `fit` made for several steps
            self.steps_per_execution = 1
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.steps_per_execution = size

    def _several_steps_of_replicas(self) -> bool:
        return self.steps_per_execution > 1 and self.distribute_strategy.num_replicas_in_sync > 1

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is left to build.

        Keras would run a step to build, in which replicas must have equally many examples. No issue
        is filed.
        """


def gradients_are_sums(optimizer: Any) -> None:
    """Tells an optimizer that its gradients have been summed over replicas.

    Keras sums after it clips and looks for an overflow, so that each replica clips by its own norm
    (TensorFlow's issue 33929). It has no public switch for it.
    """
    optimizer._all_reduce_sum_gradients = _as_they_are
    inner = getattr(optimizer, "inner_optimizer", None)  # of a loss scale
    if inner is not None:
        gradients_are_sums(inner)


def logs_of_workers(logs: dict[str, Any]) -> dict[str, Any]:
    """Logs that a step may return under several workers.

    Issue 20585: Keras takes their mean over axis 0, which scalars lack.
    """
    if is_multi_worker(tf.distribute.get_strategy()):
        return {name: value[None] for name, value in logs.items()}
    return logs


def _as_they_are(gradients_and_variables: Any) -> list[Any]:
    return list(gradients_and_variables)
