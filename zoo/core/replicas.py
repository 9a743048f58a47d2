"""Arithmetic that gives N replicas the result of one device on the same global batch.

Inside `Strategy.run` each replica sees its share of the batch, and a Keras seed generator gives
every replica the same numbers. So losses are divided by the global batch here, gradients are
summed over replicas, and noise is drawn for the global batch and sliced.
Without a strategy every function reduces to the plain computation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor


def all_reduce_sum(tensors: Any) -> Any:
    """Sum over replicas of a tensor, or of each tensor of a list: the same value on each.

    Example:
        >>> from zoo.core.replicas import all_reduce_sum
        >>> all_reduce_sum(3.0)  # on one device
        3.0
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def global_count(values: Any) -> Any:
    """Number of examples of `values` [batch, ...] on all replicas, scalar float32, at least 1.

    Example:
        >>> from zoo.core.replicas import global_count
        >>> float(global_count([1.0, 5.0]))
        2.0
    """
    return tf.maximum(all_reduce_sum(tf.cast(tf.shape(values)[0], tf.float32)), 1.0)


def global_mean(values: Any) -> Any:
    """Mean of `values` [batch] over the examples of all replicas, the same on each.

    Example:
        >>> from zoo.core.replicas import global_mean
        >>> float(global_mean([1.0, 5.0]))
        3.0
    """
    return all_reduce_sum(tf.reduce_sum(values)) / global_count(values)


def on_global_batch(function: Callable[..., Any], *tensors: Any) -> Any:
    """This replica's rows of a function of the batch of all replicas.

    For losses in which examples meet: an aggregate posterior, a permutation. Gradients flow to all
    replicas, each of which computes the whole.

    Args:
        function: Maps tensors [global batch, ...] to one tensor [global batch, ...], or several.
        *tensors: This replica's shares, each [batch, ...].

    Returns:
        As `function`, [batch, ...].

    Example:
        >>> import tensorflow as tf
        >>> from zoo.core.replicas import on_global_batch
        >>> on_global_batch(tf.sort, tf.constant([3, 1, 2])).numpy().tolist()
        [1, 2, 3]
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return function(*tensors)
    batch = tf.shape(tensors[0])[0]
    start, total = _place(context, batch)

    def whole(tensor: Tensor) -> Any:
        around = [[start, total - start - batch], *[[0, 0]] * (len(tensor.shape) - 1)]
        return all_reduce_sum(tf.pad(tensor, around))

    rows = function(*(whole(tensor) for tensor in tensors))
    return tf.nest.map_structure(lambda x: x[start : start + batch], rows)


def on_each_replica(values: Any) -> Any:
    """The values [k] of every replica, [replicas, k], the same on each.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.core.replicas import on_each_replica
        >>> on_each_replica(tf.constant([4.0, 5.0])).shape
        TensorShape([1, 2])
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values[None]
    mine = tf.range(context.num_replicas_in_sync) == tf.cast(
        context.replica_id_in_sync_group, tf.int32
    )
    return all_reduce_sum(tf.where(mine[:, None], values[None], tf.zeros_like(values)))


def in_turn(batch: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """This replica's rows of `n` parts of the global batch: part i has every n-th example from i.

    Args:
        batch: This replica's images, labels and noise by name, each [batch, ...].
        n: Number of parts, static.

    Returns:
        The parts, like `batch`. Those of all replicas together are those of one device, however
        the replicas share the batch.

    Example:
        >>> from zoo.core.replicas import in_turn
        >>> in_turn({"images": [10, 11, 12, 13]}, 2)
        [{'images': [10, 12]}, {'images': [11, 13]}]
    """
    context = tf.distribute.get_replica_context()
    start: Any = 0
    if n > 1 and context is not None and context.num_replicas_in_sync > 1:
        start, _ = _place(context, tf.shape(batch["images"])[0])
    return [{name: x[(i - start) % n :: n] for name, x in batch.items()} for i in range(n)]


def draw_for_replica(draw: Callable[[Any], Any], batch: Any) -> Any:
    """Rows of one global draw that belong to this replica.

    Args:
        draw: Maps a global batch size to noise [global batch, ...]; must give the same numbers
            on every replica (a stateless generator does).
        batch: This replica's batch size, scalar int32.

    Returns:
        Noise [batch, ...]; no two replicas share a row.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.core.replicas import draw_for_replica
        >>> draw_for_replica(lambda n: tf.random.stateless_normal([n, 2], (0, 0)), 3).shape
        TensorShape([3, 2])
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(batch)
    start, total = _place(context, batch)
    return draw(total)[start : start + batch]


def _place(context: Any, batch: Any) -> tuple[Any, Any]:
    """(first row of this replica, rows of all) in the global batch."""
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    counts = all_reduce_sum(
        tf.one_hot(replica, context.num_replicas_in_sync, dtype=tf.int32) * batch
    )
    return tf.reduce_sum(counts[:replica]), tf.reduce_sum(counts)


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas may be on several machines.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.core.replicas import is_multi_worker
        >>> is_multi_worker(tf.distribute.get_strategy())
        False
    """
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
