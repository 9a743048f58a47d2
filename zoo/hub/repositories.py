"""Where the autoencoder lies in a folder of the package diffusers, and what its licence is."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from zoo.io.records import read_json
from zoo.presets.cards import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CONFIG = "config.json"
CLASS = "AutoencoderKL"  # the one class of diffusers that is read
PIPELINE = "model_index.json"  # which a pipeline of several models has, each in a folder
SUBFOLDER = "vae"  # of a pipeline: its autoencoder
CARD = "README.md"
LICENCE = ("license", "license_name", "license_link")  # of the card's header
_HEADER = re.compile(r"---\s*\n(.*?)\n---\s*(?:\n|$)", re.DOTALL)
_ENTRY = re.compile(
    rf"^({'|'.join(LICENCE)}):[ \t]*(?:\n[ \t]*-)?[ \t]*\[?([^\n\]#]*)", re.MULTILINE
)


def autoencoder_in(folder: Path) -> Path | None:
    """Where the model of diffusers lies that a folder has.

    Args:
        folder: A folder with the config.json of a model; or a pipeline, or another folder without
            a config.json of its own that has one in its vae/.

    Returns:
        The folder itself, or its vae/; None if it has no config.json of diffusers. What class the
        model is of is not looked at.

    Raises:
        ValueError: If the folder is a pipeline without a vae/.
    """
    place = folder if (folder / CONFIG).is_file() else folder / SUBFOLDER
    if class_of(place / CONFIG) is not None:
        return place
    if (pipeline := class_of(folder / PIPELINE)) is not None:
        msg = (
            f"{folder} is a pipeline of diffusers, {pipeline}, without a {SUBFOLDER}/{CONFIG}. "
            f"Expected one with an {CLASS} in its folder {SUBFOLDER}."
        )
        raise ValueError(msg)
    return None


def noted_autoencoder_in(folder: Path) -> Path | None:
    """As `autoencoder_in`; a warning names the subfolder, if that is what is taken."""
    place = autoencoder_in(folder)
    if place not in (None, folder):
        what = class_of(folder / PIPELINE) or "a folder"
        message = f"{folder} is {what}: only the autoencoder in its folder {SUBFOLDER} is read."
        warnings.warn(message, stacklevel=1)
    return place


def check_is_none(folder: Path, handle: str | Path) -> None:
    """Raises ValueError if there is an autoencoder of diffusers where a preset or a run should be.

    Args:
        folder: The folder.
        handle: How the user named it.
    """
    if autoencoder_in(folder) is not None:
        msg = (
            f"{handle} is an autoencoder of diffusers: zoo.load reads it. Other functions and "
            f"commands take a preset made of it: zoo import {handle} --out NAME."
        )
        raise ValueError(msg)


def class_of(file: Path) -> str | None:
    """The class that a JSON file of diffusers names; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        content: Any = read_json(file)
    except ValueError:
        return None
    name = content.get("_class_name") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def licence_of(folders: Iterable[Path]) -> dict[str, str]:
    """What the first README.md with a header says of the licence.

    Args:
        folders: The folders that may have the README.md, the nearest first.

    Returns:
        `license`, and `license_name` and `license_link` where they are given. `license` is
        "unknown" if none is stated.
    """
    for folder in folders:
        if (folder / CARD).is_file():
            text = (folder / CARD).read_text(encoding="utf-8", errors="replace")
            header = _HEADER.match(text.replace("\r\n", "\n").lstrip("\ufeff"))
            found = {
                key: value
                for key, raw in _ENTRY.findall(header[1] if header else "")
                if (value := raw.partition(",")[0].strip().strip("'\""))
            }
            if found.get("license"):
                return found
    return {"license": UNKNOWN}
