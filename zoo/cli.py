"""The `zoo` command. Heavy imports wait inside the commands: `zoo --help` answers at once."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand

from zoo import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

app = typer.Typer(
    help="VAEs and GANs in Keras 3: train, evaluate, convert, export, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

Run = Annotated[
    Path,
    typer.Argument(
        help="A run folder, as `zoo train` and `zoo convert` make, or a checkpoint in one."
    ),
]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Data = Annotated[
    str | None,
    typer.Option(help="A TFDS name, a folder of images or an .npz. Default: the run's own data."),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCALE, CHECKPOINTS = "Speed and scale", "Checkpoints"  # headings of `zoo train --help`


class TensorFlowCommand(TyperCommand):
    """A command that imports TensorFlow, once its arguments are known to be right."""

    def invoke(self, ctx: Any) -> Any:
        """Imports TensorFlow, then runs the command."""
        with _silent_stderr():
            import tensorflow as tf  # noqa: F401
        return super().invoke(ctx)


@app.command("list")
def list_command() -> None:
    """Lists the models."""
    table = Table("model", "family", "what it is")
    for model in registry.describe_models():
        table.add_row(model.name, model.family, model.summary)
    console.print(table)


@app.command(cls=TensorFlowCommand)
def train(
    model: Annotated[str, typer.Argument(help="A model of `zoo list`.")],
    data: Annotated[
        str, typer.Option(help="A TFDS name, a folder of images or an .npz.")
    ] = "fashion_mnist_sample",
    out: Annotated[Path | None, typer.Option(help="The run folder. Default: runs/MODEL.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs in all.")] = 10,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per update, on all replicas together. Default: the model's own."
        ),
    ] = None,
    latent_dim: Annotated[int, typer.Option(min=1, help="Latent dimensions.")] = 64,
    network: Annotated[str, typer.Option(help="Architecture: conv or mlp.")] = "conv",
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Resize to this many pixels a side.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the model, such as likelihood=bernoulli or ema=0.999."),
    ] = None,
    seed: Seed = 0,
    *,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in --out to --epochs, with the settings it was begun with; only "
            "--strategy and --replicas may differ.",
        ),
    ] = False,
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
            help="Steps between checkpoints, besides one an epoch: a kill loses less; each costs "
            "the time to write the model.",
            rich_help_panel=CHECKPOINTS,
        ),
    ] = None,
) -> None:
    """Trains a model into a run folder. Ctrl-C saves; --resume continues."""
    out = out or Path("runs") / model
    config = _config_to_resume(out, model, resume=resume)
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}.")
    import keras

    from zoo import data as zoo_data
    from zoo.runs import load_run
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
    settings = {name: config.get(name, value) for name, value in given.items()}
    if not resume:
        shape = zoo_data.image_shape(data, image_size)
    devices = strategies.strategy(strategy, replicas=replicas)
    with devices.scope():
        if resume:
            trained = load_run(out)
        else:
            keras.utils.set_random_seed(seed)
            options = {"network": network, "seed": seed, **_parse_options(option or [])}
            trained = registry.create(model, shape, latent_dim, dtype=precision, **options)
            trained.compile(
                accumulate=accumulate,
                clip_norm=clip_norm,
                jit_compile=jit,
                steps_per_execution=steps_per_execution,
            )
    chief, before = strategies.is_chief(devices), trained.steps_done
    images = settings["batch_size"] or trained.default_batch_size
    say = console.print if chief else _say_nothing
    if resume:
        say(f"Resuming {out} with the settings it was begun with.")
    if devices.num_replicas_in_sync > 1:
        say(_describe_share(strategies.describe(devices), images))

    def line(epoch: int, logs: dict[str, float]) -> None:
        if trained.stop_training:  # stopped within the epoch
            return
        values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        say(f"epoch {epoch + 1}/{epochs}  {values}", soft_wrap=True, highlight=False)

    bar = sys.stdout.isatty()
    finished = train_model(
        trained,
        settings.pop("data"),
        out,
        epochs=epochs,
        **settings,
        callbacks=[] if bar else [keras.callbacks.LambdaCallback(on_epoch_end=line)],
        verbose=int(bar and chief),
    )
    if not finished:
        say(f"Stopped at step {trained.steps_done}; saved in {out}. Continue with:")
        say(f"  zoo train {model} --out {out} --epochs {epochs} --resume", soft_wrap=True)
        raise typer.Exit(130)
    if trained.steps_done == before:
        say(f"{out} has had {epochs} epochs or more: nothing to do.")
    else:
        say(f"Trained {model} to {epochs} epochs: {out}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def launch(
    context: typer.Context,
    workers: Annotated[int, typer.Argument(min=2, help="Number of workers.")],
) -> None:
    """Runs `zoo launch N train …` as N workers on this machine's CPU, as a cluster would."""
    from zoo.launch import launch as launch_workers

    if context.args[:1] != ["train"]:
        raise ValueError("Expected a train command: zoo launch 2 train vae --out runs/vae.")
    status = launch_workers(workers, [sys.executable, "-m", "zoo", *context.args])
    raise typer.Exit(status)


