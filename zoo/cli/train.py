"""`zoo train` and `zoo launch`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import finetuned
from zoo.cli import train_options as opt
from zoo.cli.config import LENGTHS, length_of, settings_of, to_toml
from zoo.cli.console import sigterm
from zoo.cli.measured import Measured
from zoo.cli.optimizer import optimizer_arguments, schedule_arguments
from zoo.cli.options import (
    ImageSize,
    Seed,
    check_folder,
    parse_options,
)
from zoo.cli.progress import train_and_report
from zoo.cli.resumed import check_classes, ignored_options, length_of_run
from zoo.core import registry
from zoo.io.terminal import say

if TYPE_CHECKING:
    from zoo.training.resume import Ready
    from zoo.training.stopping import MaxMinutes

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LOGGED = "zoo.logged"  # there: the names of the figures that an epoch will log, after the check
CHECK_ONLY = "zoo.check_only"  # in a context's `meta`: all is checked, and nothing is trained


def train(
    context: typer.Context,
    model: opt.ModelOrRun = None,
    data: opt.Data = "fashion_mnist_sample",
    out: opt.Out = None,
    epochs: opt.Epochs = 10,  # noqa: ARG001  (these three are read by `length_of`)
    steps: opt.Steps = None,  # noqa: ARG001
    images: opt.Images = None,  # noqa: ARG001
    batch_size: opt.BatchSize = None,
    latent_dim: opt.LatentDim = 64,
    network: opt.Network = None,
    image_size: ImageSize = None,
    channels: opt.Channels = None,
    option: opt.Option = None,
    seed: Seed = 0,
    *,
    source: opt.From = None,
    classes: opt.Classes = None,
    freeze_discriminator: opt.FreezeDiscriminator = None,
    freeze_generator: opt.FreezeGenerator = None,
    carried_rate: opt.CarriedRate = None,
    mirror: opt.Mirror = False,
    random_crop: opt.RandomCrop = 0,
    learning_rate: opt.LearningRate = None,
    generator_learning_rate: opt.GeneratorLearningRate = None,
    discriminator_learning_rate: opt.DiscriminatorLearningRate = None,
    optimizer: opt.Optimizer = None,
    optimizer_option: opt.OptimizerOption = None,
    weight_decay: opt.WeightDecay = None,
    schedule: opt.Schedule = "constant",
    warmup_steps: opt.WarmupSteps = 0,
    decay: opt.Decay = False,
    resume: opt.Resume = False,
    recipe: opt.Recipe = None,
    strategy: opt.Strategy = "auto",
    replicas: opt.Replicas = None,
    precision: opt.Precision = "float32",
    accumulate: opt.Accumulate = 1,
    remat: opt.Remat = None,
    memory_check: opt.MemoryCheck = True,
    steps_per_execution: opt.StepsPerExecution = 1,
    jit: opt.Jit = False,
    clip_norm: opt.ClipNorm = None,
    validation: opt.Validation = None,
    keep: opt.Keep = 3,
    metric: opt.Metric = None,
    metric_every: opt.MetricEvery = 1,
    metric_extractor: opt.MetricExtractor = None,
    metric_extractor_weights: opt.MetricExtractorWeights = None,
    metric_resize: opt.MetricResize = None,
    best: opt.Best = None,
    checkpoint_every: opt.CheckpointEvery = None,
    max_minutes: opt.MaxMinutes = None,
    patience: opt.Patience = None,
    tracker: opt.Tracker = None,
    config: opt.Config = None,  # noqa: ARG001  (its callback reads it)
    print_config: opt.PrintConfig = False,
) -> None:
    """Trains a model into a run folder. Ctrl-C saves; --resume continues."""
    if print_config:
        say(to_toml(settings_of(context)))
        return
    clock = _clock(max_minutes)
    if source is not None:
        source, model = finetuned.begun_from(context, source)
    out, model, resume = _run_to_train(model, out, recipe, resume=resume)
    _check_run(out, model, resume=resume)
    check_folder(out)
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}.")
    started = {
        "freeze_discriminator": freeze_discriminator,
        "freeze_generator": freeze_generator,
        "carried_rate": carried_rate,
    }
    started = {name: value for name, value in started.items() if value is not None}
    options = {**parse_options(option or []), **started}
    measured = Measured(
        metric or [], metric_every, metric_extractor, metric_extractor_weights, metric_resize
    )
    measured.check()
    if tracker is not None:
        from zoo.training.trackers import check_tracker

        check_tracker(tracker)
    settings: dict[str, Any] = {
        **length_of(context),
        "batch_size": batch_size,
        "seed": seed,
        "validation": validation,
        "keep": keep,
        "best": best,
        "patience": patience,
        "checkpoint_every": checkpoint_every,
        "mirror": mirror,
        "random_crop": random_crop,
        "facts": {"command": settings_of(context, but=("out",))},  # of a run that begins
    }
    compile_options = {
        **optimizer_arguments(optimizer, optimizer_option or [], weight_decay),
        **schedule_arguments(schedule, warmup_steps, decay=decay),
        "learning_rate": _rates(
            learning_rate, generator_learning_rate, discriminator_learning_rate
        ),
        "accumulate": accumulate,
        "clip_norm": clip_norm,
        "remat": bool(remat),
        "jit_compile": jit,
        "steps_per_execution": steps_per_execution,
    }
    ignored: list[str] = []
    if resume:
        check_classes(context, out)
        settings |= length_of_run(context, out)
        devices = _devices(strategy, replicas)
        ready = _resumed(out, settings, compile_options, devices, recipe, remat, decay=decay)
        ignored = ignored_options(context, out, ready.model)
    elif source is not None:
        options = finetuned.options_of(context, model, options)
        devices = _devices(strategy, replicas)
        ready = finetuned.ready(
            source, data, image_size, classes, options, settings, compile_options, devices
        )
    else:
        finetuned.check_none(classes, started)
        chosen = {} if network is None else {"network": network}
        options = {"seed": seed, "dtype": precision, **chosen, **options}
        registry.check_options(model, options)
        shape = _image_shape(data, image_size, channels)
        devices = _devices(strategy, replicas)
        new = (model, data, shape, latent_dim, options)
        ready = _new(*new, settings, compile_options, devices)
    if memory_check:
        from zoo.training.memory import check_memory

        check_memory(ready.model, ready.options["batch_size"])
    callbacks = measured.callbacks(out, ready.source, resume=resume)
    if context.meta.get(CHECK_ONLY):
        from zoo.training.loop import check

        settings = {**ready.options, "callbacks": callbacks}
        context.meta[LOGGED] = check(ready.model, ready.source, out, **settings)
        return
    train_and_report(ready, out, model, ignored, callbacks, clock, tracker)


def _clock(minutes: float | None) -> MaxMinutes | None:
    """What stops a training when so many minutes have passed since now."""
    from zoo.training import MaxMinutes

    return None if minutes is None else MaxMinutes(minutes)


def _rates(rate: float | None, *players: float | None) -> float | dict[str, float] | None:
    """The learning rates as `compile` takes them."""
    names = ("generator_optimizer", "discriminator_optimizer")
    alone = {name: each for name, each in zip(names, players, strict=True) if each is not None}
    if alone and rate is not None:
        raise ValueError(
            f"--learning-rate {rate:g} is of all optimizers. Give it, or those of single ones."
        )
    return alone or rate


def launch(
    context: typer.Context,
    workers: Annotated[int, typer.Argument(min=2, help="Number of workers.")],
) -> None:
    """Runs `zoo launch N train …`: N workers on this machine's CPU, as on a cluster."""
    from zoo.training.launch import launch as launch_workers

    if context.args[:1] != ["train"]:
        raise ValueError("Expected a train command: zoo launch 2 train vae --out runs/vae.")
    status = launch_workers(workers, [sys.executable, "-m", "zoo", *context.args])
    raise typer.Exit(status)


