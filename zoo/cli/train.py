"""`zoo train` and `zoo launch`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.console import sigterm
from zoo.cli.options import COUNTED, Seed, check_folder, model_names, parse_options
from zoo.core import registry
from zoo.io.terminal import say

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
FACTS = ("converted_from", "recipe")  # of a run that `zoo convert` made
# Settings of `zoo train` that `zoo convert` writes no value for, or a default.
NOT_YET_SET = ("batch_size", "validation", "keep", "best", "checkpoint_every")
SCALE, CHECKPOINTS = "Speed and scale", "Checkpoints"  # headings of `zoo train --help`


def train(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A model of `zoo list`; or a run folder, to go on with it.",
            autocompletion=model_names,
        ),
    ],
    data: Annotated[
        str, typer.Option(help="A TFDS name, a folder of images, or an .npz or .npy file.")
    ] = "fashion_mnist_sample",
    out: Annotated[Path | None, typer.Option(help="The run folder. Default: runs/MODEL.")] = None,
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
            help="Architecture: conv, mlp or resnet, or with a width, such as conv-32; of vq_vae "
            "grid, of stylegan2 style. Default: the model's own."
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, callback=COUNTED, help="Resize to this many pixels a side.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the model, such as likelihood=bernoulli or ema=0.999."),
    ] = None,
    seed: Seed = 0,
    *,
    decay: Annotated[
        bool,
        typer.Option(
            "--decay",
            help="Learning rates fall linearly to 0 over --epochs: better at the end, which is "
            "then final. Of a converted run with --recipe plain.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in --out to --epochs, with the settings it was begun with; only "
            "--strategy and --replicas may differ. As naming the folder in place of the model.",
        ),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="For a run that `zoo convert` made. A VAE: joint (sleep, wake, both networks; the "
            "default), frozen (the decoder stays the generator) or plain. A GAN: warm-up (the "
            "discriminator first; the default) or plain.",
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="none, mirrored (the GPUs here), multi-worker (those of TF_CONFIG or SLURM) or "
            "auto. Same result, less time; each update costs a sum of the gradients over all.",
            rich_help_panel=SCALE,
        ),
    ] = "auto",
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="GPUs to use. Without any, the CPU is split: slower than one, to try things out.",
            rich_help_panel=SCALE,
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, mixed_bfloat16 or mixed_float16: the latter two halve activation memory "
            "and use a GPU's matrix units, at 2 to 3 decimal digits within the networks; float16 "
            "overflows sooner, is loss-scaled, and several times slower on a CPU.",
            rich_help_panel=SCALE,
        ),
    ] = "float32",
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Compute each update in this many parts: the same gradients with activations for "
            "one part in memory, in more time (a Gaussian VAE takes a second forward pass). "
            "BatchNorm sees the parts.",
            rich_help_panel=SCALE,
        ),
    ] = 1,
    steps_per_execution: Annotated[
        int,
        typer.Option(
            min=1,
            help="Steps between returns to Python: less overhead where a step takes under a few "
            "ms; signals and checkpoints wait for all of them.",
            rich_help_panel=SCALE,
        ),
    ] = 1,
    jit: Annotated[
        bool,
        typer.Option(
            "--jit",
            help="Compile the step with XLA: faster on one GPU after a slow first step; on a CPU "
            "slower. Draws other noise from the same seed. Not with several replicas.",
            rich_help_panel=SCALE,
        ),
    ] = False,
    clip_norm: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Scale each optimizer's gradient down to this norm: a rare large gradient no "
            "longer ruins a run; too small a norm slows learning. Costs next to nothing.",
            rich_help_panel=SCALE,
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Evaluate on this split after each epoch, as val_…: costs a pass over it.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=1, help="Checkpoints to keep.", rich_help_panel=CHECKPOINTS)
    ] = 3,
    best: Annotated[
        str | None,
        typer.Option(
            help="Keep best.keras too: of the epoch with the lowest value of this logged metric, "
            "such as loss or val_loss.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps between checkpoints, besides one per epoch: a kill loses less; each costs "
            "the time to write the model.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
) -> None:
    """Trains a model into a run folder. Ctrl-C saves; --resume continues."""
    out, model, resume = _run_to_train(model, out, recipe, resume=resume)
    config = _config_to_resume(out, model, resume=resume, decay=decay)
    check_folder(out)
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}.")
    options = parse_options(option or [])
    import keras

    from zoo import data as zoo_data
    from zoo.training import strategies
    from zoo.training.train import train as train_model

    given: dict[str, Any] = {
        "data": data,
        "batch_size": batch_size,
        "seed": seed,
        "validation": validation,
        "keep": keep,
        "best": best,
        "checkpoint_every": checkpoint_every,
    }
    settings = _settings(config, given)
    compile_options = {
        "accumulate": accumulate,
        "clip_norm": clip_norm,
        "jit_compile": jit,
        "steps_per_execution": steps_per_execution,
    }
    if not resume:
        registry.check_options(model, options)
        shape = zoo_data.image_shape(data, image_size)
    with sigterm(signal.SIG_DFL):  # while it waits for a cluster, no Python runs
        devices = strategies.strategy(strategy, replicas=replicas)
    with devices.scope():
        if resume:
            trained, recipe, begin = _resumed(out, config, recipe)
        else:
            keras.utils.set_random_seed(seed)
            begin = None
            options = {"seed": seed, **_model_options(model, options, data, network)}
            trained = registry.create(model, shape, latent_dim, dtype=precision, **options)
        decay_epochs = epochs if decay else None
        _compile_if_new(trained, config, compile_options, recipe, settings, decay_epochs)
    chief, before = strategies.is_chief(devices), trained.steps_done
    images = settings["batch_size"] or trained.default_batch_size
    tell = say if chief else _say_nothing
    tell(_describe_data(settings["data"], trained.image_shape, out if resume else None))
    for line in _ignored(context, config, trained) if resume else ():
        tell(line)
    if devices.num_replicas_in_sync > 1:
        tell(_describe_share(strategies.describe(devices), images))

    def report_epoch(epoch: int, logs: dict[str, float]) -> None:
        if trained.stop_training:  # stopped within the epoch
            return
        values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        tell(f"epoch {epoch + 1}/{epochs}  {values}")

    bar = sys.stdout.isatty()
    finished = train_model(
        trained,
        settings.pop("data"),
        out,
        epochs=epochs,
        **settings,
        callbacks=[] if bar else [keras.callbacks.LambdaCallback(on_epoch_end=report_epoch)],
        recipe=begin,
        recipe_steps=config.get("recipe_steps"),
        facts={k: v for k, v in (("recipe", recipe), *config.items()) if k in FACTS and v},
        verbose=int(bar and chief),
    )
    if not finished:
        tell(f"Stopped at step {trained.steps_done}; saved in {out}. Continue with:")
        tell(f"  zoo train {shlex.quote(str(out))} --epochs {epochs}")
        raise typer.Exit(130)
    if trained.steps_done == before:
        tell(f"{out} has had {epochs} epochs or more: nothing to do.")
    else:
        tell(f"Trained {model} to {epochs} epochs: {out}")


def launch(
    context: typer.Context,
    workers: Annotated[int, typer.Argument(min=2, help="Number of workers.")],
) -> None:
    """Runs `zoo launch N train …` as N workers on this machine's CPU, as a cluster would."""
    from zoo.training.launch import launch as launch_workers

    if context.args[:1] != ["train"]:
        raise ValueError("Expected a train command: zoo launch 2 train vae --out runs/vae.")
    status = launch_workers(workers, [sys.executable, "-m", "zoo", *context.args])
    raise typer.Exit(status)


