"""Options and arguments that several commands share, and the checks of their values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.core import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def model_names(incomplete: str) -> list[str]:
    """For completion: the models whose names begin so."""
    return [name for name in registry.list_models() if name.startswith(incomplete)]


def preset_names(incomplete: str) -> list[str]:
    """For completion: the pretrained models whose names begin so."""
    from zoo.hub import list_pretrained

    return [each.name for each in list_pretrained() if each.name.startswith(incomplete)]


def below(limit: int) -> Any:
    """Checks that a number is below a limit. (Typer prints its own ranges into a help column)."""

    def check(value: int | None) -> int | None:
        if value is not None and value >= limit:
            raise typer.BadParameter(f"Input should be less than {limit}")
        return value

    return check


def named_path(text: str) -> Path:
    """A path to write to. An empty text would be the current folder, which no one means by it."""
    if not text:
        raise typer.BadParameter("'' names no file or folder.")
    if "://" in str(text):  # Typer gives defaults too, which are paths
        raise typer.BadParameter(f"{text} is no place on a disk. Write to one, and copy it there.")
    return Path(text)


PATH: dict[str, Any] = {"parser": named_path, "metavar": "<path>"}  # arguments of such an option
COUNTED = below(2**31)  # TensorFlow's sizes are int32
Run = Annotated[
    str,
    typer.Argument(
        help="A run folder, as `zoo train` and `zoo convert` make it, or a checkpoint in one. Or a "
        "pretrained model: a name of `zoo list --pretrained`, a folder, hf://… or https://…",
        autocompletion=preset_names,
    ),
]
Out = Annotated[Path, typer.Option(help="Where to write.", **PATH)]
SOURCE = "A TFDS name, a folder or an archive of images, a prepared folder, or an .npz or .npy file"
Source = Annotated[str, typer.Argument(help=f"{SOURCE}.")]
Data = Annotated[str | None, typer.Option(help=f"{SOURCE}. Default: the run's data.")]
ImageSize = Annotated[
    int | None,
    typer.Option(min=1, callback=COUNTED, help="Resize all images to this height and width."),
]
SamplerName = Annotated[
    str,
    typer.Option(
        help="What draws the latents. Every model has prior. A VAE also has gmm and two_stage: "
        "they are fitted to the posteriors of the run's training images, and kept beside the run."
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, callback=below(2**32), help="The same seed gives the same result."),
]
StandingStatistics = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=COUNTED,
        help="First compute the BatchNorm statistics of a GAN's generator anew, from so many "
        "batches of latents (seed 0 for an export). 100 are usual.",
    ),
]
# Arguments of a model that have an option of their own, and so are no --option.
OPTIONS_OF_COMMANDS = {
    "latent_dim": "--latent-dim",
    "image_shape": "--image-size",
    "dtype": "--precision",
    "name": "no name: a run has the name of its folder",
}


def resolve_run(text: str) -> Path:
    """The path of a run folder or checkpoint; or a pretrained model's folder, downloaded first."""
    from zoo.hub.repositories import check_is_none

    path = located(text)
    check_is_none(path, text)
    return path


def located(text: str) -> Path:
    """As `resolve_run`, whatever it is that lies there."""
    from zoo.hub import resolve

    return Path(text) if text and Path(text).exists() else resolve(text)


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs; values are JSON where they can be, else text."""
    for pair in pairs:
        name, _ = parse_pair(pair, "--option")
        if name in OPTIONS_OF_COMMANDS:
            raise ValueError(f"--option {pair}: expected {OPTIONS_OF_COMMANDS[name]}.")
    return parse_values(pairs, "--option")


def parse_values(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """`name=value` pairs that an option was given; values are JSON where they can be, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, text = parse_pair(pair, option)
        if name in values:
            raise ValueError(f"{option} {name} is given twice, at last as {pair}. Give it once.")
        try:
            values[name] = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or more digits or brackets than it takes
            values[name] = text
    return values


def parse_pair(text: str, option: str) -> tuple[str, str]:
    """(name, value) of the text `name=value` that an option was given."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"{option} {text}: expected name=value.")
    return name, value


def check_parent(path: Path) -> None:
    """Raises OSError if nothing can be written beside a path."""
    _check_writable(path, path.absolute().parents)


def _check_writable(path: Path, folders: Iterable[Path]) -> None:
    """Raises OSError if the first of some folders that is there cannot be written into."""
    parent = next(each for each in folders if each.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {parent} is no folder.")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: you may not write into {parent}.")


def check_file(out: Path) -> None:
    """Raises OSError if a file cannot be written there."""
    check_parent(out)
    if out.is_dir():
        raise IsADirectoryError(f"{out} is a folder; expected the name of a file to write.")


def check_folder(out: Path) -> None:
    """Raises OSError if a folder cannot be made or written there."""
    _check_writable(out, [out.absolute(), *out.absolute().parents])
