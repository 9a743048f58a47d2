"""The presets that come with the package, by name.

`registry.json` beside their folders lists them, so that `zoo list --pretrained` opens one file and
a preset loaded by name is the one that was released.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zoo.core.registry import list_models
from zoo.io import schemas
from zoo.io.files import sha256
from zoo.io.names import nearest, suggestion
from zoo.io.records import read_json, write_json

FORMAT = schemas.REGISTRY.format
REGISTRY = "registry.json"
HEADLINES = ("frechet_distance", "iwae_bound")  # what a preset is known by: the first it has
# Names of earlier versions, which did not say that these models are conditional.
RENAMED = {
    f"{model}_fashion_mnist": f"{model}_conditional_fashion_mnist"
    for model in ("dcgan", "sngan", "r3gan", "vae_to_gan", "wgan_gp")
}


@dataclass(frozen=True)
class Preset:
    """What is known of a preset without loading it.

    Attributes:
        name: The name of its folder.
        family: "vae" or "gan".
        model: One of `zoo.list_models()`.
        data: Name of the data that it was trained on, if recorded.
        image_shape: (height, width, channels).
        size: Size of all its files, in bytes.
        sha256: SHA-256 of its `config.json`, which has the SHA-256 of each other file.
        headline: Its first metric of `HEADLINES`, (name, value), if measured.
        num_classes: Number of classes that the images can be asked of; 0: it is unconditional.

    Example:
        >>> from zoo.hub import list_pretrained
        >>> [preset.num_classes for preset in list_pretrained("*cvae*")]
        [10]
    """

    name: str
    family: str
    model: str
    data: str | None
    image_shape: tuple[int, int, int]
    size: int
    sha256: str
    headline: tuple[str, float] | None
    num_classes: int = 0


def saved_models() -> Path:
    """The folder of the presets: in an installed package, or at the root of a checkout."""
    within = Path(__file__).parent / "saved_models"
    return within if within.exists() else Path(__file__).parents[2] / "saved_models"


def list_pretrained(filter: str | None = None) -> list[Preset]:  # noqa: A002  (as in timm)
    """Lists the presets that `load_pretrained` knows by name, sorted by name.

    Args:
        filter: A shell-style pattern of names, such as "*_fashion_mnist"; default: all.

    Raises:
        ValueError: If `registry.json` is damaged.

    Example:
        >>> import zoo
        >>> [preset.name for preset in zoo.list_pretrained("cvae*")]
        ['cvae_fashion_mnist']
    """
    path = saved_models() / REGISTRY
    if not path.exists():
        return []
    registry = read_json(path, schemas.REGISTRY)
    presets = [_preset(name, entry) for name, entry in registry["presets"].items()]
    return [preset for preset in presets if filter is None or fnmatchcase(preset.name, filter)]


def current_name(name: str) -> str:
    """The present name of a preset; an earlier name gives a warning that tells the present one."""
    if name not in RENAMED:
        return name
    message = f"The preset {name} is now called {RENAMED[name]}."
    warnings.warn(message, FutureWarning, stacklevel=2)
    return RENAMED[name]


def find(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: If there is no such preset; the error suggests the nearest names.
    """
    presets = {preset.name: preset for preset in list_pretrained()}
    name = current_name(name)
    if name not in presets:
        hint = suggestion(name, presets) if presets else "None come with this version."
        if name in list_models():
            hint = f"{name} is a model: `zoo train {name}` trains one. {hint}"
        elif not nearest(name, presets) and (models := nearest(name, list_models())):
            hint = f"Did you mean the model {' or '.join(models)}?"
        msg = f"Unknown preset {name!r}. {hint} There is no file or folder of that name either."
        raise ValueError(msg)
    return presets[name]


def folder_of(name: str) -> Path:
    """The folder of a preset, after a check that its `config.json` is the one released.

    Raises:
        ValueError: If there is no such preset, or its `config.json` is another.
        FileNotFoundError: If the folder is missing.
    """
    preset = find(name)
    folder = saved_models() / preset.name
    digest = sha256(folder / "config.json")
    if digest != preset.sha256:
        msg = (
            f"{folder}/config.json has the sha256 {digest}, but {REGISTRY} says {preset.sha256}. "
            "Install the package anew; after a change of your own, call write_registry()."
        )
        raise ValueError(msg)
    return folder


def write_registry() -> None:
    """Writes `registry.json`, which lists the preset folders beside it.

    Example:
        >>> from zoo.hub import write_registry
        >>> write_registry()  # doctest: +SKIP
    """
    write_json(saved_models() / REGISTRY, registry_of(saved_models()))


def registry_of(folder: Path) -> dict[str, Any]:
    """The registry of the preset folders in a folder, as plain JSON."""
    entries = {path.parent.name: _entry(path.parent) for path in folder.glob("*/config.json")}
    return {"format": FORMAT, "presets": dict(sorted(entries.items()))}


def _entry(folder: Path) -> dict[str, Any]:
    from zoo.presets import check_preset, read_metrics  # noqa: PLC0415

    config = check_preset(folder)
    values = (read_metrics(folder, config) or {"metrics": {}})["metrics"]
    headline = next(([name, values[name]] for name in HEADLINES if name in values), None)
    return {
        **{key: config[key] for key in ("family", "model", "data", "image_shape")},
        "size": sum(path.stat().st_size for path in folder.iterdir()),
        "sha256": sha256(folder / "config.json"),
        "headline": headline,
        "num_classes": config["options"].get("num_classes", 0),
    }


def _preset(name: str, entry: dict[str, Any]) -> Preset:
    height, width, channels = entry["image_shape"]
    headline = entry["headline"]
    return Preset(
        name=name,
        **{key: entry[key] for key in ("family", "model", "data", "size", "sha256", "num_classes")},
        image_shape=(height, width, channels),
        headline=headline and tuple(headline),
    )
