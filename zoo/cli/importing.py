"""`zoo import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.options import PATH, ImageSize, check_folder
from zoo.io.terminal import console, say


def import_command(
    source: Annotated[
        str,
        typer.Argument(
            help="The weights: hf://ORGANISATION/NAME, a folder of it (hf://…/vae), or a folder. "
            "It must have the layout that the package diffusers has for an AutoencoderKL."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The new preset's folder.", **PATH)],
    image_size: ImageSize = None,
    precision: Annotated[
        str, typer.Option(help="Precision of the stored weights: float16 or float32.")
    ] = "float16",
) -> None:
    """Makes a preset of weights that others trained, with their licence and where they come from.

    `--image-size` is the size of exports and of drawn images; the default is the one that the
    weights' config.json has. In Python, `encode` and `decode` take every size.
    """
    from zoo.hub.importing import import_model

    check_folder(out)
    report = import_model(source, out, image_size=image_size, precision=precision)
    console.print(report.table())
    say(f"Imported: {out}. See what it is with: zoo info {shlex.quote(str(out))}")
