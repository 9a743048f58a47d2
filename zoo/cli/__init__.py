"""The `zoo` command. Heavy imports wait inside the commands: `zoo --help` answers at once."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

import zoo
from zoo.cli.faults import sentence
from zoo.core import registry
from zoo.io.terminal import console, errors, print_on_any_terminal, say, say_error, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table


class TerminatedError(BaseException):
    """SIGTERM has come; what is under way is undone as it is after Ctrl-C."""


class ZooCommand(TyperCommand):
    """A command whose help is plain text: Typer reads markup in it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _escape_help(self)


class TensorFlowCommand(ZooCommand):
    """A command that imports TensorFlow, once its arguments are known to be right."""

    def invoke(self, ctx: Any) -> Any:
        """Imports TensorFlow, then runs the command."""
        with _silent_stderr():
            import tensorflow as tf  # noqa: F401
        return super().invoke(ctx)


class Zoo(TyperGroup):
    """All commands. Whatever one raises ends here, as a sentence and an exit status."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _escape_help(self)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            say("Interrupted.", errors)
            raise typer.Exit(130) from error
        except Exception as error:
            # Typer words its own, and is silent where the reader of a pipe has gone.
            own = isinstance(error, typer.Abort) or hasattr(error, "exit_code")
            if own or isinstance(error, BrokenPipeError):
                raise
            if ctx.params.get("debug") or os.environ.get("ZOO_TRACEBACK"):
                traceback.print_exception(error)
            say_error(sentence(error))
            raise typer.Exit(1) from error


def _escape_help(command: Any) -> None:
    """Escapes what Typer reads as markup."""
    for each in (command, *command.params):
        if getattr(each, "help", None):
            each.help = escape(each.help)


app = typer.Typer(
    cls=Zoo,
    help="VAEs and GANs in Keras 3: train, evaluate, convert, export, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _models(incomplete: str) -> list[str]:
    """For completion: what `train` takes besides folders, which the shell knows."""
    return [name for name in registry.list_models() if name.startswith(incomplete)]


def _presets(incomplete: str) -> list[str]:
    from zoo.hub import list_pretrained

    return [each.name for each in list_pretrained() if each.name.startswith(incomplete)]


def _below(limit: int) -> Any:
    """What checks a number; as Typer's own range it would fill a column of the help."""

    def check(value: int | None) -> int | None:
        if value is not None and value >= limit:
            raise typer.BadParameter(f"Input should be less than {limit}")
        return value

    return check


COUNTED = _below(2**31)  # TensorFlow's sizes are int32
Run = Annotated[
    str,
    typer.Argument(
        help="A run folder, as `zoo train` and `zoo convert` make, or a checkpoint in one; or a "
        "pretrained model: a name of `zoo list --pretrained`, a folder, hf://… or https://…",
        autocompletion=_presets,
    ),
]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Data = Annotated[
    str | None,
    typer.Option(help="A TFDS name, a folder of images, an .npz or .npy. Default: the run's data."),
]
SamplerName = Annotated[
    str,
    typer.Option(
        help="What draws the latents: prior; or, of a VAE, gmm or two_stage, fitted to the "
        "posteriors of the run's training images and kept beside the run."
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, callback=_below(2**32), help="The same seed gives the same result."),
]
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
FACTS = ("converted_from", "recipe")  # of a run that `zoo convert` made
# Settings of `zoo train` that `zoo convert` writes no value for, or a default.
NOT_YET_SET = ("batch_size", "validation", "keep", "best", "checkpoint_every")
TO_VAE, TO_GAN = "GAN to VAE", "VAE to GAN"  # headings of `zoo convert --help`
WHITENED = 10_000  # training images that the aggregate posterior is taken over
# What a command gives a model itself, and so takes from no --option.
OPTIONS_OF_COMMANDS = {
    "latent_dim": "--latent-dim",
    "image_shape": "--image-size",
    "dtype": "--precision",
    "name": "no name: a run has that of its folder",
}
SCALE, CHECKPOINTS = "Speed and scale", "Checkpoints"  # headings of `zoo train --help`


