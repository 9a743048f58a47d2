"""The small files of a run folder, read without TensorFlow: `zoo info` answers at once."""

from __future__ import annotations

import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.io import schemas
from zoo.io.names import as_path
from zoo.io.records import parse_json, read_json
from zoo.presets.files import WEIGHTS, is_preset, read_unchecked
from zoo.presets.files import read_metrics as read_preset_metrics

if TYPE_CHECKING:
    from zoo.core.model import ZooModel

LATEST, BEST, CHECKPOINTS = "model.keras", "best.keras", "checkpoints"
# Entries of config.json that a run has which began from another model.
ORIGINS = ("converted_from", "finetuned_from")
PACKAGES = ("vaegan-zoo", "tensorflow", "keras", "numpy")
LOAD_MODEL = (  # of a file that `model.save` wrote
    "In Python `keras.models.load_model` loads such a file. `zoo.train` leaves a run folder, which "
    "every command takes."
)


def describe(model: ZooModel) -> dict[str, Any]:
    """The entries of `config.json` that depend on the model alone."""
    return {
        "format": schemas.RUN.format,
        "model": model.model_name,
        "image_shape": model.image_shape,
        "latent_dim": model.latent_dim,
        "precision": model.dtype_policy.name,
        "parameters": model.count_params(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def run_folder(path: str | Path) -> Path:
    """The run folder of a path that `load_run` takes."""
    path = as_path(path, "run")
    if path.suffix != ".keras":
        return path
    return path.parent.parent if path.parent.name == CHECKPOINTS else path.parent


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads `config.json` of a run or a preset; the path is as for `load_run`.

    The options that a preset names are checked when it is loaded, and not here.

    Raises:
        FileNotFoundError: If the path is in no run folder.
        ValueError: If the file is of a format that this version does not know, or an entry is
            missing or of another type; the file and the entry are named.
    """
    path, given = run_folder(path), Path(path)
    if is_preset(path):
        return read_unchecked(path)
    if not (path / "config.json").exists():
        if not given.exists():
            msg = f"{given} does not exist."
            raise FileNotFoundError(msg)
        msg = (
            f"{path} is not a run folder (no config.json). `zoo train` and `zoo convert` make them."
        )
        if path != given:
            msg = f"{given} is in no run folder. {LOAD_MODEL}"
        raise FileNotFoundError(msg)
    try:
        return read_json(path / "config.json", schemas.RUN)
    except ValueError as error:
        if not _is_of_preset(path / "config.json"):
            raise
        msg = f"{path} is a preset without its {WEIGHTS}. Was it copied whole? Get it anew."
        raise FileNotFoundError(msg) from error


def _is_of_preset(file: Path) -> bool:
    try:
        read_json(file, schemas.PRESET)
    except ValueError:
        return False
    return True


def read_options(path: str | Path) -> dict[str, Any]:
    """The options that the model of a run or a preset was created with, as JSON has them.

    Args:
        path: As for `load_run`.

    Returns:
        The options by name, without those that `config.json` has: shape, latents and precision. A
        network of the user's own is its Keras configuration.

    Raises:
        FileNotFoundError: If the run has no checkpoint.
        zipfile.BadZipFile, ValueError: If the checkpoint is damaged.
    """
    path, name = Path(path), "config.json"
    if is_preset(path):
        options = read_unchecked(path)["options"]
    else:
        with zipfile.ZipFile(path if path.suffix == ".keras" else path / LATEST) as file:
            try:
                options = parse_json(file.read(name), name)["config"]
            except (KeyError, TypeError) as error:
                msg = f"{file.filename} is no Keras file of a model of the zoo."
                raise ValueError(msg) from error
    in_config = ("name", "dtype", "image_shape", "latent_dim")
    return {key: value for key, value in options.items() if key not in in_config}


def required(config: dict[str, Any], key: str, path: str | Path) -> Any:
    """An entry of `config.json` that not every run has.

    Args:
        config: What `read_config(path)` gives.
        key: Name of the entry.
        path: As for `load_run`.

    Raises:
        ValueError: If it is missing or null; the file and the entry are named.
    """
    if config.get(key) is None:
        msg = (
            f"{run_folder(path) / 'config.json'} has no {key!r}, which is needed here. Give it as "
            "an option or argument, or add it to the file."
        )
        raise ValueError(msg)
    return config[key]


def class_names(config: dict[str, Any]) -> list[str]:
    """The names of the classes, in the order of their numbers; none if they are only numbered.

    Args:
        config: What `read_config` gives, of a run or a preset.
    """
    names: list[str] = config.get("class_names") or config.get("facts", {}).get("class_names") or []
    return names


def read_metrics(path: str | Path) -> dict[str, Any] | None:
    """Reads `metrics.json` of a run or a preset; None if there is none.

    Raises:
        FileNotFoundError: If the path is in no run folder.
        ValueError: If an entry is missing or of another type, or a preset's file is not the one
            that its `config.json` says.
    """
    folder = run_folder(path)
    if is_preset(folder):
        return read_preset_metrics(folder, read_unchecked(folder))
    place = folder / "metrics.json"
    return read_json(place, schemas.METRICS) if place.exists() else None


def data_of(config: dict[str, Any], path: str | Path) -> str:
    """The data that a run was trained on, as `zoo.data.read` takes them.

    Args:
        config: What `read_config(path)` gives.
        path: As for `load_run`.

    Raises:
        ValueError: If the run does not name them, or was trained on an array.
        FileNotFoundError: If they are a file or a folder that is gone.
    """
    stored = required(config, "data", path)
    file = run_folder(path) / "config.json"
    if stored == "array":
        msg = (
            f"{path} was trained on an array. Give the data as `source` (`zoo evaluate --data`), "
            f"or name them in {file}."
        )
        raise ValueError(msg)
    if Path(stored).is_absolute() and not Path(stored).exists():
        msg = (
            f"{stored} does not exist. {path} was begun with it. If it was moved, change data in "
            f"{file}, or give it as `source` (`zoo evaluate --data`)."
        )
        raise FileNotFoundError(msg)
    return stored
