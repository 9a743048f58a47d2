"""`zoo convert`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.options import (
    PATH,
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
        typer.Option(
            help="Where to write the run folder. It is needed, except with --dry-run.", **PATH
        ),
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
    if out is None and not dry_run:
        raise ValueError("Give --out a folder for the new run, or only report with --dry-run.")
    if mapping and into is None:
        raise ValueError("--mapping says which blocks of --into take the weights: give --into.")
    if out is not None and not dry_run:
        check_folder(out)
    pairs = dict(parse_pair(text, "--mapping") for text in mapping or [])
    options: dict[str, Any] = {"mode": mode, "mapping": pairs or None}
    if to == "vae":
        options |= {"weights": weights, "encoder_init": encoder_init, "prior": prior}
        options["batch_norm"] = batch_norm or "fold"
    else:
        options |= {"discriminator_init": discriminator_init, "model": model}
        options |= {"batch_norm": batch_norm or "insert", "whiten_posterior": whiten}
        given = parse_options(option or [])
        registry.check_options(model, given)
        options |= given
    path = resolve_run(run)
    from zoo.convert import convert_run
    from zoo.convert.runs import check_new_run
    from zoo.data import describe
    from zoo.training.run_files import read_config
    from zoo.training.runs import is_lone_file

    if out is not None and not dry_run:
        check_new_run(out)
    if to == "gan" and whiten and not is_lone_file(path):
        config = read_config(path)
        if source := data or config.get("data"):
            say(describe(source, image_shape=config["image_shape"]))
    options |= {"into": into, "data": data, "seed": seed, "name": run, "dry_run": dry_run}
    _, report = convert_run(path, to, out, **options)
    console.print(report.table())
    if out is not None and not dry_run:
        say(f"Train it with: zoo train {shlex.quote(str(out))} --epochs 5")