def _show_versions(*, wanted: bool) -> None:
    if wanted:
        others = (f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras"))
        say(f"zoo {zoo.__version__} ({', '.join(others)}, Python {sys.version.split()[0]})")
        raise typer.Exit


@app.callback()
def options_of_all(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions, and exit.",
            is_eager=True,
            callback=lambda value: _show_versions(wanted=value),
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with an error: zoo --debug COMMAND …")
    ] = False,
) -> None:
    """VAEs and GANs in Keras 3: train, evaluate, convert, export, verify."""


@app.command("list")
def list_command(
    pattern: Annotated[
        str | None, typer.Argument(help="Of pretrained models: which names, such as '*vae*'.")
    ] = None,
    *,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="The trained models that come with the package.")
    ] = False,
) -> None:
    """Lists the models."""
    if pretrained:
        console.print(_table_of_presets(pattern))
        return
    if pattern is not None:
        raise ValueError(f"{pattern}: only pretrained models are listed by pattern (--pretrained).")
    rows = [(model.name, model.family, model.summary) for model in registry.describe_models()]
    console.print(table_of(("model", "family", "what it is"), rows))


def _table_of_presets(pattern: str | None) -> Table:
    from zoo.hub import list_pretrained

    rows = []
    for preset in list_pretrained(pattern):
        name, value = preset.headline or ("", "")
        headline = f"{name.replace('_', ' ')} {_number(value)}"
        size = f"{preset.size / 1e6:.1f}"
        rows.append(
            (preset.name, preset.family, preset.data or "", size, headline, preset.sha256[:8])
        )
    table = table_of(("name", "family", "data", "MB", "headline", "sha256"), rows)
    table.box, table.pad_edge, table.columns[0].no_wrap = None, False, True
    return table


def _run_of(text: str) -> Path:
    """A run folder or checkpoint; for a pretrained model its folder, downloaded if need be."""
    from zoo.hub import resolve

    return Path(text) if Path(text).exists() else resolve(text)


@app.command(cls=TensorFlowCommand)
def train(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A model of `zoo list`; or a run folder, to go on with it.", autocompletion=_models
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
    _check_folder(out)
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}.")
    options = _parse_options(option or [])
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
    with _sigterm(signal.SIG_DFL):  # while it waits for a cluster, no Python runs
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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


@app.command(cls=TensorFlowCommand)
def info(
    run: Annotated[
        str,
        typer.Argument(
            help="A run folder, a checkpoint, a pretrained model, or an export.",
            autocompletion=_presets,
        ),
    ],
) -> None:
    """Shows what a run folder holds; or what an export is, and its last verification."""
    from zoo.io import schemas
    from zoo.io.files import read_json
    from zoo.training.runs import read_config, read_metrics, run_folder

    path = _run_of(run)
    if not (path / "config.json").exists() and _show_export(path):
        return
    path = run_folder(path)
    rows = [
        (key, json.dumps(value, ensure_ascii=False)) for key, value in read_config(path).items()
    ]
    metrics = (read_metrics(path) or {"metrics": {}})["metrics"]
    rows += [(f"metrics: {key}", _number(value)) for key, value in metrics.items()]
    if (path / "history.json").exists():
        last = read_json(path / "history.json", schemas.HISTORY)[-1]
        rows += [(f"history: {key}", _number(value)) for key, value in last.items()]
    say(path)
    console.print(table_of(("key", "value"), rows))


def _show_export(path: Path) -> bool:
    """Whether it is an export; then it is shown."""
    from export import read_export, read_report

    try:
        found = read_export(path)
    except FileNotFoundError:
        return False
    rows = []
    for name, tensors in found.pop("endpoints").items():
        text = " → ".join(
            ", ".join(f"{key} {t['dtype']} {t['shape']}" for key, t in tensors[kind].items())
            for kind in ("inputs", "outputs")
        )
        rows.append((name, text))
    for key, value in found.items():
        if key not in ("files", "folder"):
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            rows.append((key, text))
    say(path)
    console.print(table_of(("key", "value"), rows))
    report = read_report(path)
    if report:
        console.print(report.table())
    else:
        say(f"Not verified yet: zoo verify {shlex.quote(str(path))}")
    return True


