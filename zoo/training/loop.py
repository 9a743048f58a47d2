"""Training a model into a run folder, resumable to the same weights.

A run folder holds:

    config.json       model, data, their fingerprint and classes, seed, batch size, epochs, versions
    model.keras       the latest state, from step 0 on; older ones in checkpoints/, best.keras
    history.json      one entry per finished epoch
    report.json       what the model took over, if `zoo.finetune` made it
    samples/          epoch_0001.png …
    reconstructions/  likewise, for VAEs
    logs/             TensorBoard
    .lock             while a process trains: its number and machine; other processes are refused
"""

from __future__ import annotations

import functools
import inspect
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo import data
from zoo.core import replicas
from zoo.core.model import check_model
from zoo.data.augment import widened
from zoo.io.locks import locked
from zoo.io.names import as_path
from zoo.training import checks, measuring, progress, run_files, stopping, strategies
from zoo.training.interruption import lost_workers, stop_on_signal
from zoo.training.recorder import ContinueMeans, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import keras
    import tensorflow as tf

    from zoo.core.model import ZooModel
    from zoo.data.records import Records


def total_steps(
    model: ZooModel,
    source: Any,
    epochs: int | None = None,
    batch_size: int | None = None,
    *,
    steps: int | None = None,
    images: int | None = None,
) -> int:
    """The step that training ends with; the arguments are those of `train`."""
    batch_size = batch_size or model.default_batch_size
    there = data.open(source, split="train", image_shape=model.image_shape)
    per_epoch = checks.steps_per_epoch(model, there, batch_size)
    length = {"epochs": epochs, "steps": steps, "images": images, "batch_size": batch_size}
    return checks.last_step(model, per_epoch, length)


def train(
    model: ZooModel,
    source: Any,
    out: str | Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    images: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    validation: str | None = None,
    keep: int = 3,
    best: str | None = None,
    patience: int | None = None,
    checkpoint_every: int | None = None,
    mirror: bool = False,
    random_crop: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    recipe: Callable[[int], Sequence[keras.callbacks.Callback]] | None = None,
    recipe_steps: int | None = None,
    facts: dict[str, Any] | None = None,
    verbose: int | str = "auto",
) -> bool:
    """Trains a compiled model and leaves a run folder; continues if the model has trained before.

    Batch t and noise t depend only on (source, seed, t), so a model loaded from the folder goes on
    to the weights of an uninterrupted run. Each of several workers calls this; the chief writes.

    Args:
        model: A compiled model of the zoo, created under the strategy to train with.
        source: Data for `zoo.data.training_stream`.
        out: The run folder; created if absent.
        epochs: Epochs in all, those already trained included. In its place:
        steps: Training steps in all. The last may lie within an epoch.
        images: Images in all, each counted as often as it is seen.
        batch_size: Images per update, on all replicas together; default the model's own. A model
            with n_critic > 1 takes n_critic of them per step.
        seed: Seed of the order of the data.
        validation: Split to evaluate on after each epoch, logged as `val_…`.
        keep: Checkpoints to keep, at least 1.
        best: Logged metric whose lowest value picks `best.keras`; the highest, where it is better.
        patience: End after so many epochs without a better `best`, counted across stops.
        checkpoint_every: Steps between checkpoints, besides the one after each epoch.
        mirror: Turn left and right round in half of the training images, chosen by (seed, t).
        random_crop: Read training images so many pixels larger; (seed, t) choose the window.
        callbacks: Further Keras callbacks. The run keeps what `zoo.evaluation.EpochMetrics` finds;
            one that stops training, as `zoo.training.MaxMinutes`, does so as Ctrl-C.
        recipe: What `zoo.training.recipes.prepare` makes.
        recipe_steps: Steps that it spans; default: all. A run that goes on needs config.json's.
        facts: Further entries of config.json.
        verbose: As in `fit`.

    Returns:
        Whether it ended, at the last step or by `patience`: False if Ctrl-C (SIGINT), SIGTERM or a
        callback stopped it. Either way the folder holds the state. A model at its end is left so.

    Raises:
        TypeError: If `model` is no model of the zoo.
        ValueError: If the data cannot feed the model, or are others than the run was begun with; an
            argument is out of range; or the model could not be loaded from its checkpoints.
        FloatingPointError: If a loss is no number or explodes; the step is named.
        FileExistsError: If the folder holds a run with finished epochs, and the model is untrained.
        OSError: If the folder cannot be written, before training where that can be known.
        ConnectionError, BlockingIOError: If a worker is lost; another process trains into `out`.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images, out = np.zeros((8, 8, 8, 1), "float32"), tempfile.mkdtemp()
        >>> zoo.train(model, images, out, epochs=1, batch_size=4, verbose=0)
        True
        >>> zoo.load_run(out).steps_done
        2
    """
    settings = _settings(
        model,
        epochs=epochs, steps=steps, images=images, seed=seed, validation=validation,
        batch_size=batch_size, keep=keep, best=best, patience=patience,
        checkpoint_every=checkpoint_every, mirror=mirror, random_crop=random_crop,
    ) | (facts or {})  # fmt: skip
    if recipe is not None:
        settings["recipe_steps"] = recipe_steps
    out, chief = as_path(out, "out"), strategies.is_chief(model.distribute_strategy)
    # One process at a time writes into a run folder; workers other than the chief write nothing.
    with locked(out) if chief else nullcontext():
        return _train(model, source, out, settings, [*callbacks], recipe, verbose)


