"""The means that `fit` logs, and the first fault of losses and of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence

# Losses are at most millions of nats per image. A larger one is on its way to infinity.
EXPLODED = 1e9


class RunningMeans(keras.metrics.Metric):
    """Means over the examples of an epoch, of several quantities at once.

    Replicas hold copies, and are given the same sums over the global batch: reading a mean needs
    no communication, so that one worker can save them while the others go on. (The variables of
    `keras.metrics.Mean` are summed over all replicas whenever they are read.)

    Args:
        names: What is averaged.

    Example:
        >>> from zoo.core.running_means import RunningMeans
        >>> means = RunningMeans(["loss"])
        >>> means.update_state([6.0], [3.0], 1)
        >>> float(means.result()["loss"])
        2.0
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(name="running_means")
        self.names = tuple(names)

        def variable(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Any:
            return self.add_variable(shape, "zeros", dtype, "only_first_replica", name)

        self.totals = variable("totals", (len(names),))
        self.counts = variable("counts", (len(names),))
        self.bad_step = variable("bad_step", (), "int64")
        self.wrong_data = variable("wrong_data", (4,), "float64")

    def update_state(self, totals: Any, counts: Any, step: Any) -> None:
        """Adds a batch.

        Args:
            totals: Sums over the global batch, float32 [k] in the order of `names`. Further ones
                behind them are not averaged, but looked at.
            counts: Numbers of examples summed, float32 [k].
            step: Training step, from 1; noted as `bad_step` if it is the first at which a mean of
                a batch is not finite, or beyond `EXPLODED`. Scalar int64.
        """
        averaged = len(self.names)
        self.totals.assign_add(totals[:averaged])
        self.counts.assign_add(counts[:averaged])
        means = tf.math.divide_no_nan(totals, counts)
        sane = tf.reduce_all(tf.abs(means) < EXPLODED)  # false for NaN too
        known = self.bad_step.value
        self.bad_step.assign(tf.where(sane | (known > 0), known, step))

    def note_data(self, wrong: Any) -> None:
        """Keeps what the first wrong batch has that a model does not take.

        Args:
            wrong: Smallest and largest pixel of a batch of which one is out of range, and of the
                labels that are no classes, float64 [4]; 0 where all are right.
        """
        known = self.wrong_data.value
        self.wrong_data.assign(tf.where(tf.reduce_any(known != 0.0), known, wrong))

    def result(self) -> dict[str, Any]:
        """The means so far by name, scalar float32 tensors; 0 where there are no examples."""
        means = tf.math.divide_no_nan(self.totals.value, self.counts.value)
        return dict(zip(self.names, tf.unstack(means), strict=True))
