"""The files of a preset, read without TensorFlow: `zoo info` and `zoo report` answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.io import schemas
from zoo.io.files import sha256
from zoo.io.records import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = schemas.PRESET.format
CONFIG, WEIGHTS, METRICS, CARD = "config.json", "model.weights.h5", "metrics.json", "README.md"
SAMPLES, RECONSTRUCTIONS = "samples.png", "reconstructions.png"
SAMPLER, SAMPLER_SAMPLES = "sampler_gmm.npz", "samples_gmm.png"
FILES = (CONFIG, WEIGHTS, METRICS, CARD, SAMPLES, RECONSTRUCTIONS, SAMPLER, SAMPLER_SAMPLES)


def is_preset(path: str | Path) -> bool:
    """Whether a path is a preset's folder. It looks at the names of the files, not into them.

    Example:
        >>> from zoo.hub import resolve
        >>> from zoo.presets import is_preset
        >>> is_preset(resolve("vae_fashion_mnist")), is_preset("runs/vae")
        (True, False)
    """
    return all((Path(path) / name).is_file() for name in (CONFIG, WEIGHTS))


def read_unchecked(folder: str | Path) -> dict[str, Any]:
    """Reads `config.json` of a preset, and checks only its format and the types of its entries.

    `zoo.presets.read_config` must check the names in it before a model is made of them.

    Raises:
        FileNotFoundError: If the folder is no preset.
        ValueError: If it has a later format, or an entry is missing or has another type.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        msg = f"{folder} is not a preset (no {CONFIG}). `save_preset` and `zoo push` make them."
        raise FileNotFoundError(msg)
    return read_json(path, schemas.PRESET)


def read_metrics(folder: str | Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reads the `metrics.json` of a preset, after a check of its hash.

    Args:
        folder: The preset's folder.
        config: The contents of its `config.json`.

    Returns:
        The metrics as `zoo.hub.measure` returned them; None if there is no such file.

    Raises:
        ValueError: If `config` does not list the file or states another hash, or the file does not
            have the form that `measure` gives it.

    Example:
        >>> from zoo.hub import resolve
        >>> from zoo.presets import read_config, read_metrics
        >>> folder = resolve("vae_fashion_mnist")
        >>> read_metrics(folder, read_config(folder))["data"]
        'fashion_mnist'
    """
    path = Path(folder) / METRICS
    if not path.exists():
        return None
    check_files(folder, config, [METRICS])
    return read_json(path, schemas.METRICS)


def check_files(folder: str | Path, config: Mapping[str, Any], names: Sequence[str]) -> None:
    """Checks files of a preset against the hashes in its configuration.

    Args:
        folder: The preset's folder.
        config: The contents of its `config.json`.
        names: Names of the files to check.

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If `config` does not list one of them, or states another hash.

    Example:
        >>> from zoo.hub import resolve
        >>> from zoo.presets import check_files, read_config
        >>> folder = resolve("vae_fashion_mnist")
        >>> check_files(folder, read_config(folder), ["metrics.json"])
    """
    for name in names:
        path = Path(folder) / name
        if not path.is_file():
            msg = f"{path} does not exist. Was the preset copied whole?"
            raise FileNotFoundError(msg)
        expected = config["files"].get(name)
        if expected is None:
            msg = f"{path} is not part of the preset: {CONFIG} does not list it. Remove it."
            raise ValueError(msg)
        if (digest := sha256(path)) != expected:
            msg = (
                f"{path} has the sha256 {digest}, but {CONFIG} says {expected}: it is damaged or "
                "belongs to another preset. Get it anew."
            )
            raise ValueError(msg)
