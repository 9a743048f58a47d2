"""What is checked before a training begins, so that no hour is lost to a wrong argument."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from zoo import data
from zoo.core.registry import KINDS
from zoo.data import order
from zoo.data.pipeline import batches_per_epoch
from zoo.io import schemas
from zoo.io.names import printable
from zoo.io.records import read_json
from zoo.training.measuring import directions
from zoo.training.run_files import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.core.model import ZooModel
    from zoo.data.records import Records
    from zoo.training.measuring import MeasuringCallback

SETTINGS = {
    "epochs": "int | None",
    "steps": "int | None",
    "images": "int | None",
    "patience": "int | None",
    "batch_size": "int | None",
    "seed": "int",
    "validation": "str | None",
    "keep": "int",
    "best": "str | None",
    "checkpoint_every": "int | None",
    "mirror": "bool",
    "random_crop": "int",
}


def check_kinds(**settings: Any) -> None:
    """Checks the types of arguments of `train`, which are written into config.json.

    Raises:
        ValueError: If one is of another type than `SETTINGS` says.
    """
    for name, value in settings.items():
        kinds = [KINDS[kind] for kind in SETTINGS[name].split(" | ")]
        if not any(is_one(value) for is_one, _ in kinds):
            msg = f"{name}={value!r}: expected {' or '.join(words for _, words in kinds)}."
            raise ValueError(msg)


def check_new_run(model: ZooModel, out: Path) -> None:
    """Checks that a model which has not been trained does not take the place of a run.

    Raises:
        FileExistsError: If `out` holds a run with finished epochs, and `model` is at step 0 and not
            that run's. (A kill between the two files of its first epoch leaves it at step 0.)
    """
    history = out / "history.json"
    if model.loaded_from == (out / LATEST).resolve():
        return
    if model.steps_done or not history.exists() or not read_json(history, schemas.HISTORY):
        return
    msg = (
        f"{out} holds a run already, and this model has not been trained: it would replace the "
        f"run. Go on with zoo.resume({str(out)!r}, …), or choose another folder."
    )
    raise FileExistsError(msg)


def check_data(model: ZooModel, source: Any, images: Records, out: Path) -> dict[str, Any]:
    """Checks that data feed a model, and that a run which has begun goes on with its own data.

    Args:
        model: The model.
        source: The data, as for `zoo.data.read`.
        images: Their training split.
        out: The run folder, which need not exist.

    Returns:
        The fingerprint of the images.

    Raises:
        ValueError: If the labels are missing or do not fit the model, or the run was begun with
            other data.
    """
    config = config_of_run(model, out)
    if model.num_classes:
        data.check_classes(source, config)
    _check_labels(model, source, images)
    fingerprint = data.fingerprint(
        images, labels=bool(model.num_classes), like=config.get("data_fingerprint")
    )
    if "data_fingerprint" in config:  # earlier versions wrote none
        data.check_unchanged(config["data_fingerprint"], fingerprint, str(out))
    return fingerprint


def order_of_data(model: ZooModel, out: Path) -> str:
    """The name of the order of the batches: that which the run has begun under."""
    begun = config_of_run(model, out)
    return begun.get("order", order.EARLIER) if begun else order.DEFAULT


def check_settings(
    model: ZooModel,
    images: Records,
    settings: Mapping[str, Any],
    measured: Sequence[MeasuringCallback] = (),
) -> tuple[int, int]:
    """Checks the arguments of `train` against a model and its data.

    Args:
        model: The model.
        images: The training split.
        settings: `epochs`, `steps` or `images`, `batch_size`, `best`, `patience` and `validation`,
            as `train` takes them.
        measured: Callbacks that add figures to the logs of an epoch.

    Returns:
        Training steps per epoch, and in all.

    Raises:
        ValueError: If one is out of range; the nearest values are named.
    """
    _check_batch_size(model, settings["batch_size"], len(images))
    _check_metric(model, settings["best"], settings["validation"], measured)
    _check_patience(settings["patience"], settings["best"])
    per_epoch = steps_per_epoch(model, images, settings["batch_size"])
    steps = last_step(model, per_epoch, settings)
    _check_schedule(measured, -(-steps // per_epoch))
    _check_execution(model, per_epoch, steps)
    _check_decay(model, steps, per_epoch)
    _warn_of_warmup(model, steps)
    return per_epoch, steps


def logged_names(
    model: ZooModel, validation: str | None, measured: Sequence[MeasuringCallback]
) -> list[str]:
    """The names of the figures that an epoch of a training logs."""
    held_out = [f"val_{name}" for name in model.log_names if validation]
    return [*model.log_names, *held_out, *directions(measured)]


def last_step(model: ZooModel, steps_per_epoch: int, settings: Mapping[str, Any]) -> int:
    """The step that training ends with.

    Args:
        model: The model.
        steps_per_epoch: Training steps in which it sees all images once.
        settings: `batch_size`, and one of `epochs`, `steps` and `images`, as `train` takes them.

    Raises:
        ValueError: If none of the three is given, or several are, or it is less than 1.
    """
    names = ("epochs", "steps", "images")
    given = {name: settings[name] for name in names if settings.get(name) is not None}
    if len(given) != 1:
        what = " and ".join(f"{name}={value}" for name, value in given.items()) or "no length"
        msg = f"{what}: expected one of epochs, steps and images, which say when training ends."
        raise ValueError(msg)
    ((name, value),) = given.items()
    if value < 1:
        msg = f"{name}={value}: expected at least 1."
        raise ValueError(msg)
    if name == "images":  # the step that sees the last of them
        return -(-value // (settings["batch_size"] * model.minibatches))
    return value * (steps_per_epoch if name == "epochs" else 1)


def steps_per_epoch(model: ZooModel, images: Records, batch_size: int) -> int:
    """Training steps in which a model sees all images once."""
    return batches_per_epoch(images, batch_size * model.minibatches)


def check_name(out: Path) -> None:
    """Raises ValueError if TensorFlow cannot write to a folder of this name."""
    try:
        os.fsencode(out).decode("utf-8")
    except UnicodeDecodeError as error:
        msg = (
            f"{printable(out)}: the name is not UTF-8, and TensorFlow writes to no such folder. "
            "Choose another name."
        )
        raise ValueError(msg) from error


def _check_labels(model: ZooModel, source: Any, images: Records) -> None:
    if not model.num_classes:
        return
    if images.labels is None:
        msg = (
            f"{data.source_name(source)} has no labels, which {model.model_name} with "
            f"num_classes={model.num_classes} needs: use labelled data, or another model."
        )
        raise ValueError(msg)
    model.checked_labels(images.labels, len(images.labels))


def config_of_run(model: ZooModel, out: Path) -> dict[str, Any]:
    """What the run was begun with; nothing before its first step, when it begins anew."""
    if not model.steps_done or not (out / "config.json").exists():
        return {}
    return read_json(out / "config.json", schemas.RUN)


def _check_batch_size(model: ZooModel, batch_size: int, there: int) -> None:
    if batch_size * model.minibatches > there and model.minibatches > 1:
        msg = (
            f"batch_size={batch_size} × {model.minibatches} minibatches per step: expected 1 to "
            f"the {there} images of the train split."
        )
        raise ValueError(msg)
    if batch_size < 1:
        msg = f"batch_size={batch_size}: expected at least 1."
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


def _check_execution(model: ZooModel, steps_per_epoch: int, steps: int) -> None:
    size = model.steps_per_execution
    if steps_per_epoch % size:
        divisors = [n for n in range(1, steps_per_epoch + 1) if steps_per_epoch % n == 0]
        near = sorted(divisors, key=lambda n: abs(n - size))[:2]
        msg = (
            f"steps_per_execution={size} does not divide the {steps_per_epoch} steps of an epoch. "
            f"Take {' or '.join(map(str, near))}, or another batch size."
        )
        raise ValueError(msg)
    if steps % size:
        near = [n for n in (steps // size * size, -(-steps // size) * size) if n]
        msg = (
            f"steps_per_execution={size} does not divide the {steps} steps in all. "
            f"Take {' or '.join(map(str, near))} steps."
        )
        raise ValueError(msg)


def _check_decay(model: ZooModel, steps: int, steps_per_epoch: int) -> None:
    if model.decay_steps is not None and model.decay_steps < steps:
        length = f"epochs={steps // steps_per_epoch}"
        length = f"steps={steps}" if steps % steps_per_epoch else length
        msg = (
            f"{length}: the learning rate falls to 0 in {model.decay_steps} steps, which "
            f"are {model.decay_steps / steps_per_epoch:.4g} epochs. Train no further than these."
        )
        raise ValueError(msg)


def _warn_of_warmup(model: ZooModel, steps: int) -> None:
    """Says, before the first step, that the learning rates will not have risen at the last."""
    warmup = model.schedule["warmup_steps"]
    if warmup > steps and model.steps_done == 0:
        warnings.warn(
            f"warmup_steps={warmup}: training ends after {steps} steps, when the learning rates "
            f"have risen to {steps / warmup:.0%} of theirs. Take fewer, or train longer.",
            stacklevel=4,
        )


def _check_patience(patience: int | None, best: str | None) -> None:
    if patience is not None and patience < 1:
        msg = f"patience={patience}: expected a number of epochs, at least 1."
        raise ValueError(msg)
    if patience is not None and best is None:
        msg = (
            f"patience={patience}: epochs without a better value of what? Give best (--best), such "
            "as loss or val_loss."
        )
        raise ValueError(msg)


def _check_metric(
    model: ZooModel,
    best: str | None,
    validation: str | None,
    measured: Sequence[MeasuringCallback],
) -> None:
    known = logged_names(model, validation, measured)
    if best is not None and best not in known:
        without = "" if validation else "; with a validation split also these with val_ before"
        msg = (
            f"best={best!r}: it is not measured. Expected one of {', '.join(known)}{without}. "
            "A metric such as fid5k_test is measured by --metric, or by "
            "callbacks=[zoo.evaluation.EpochMetrics(['fid5k_test'], …)]."
        )
        raise ValueError(msg)


def _check_schedule(measured: Sequence[MeasuringCallback], epochs: int) -> None:
    for each in measured:
        if each.every > epochs:
            msg = (
                f"{', '.join(each.directions)}: measured every {each.every} epochs, and training "
                f"ends after {epochs}. Measure more often."
            )
            raise ValueError(msg)