@app.command(cls=TensorFlowCommand)
def sample(
    run: Run,
    out: Out = Path("samples.png"),
    n: Annotated[int, typer.Option(min=1, callback=COUNTED, help="Number of images.")] = 64,
    label: Annotated[
        int | None,
        typer.Option(
            help="Of a conditional model: the number of the class; `zoo info` has the names, from "
            "0 on. Default: all of them."
        ),
    ] = None,
    sampler: SamplerName = "prior",
    seed: Seed = 0,
) -> None:
    """Draws images from a model: a PNG grid, or an .npy of float32 [n, h, w, c]."""
    _check_pictures(out)
    from zoo.sampling.samplers import sampler_of_run
    from zoo.training.runs import load_run

    folder = _run_of(run)
    model = load_run(folder)
    labels = model.sample_labels(n, seed) if label is None else model.checked_labels(label, n)
    latents = sampler_of_run(folder, model, sampler).sample(n, seed, labels)
    _write_images(out, model.generate_from(latents, labels))


@app.command(cls=TensorFlowCommand)
def interpolate(
    run: Run,
    out: Out = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=1, callback=COUNTED, help="Pairs of latents.")] = 6,
    steps: Annotated[int, typer.Option(min=2, callback=COUNTED, help="Images per row.")] = 10,
    seed: Seed = 0,
) -> None:
    """Draws images along great circles between prior draws."""
    _check_pictures(out)
    import numpy as np

    from zoo.sampling.interpolation import slerp
    from zoo.training.runs import load_run

    model = load_run(_run_of(run))
    latents = model.sample_latents(2 * rows, seed)
    fractions = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    path = slerp(latents[:rows, None], latents[rows:, None], fractions).numpy()
    # One class per row, for a conditional model.
    labels = model.sample_labels(rows, seed)
    labels = None if labels is None else np.repeat(labels, steps)
    latents = path.reshape(-1, model.noise_dim)
    _write_images(out, model.generate_from(latents, labels), columns=steps)


@app.command(cls=TensorFlowCommand)
def evaluate(
    run: Run,
    data: Data = None,
    split: Annotated[str, typer.Option(help="Split of the data.")] = "test",
    samples: Annotated[
        int | None,
        typer.Option(
            min=2, callback=COUNTED, help="Images to generate. Default: as many as the split."
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            help="Network whose features compare samples with data: inception_v3, downloaded once; "
            "fashion_mnist_classifier, for its images; or none, which leaves the samples "
            "unmeasured. Default: the one made for the data."
        ),
    ] = None,
    importance_samples: Annotated[
        int, typer.Option(min=1, callback=COUNTED, help="k of the importance-weighted bound.")
    ] = 50,
    sampler: SamplerName = "prior",
    seed: Seed = 0,
) -> None:
    """Measures a model on the test split, into metrics.json of its run folder.

    With another sampler than the prior, into metrics_SAMPLER.json. Of a pretrained model, which
    brings its own, they are only printed.
    """
    from zoo import data as zoo_data
    from zoo.evaluation.measure import evaluate as evaluate_model
    from zoo.io.files import write_json
    from zoo.presets import is_preset
    from zoo.sampling.samplers import sampler_of_run
    from zoo.training.runs import load_run, read_config, required

    name = "metrics.json" if sampler == "prior" else f"metrics_{sampler}.json"
    folder = _run_of(run)
    place = folder / name if folder.is_dir() else folder.with_suffix(f".{name}")
    if not is_preset(folder):
        _check_file(place)
    config = read_config(folder)
    model, source = load_run(folder), data or required(config, "data", folder)
    if model.num_classes:
        zoo_data.check_classes(source, config)
    say(zoo_data.describe(source, split=split, image_shape=model.image_shape))
    latents = None
    if sampler != "prior":
        test = zoo_data.read(source, split=split, image_shape=model.image_shape)
        samples = samples or len(test.pixels)
        labels = model.sample_labels(samples, seed)  # those of the evaluation
        latents = sampler_of_run(folder, model, sampler).sample(samples, seed, labels)
    results = evaluate_model(
        model,
        source,
        split=split,
        samples=samples,
        latents=latents,
        sampler=sampler,
        extractor=extractor,
        importance_samples=importance_samples,
        seed=seed,
    )
    if not results["metrics"]:
        raise ValueError(
            f"Nothing is left to measure: {run} holds a GAN, which is measured by its samples, and "
            "the extractor is none. Name one, such as --extractor inception_v3."
        )
    if not is_preset(folder):  # whose figures are part of it
        write_json(place, results)
    rows = [(name, _number(value)) for name, value in results["metrics"].items()]
    say(f"{run} on {results['data']} ({split})")
    console.print(table_of(("metric", "value"), rows))
    say(
        f"{results['samples']} samples against {results['images']} images; "
        f"features: {results['extractor']}; likelihoods in nats per image"
    )