def _run_to_train(
    model: str | None, out: Path | None, recipe: str | None, *, resume: bool
) -> tuple[Path, str, bool]:
    """(run folder, model, whether to resume), where a run folder may stand for the model."""
    if model is None:
        raise ValueError("Give a model of `zoo list`, a run folder to go on with, or --from.")
    named = model in registry.list_models()
    if not named and model.endswith(".keras") and Path(model).is_file():
        raise ValueError(f"{model} is one checkpoint: a run goes on from its folder. Give that.")
    if named or not (Path(model) / "config.json").exists():
        if not named and (os.sep in model or Path(model).is_dir()):
            raise FileNotFoundError(
                f"{model} is no model of `zoo list`, and no run folder (it has no config.json)."
            )
        registry.check_name(model)
        if recipe is not None and not resume:
            raise ValueError("--recipe is for a run that `zoo convert` made.")
        return out or Path("runs") / model, model, resume
    if out is not None and out.resolve() != Path(model).resolve():
        raise ValueError(
            f"{model} is a run folder, which training continues: leave out --out {out}."
        )
    from zoo.training.run_files import read_config

    return Path(model), read_config(model)["model"], True


def _check_run(out: Path, model: str, *, resume: bool) -> None:
    """Refuses a folder that does not fit: one with a run, for a new run; or with none to resume."""
    from zoo.training.resume import check_run
    from zoo.training.run_files import LATEST, read_config

    started = (out / LATEST).exists()
    if started and not resume:
        raise FileExistsError(
            f"{out} holds a run already. Add --resume to continue it, or choose another --out."
        )
    if resume and not started:
        check_run(out)
    if resume and (held := read_config(out)["model"]) != model:
        raise ValueError(f"{out} holds a {held}, not a {model}.")