@app.command(cls=TensorFlowCommand)
def info(run: Run) -> None:
    """Shows what a run folder holds."""
    from zoo.files import read_json
    from zoo.runs import read_config, run_folder

    run = run_folder(run)
    table = Table("key", "value", title=str(run))
    for key, value in read_config(run).items():
        table.add_row(key, json.dumps(value))
    for name in ("metrics.json", "history.json"):
        if (run / name).exists():
            found = read_json(run / name)
            last = found[-1] if isinstance(found, list) else found.get("metrics", {})
            for key, value in last.items():
                table.add_row(f"{name.removesuffix('.json')}: {key}", _number(value))
    console.print(table)


@app.command(cls=TensorFlowCommand)
def sample(
    run: Run,
    out: Out = Path("samples.png"),
    n: Annotated[int, typer.Option(min=1, help="Number of images.")] = 64,
    seed: Seed = 0,
) -> None:
    """Draws images from a model: a PNG grid, or an .npy of float32 [n, h, w, c]."""
    from zoo.runs import load_run

    _write_images(out, load_run(run).generate(n, seed=seed))


@app.command(cls=TensorFlowCommand)
def interpolate(
    run: Run,
    out: Out = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=1, help="Pairs of latents.")] = 6,
    steps: Annotated[int, typer.Option(min=2, help="Images a row.")] = 10,
    seed: Seed = 0,
) -> None:
    """Draws images along great circles between prior draws."""
    import numpy as np

    from zoo.runs import load_run
    from zoo.training.model import slerp

    model = load_run(run)
    latents = model.sample_latents(2 * rows, seed)
    path = slerp(latents[:rows], latents[rows:], np.linspace(0.0, 1.0, steps))
    _write_images(out, model.generate_from(path.reshape(-1, model.latent_dim)), columns=steps)


@app.command(cls=TensorFlowCommand)
def evaluate(
    run: Run,
    data: Data = None,
    split: Annotated[str, typer.Option(help="Split of the data.")] = "test",
    samples: Annotated[
        int | None, typer.Option(min=2, help="Images to generate. Default: as many as the split.")
    ] = None,
    extractor: Annotated[
        str | None, typer.Option(help="Feature extractor. Default: the one made for the data.")
    ] = None,
    importance_samples: Annotated[
        int, typer.Option(min=1, help="k of the importance-weighted bound.")
    ] = 50,
    seed: Seed = 0,
) -> None:
    """Measures a model on the test split, into metrics.json of its run folder."""
    from zoo.evaluation import evaluate as evaluate_model
    from zoo.files import write_json
    from zoo.runs import load_run, read_config

    place = run / "metrics.json" if run.is_dir() else run.with_suffix(".metrics.json")
    results = evaluate_model(
        load_run(run),
        data or read_config(run)["data"],
        split=split,
        samples=samples,
        extractor=extractor,
        importance_samples=importance_samples,
        seed=seed,
    )
    write_json(place, results)
    table = Table("metric", "value", title=f"{run} on {results['data']} ({split})")
    for name, value in results["metrics"].items():
        table.add_row(name, _number(value))
    console.print(table)
    console.print(
        f"{results['samples']} samples against {results['images']} images; "
        f"features: {results['extractor']}; likelihoods in nats per image"
    )


