"""The presets that come with the package, by name.

`registry.json` beside their folders lists them, so that `zoo list --pretrained` opens one file and
a preset loaded by name is the one that was released.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zoo.core.registry import list_models
from zoo.io import schemas
from zoo.io.files import read_json, sha256, write_json
from zoo.io.names import suggestion

FORMAT = schemas.REGISTRY.format
REGISTRY = "registry.json"
HEADLINES = ("frechet_distance", "iwae_bound")  # what a preset is known by: the first it has


@dataclass(frozen=True)
class Preset:
    """What is known of a preset without loading it.

    Attributes:
        name: Its folder's.
        family: "vae" or "gan".
        model: One of `zoo.list_models()`.
        data: Name of what it was trained on, if recorded.
        image_shape: (height, width, channels).
        size: Size of all its files, in bytes.
        sha256: SHA-256 of its `config.json`, which has those of its other files.
        headline: Its first metric of `HEADLINES`, (name, value), if measured.
    """

    name: str
    family: str
    model: str
    data: str | None
    image_shape: tuple[int, int, int]
    size: int
    sha256: str
    headline: tuple[str, float] | None


def saved_models() -> Path:
    """Where they lie: within an installed package, or at the root of a checkout."""
    within = Path(__file__).parent / "saved_models"
    return within if within.exists() else Path(__file__).parents[2] / "saved_models"


def list_pretrained(filter: str | None = None) -> list[Preset]:  # noqa: A002  (as in timm)
    """The presets that `load_pretrained` knows by name, sorted.

    Args:
        filter: A shell-style pattern of names, such as "*_fashion_mnist"; default: all.

    Raises:
        ValueError: If `registry.json` is damaged.
    """
    path = saved_models() / REGISTRY
    if not path.exists():
        return []
    registry = read_json(path, schemas.REGISTRY)
    presets = [_preset(name, entry) for name, entry in registry["presets"].items()]
    return [preset for preset in presets if filter is None or fnmatchcase(preset.name, filter)]


def find(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: If there is none; the nearest names are suggested.
    """
    presets = {preset.name: preset for preset in list_pretrained()}
    if name not in presets:
        hint = suggestion(name, presets) if presets else "None come with this version."
        if name in list_models():
            hint = f"{name} is a model: `zoo train {name}` trains one. {hint}"
        msg = f"Unknown preset {name!r}. {hint} There is no file or folder of that name either."
        raise ValueError(msg)
    return presets[name]


def folder_of(name: str) -> Path:
    """The folder of the preset of a name, whose `config.json` is the one released.

    Raises:
        ValueError: If there is none, or its `config.json` is another.
        FileNotFoundError: If the folder is missing.
    """
    preset = find(name)
    folder = saved_models() / name
    found = sha256(folder / "config.json")
    if found != preset.sha256:
        msg = (
            f"{folder}/config.json has the sha256 {found}, but {REGISTRY} says {preset.sha256}. "
            "Install the package anew; after a change of your own, call write_registry()."
        )
        raise ValueError(msg)
    return folder


def write_registry() -> None:
    """Writes `registry.json` of the preset folders that are there."""
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
    }


def _preset(name: str, entry: dict[str, Any]) -> Preset:
    height, width, channels = entry["image_shape"]
    headline = entry["headline"]
    return Preset(
        name=name,
        **{key: entry[key] for key in ("family", "model", "data", "size", "sha256")},
        image_shape=(height, width, channels),
        headline=headline and tuple(headline),
    )
