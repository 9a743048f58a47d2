"""`zoo train` and `zoo launch`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.console import sigterm
from zoo.cli.measured import Measured
from zoo.cli.options import (
    COUNTED,
    PATH,
    SOURCE,
    ImageSize,
    Seed,
    check_folder,
    model_names,
    parse_options,
)
from zoo.cli.progress import train_and_report
from zoo.cli.resumed import epochs_of, ignored_options
from zoo.core import registry
from zoo.io.terminal import say

if TYPE_CHECKING:
    from zoo.training.resume import Ready

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Headings of `zoo train --help`.
RATES, SCALE, CHECKPOINTS = "Learning rates", "Speed and scale", "Checkpoints"


def train(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A model of `zoo list`, or a run folder to go on with.",
            autocompletion=model_names,
        ),
    ],
    data: Annotated[str, typer.Option(help=f"{SOURCE}.")] = "fashion_mnist_sample",
    out: Annotated[
        Path | None, typer.Option(help="The run folder. Default: runs/MODEL.", **PATH)
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs in all.")] = 10,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per update, on all replicas together. Default: the model's own."
        ),
    ] = None,
    latent_dim: Annotated[
        int, typer.Option(min=1, callback=COUNTED, help="Latent dimensions.")
    ] = 64,
    network: Annotated[
        str | None,
        typer.Option(
            help="Architecture: mlp, conv or resnet; a number sets the width of the last two, as "
            "in conv-32. vq_vae takes grid, and stylegan2 takes style. Default: the model's own."
        ),
    ] = None,
    image_size: ImageSize = None,
    channels: Annotated[
        int | None,
        typer.Option(
            help="Read all images as grey (1), as colour (3), or as colour with alpha (4). "
            "Default: 1 if all are grey, else 3. With 1 and 3 transparent pixels become white."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the model, such as likelihood=bernoulli or ema=0.999."),
    ] = None,
    seed: Seed = 0,
    *,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Turn left and right round in half of the training images, at random. For things "
            "that look the same in a mirror: faces, not letters.",
        ),
    ] = False,
    random_crop: Annotated[
        int,
        typer.Option(
            min=0,
            callback=COUNTED,
            help="Read training images so many pixels larger, and train on a window at a random "
            "place: things then lie up to so far from where they lay.",
        ),
    ] = 0,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the model's optimizer, in place of the paper's. Of several "
            "optimizers the others keep their ratio to the first, the generator's for a GAN.",
            rich_help_panel=RATES,
        ),
    ] = None,
    generator_learning_rate: Annotated[
        float | None,
        typer.Option(help="The generator's alone.", rich_help_panel=RATES),
    ] = None,
    discriminator_learning_rate: Annotated[
        float | None,
        typer.Option(help="The discriminator's alone.", rich_help_panel=RATES),
    ] = None,
    decay: Annotated[
        bool,
        typer.Option(
            "--decay",
            help="Let the learning rates fall linearly to 0 over --epochs. The result is better, "
            "and the run cannot be continued. A converted run takes it with --recipe plain.",
            rich_help_panel=RATES,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in --out until it has had --epochs: by default those it was "
            "begun with, and 10 at least. It keeps the settings that it was begun with; only "
            "--strategy and --replicas may differ. `zoo train FOLDER` does the same.",
        ),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How to train a run that `zoo convert` made. A VAE takes joint (sleep, wake, then "
            "both networks; the default), frozen (the decoder stays the generator) or plain. A GAN "
            "takes warm-up (the discriminator first; the default) or plain.",
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="none, mirrored (the GPUs of this machine), multi-worker (those of TF_CONFIG or "
            "SLURM) or auto. The result is the same in less time. Each update waits for the sum of "
            "all gradients.",
            rich_help_panel=SCALE,
        ),
    ] = "auto",
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="GPUs to use. Without a GPU the CPU is split: slower, and meant for trials.",
            rich_help_panel=SCALE,
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, mixed_bfloat16 or mixed_float16. The mixed ones halve the memory of "
            "activations and use a GPU's matrix units; the networks compute with 2 to 3 decimal "
            "digits. float16 overflows sooner, needs loss scaling, and is several times slower on "
            "a CPU.",
            rich_help_panel=SCALE,
        ),
    ] = "float32",
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Compute each update in this many parts. The gradients are the same, memory holds "
            "the activations of one part, and a step takes longer (a Gaussian VAE needs a second "
            "forward pass). BatchNorm sees the parts.",
            rich_help_panel=SCALE,
        ),
    ] = 1,
    steps_per_execution: Annotated[
        int,
        typer.Option(
            min=1,
            help="Steps between returns to Python. More of them save time where a step takes less "
            "than a few ms. Signals and checkpoints wait for all of them.",
            rich_help_panel=SCALE,
        ),
    ] = 1,
    jit: Annotated[
        bool,
        typer.Option(
            "--jit",
            help="Compile the step with XLA. On one GPU it is faster after a slow first step; on a "
            "CPU it is slower. The same seed gives other noise. It takes one replica only.",
            rich_help_panel=SCALE,
        ),
    ] = False,
    clip_norm: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Scale each optimizer's gradient down to this norm. A rare large gradient then "
            "cannot ruin a run; too small a norm slows learning. It costs next to nothing.",
            rich_help_panel=SCALE,
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Evaluate on this split after each epoch; the values are logged as val_…. Each "
            "evaluation is a pass over the split.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=1, help="Checkpoints to keep.", rich_help_panel=CHECKPOINTS)
    ] = 3,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this after each epoch, such as fid5k_test, with the averaged generator "
            "where there is one. docs/evaluation.md lists the names. It can be given more than "
            "once.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
    metric_every: Annotated[
        int,
        typer.Option(
            min=1,
            help="Epochs from one measurement to the next. Each takes the time to make and judge "
            "the samples.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = 1,
    metric_extractor: Annotated[
        str | None,
        typer.Option(
            help="The network whose features --metric compares, as in `zoo evaluate --extractor`.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
    best: Annotated[
        str | None,
        typer.Option(
            help="Also keep best.keras, of the epoch with the best value of this logged metric, "
            "such as loss, val_loss or one of --metric. The best is the lowest; of metrics such as "
            "is5k, the highest.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps between checkpoints, besides the one per epoch. A killed run then loses "
            "less; each checkpoint costs the time to write the model.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
) -> None:
    """Trains a model into a run folder. Ctrl-C saves; --resume continues."""
    out, model, resume = _run_to_train(model, out, recipe, resume=resume)
    _check_run(out, model, resume=resume)
    check_folder(out)
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}.")
    options = parse_options(option or [])
    measured = Measured(metric or [], metric_every, metric_extractor)
    measured.check()
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "validation": validation,
        "keep": keep,
        "best": best,
        "checkpoint_every": checkpoint_every,
        "mirror": mirror,
        "random_crop": random_crop,
    }
    compile_options = {
        "learning_rate": _rates(
            learning_rate, generator_learning_rate, discriminator_learning_rate
        ),
        "accumulate": accumulate,
        "clip_norm": clip_norm,
        "jit_compile": jit,
        "steps_per_execution": steps_per_execution,
    }
    if resume:
        settings["epochs"] = epochs_of(context, out)
        devices = _devices(strategy, replicas)
        ready = _resumed(out, settings, compile_options, devices, recipe, decay=decay)
        ignored = ignored_options(context, out, ready.model)
    else:
        chosen = {} if network is None else {"network": network}
        options = {"seed": seed, "dtype": precision, **chosen, **options}
        registry.check_options(model, options)
        shape = _image_shape(data, image_size, channels)
        devices = _devices(strategy, replicas)
        new = (model, data, shape, latent_dim, options)
        ready = _new(*new, settings, compile_options, devices, decay=decay)
        ignored = []
    train_and_report(
        ready, out, model, ignored, measured.callbacks(out, ready.source, resume=resume)
    )


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
    model: str, out: Path | None, recipe: str | None, *, resume: bool
) -> tuple[Path, str, bool]:
    """(run folder, model, whether to resume), where a run folder may stand for the model."""
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
    *,
    decay: bool,
) -> Ready:
    """A new model, compiled."""
    import keras

    from zoo.training.resume import Ready
    from zoo.training.runs import with_classes
    from zoo.training.train import total_steps

    with devices.scope():
        keras.utils.set_random_seed(settings["seed"])
        options = with_classes(name, options, data)
        model = registry.create(name, image_shape, latent_dim, **options)
        epochs, batch_size = settings["epochs"], settings["batch_size"]
        steps = total_steps(model, data, epochs, batch_size) if decay else None
        model.compile(**compile_options, decay_steps=steps)
    return Ready(model, data, settings)


def _resumed(
    out: Path,
    settings: dict[str, Any],
    compile_options: dict[str, Any],
    devices: Any,
    recipe: str | None,
    *,
    decay: bool,
) -> Ready:
    """The model of a run. One that was trained keeps the settings that it was begun with."""
    from zoo.training.resume import SETTINGS, begun_with, prepare, was_trained

    config = begun_with(out)
    new = not was_trained(config)
    return prepare(
        out,
        epochs=settings["epochs"],
        recipe=recipe,
        decay=decay,
        settings={name: settings[name] for name in SETTINGS if new or name not in config},
        compile_options=compile_options if new else None,
        strategy=devices,
    )