def check(
    model: ZooModel,
    source: Any,
    out: str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options: Any,
) -> list[str]:
    """Checks what `train` checks of its arguments and of the data; nothing is written.

    Args:
        model: As for `train`.
        source: As for `train`.
        out: As for `train`.
        callbacks: As for `train`. They measure nothing.
        **options: Further arguments of `train`.

    Returns:
        The names of the figures that an epoch logs.

    Raises:
        TypeError, ValueError, FileExistsError: As `train`.

    Example:
        >>> import numpy as np, zoo
        >>> from zoo.training import loop
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images = np.zeros((8, 8, 8, 1), "float32")
        >>> loop.check(model, images, "runs/vae", epochs=1, batch_size=4)
        ['loss', 'distortion', 'rate']
    """
    arguments = inspect.signature(train).parameters
    given = {name: options.get(name, arguments[name].default) for name in checks.SETTINGS}
    settings = _settings(model, **given)
    measured = _checked(model, source, as_path(out, "out"), settings, callbacks).measured
    best = [f"best_{name}" for name in measuring.directions(measured)]
    return [*checks.logged_names(model, settings["validation"], measured), *best]


def _settings(model: ZooModel, **given: Any) -> dict[str, Any]:
    """Arguments of `train` that config.json holds, of the right types."""
    check_model(model)
    if given["batch_size"] is None:
        given["batch_size"] = model.default_batch_size
    checks.check_kinds(**given)
    return given


class _Checked(NamedTuple):
    """What the checks of a training find.

    Attributes:
        images: The training split.
        held_out: The split to evaluate on, if there is one.
        fingerprint: That of `zoo.data.fingerprint`, of the images.
        measured: The callbacks that add figures to the logs of an epoch.
        steps_per_epoch: Training steps in which the model sees all images.
        steps: The step that training ends with.
    """

    images: Records
    held_out: Records | None
    fingerprint: dict[str, Any]
    measured: list[measuring.MeasuringCallback]
    steps_per_epoch: int
    steps: int


def _checked(
    model: ZooModel,
    source: Any,
    out: Path,
    settings: Mapping[str, Any],
    callbacks: Sequence[keras.callbacks.Callback],
) -> _Checked:
    """Checks everything that can be without training."""
    checks.check_name(out)
    checks.check_new_run(model, out)
    shape = widened(model.image_shape, settings["random_crop"])
    images = data.cached(data.open(source, split="train", image_shape=shape))
    fingerprint = checks.check_data(model, source, images, out)
    measured = measuring.of(callbacks)
    ends = checks.check_settings(model, images, settings, measured)
    held_out = _held_out(model, source, settings["validation"])
    return _Checked(images, held_out, fingerprint, measured, *ends)