def _devices(strategy: str, replicas: int | None) -> Any:
    from zoo.training import strategies

    with sigterm(signal.SIG_DFL):  # while it waits for a cluster, no Python runs
        return strategies.strategy(strategy, replicas=replicas)


def _image_shape(data: str, size: int | None, channels: int | None) -> tuple[int, int, int]:
    """The shape of the images; reading a large folder takes a while, and so is said."""
    from zoo.data import image_shape

    if Path(data).is_dir():
        say(f"Reading the folder {data} …")
    return image_shape(data, size, channels)


def _new(
    name: str,
    data: str,
    image_shape: tuple[int, int, int],
    latent_dim: int,
    options: dict[str, Any],
    settings: dict[str, Any],
    compile_options: dict[str, Any],
    devices: Any,
) -> Ready:
    """A new model, compiled."""
    import keras

    from zoo.training.resume import Ready, over_all_steps
    from zoo.training.runs import with_classes

    with devices.scope():
        keras.utils.set_random_seed(settings["seed"])
        options = with_classes(name, options, data)
        model = registry.create(name, image_shape, latent_dim, **options)
        model.compile(**over_all_steps(compile_options, model, data, settings))
    return Ready(model, data, settings)


def _resumed(
    out: Path,
    settings: dict[str, Any],
    compile_options: dict[str, Any],
    devices: Any,
    recipe: str | None,
    remat: bool | None,
    *,
    decay: bool,
) -> Ready:
    """The model of a run. One that was trained keeps the settings that it was begun with."""
    from zoo.training.resume import SETTINGS, begun_with, prepare, was_trained

    config = begun_with(out)
    new = not was_trained(config)
    ready = prepare(
        out,
        **{name: settings[name] for name in (*LENGTHS, "patience")},
        recipe=recipe,
        decay=decay,
        settings={name: settings[name] for name in SETTINGS if new or name not in config},
        compile_options=compile_options if new else None,
        strategy=devices,
    )
    if remat is not None:
        ready.model.set_remat(remat)
    return ready