def _model_options(
    model: str, options: dict[str, Any], data: str, network: str | None
) -> dict[str, Any]:
    """The options given, and the number of classes for a model that needs one."""
    from zoo.training.runs import with_classes

    chosen = {} if network is None else {"network": network}
    return chosen | with_classes(model, options, data)


def _run_to_train(
    model: str, out: Path | None, recipe: str | None, *, resume: bool
) -> tuple[Path, str, bool]:
    """(run folder, model, whether to resume), where a run folder may stand for the model."""
    named = model in registry.list_models()
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
    from zoo.training.runs import read_config

    return Path(model), read_config(model)["model"], True


def _ignored(context: typer.Context, config: dict[str, Any], model: Any) -> list[str]:
    """What a resumed run says: each option that was given in vain, and what the run has."""
    from zoo import data

    stored: dict[str, Any] = {
        "data": config.get("data"),
        "latent_dim": model.latent_dim,
        "network": model.network,
        "image_size": model.image_shape[0],
        "seed": config.get("seed"),
        "precision": model.dtype_policy.name,
    }
    if config.get("epochs", 0) > 0:
        stored |= {name: config[name] for name in NOT_YET_SET if name in config}
        stored |= {
            "accumulate": model.accumulate,
            "steps_per_execution": model.steps_per_execution,
            "jit": model.jit_compile,
            "clip_norm": _clip_norm(model),
        }
    given = {
        name: value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    if "data" in given:
        given["data"] = data.source_name(given["data"])
    lines = [f"Resuming {context.params['out'] or context.params['model']}, as it was begun."]
    for name, value in stored.items():
        if name in given and given[name] != value:
            option = f"--{name.replace('_', '-')}"
            option = option if given[name] is True else f"{option} {given[name]}"
            has = "none" if value is None or value is False else value
            lines.append(f"{option} is ignored: the run has {has}.")
    options = model.get_config()
    for name, value in parse_options(given.get("option") or []).items():
        if name not in options or options[name] != value:
            has = f"{name}={options[name]}" if name in options else "no such option"
            lines.append(f"--option {name}={value} is ignored: the run has {has}.")
    return lines


def _clip_norm(model: Any) -> float | None:
    optimizer = getattr(model, model.optimizer_names[0])
    return getattr(optimizer, "inner_optimizer", optimizer).global_clipnorm


def _settings(config: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The run's settings; for a converted run that has not been trained, those given now."""
    begun = config.get("epochs", 0) > 0

    def now(name: str, value: Any) -> bool:
        return name not in config or (not begun and name in NOT_YET_SET and value is not None)

    return {name: value if now(name, value) else config[name] for name, value in given.items()}


def _compile_if_new(
    model: Any,
    config: dict[str, Any],
    options: dict[str, Any],
    recipe: str | None,
    settings: dict[str, Any],
    decay_epochs: int | None,
) -> None:
    """Compiles a model that was not trained yet; its learning rates fall to 0 in so many epochs."""
    from zoo.training.train import total_steps

    if config.get("epochs", 0) > 0:
        return
    steps = None
    if decay_epochs is not None:
        if recipe not in (None, "plain"):
            raise ValueError(f"--decay: --recipe {recipe} sets the rates. Take --recipe plain.")
        steps = total_steps(model, settings["data"], decay_epochs, settings["batch_size"])
    model.compile(**options, decay_steps=steps)


def _resumed(out: Path, config: dict[str, Any], recipe: str | None) -> tuple[Any, str | None, Any]:
    """(model, its recipe, what makes the recipe's callbacks)."""
    from zoo.training import recipes
    from zoo.training.runs import load_run

    model = load_run(out)
    recipe = _recipe_of(config, recipe, model)
    begin = recipes.prepare(model, recipe) if recipe else None
    return model, recipe, begin


def _recipe_of(config: dict[str, Any], given: str | None, model: Any) -> str | None:
    """The recipe of a run: as it was begun, or as given for a converted run that begins now."""
    begun = config.get("recipe")
    if begun is not None and given not in (None, begun):
        raise ValueError(f"The run was begun with --recipe {begun}: leave out --recipe {given}.")
    if begun is None and given is not None and config["epochs"] > 0:
        raise ValueError(f"--recipe {given}: the run has been trained without one.")
    if begun is None and "converted_from" in config and config["epochs"] == 0:
        from zoo.training.recipes import RECIPES

        # A VAE that another's decoder was put into trains as ever.
        plain = model.family == "vae" and model.transfer is None
        return given or ("plain" if plain else RECIPES[model.family][0])
    return begun or given


def _config_to_resume(out: Path, model: str, *, resume: bool, decay: bool) -> dict[str, Any]:
    """The run's config.json, or nothing for a new run; refuses a folder that does not fit."""
    started = (out / "model.keras").exists()
    if started and not resume:
        raise FileExistsError(
            f"{out} holds a run already. Add --resume to continue it, or choose another --out."
        )
    if resume and not started:
        raise FileNotFoundError(f"{out} holds no run to resume. Train without --resume first.")
    if not resume:
        return {}
    from zoo.training.runs import read_config

    config = read_config(out)
    if config["model"] != model:
        raise ValueError(f"{out} holds a {config['model']}, not a {model}.")
    if decay and ("converted_from" not in config or config["epochs"] > 0):
        raise ValueError("--decay is for a new run: a continued one keeps its learning rates.")
    return config


def _describe_data(source: str, image_shape: tuple[int, ...], resumed: Path | None) -> str:
    """What a run begins with; where its data are no more, how it is told of another place."""
    from zoo import data

    try:
        return data.describe(source, image_shape=image_shape)
    except FileNotFoundError as error:
        if resumed is None:
            raise
        raise FileNotFoundError(
            f"{error} {resumed} was begun with it. If it was moved, change data in "
            f"{resumed}/config.json."
        ) from error


def _describe_share(devices: dict[str, Any], images: int) -> str:
    replicas, workers = devices["replicas"], devices["workers"]
    place = f" of {workers} workers" if workers > 1 else ""
    return (
        f"{images} images per update: {images // replicas} on each of {replicas} replicas{place}."
    )


def _say_nothing(*_: Any, **__: Any) -> None:
    """In place of printing, on workers other than the chief."""
