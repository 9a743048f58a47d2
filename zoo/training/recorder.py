"""The callback that writes a run folder while a model trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo import data
from zoo.io import schemas
from zoo.io.pictures import grid, pairs, save_grid
from zoo.io.records import read_json, write_json
from zoo.training import checkpoints, loading, measuring, strategies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.core.model import ZooModel

PICTURED = 64  # samples in a grid
RECONSTRUCTED = 32
CHECK_EVERY = 20  # batches between looks at whether the losses are sane: a look waits for the GPU


class Recorder(keras.callbacks.Callback):
    """Writes history, checkpoints, TensorBoard's events and pictures, and checks the losses.

    Every worker checks, so that all of them stop together; only the chief writes.

    Args:
        model: The model that trains.
        out: The run folder.
        source: The data, whose test images a VAE reconstructs.
        steps_per_epoch: Training steps per epoch.
        keep: Checkpoints to keep, at least 1.
        best: Logged metric whose best value picks `best.keras`: the lowest, or the highest of a
            figure of `measured` for which higher is better.
        checkpoint_every: Steps between checkpoints, besides the one per epoch.
        last_step: The step that training ends with, which may lie within an epoch.
        measured: Callbacks that add figures to the logs of an epoch.
    """

    def __init__(
        self,
        model: ZooModel,
        out: Path,
        source: Any,
        steps_per_epoch: int,
        *,
        keep: int,
        best: str | None,
        checkpoint_every: int | None,
        last_step: int,
        measured: Sequence[measuring.MeasuringCallback] = (),
    ) -> None:
        super().__init__()
        self.set_model(model)
        self.measured = measured
        self.directions = measuring.directions(measured)
        if keep < 1 or (checkpoint_every is not None and checkpoint_every < 1):
            msg = f"keep={keep}, checkpoint_every={checkpoint_every}: expected at least 1."
            raise ValueError(msg)
        self.out = out
        self.source = source
        self.steps_per_epoch = steps_per_epoch
        self.keep = keep
        self.best = best
        self.checkpoint_every = checkpoint_every
        self.last_step = last_step
        self.history: list[dict[str, Any]] = []
        self.batches = 0

    def begin(self, config: dict[str, Any], started_from: Any = None) -> None:
        """Writes config.json and a first checkpoint, so that a full disk shows before training.

        A model that `zoo.finetune` made has its report written too. The first checkpoint is of
        step 0: a training that is killed at any time can be resumed with these settings. (A
        converted model has a checkpoint already, without them.)
        """
        self.saved_step = self.model.steps_done
        begins = self.saved_step == 0 or not (self.out / checkpoints.LATEST).exists()
        if begins:
            # Before anything is written; and by every worker, so that all of them stop.
            loading.check_loadable(self.model)
        if (self.out / "history.json").exists():
            # A crash between the two files may leave more entries than the model has epochs.
            whole = read_json(self.out / "history.json", schemas.HISTORY)
            self.history = [entry for entry in whole if entry["step"] <= self.saved_step]
        self.chief = strategies.is_chief(self.model.distribute_strategy)
        if not self.chief:
            return
        if self.model.family == "vae":
            images = data.to_array(
                self.source,
                split="test",
                limit=RECONSTRUCTED,
                image_shape=self.model.image_shape,
                labels=bool(self.model.num_classes),
            )
            # (images,), or (images, labels) for a conditional model
            self.pictured = images if isinstance(images, tuple) else (images,)
        checkpoints.check_space(self.model, self.out, self.keep + 2)  # the best and a new one
        begun = (self.out / "config.json").exists()
        try:
            write_json(self.out / "config.json", config)
            if started_from is not None:
                write_json(self.out / "report.json", started_from.to_dict())
            if begins:
                checkpoints.save(self.model, self.out, keep=self.keep)
        except BaseException:
            if begins and not begun:  # a run without a state is none
                for name in ("config.json", "report.json"):
                    (self.out / name).unlink(missing_ok=True)
            raise

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Checks the losses from time to time; writes a checkpoint when one is due."""
        self.batches += 1
        if self.batches % CHECK_EVERY == 0:
            self.check()
        if self.checkpoint_every is None:
            return
        # Several steps may have run since the last call, and an epoch's end saves anyway.
        step = self.model.steps_done
        due = step // self.checkpoint_every > self.saved_step // self.checkpoint_every
        if due and step % self.steps_per_epoch:
            self.save()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Checks the losses, and keeps their means: evaluation resets them."""
        self.check()
        self.means = ContinueMeans(self.model)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Brings the means of an unfinished epoch back, which a run that goes on needs."""
        if self.model.steps_done % self.steps_per_epoch:
            self.means.restore()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes history, checkpoint and pictures, unless training was stopped in the epoch."""
        self.check()
        step = self.model.steps_done
        if step % self.steps_per_epoch and step != self.last_step:
            return
        logs = {} if logs is None else logs
        for each in self.measured:
            each.on_epoch_end(epoch, logs)
        entry = {"epoch": epoch + 1, "step": step}
        entry |= {name: float(value) for name, value in logs.items()}
        self.history.append(entry)
        for name, higher in self.directions.items():
            if name in entry:
                best_value = measuring.best(name, self.history, higher=higher)
                logs[f"best_{name}"] = entry[f"best_{name}"] = best_value
        if self.chief:
            write_json(self.out / "history.json", self.history)
        self.save(best=self.best is not None and self._is_best(self.best))
        if self.chief:
            scalars = {name: v for name, v in entry.items() if name not in ("epoch", "step")}
            self.picture(epoch + 1, scalars)

    def _is_best(self, metric: str) -> bool:
        higher = self.directions.get(metric, False)
        return measuring.is_best(metric, self.history, higher=higher)

    def check(self) -> None:
        """Raises FloatingPointError if a loss has been no number, or has exploded."""
        bad_step = int(self.model.running_means.bad_step.numpy())
        if bad_step:
            self.fail(f"A loss at step {bad_step} is not finite, or beyond 1e9")

    def fail(self, what: str) -> None:
        """Stops training."""
        msg = (
            f"{what}: training stopped. The last checkpoint, of step {self.saved_step}, is in "
            f"{self.out}. The same run would come to the same point: train anew with gradient "
            "clipping (--clip-norm 1), another seed, batch size or precision."
        )
        raise FloatingPointError(msg)

    def save(self, *, best: bool = False) -> None:
        """Writes a checkpoint, but never of a state that no training can go on from."""
        step = self.model.steps_done
        self.check()
        try:
            checkpoints.check_finite(self.model)
        except FloatingPointError as error:
            self.fail(f"{error} at step {step}")
        if self.chief:
            try:
                checkpoints.save(self.model, self.out, keep=self.keep, best=best)
            except OSError as error:
                msg = (
                    f"The checkpoint of step {step} could not be written ({error.strerror or error}"
                    f"). The last one, of step {self.saved_step}, is in {self.out}: free some "
                    "space and resume."
                )
                raise OSError(msg) from error
        self.saved_step = step

    def picture(self, epoch: int, scalars: dict[str, float]) -> None:
        """Writes TensorBoard's events and the pictures."""
        pictures = {"samples": (self.model.generate(PICTURED, seed=0), 8)}
        if self.model.family == "vae":
            again = np.asarray(self.model.reconstruct(*self.pictured))
            pictures["reconstructions"] = (pairs(self.pictured[0], again), 8)
        for key, (images, columns) in pictures.items():
            save_grid(self.out / key / f"epoch_{epoch:04d}.png", images, columns)
        writer = tf.summary.create_file_writer(str(self.out / "logs"))
        with writer.as_default(step=epoch):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            for key, (images, columns) in pictures.items():
                tf.summary.image(key, grid(images, columns)[None])
        writer.close()


class ContinueMeans(keras.callbacks.Callback):
    """Carries the running means over into the rest of an epoch: Keras begins each `fit` anew."""

    def __init__(self, model: ZooModel) -> None:
        super().__init__()
        self.set_model(model)
        self.values = [np.asarray(variable) for variable in model.running_means.variables]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Assigns the means that the model had when `fit` was called."""
        self.restore()

    def restore(self) -> None:
        """Assigns the means that the model had when this was made."""
        for variable, value in zip(self.model.running_means.variables, self.values, strict=True):
            variable.assign(value)