@app.command(cls=TensorFlowCommand)
def convert(
    run: Run,
    to: Annotated[str, typer.Option(help="The family to convert to: vae.")],
    out: Out,
    seed: Seed = 0,
) -> None:
    """Turns a GAN into a VAE with the same images, proven equal; its encoder then trains."""
    if to != "vae":
        raise ValueError(f"--to {to}: expected vae.")
    import keras

    from zoo.convert import gan_to_vae
    from zoo.files import write_json
    from zoo.runs import load_run, read_config, save_run

    source, config = load_run(run), read_config(run)
    if source.family != "gan":
        raise ValueError(f"{run} holds a {config['model']}; expected a GAN.")
    keras.utils.set_random_seed(seed)
    vae, report = gan_to_vae(source, seed=seed)
    vae.compile()
    settings = {"batch_size": vae.default_batch_size, "seed": seed, "converted_from": str(run)}
    save_run(vae, out, {"data": config["data"], "epochs": 0, **settings})
    write_json(out / "conversion.json", report.to_dict())
    console.print(report.table())
    console.print(
        f"Train its encoder with: zoo train vae --out {out} --epochs 3 --resume", soft_wrap=True
    )


@app.command(cls=TensorFlowCommand)
def export(
    run: Run,
    out: Out,
    format: Annotated[str, typer.Option(help="saved_model or onnx.")] = "saved_model",  # noqa: A002
    opset: Annotated[int, typer.Option(help="ONNX opset.")] = 18,
) -> None:
    """Writes a SavedModel in TF Serving's layout, or ONNX files."""
    from export import export_model
    from zoo.runs import load_run

    options = {"opset": opset} if format == "onnx" else {}
    written = export_model(load_run(run), out, format=format, run=str(run.resolve()), **options)
    console.print(f"Exported {format}: {written}")


@app.command(cls=TensorFlowCommand)
def verify(
    path: Annotated[Path, typer.Argument(help="An export, as `zoo export` makes.")],
    against: Annotated[
        Path | None, typer.Option(help="The run folder. Default: the one it was exported from.")
    ] = None,
) -> None:
    """Compares every exported function with the Keras model; exits 1 if one is out of tolerance."""
    from export import read_export
    from export import verify as verify_export
    from zoo.runs import load_run

    run = against or read_export(path)["run"]
    if run is None:
        raise ValueError(f"{path} does not name the run it came from. Give it with --against.")
    report = verify_export(path, load_run(run))
    console.print(report.table())
    if not report.passed:
        console.print("[bold red]The export does not compute what the model computes.[/]")
        raise typer.Exit(1)


@app.command(cls=TensorFlowCommand)
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Out = Path("report.html"),
) -> None:
    """Writes one HTML page: metrics, pictures, conversions and verified exports of the runs."""
    from zoo.report import write_report

    write_report(runs, out)
    console.print(f"Report: {out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; errors that a user can mend are printed without a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    try:
        app(args=arguments)
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        if os.environ.get("ZOO_TRACEBACK"):
            raise
        Console(stderr=True).print(f"[bold red]Error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


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
        name, separator, text = pair.partition("=")
        if not separator:
            raise ValueError(f"--option {pair}: expected name=value.")
        try:
            options[name] = json.loads(text)
        except json.JSONDecodeError:
            options[name] = text
    return options


def _config_to_resume(out: Path, model: str, *, resume: bool) -> dict[str, Any]:
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
    from zoo.runs import read_config

    config = read_config(out)
    if config["model"] != model:
        raise ValueError(f"{out} holds a {config['model']}, not a {model}.")
    return config


def _describe_share(devices: dict[str, Any], images: int) -> str:
    replicas, workers = devices["replicas"], devices["workers"]
    place = f" of {workers} workers" if workers > 1 else ""
    return f"{images} images an update: {images // replicas} on each of {replicas} replicas{place}."


def _say_nothing(*_: Any, **__: Any) -> None:
    """In place of printing, on workers other than the chief."""


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_images(out: Path, images: Any, columns: int | None = None) -> None:
    if out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out {out}: expected a .png or .npy file.")
    if out.suffix == ".npy":
        import numpy as np

        from zoo.files import replacing

        with replacing(out) as temporary:
            np.save(temporary, images)
    else:
        from zoo.pictures import save_grid

        save_grid(out, images, columns)
    console.print(f"{len(images)} images: {out}")
