"""Training a model into a run folder, resumable to the same weights.

A run folder holds:

    config.json       model, data, their fingerprint and classes, seed, batch size, epochs, versions
    model.keras       the latest state, from step 0 on; older ones in checkpoints/, best.keras
    history.json      one entry a finished epoch
    samples/          epoch_0001.png …
    reconstructions/  likewise, for VAEs
    logs/             TensorBoard
    .lock             while a process trains: which one; others are refused
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import keras
import numpy as np
import tensorflow as tf

from zoo import data
from zoo.core import replicas
from zoo.data.images import printable
from zoo.io import schemas
from zoo.io.files import locked, read_json, write_json
from zoo.io.pictures import grid, pairs, save_grid
from zoo.training import checkpoints, loading, strategies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from zoo.core.model import ZooModel
    from zoo.data.images import Images

P = ParamSpec("P")
PACKAGES = ("vaegan-zoo", "tensorflow", "keras", "numpy")
PICTURED = 64  # samples in a grid
RECONSTRUCTED = 32
# What collectives raise on the workers that are left, within seconds of a broken connection or a
# missing heartbeat.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)
CHECK_EVERY = 20  # batches between looks at whether the losses are sane: a look waits for the GPU


def total_steps(model: ZooModel, source: Any, epochs: int, batch_size: int | None = None) -> int:
    """Training steps of so many epochs; arguments as of `train`."""
    images = data.read(source, split="train", image_shape=model.image_shape)
    return epochs * _steps_per_epoch(model, images, batch_size or model.default_batch_size)


def _steps_per_epoch(model: ZooModel, images: Images, batch_size: int) -> int:
    return data.training_stream(images, batch_size=batch_size * model.minibatches)[1]


def _alone(function: Callable[P, bool]) -> Callable[P, bool]:
    """Lets the chief train only while no other process writes into the run folder."""

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> bool:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        chief = strategies.is_chief(given["model"].distribute_strategy)
        with locked(given["out"]) if chief else nullcontext():
            return function(*args, **kwargs)

    return alone


@_alone
def train(
    model: ZooModel,
    source: Any,
    out: str | Path,
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    validation: str | None = None,
    keep: int = 3,
    best: str | None = None,
    checkpoint_every: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    recipe: Callable[[int], Sequence[keras.callbacks.Callback]] | None = None,
    recipe_steps: int | None = None,
    facts: dict[str, Any] | None = None,
    verbose: int | str = "auto",
) -> bool:
    """Trains a compiled model and leaves a run folder; continues if the model has trained before.

    Batch t and noise t depend only on (source, seed, t), so a model loaded from the folder goes
    on to the weights that an uninterrupted run reaches. Under several workers every one of them
    calls this with the same arguments; only the chief writes.

    Args:
        model: A compiled model of the zoo, created under the strategy to train with.
        source: Data for `zoo.data.training_stream`.
        out: The run folder; created if absent.
        epochs: Epochs in all, those already trained included.
        batch_size: Images per update, on all replicas together; default the model's own. A model
            with n_critic > 1 takes n_critic of them per step.
        seed: Seed of the order of the data.
        validation: Split to evaluate on after each epoch, logged as `val_…`.
        keep: Checkpoints to keep, at least 1.
        best: Logged metric whose lowest value picks `best.keras`.
        checkpoint_every: Steps between checkpoints, besides the one after each epoch.
        callbacks: Further Keras callbacks; under several workers each worker runs them.
        recipe: Makes more callbacks of the number of steps that a recipe spans.
        recipe_steps: That number; default all steps of `epochs`. When you resume, pass the value
            stored in config.json.
        facts: More entries of config.json.
        verbose: As in `fit`.

    Returns:
        Whether training reached `epochs`: False if Ctrl-C (SIGINT) or SIGTERM stopped it. Either
        way the folder holds the state at the last step. A model that has had `epochs` already is
        left as it is, and nothing is written.

    Raises:
        ValueError: If the data cannot feed the model, or are others than the run was begun with; an
            argument is out of range; or the model could not be loaded from its checkpoints: a
            network holds a class that Keras does not know, say.
        FloatingPointError: If a loss is no number or explodes; the step is named, and the last
            checkpoint is of a step before.
        OSError: If the folder cannot be written, before training where that can be known.
        ConnectionError: If another worker is lost.
        BlockingIOError: If another process trains into the folder; nothing is written.
    """
    out = Path(out)
    _check_name(out)
    batch_size = batch_size or model.default_batch_size
    images = data.read(source, split="train", image_shape=model.image_shape)
    config = _config_of_run(model, out)
    if model.num_classes:
        data.check_classes(source, config)
    _check_labels(model, source, images)
    fingerprint = data.fingerprint(images, labels=bool(model.num_classes))
    if "data_fingerprint" in config:  # earlier versions wrote none
        data.check_unchanged(config["data_fingerprint"], fingerprint, str(out))
    _check_batch_size(model, batch_size, len(images.pixels))
    _check_metric(model, best, validation)
    steps_per_epoch = _steps_per_epoch(model, images, batch_size)
    _check_execution(model, steps_per_epoch)
    _check_decay(model, epochs, steps_per_epoch)
    if model.steps_done >= epochs * steps_per_epoch:
        return True
    evaluated = validation and data.load(
        source,
        split=validation,
        batch_size=batch_size,
        image_shape=model.image_shape,
        labels=bool(model.num_classes),
    )
    settings = {
        "data": data.source_name(source),
        "data_fingerprint": fingerprint,
        **({"class_names": list(images.class_names)} if images.class_names else {}),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "validation": validation,
        "keep": keep,
        "best": best,
        "checkpoint_every": checkpoint_every,
        "accumulate": model.accumulate,
        "decay_steps": model.decay_steps,
        "steps_per_execution": model.steps_per_execution,
        "jit_compile": model.jit_compile,
        **(facts or {}),
        **strategies.describe(model.distribute_strategy),
    }
    if recipe is not None:
        settings["recipe_steps"] = recipe_steps or epochs * steps_per_epoch
        callbacks = [*recipe(settings["recipe_steps"]), *callbacks]
    recorder = _Recorder(out, source, steps_per_epoch, keep, best, checkpoint_every)
    recorder.set_model(model)
    recorder.begin({**describe(model), **settings})
    with _stop_on_signal(model) as stopped, _lost_workers(recorder):
        while model.steps_done < epochs * steps_per_epoch and not stopped:
            epoch, done = divmod(model.steps_done, steps_per_epoch)
            model.fit(
                _stream(model, images, batch_size * model.minibatches, seed),
                initial_epoch=epoch,
                epochs=epoch + 1 if done else epochs,
                steps_per_epoch=steps_per_epoch - done,
                validation_data=evaluated or None,
                callbacks=[*([_ContinueMeans(model)] if done else []), recorder, *callbacks],
                shuffle=False,
                verbose=verbose,
            )
    if stopped:
        recorder.save()
    return not stopped


def _stream(model: ZooModel, images: Images, batch_size: int, seed: int) -> Any:
    """Batches from the model's step on, of which a worker looks up only its own share."""
    stream = functools.partial(
        data.training_stream,
        images,
        batch_size=batch_size,
        labels=bool(model.num_classes),
        seed=seed,
        start_step=model.steps_done,
    )
    strategy = model.distribute_strategy
    if not replicas.is_multi_worker(strategy):
        return stream()[0]

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        return stream(share=(context.input_pipeline_id * local, local, replicas))[0]

    return strategy.distribute_datasets_from_function(of_worker)