@app.command(cls=TensorFlowCommand)
def convert(
    run: Annotated[
        str,
        typer.Argument(
            help="A run folder, checkpoint or pretrained model; or any generator's .keras or "
            ".h5 file.",
            autocompletion=_presets,
        ),
    ],
    to: Annotated[str, typer.Option(help="The family to convert to: vae or gan.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the run folder. Needed but for --dry-run.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="Run whose model takes the weights, copied to --out. Default: a new one."
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(help="exact, partial (copy what fits) or distill (train the decoder)."),
    ] = "exact",
    data: Data = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(help="SOURCE=TARGET block names, as regular expressions; may be repeated."),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="ema, raw, or auto: the average if any.", rich_help_panel=TO_VAE)
    ] = "auto",
    batch_norm: Annotated[
        str,
        typer.Option(help="To a VAE: fold, keep or recalibrate. To a GAN: insert or none."),
    ] = "",
    encoder_init: Annotated[
        str, typer.Option(help="random or discriminator.", rich_help_panel=TO_VAE)
    ] = "random",
    prior: Annotated[
        str,
        typer.Option(
            help="Law of the latents of a generator's .keras file.", rich_help_panel=TO_VAE
        ),
    ] = "standard_normal",
    discriminator_init: Annotated[
        str, typer.Option(help="encoder or random.", rich_help_panel=TO_GAN)
    ] = "encoder",
    model: Annotated[
        str, typer.Option(help="Name of the new GAN's model.", rich_help_panel=TO_GAN)
    ] = "dcgan",
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the new GAN, such as ema=0.999.", rich_help_panel=TO_GAN),
    ] = None,
    seed: Seed = 0,
    *,
    whiten: Annotated[
        bool,
        typer.Option(
            help="Fold the aggregate posterior of the training images into the generator's first "
            "layer.",
            rich_help_panel=TO_GAN,
        ),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the report.")] = False,
) -> None:
    """Turns a GAN into a VAE, or a VAE into a GAN, proven to draw the same images."""
    if to not in ("vae", "gan"):
        raise ValueError(f"--to {to}: expected vae or gan.")
    if out is None and not dry_run:
        raise ValueError("Give --out a folder for the new run, or only report with --dry-run.")
    if mapping and into is None:
        raise ValueError("--mapping says which blocks of --into take the weights: give --into.")
    if out is not None and not dry_run:
        _check_new_run(out)
    import keras

    from zoo import convert as zoo_convert
    from zoo import data as zoo_data
    from zoo.training.runs import is_lone_file, load_run, read_config, save_run

    found = _run_of(run)
    foreign = is_lone_file(found)
    config = {} if foreign else read_config(found)
    source: Any = zoo_convert.load_file(found) if foreign else load_run(found)
    data = data or config.get("data")
    if data is None:
        raise ValueError(f"{run} does not know its data: name them with --data.")
    if getattr(source, "family", "gan") == to:  # a network is taken for a generator
        held = getattr(source, "model_name", "generator")
        raise ValueError(f"{run} holds a {held}, a {to.upper()} already.")
    keras.utils.set_random_seed(seed)
    target = load_run(into) if into else None
    options: dict[str, Any] = {
        "mode": mode,
        "mapping": dict(_pair(text, "--mapping") for text in mapping or []) or None,
        "dry_run": dry_run,
        "seed": seed,
    }
    if to == "vae":
        options |= {"weights": weights, "encoder_init": encoder_init, "prior": prior}
        options["batch_norm"] = batch_norm or "fold"
        converted, report = zoo_convert.gan_to_vae(source, target, **options)
    else:
        options |= {"discriminator_init": discriminator_init, "model": model}
        options |= {"batch_norm": batch_norm or "insert", "whiten_posterior": whiten}
        given = _parse_options(option or [])
        registry.check_options(model, given)
        if whiten:
            say(zoo_data.describe(data, image_shape=source.image_shape))
            options["images"] = zoo_data.to_array(
                data, split="train", limit=WHITENED, image_shape=source.image_shape
            )
        converted, report = zoo_convert.vae_to_gan(source, target, **{**options, **given})
    console.print(report.table())
    if dry_run or out is None:
        return
    converted.step.assign(0)  # of a trained --into: the new run begins now, recipe and all
    converted.compile()
    settings = {"batch_size": converted.default_batch_size, "seed": seed}
    facts = {"data": data, "epochs": 0, "converted_from": str(run)}
    facts |= {name: config[name] for name in ("class_names",) if name in config}
    save_run(converted, out, {**facts, **settings}, report.to_dict())
    say(f"Train it with: zoo train {shlex.quote(str(out))} --epochs 5")


