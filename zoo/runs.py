"""Run folders: what training leaves and every later command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from zoo import registry
from zoo.files import read_json, write_json
from zoo.training.train import FORMAT, describe, save

if TYPE_CHECKING:
    from zoo.training.model import ZooModel

__all__ = ["load_run", "read_config", "save_run"]


def load_run(path: str | Path) -> ZooModel:
    """Loads the model of a run folder, compiled, with its optimizers' state.

    Raises:
        FileNotFoundError: If `path` is no run folder.
        ValueError: If its model file cannot be read, or is of a later format.
    """
    path = Path(path)
    read_config(path)
    if not (path / "model.keras").exists():
        msg = (
            f"{path} has no model.keras: its training stopped before the first epoch ended. "
            "Train again, without --resume."
        )
        raise FileNotFoundError(msg)
    registry.import_models()
    try:
        return keras.models.load_model(path / "model.keras")
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path / 'model.keras'} cannot be loaded: {error}"
        raise ValueError(msg) from error


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads `config.json` of a run folder.

    Raises:
        FileNotFoundError: If `path` is no run folder.
        ValueError: If it is of a format this version does not know.
    """
    path = Path(path)
    if not (path / "config.json").exists():
        msg = (
            f"{path} is not a run folder (no config.json). `zoo train` and `zoo convert` make them."
        )
        raise FileNotFoundError(msg)
    config = read_json(path / "config.json")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        msg = f"{path}/config.json: expected a run of format {FORMAT}; another version made it?"
        raise ValueError(msg)
    return config


def save_run(model: ZooModel, out: str | Path, config: dict[str, Any]) -> None:
    """Writes a run folder for a model that was not trained there.

    Args:
        model: A compiled model.
        out: The folder; must not hold a run yet.
        config: Entries of `config.json` beside those of the model: data, seed and the like.

    Raises:
        FileExistsError: If `out` holds a run.
    """
    out = Path(out)
    if (out / "model.keras").exists():
        msg = f"{out} holds a run already. Choose another folder, or remove it."
        raise FileExistsError(msg)
    write_json(out / "config.json", {**config, **describe(model)})
    save(model, out)
