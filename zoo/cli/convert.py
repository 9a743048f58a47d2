"""`zoo convert`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.options import (
    Data,
    Seed,
    check_folder,
    parse_options,
    parse_pair,
    preset_names,
    resolve_run,
)
from zoo.core import registry
from zoo.io.terminal import console, say

TO_VAE, TO_GAN = "GAN to VAE", "VAE to GAN"  # headings of `zoo convert --help`
WHITENED = 10_000  # training images that the aggregate posterior is taken over


def convert(
    run: Annotated[
        str,
        typer.Argument(
            help="A run folder, checkpoint or pretrained model; or the .keras or .h5 file of any "
            "generator.",
            autocompletion=preset_names,
        ),
    ],
    to: Annotated[str, typer.Option(help="The family to convert to: vae or gan.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the run folder. It is needed, except with --dry-run."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="A run whose model takes the weights, copied to --out; the run stays as it is. "
            "Default: a new model."
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(help="exact, partial (copy what fits) or distill (train the decoder)."),
    ] = "exact",
    data: Data = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(help="SOURCE=TARGET, names of blocks as regular expressions. Repeatable."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="Generator weights: ema (their average), raw, or auto (the average, if any).",
            rich_help_panel=TO_VAE,
        ),
    ] = "auto",
    batch_norm: Annotated[
        str,
        typer.Option(
            help="What becomes of BatchNorm. To a VAE: fold (default), keep or recalibrate. To a "
            "GAN: insert (default) or none."
        ),
    ] = "",
    encoder_init: Annotated[
        str,
        typer.Option(
            help="Where the encoder comes from: random or discriminator.", rich_help_panel=TO_VAE
        ),
    ] = "random",
    prior: Annotated[
        str,
        typer.Option(
            help="Distribution of the latents of a generator's .keras file.", rich_help_panel=TO_VAE
        ),
    ] = "standard_normal",
    discriminator_init: Annotated[
        str,
        typer.Option(
            help="Where the discriminator comes from: encoder or random.", rich_help_panel=TO_GAN
        ),
    ] = "encoder",
    model: Annotated[
        str, typer.Option(help="Model of the new GAN.", rich_help_panel=TO_GAN)
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
    pairs = dict(parse_pair(text, "--mapping") for text in mapping or [])
    options: dict[str, Any] = {"mode": mode, "mapping": pairs or None, "dry_run": dry_run}
    if to == "vae":
        options |= {"weights": weights, "encoder_init": encoder_init, "prior": prior}
        options["batch_norm"] = batch_norm or "fold"
    else:
        options |= {"discriminator_init": discriminator_init, "model": model}
        options |= {"batch_norm": batch_norm or "insert", "whiten_posterior": whiten}
        given = parse_options(option or [])
        registry.check_options(model, given)
        options |= given
    _convert(run, to, None if dry_run else out, into, data, {"seed": seed, **options})


def _convert(
    run: str,
    to: str,
    out: Path | None,
    into: Path | None,
    data: str | None,
    options: dict[str, Any],
) -> None:
    """Converts, prints the report, and writes the new run if it has a folder."""
    import keras

    from zoo import convert as zoo_convert
    from zoo import data as zoo_data
    from zoo.training.run_files import read_config
    from zoo.training.runs import is_lone_file, load_run, save_run

    path = resolve_run(run)
    foreign = is_lone_file(path)
    config = {} if foreign else read_config(path)
    source: Any = zoo_convert.load_file(path) if foreign else load_run(path)
    data = data or config.get("data")
    if data is None:
        raise ValueError(f"{run} does not know its data: name them with --data.")
    if getattr(source, "family", "gan") == to:  # a network is taken for a generator
        held = getattr(source, "model_name", "generator")
        raise ValueError(f"{run} holds a {held}, a {to.upper()} already.")
    keras.utils.set_random_seed(options["seed"])
    target = load_run(into) if into else None
    if options.get("whiten_posterior"):
        shape = source.image_shape
        say(zoo_data.describe(data, image_shape=shape))
        images = zoo_data.to_array(data, split="train", limit=WHITENED, image_shape=shape)
        options["images"] = images
    converter = zoo_convert.gan_to_vae if to == "vae" else zoo_convert.vae_to_gan
    converted, report = converter(source, target, **options)
    console.print(report.table())
    if out is None:
        return
    # A trained --into has steps and an optimizer: the new run begins now, recipe and all.
    converted.step.assign(0)
    converted.compile()
    facts = {"data": data, "epochs": 0, "converted_from": str(run)}
    facts |= {name: config[name] for name in ("class_names",) if name in config}
    batch_size = converted.default_batch_size
    fingerprint = config.get("data_fingerprint") or {}
    if data == config.get("data") and fingerprint.get("images", batch_size) < batch_size:
        batch_size = config["batch_size"]  # the data are too few for a batch of the default
    facts |= {"batch_size": batch_size, "seed": options["seed"]}
    save_run(converted, out, facts, report.to_dict())
    say(f"Train it with: zoo train {shlex.quote(str(out))} --epochs 5")


def _check_new_run(out: Path) -> None:
    check_folder(out)
    if (out / "model.keras").exists():
        raise FileExistsError(f"{out} holds a run already. Choose another folder, or remove it.")