@app.command(cls=TensorFlowCommand)
def export(
    run: Run,
    out: Out,
    format: Annotated[str, typer.Option(help="saved_model, onnx, web or triton.")] = "saved_model",  # noqa: A002
    opset: Annotated[int, typer.Option(help="Of ONNX: 13 to 18.")] = 18,
    precision: Annotated[
        str, typer.Option(help="Of ONNX: float32, float16 or int8, whose loss is measured.")
    ] = "float32",
    external_data: Annotated[
        bool, typer.Option("--external-data", help="Of ONNX: weights in files beside the graphs.")
    ] = False,
    function: Annotated[
        list[str] | None,
        typer.Option(
            help="One besides generate, such as encode, sample, interpolate or discriminate; "
            "repeatable. Not of web. Default: those that the format usually has."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Compare every function with the model's, for few inputs, before the export is "
            "put in its place.",
        ),
    ] = True,
) -> None:
    """Writes a SavedModel for TF Serving, ONNX files, a playground, or Triton's repository."""
    from export import FORMATS, export_model
    from zoo.training.runs import load_run

    if format not in FORMATS:
        raise ValueError(f"--format {format}: expected one of {', '.join(FORMATS)}.")
    given = {
        "opset": (opset, 18, ("onnx", "triton")),
        "precision": (precision, "float32", ("onnx", "triton")),
        "external_data": (external_data, False, ("onnx", "triton")),
        "functions": (function or None, None, ("saved_model", "onnx", "triton")),
    }
    options = {name: value for name, (value, default, _) in given.items() if value != default}
    for name in options:
        if format not in given[name][2]:
            option = name.removesuffix("s").replace("_", "-")
            raise ValueError(f"--{option} is of {', '.join(given[name][2])}, and not of {format}.")
    _check_export(out, format)
    folder = _run_of(run)
    model = load_run(folder)
    run_folder = str(folder.resolve())
    written = export_model(model, out, format=format, run=run_folder, verify=verify, **options)
    checked = "" if verify else " (not compared with the model)"
    say(f"Exported {format}: {written}{checked}")