def _check_name(out: Path) -> None:
    try:
        os.fsencode(out).decode("utf-8")
    except UnicodeDecodeError as error:
        msg = (
            f"{printable(out)}: the name is not UTF-8, and TensorFlow writes to no such folder. "
            "Choose another name."
        )
        raise ValueError(msg) from error


def _check_labels(model: ZooModel, source: Any, images: Images) -> None:
    if not model.num_classes:
        return
    if images.labels is None:
        msg = (
            f"{data.source_name(source)} has no labels, which {model.model_name} with "
            f"num_classes={model.num_classes} needs: use labelled data, or another model."
        )
        raise ValueError(msg)
    model.checked_labels(images.labels, len(images.labels))


def _config_of_run(model: ZooModel, out: Path) -> dict[str, Any]:
    """What the run was begun with; nothing before its first step, when it begins anew."""
    if not model.steps_done or not (out / "config.json").exists():
        return {}
    return read_json(out / "config.json", schemas.RUN)


def _check_batch_size(model: ZooModel, batch_size: int, there: int) -> None:
    if batch_size * model.minibatches > there and model.minibatches > 1:
        msg = (
            f"batch_size={batch_size} × {model.minibatches} minibatches a step: expected 1 to the "
            f"{there} images of the train split."
        )
        raise ValueError(msg)
    replicas = model.distribute_strategy.num_replicas_in_sync
    parts = replicas * model.accumulate
    if batch_size % replicas or batch_size < parts:
        near = max(batch_size // replicas, model.accumulate) * replicas
        accumulated = f", each in {model.accumulate} parts" if model.accumulate > 1 else ""
        msg = (
            f"batch_size={batch_size}: {replicas} replicas share it evenly{accumulated}. "
            f"Take {near} or {near + replicas}."
        )
        raise ValueError(msg)


def _check_execution(model: ZooModel, steps_per_epoch: int) -> None:
    size = model.steps_per_execution
    if steps_per_epoch % size:
        divisors = [n for n in range(1, steps_per_epoch + 1) if steps_per_epoch % n == 0]
        near = sorted(divisors, key=lambda n: abs(n - size))[:2]
        msg = (
            f"steps_per_execution={size} does not divide the {steps_per_epoch} steps of an epoch. "
            f"Take {' or '.join(map(str, near))}, or another batch size."
        )
        raise ValueError(msg)


def _check_decay(model: ZooModel, epochs: int, steps_per_epoch: int) -> None:
    if model.decay_steps is not None and model.decay_steps < epochs * steps_per_epoch:
        msg = (
            f"epochs={epochs}: the learning rate falls to 0 in {model.decay_steps} steps, which "
            f"are {model.decay_steps / steps_per_epoch:.4g} epochs. Train no further than these."
        )
        raise ValueError(msg)


def _check_metric(model: ZooModel, best: str | None, validation: str | None) -> None:
    known = [*model.log_names, *(f"val_{name}" for name in model.log_names if validation)]
    if best is not None and best not in known:
        without = "" if validation else "; with a validation split also these with val_ before"
        msg = f"best={best!r}: expected one of {', '.join(known)}{without}."
        raise ValueError(msg)


class _Recorder(keras.callbacks.Callback):
    """After each whole epoch: history, the model, TensorBoard and pictures; and all checks.

    Every worker checks, so that all stop alike; only the chief writes.
    """

    def __init__(
        self,
        out: Path,
        source: Any,
        steps_per_epoch: int,
        keep: int,
        best: str | None,
        checkpoint_every: int | None,
    ) -> None:
        super().__init__()
        if keep < 1 or (checkpoint_every is not None and checkpoint_every < 1):
            msg = f"keep={keep}, checkpoint_every={checkpoint_every}: expected at least 1."
            raise ValueError(msg)
        self.out = out
        self.source = source
        self.steps_per_epoch = steps_per_epoch
        self.keep = keep
        self.best = best
        self.checkpoint_every = checkpoint_every
        self.history: list[dict[str, Any]] = []
        self.batches = 0

    def begin(self, config: dict[str, Any]) -> None:
        """Writes what is there before training, which tells of an unwritable folder or full disk.

        The first checkpoint is of step 0: whenever training is killed, it can be resumed, with
        these settings. (A converted model is there before, without them.)
        """
        self.saved_step = self.model.steps_done
        begins = self.saved_step == 0 or not (self.out / checkpoints.LATEST).exists()
        if begins:
            # Before anything is written; and by every worker, for all then find the same, and stop.
            loading.check_loadable(self.model)
        self.chief = strategies.is_chief(self.model.distribute_strategy)
        if not self.chief:
            return
        if (self.out / "history.json").exists():
            # A crash between the two files may leave more entries than the model has epochs.
            whole = read_json(self.out / "history.json", schemas.HISTORY)
            self.history = [entry for entry in whole if entry["step"] <= self.saved_step]
        if self.model.family == "vae":
            found = data.to_array(
                self.source,
                split="test",
                limit=RECONSTRUCTED,
                image_shape=self.model.image_shape,
                labels=bool(self.model.num_classes),
            )
            # (images,), and of a conditional model the labels too
            self.pictured = found if isinstance(found, tuple) else (found,)
        checkpoints.check_space(self.model, self.out, self.keep + 2)  # the best and a new one
        begun = (self.out / "config.json").exists()
        write_json(self.out / "config.json", config)
        if begins:
            try:
                checkpoints.save(self.model, self.out, keep=self.keep)
            except BaseException:
                if not begun:  # a run without a state is none
                    (self.out / "config.json").unlink()
                raise

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
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
        self.check()  # evaluation resets the means

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.check()
        if self.model.steps_done % self.steps_per_epoch:
            return  # interrupted within the epoch
        scalars = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch + 1, "step": self.model.steps_done, **scalars})
        if self.chief:
            write_json(self.out / "history.json", self.history)
        self.save(best=self.best is not None and self._is_best(self.best))
        if self.chief:
            self.picture(epoch + 1, scalars)

    def _is_best(self, metric: str) -> bool:
        values = [entry.get(metric, np.inf) for entry in self.history]
        return values[-1] == min(values)

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


