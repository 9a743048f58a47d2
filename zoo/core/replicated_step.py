"""The training step that gives N replicas the result of one device: noise, updates and logs.

A replica sees its share of the batch. Noise is drawn for the global batch and sliced; a loss is the
replica's part of the mean over the global batch; gradients and logs are summed over replicas.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from zoo.core.hooks import check_names
from zoo.core.keras_fixes import logs_of_workers
from zoo.core.replicas import all_reduce_sum, draw_for_replica, global_count, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zoo.core.running_means import RunningMeans
    from zoo.io.types import Tensor


class Player(NamedTuple):
    """What one optimizer does: it minimises a loss, by moving the weights of networks.

    Args:
        loss: Name of the loss, [batch], among those of a step.
        networks: Attributes of the model: the networks whose trainable variables it updates. None
            named: all trainable variables of the model that no other player has.

    Example:
        >>> import zoo
        >>> model = zoo.create("factor_vae", (8, 8, 1), 2, network="mlp")
        >>> model.players["discriminator_optimizer"]
        Player(loss='discriminator_loss', networks=('discriminator',))
    """

    loss: str
    networks: tuple[str, ...] = ()


class ReplicatedStep(keras.Model):
    """What the steps of every model are made of. A model declares its `players`."""

    players: Mapping[str, Player]  # by the name of the optimizer, an attribute of the model
    log_names: tuple[str, ...]
    running_means: RunningMeans
    step: Any  # training steps so far, an int64 variable
    seed: int
    accumulate: int

    # Players

    @property
    def optimizer_names(self) -> tuple[str, ...]:
        """Attributes of the optimizers, one for each player, in the order of `compile`."""
        return tuple(self.players)

    def variables_of(self, optimizer_name: str) -> list[Any]:
        """Trainable variables that the named optimizer updates."""

        def of_networks(player: Player) -> list[Any]:
            return [v for name in player.networks for v in getattr(self, name).trainable_variables]

        if self.players[optimizer_name].networks:
            return of_networks(self.players[optimizer_name])
        others = {id(v) for player in self.players.values() for v in of_networks(player)}
        return [v for v in self.trainable_variables if id(v) not in others]

    @property
    def steps_done(self) -> int:
        """Training steps so far, outside of a graph; `int(step)` fails under several workers."""
        return int(self.step.numpy())

    @property
    def state_variables(self) -> list[Any]:
        """All that training goes on from: the model's variables, then the optimizers'."""
        optimizers = [getattr(self, name) for name in self.optimizer_names]
        return [*self.variables, *(v for optimizer in optimizers for v in optimizer.variables)]

    # Noise

    def noise_source(self, images: Tensor, *, test: bool = False) -> Callable[..., Any]:
        """What draws noise for a batch: `draw(name, shape, uniform=False)`, as `noise`.

        Args:
            images: This replica's images [batch, ...].
            test: Draw for evaluation: by the position in the data, and not the training step.
        """

        def draw(name: str, shape: Sequence[int] = (), *, uniform: bool = False) -> Any:
            size = tf.shape(images)[0]
            if not test:
                return self.noise(name, size, shape, uniform=uniform)
            counter = self.examples_seen
            return self.noise(f"test_{name}", size, shape, counter=counter, uniform=uniform)

        return draw

    def noise(
        self,
        name: str,
        batch: Any,
        shape: Sequence[int],
        *,
        counter: Any = None,
        uniform: bool = False,
    ) -> Tensor:
        """This replica's rows of the noise `name` at the current step.

        Args:
            name: What the noise is for; two names give independent noise.
            batch: This replica's batch size, scalar int32.
            shape: Shape of one example's noise.
            counter: Takes the place of the training step; scalar integer.
            uniform: Draw from U(0, 1) and not from N(0, 1).

        Returns:
            float32 [batch, *shape].
        """
        seed = tf.random.experimental.stateless_fold_in(
            named_seed(self.seed, name), self.step.value if counter is None else counter
        )
        draw = tf.random.stateless_uniform if uniform else tf.random.stateless_normal
        return draw_for_replica(lambda n: draw([n, *shape], seed), batch)

    # Updates

    def minimize(
        self,
        losses_of: Callable[[dict[str, Any]], dict[str, Any]],
        batch: dict[str, Any],
        *names: str,
        counts: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One update by each of the optimizers, all at once, of what their players minimise.

        Args:
            losses_of: Maps a part of `batch` to values by name, each [part, ...], the players'
                losses among them. It is called under the gradient tape, once for each of the
                `accumulate` parts.
            batch: This replica's images, labels and noise by name, each [batch, ...].
            *names: The optimizers, by default all.
            counts: By name of a loss, the number of examples of all replicas that it is the mean
                of, where that is not the number of images.

        Returns:
            What `losses_of` gave, of the whole batch.

        Raises:
            ValueError: If an optimizer is of no player, or a player's loss is not among the losses.
        """
        names = names or self.optimizer_names
        check_names(f"{type(self).__name__}'s step", names, "players", self.players)
        count = global_count(batch["images"])
        counts = counts or {}
        # Players that share a loss share a backward pass.
        optimizers: dict[str, list[str]] = {}
        for name in names:
            optimizers.setdefault(self.players[name].loss, []).append(name)

        def compute(part: dict[str, Any]) -> tuple[Any, Any]:
            with tf.GradientTape(persistent=len(optimizers) > 1) as tape:
                losses = losses_of(part)
                check_names(f"{type(self).__name__}.players", optimizers, "step's losses", losses)
                shares = {
                    loss: self.replica_loss(own[0], losses[loss], counts.get(loss, count))
                    for loss, own in optimizers.items()
                }
            gradients: dict[str, list[Any]] = {}
            for loss, own in optimizers.items():
                gradients |= self.gradients(tape, shares[loss], own)
            return (shares, gradients), losses

        (shares, gradients), losses = self.accumulated(compute, batch)
        # Scales are read before any update, which may change them.
        scaled = {
            name: self._rescaled(gradients[name], shares[loss], own[0], name)
            for loss, own in optimizers.items()
            for name in own
        }
        for name in names:
            if scaled[name]:
                self.update(name, scaled[name])
        return losses

    def replica_loss(self, optimizer_name: str, values: Any, count: Any) -> Any:
        """What a replica differentiates: its share of the mean of `values` [batch] over `count`.

        The shares of all replicas and parts sum to the mean over the global batch, uneven last
        batches included. Scaled where float16 needs it.
        """
        return getattr(self, optimizer_name).scale_loss(tf.reduce_sum(values) / count)

    def gradients(
        self, tape: Any, loss: Any, optimizer_names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Gradients for each optimizer's variables; zeros where the loss does not depend on one."""
        variables = {name: self.variables_of(name) for name in optimizer_names}
        return {
            # Dense: a lookup's gradient is sparse, and would not add up over parts.
            name: [
                tf.zeros(v.shape) if g is None else tf.convert_to_tensor(g)
                for g, v in zip(gradients, variables[name], strict=True)
            ]
            for name, gradients in tape.gradient(loss, variables).items()
        }

    def _rescaled(self, gradients: list[Any], loss: Any, first: str, name: str) -> list[Any]:
        """Gradients that carry the first optimizer's scale, as the named one scales them.

        If it scales at all, they are not finite where the loss is not.
        """
        optimizer = getattr(self, name)
        if name != first:
            scale = optimizer.scale_loss(1.0) / getattr(self, first).scale_loss(1.0)
            gradients = [scale * gradient for gradient in gradients]
        if gradients and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # A ReLU that oneDNN fuses may turn NaN into 0: an overflow that only the loss shows
            # must skip the update too. (Grappler would fold a product with 0.)
            seen = tf.where(tf.math.is_finite(loss), gradients[0], math.nan)
            gradients = [seen, *gradients[1:]]
        return gradients

    def accumulated(self, compute: Callable[[Any], Any], batch: dict[str, Any]) -> tuple[Any, Any]:
        """Sums and logs of a batch, computed in `accumulate` parts, one after the other.

        Args:
            compute: Maps a part of `batch` to (sums, logs): sums over examples, such as gradients,
                in any nest, and a dict of values [part, ...].
            batch: This replica's images and noise by name, each [batch, ...].

        Returns:
            The sums over the parts, and the logs of the batch.
        """
        if self.accumulate == 1:
            return compute(batch)
        tf.debugging.assert_greater_equal(
            tf.shape(batch["images"])[0],
            self.accumulate,
            f"An update's batch on a replica has fewer images than accumulate={self.accumulate} "
            "parts need. Use larger batches, or drop the remainder of the data.",
        )
        total: Any = None
        logs: list[dict[str, Any]] = []
        for rows in in_turn(batch, self.accumulate):
            # The next part waits for the last one's gradients, whose activations are then freed.
            with tf.control_dependencies(tf.nest.flatten(total) if logs else []):
                part = {name: tf.identity(x) for name, x in rows.items()}
                sums, values = compute(part)
                total = tf.nest.map_structure(tf.add, total, sums) if logs else sums
            logs.append(values)
        return total, {name: tf.concat([part[name] for part in logs], axis=0) for name in logs[0]}

    def update(self, optimizer_name: str, gradients: list[Any]) -> None:
        """Sums a replica's gradients over all replicas, and applies the sum."""
        # Here and not in the optimizer: Keras clips, and looks for overflow, before it sums.
        getattr(self, optimizer_name).apply(
            all_reduce_sum(gradients), self.variables_of(optimizer_name)
        )

    # Logs

    @property
    def examples_seen(self) -> Any:
        """Examples logged since the metrics were last reset, scalar int64 tensor."""
        return tf.cast(self.running_means.counts.value[0], tf.int64)

    def log(self, values: dict[str, Any]) -> dict[str, Any]:
        """Adds per-example values [batch, ...] to the running means and returns these.

        Logged values are means over the global batch, not over one replica's share. What the
        players minimise, if `values` has it, is watched too: its mean must be finite.
        """
        check_names(f"{type(self).__name__}.log_names", self.log_names, "step's values", values)
        losses = dict.fromkeys(player.loss for player in self.players.values())
        watched = [name for name in losses if name in values and name not in self.log_names]
        kept = [tf.cast(values[name], tf.float32) for name in (*self.log_names, *watched)]
        totals = tf.stack([tf.reduce_sum(value) for value in kept])
        counts = tf.stack([tf.cast(tf.size(value), tf.float32) for value in kept])
        totals, counts = tf.unstack(all_reduce_sum(tf.stack([totals, counts])))
        self.running_means.update_state(totals, counts, self.step.value)
        return logs_of_workers(self.running_means.result())

    @property
    def metrics(self) -> list[Any]:
        """The running means, reset at the start of every epoch and evaluation."""
        return [self.running_means]


def named_seed(seed: int, name: str) -> Any:
    """A seed for one purpose, int64 tensor [2]: another name gives independent numbers.

    Example:
        >>> from zoo.core.replicated_step import named_seed
        >>> named_seed(3, "latent").shape
        TensorShape([2])
    """
    return tf.constant([seed, zlib.crc32(name.encode())], tf.int64)