def _train(
    model: ZooModel,
    source: Any,
    out: Path,
    settings: dict[str, Any],
    callbacks: Sequence[keras.callbacks.Callback],
    recipe: Callable[[int], Sequence[keras.callbacks.Callback]] | None,
    verbose: int | str,
) -> bool:
    """Checks everything, then fits to the last step; `settings` are entries of config.json."""
    images, held_out, fingerprint, measured, steps_per_epoch, steps = _checked(
        model, source, out, settings, callbacks
    )
    callbacks = [each for each in callbacks if each not in measured]
    if settings.pop("images") is not None:
        settings["steps"] = steps
    settings["epochs"] = -(-steps // steps_per_epoch)
    if model.steps_done >= steps:
        if not (out / "config.json").exists():
            _warn_of_fit(model.steps_done // steps_per_epoch, settings["epochs"], out)
        return True
    stopping.check(model, callbacks)
    for each in progress.of(callbacks):
        each.begin(model, images, settings, steps_per_epoch, steps)
    settings |= measuring.begun(measured, model)
    order = checks.order_of_data(model, out)
    like = {"batch_size": settings["batch_size"], "labels": bool(model.num_classes)}
    validation_data = None if held_out is None else data.load(held_out, **like)
    if recipe is not None:
        settings["recipe_steps"] = settings["recipe_steps"] or steps
        callbacks = [*recipe(settings["recipe_steps"]), *callbacks]
    config = {**_config(model, source, out, images, fingerprint), "order": order, **settings}
    options = {name: settings[name] for name in ("keep", "best", "checkpoint_every")}
    recorder = Recorder(
        model, out, source, steps_per_epoch, **options, last_step=steps, measured=measured
    )
    recorder.begin(config, model.started_from)
    patience = stopping.Patience(recorder, settings["patience"])
    if patience.ended():
        return True
    with (
        stop_on_signal(model) as stopped,
        lost_workers(recorder),
        data.named_faults(images, held_out),
    ):
        while model.steps_done < steps and not stopped:
            epoch, done = divmod(model.steps_done, steps_per_epoch)
            # An epoch that is begun already, or that the last step cuts short, has a `fit` of its
            # own.
            whole = 0 if done else steps // steps_per_epoch - epoch
            model.fit(
                _stream(model, images, settings, order),
                initial_epoch=epoch,
                epochs=epoch + max(whole, 1),
                steps_per_epoch=min(steps_per_epoch, steps - epoch * steps_per_epoch) - done,
                validation_data=validation_data,
                callbacks=[
                    *([ContinueMeans(model)] if done else []), recorder, *callbacks, patience,
                ],
                shuffle=False,
                verbose=verbose,
            )  # fmt: skip
            if model.stop_training:
                break
    if model.steps_done > recorder.saved_step:
        recorder.save()
    return model.steps_done >= steps or patience.ended()


def _warn_of_fit(had: int, epochs: int, out: Path) -> None:
    """Says that `fit` has trained a model for longer already, and that there is no run of it."""
    warnings.warn(
        f"The model has been trained for {had} epochs, and epochs={epochs} "
        f"counts those: nothing is trained, and {out} is not written. Give more epochs.",
        stacklevel=4,
    )


def _held_out(model: ZooModel, source: Any, split: str | None) -> Records | None:
    """The split to evaluate on, if there is one."""
    if not split:
        return None
    return data.cached(data.open(source, split=split, image_shape=model.image_shape))


def _config(
    model: ZooModel, source: Any, out: Path, images: Records, fingerprint: dict[str, Any]
) -> dict[str, Any]:
    """The entries of config.json on the model, its compilation, the data and the devices."""
    # Data that name no classes, as arrays, may take the place of those that a run was begun with.
    names = list(images.class_names or checks.config_of_run(model, out).get("class_names", ()))
    return {
        **run_files.describe(model),
        "data": data.source_name(source),
        "data_fingerprint": fingerprint,
        **({"class_names": names} if names else {}),
        **({} if model.started_from is None else {"finetuned_from": model.started_from.origin}),
        "accumulate": model.accumulate,
        **model.schedule,
        "steps_per_execution": model.steps_per_execution,
        "jit_compile": model.jit_compile,
        **strategies.describe(model.distribute_strategy),
    }


def _stream(model: ZooModel, images: Records, settings: dict[str, Any], order: str) -> Any:
    """Batches from the model's step on, of which a worker looks up only its own share."""
    stream = functools.partial(
        data.training_stream,
        images,
        batch_size=settings["batch_size"] * model.minibatches,
        labels=bool(model.num_classes),
        start_step=model.steps_done,
        order=order,
        **{name: settings[name] for name in ("seed", "mirror", "random_crop")},
    )
    strategy = model.distribute_strategy
    if not replicas.is_multi_worker(strategy):
        return stream()[0]

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        return stream(share=(context.input_pipeline_id * local, local, replicas))[0]

    return strategy.distribute_datasets_from_function(of_worker)