class _ContinueMeans(keras.callbacks.Callback):
    """Carries the running means over into the rest of an epoch: Keras begins each `fit` anew."""

    def __init__(self, model: ZooModel) -> None:
        super().__init__()
        self.values = [np.asarray(variable) for variable in model.running_means.variables]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        for variable, value in zip(self.model.running_means.variables, self.values, strict=True):
            variable.assign(value)


@contextmanager
def _lost_workers(recorder: _Recorder) -> Iterator[None]:
    """Says what a broken connection means."""
    try:
        yield
    except LOST as error:
        if not replicas.is_multi_worker(recorder.model.distribute_strategy):
            raise
        msg = (
            f"Lost a worker after step {recorder.saved_step}, the last checkpoint in "
            f"{recorder.out}. Start all workers again with --resume."
        )
        raise ConnectionError(msg) from error


@contextmanager
def _stop_on_signal(model: ZooModel) -> Iterator[list[int]]:
    """Yields a list that SIGINT or SIGTERM fills, while `fit` ends after its current step.

    A second signal acts as ever. Several workers cannot agree on a step, so there a signal ends
    the process at once, and the run at its last checkpoint. Off the main thread, where Python has
    no signals, nothing changes.
    """
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if replicas.is_multi_worker(model.distribute_strategy):
            sys.stderr.write("Stopped. The run goes on from its last checkpoint with --resume.\n")
            sys.stderr.flush()
            os._exit(128 + number)
        stopped.append(number)
        model.stop_training = True
        for signal_, handler in previous.items():
            signal.signal(signal_, handler)

    previous: dict[signal.Signals, Any] = {}
    try:
        for signal_ in (signal.SIGINT, signal.SIGTERM):
            previous[signal_] = signal.signal(signal_, stop)
    except ValueError:
        yield stopped
        return
    try:
        yield stopped
    finally:
        for signal_, handler in previous.items():
            signal.signal(signal_, handler)


def describe(model: ZooModel) -> dict[str, Any]:
    """The entries of `config.json` that depend on the model alone."""
    return {
        "format": schemas.RUN.format,
        "model": model.model_name,
        "image_shape": model.image_shape,
        "latent_dim": model.latent_dim,
        "precision": model.dtype_policy.name,
        "parameters": model.count_params(),
        "versions": {name: version(name) for name in PACKAGES},
    }