@app.command(cls=TensorFlowCommand)
def verify(
    path: Annotated[Path, typer.Argument(help="An export, as `zoo export` makes.")],
    against: Annotated[
        str | None,
        typer.Option(help="The run or pretrained model. Default: the one it was exported from."),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="TensorFlow of a SavedModel; 'ONNX Runtime', 'ONNX reference' or OpenVINO of "
            "ONNX; repeatable. Default: all that are installed."
        ),
    ] = None,
) -> None:
    """Compares every exported function with the Keras model; exits 1 if one is out of tolerance."""
    from export import read_export
    from export import verify as verify_export
    from zoo.training.runs import load_run

    run = read_export(path)["run"] if against is None else _run_of(against)
    if run is None:
        raise ValueError(f"{path} does not name the run it came from. Give it with --against.")
    report = verify_export(path, load_run(run), runtimes=runtime)
    console.print(report.table())
    if not report.passed:
        say("The export does not compute what the model computes.", errors)
        raise typer.Exit(1)


@app.command(cls=TensorFlowCommand)
def serve(
    path: Annotated[
        str,
        typer.Argument(
            help="A run folder, whose playground is exported into RUN/export/web if it is not "
            "there yet; a pretrained model; or an export of format web or onnx.",
            autocompletion=_presets,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen at. There is no authentication.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    max_batch: Annotated[int, typer.Option(min=1, help="Most images a request may have.")] = 256,
    max_values: Annotated[
        int, typer.Option(min=1, help="Most numbers an answer may have: images times their size.")
    ] = 2**20,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds to receive a request, to compute it, and to send it."),
    ] = 30.0,
) -> None:
    """Serves the playground, and the Open Inference Protocol under /v2, until Ctrl-C."""
    from export.serving.serve import export_of
    from export.serving.serve import serve as serve_export

    export = export_of(_run_of(path), say)
    say(f"Serving {export}")
    serve_export(
        export,
        host=host,
        port=port,
        max_batch=max_batch,
        max_values=max_values,
        timeout=timeout,
    )


@app.command(cls=TensorFlowCommand)
def bench(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Rows to do. Default: one for each model.")
    ] = None,
    data: Annotated[str, typer.Option(help="As of `zoo train`.")] = "fashion_mnist",
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the training images, of every row.")
    ] = 10,
    seeds: Annotated[str, typer.Option(help="Such as 0,1: all rows with 0, then with 1.")] = "0",
    out: Out = Path("runs/bench"),
    extractor: Annotated[
        str | None, typer.Option(help="Feature extractor. Default: the one made for the data.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Train nothing: write what --out has as a table between the markers <!-- bench "
            "DATA --> and <!-- /bench DATA --> of this file; with --pretrained, what the presets' "
            "files say, between <!-- presets --> and <!-- /presets -->."
        ),
    ] = None,
    *,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Train nothing: measure the named presets again, by default all, and exit 1 if a "
            "figure is further from their cards than its sampling error allows.",
        ),
    ] = False,
) -> None:
    """Trains and measures one row per model; goes on where it was stopped.

    Several processes may share an --out: each row is done by one of them.
    """
    if pretrained:
        _bench_presets(rows or (), table)
        return
    if table is not None:
        from zoo.bench.table import write_table

        write_table(out, table)
        say(f"Table: {table}")
        return
    _check_folder(out)
    from zoo.bench.run import bench as run_bench

    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds {seeds}: expected numbers, such as 0,1.") from error
    for number in numbers:
        if not 0 <= number < 2**32:
            raise ValueError(f"--seeds {seeds}: expected numbers from 0 to {2**32 - 1}.")

    options: dict[str, Any] = {"epochs": epochs, "seeds": numbers, "extractor": extractor}
    if not run_bench(rows or (), data, out, **options, say=say):
        say("Stopped; the same command goes on.")
        raise typer.Exit(130)


def _bench_presets(names: Sequence[str], table: Path | None) -> None:
    """Measures presets again; or writes the table of what they say."""
    from zoo.hub import check, list_pretrained
    from zoo.hub.measuring import NoTestDataError

    if table is not None:
        from zoo.bench.table import write_presets

        write_presets(table)
        say(f"Table: {table}")
        return
    faults = []
    for name in names or [preset.name for preset in list_pretrained()]:
        try:
            found = check(name)
        except NoTestDataError as error:
            say(f"{name}: not measured. {error}")
            if names:
                raise typer.Exit(1) from error
            continue
        say(f"{name}: {'as its card says' if not found else 'NOT as its card says'}")
        faults += found
    for fault in faults:
        say(fault)
    if faults:
        raise typer.Exit(1)


@app.command(cls=TensorFlowCommand)
def push(
    run: Run,
    repository: Annotated[str, typer.Argument(help="hf://ORGANISATION/NAME, created if needed.")],
    *,
    private: Annotated[bool, typer.Option("--private", help="Of a new repository.")] = False,
) -> None:
    """Publishes a model on Hugging Face, as `load_pretrained` takes it."""
    from zoo.hub import push as push_preset

    address = push_preset(_run_of(run), repository, private=private)
    say(f"Published: {address}")


@app.command(cls=TensorFlowCommand)
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Out = Path("report.html"),
) -> None:
    """Writes one HTML page: metrics, pictures, conversions and verified exports of the runs."""
    _check_file(out)
    from zoo.evaluation.report import write_report

    write_report(runs, out)
    say(f"Report: {out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. It ends with a status; errors are sentences on standard error."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    print_on_any_terminal()
    try:
        with _sigterm(_terminate):
            app(args=arguments, prog_name="zoo")
    except TerminatedError:  # here, for it may come while Typer still makes the commands
        say("Ended by SIGTERM.", errors)
        sys.exit(143)


def _terminate(number: int, frame: Any) -> None:  # noqa: ARG001  (a signal handler's arguments)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
    raise TerminatedError


@contextmanager
def _sigterm(handler: Any) -> Iterator[None]:
    """What SIGTERM does within; it stays ignored where the caller of the process had it so."""
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, _terminate):
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drops what C++ prints: TensorFlow 2.21's first lines ignore TF_CPP_MIN_LOG_LEVEL."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs; values are JSON where they can be, else text."""
    options = {}
    for pair in pairs:
        name, text = _pair(pair, "--option")
        if name in OPTIONS_OF_COMMANDS:
            raise ValueError(f"--option {pair}: expected {OPTIONS_OF_COMMANDS[name]}.")
        try:
            options[name] = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or more digits or brackets than it takes
            options[name] = text
    return options


def _model_options(
    model: str, options: dict[str, Any], data: str, network: str | None
) -> dict[str, Any]:
    """The options given, and the number of classes for a model that needs one."""
    from zoo.training.runs import with_classes

    chosen = {} if network is None else {"network": network}
    return chosen | with_classes(model, options, data)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"{option} {text}: expected name=value.")
    return name, value


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


def _check_parent(path: Path) -> None:
    """Raises OSError if nothing can be written beside a path."""
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {parent} is no folder.")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: you may not write into {parent}.")


def _check_file(out: Path) -> None:
    """Raises OSError if a file cannot be written there."""
    _check_parent(out)
    if out.is_dir():
        raise IsADirectoryError(f"{out} is a folder; expected the name of a file to write.")


def _check_folder(out: Path) -> None:
    """Raises OSError if a folder cannot be made or written there."""
    _check_parent(out / "file")


def _check_pictures(out: Path) -> None:
    if out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out {out}: expected a .png or .npy file.")
    _check_file(out)


def _check_new_run(out: Path) -> None:
    _check_folder(out)
    if (out / "model.keras").exists():
        raise FileExistsError(f"{out} holds a run already. Choose another folder, or remove it.")


def _check_export(out: Path, format_name: str) -> None:
    """A SavedModel's folder takes further versions; the others are new."""
    _check_folder(out)
    if format_name != "saved_model" and out.exists():
        raise FileExistsError(f"{out} exists. Choose another folder, or remove it.")


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
    for name, value in _parse_options(given.get("option") or []).items():
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


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_images(out: Path, images: Any, columns: int | None = None) -> None:
    if out.suffix == ".npy":
        import numpy as np

        from zoo.io.files import replacing

        with replacing(out) as temporary:
            np.save(temporary, images)
    else:
        from zoo.io.pictures import save_grid

        save_grid(out, images, columns)
    say(f"{len(images)} images: {out}")
