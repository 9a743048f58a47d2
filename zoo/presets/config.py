"""`config.json` of a preset, and the checks that it passes before a model is made of it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from zoo.core import registry
from zoo.io.names import suggestion
from zoo.presets.allowed import check_objects
from zoo.presets.files import CONFIG, FILES, FORMAT, WEIGHTS, read_unchecked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.core.model import ZooModel

SHA256 = re.compile("[0-9a-f]{64}")


def describe(
    model: ZooModel, data: str | None, facts: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
    """The contents of `config.json` for a model.

    Args:
        model: The model.
        data: Name of the data that it was trained on.
        facts: How it was made; plain JSON.
        files: The SHA-256 of each file beside `config.json`.

    Raises:
        ValueError: If a network of the model has a class that a preset may not name, or a fact is
            no plain JSON.
    """
    options = model.get_config()
    options.pop("dtype", None)  # of the training; the figures of a preset are those of float32
    config = {
        "format": FORMAT,
        "model": model.model_name,
        "family": model.family,
        "image_shape": list(options.pop("image_shape")),
        "latent_dim": options.pop("latent_dim"),
        "options": _plain(options, "options"),
        "parameters": model.count_params(),
        "data": data,
        "facts": _plain(dict(facts), "facts"),
        "files": dict(files),
    }
    _check(config, model.model_name)
    return config


def read_config(folder: str | Path) -> dict[str, Any]:
    """Reads and checks `config.json` of a preset.

    Raises:
        FileNotFoundError: If the folder is no preset.
        ValueError: If it is of a later format, names an unknown model, option or class, or does
            not have the form that `describe` gives it.

    Example:
        >>> from zoo.hub import resolve
        >>> from zoo.presets import read_config
        >>> read_config(resolve("vae_fashion_mnist"))["image_shape"]
        [28, 28, 1]
    """
    config = read_unchecked(folder)
    _check(config, str(Path(folder) / CONFIG))
    return config


def model_class(config: Mapping[str, Any]) -> type[ZooModel]:
    """The class of the model that a checked `config.json` names."""
    registry.import_models()
    return keras.saving.get_registered_object(f"zoo>{config['model']}")


def _check(config: Mapping[str, Any], where: str) -> None:
    """Checks what the schema, which knows the types of the entries, does not."""

    def expect(good: Any, name: str, expected: str) -> None:
        if not good:
            value = repr(config[name])[:200]
            msg = f"{where}: {name}={value}: expected {expected}. Was it edited?"
            raise ValueError(msg)

    name, files = config["model"], config["files"]
    models = registry.list_models()
    expect(name in models, "model", f"one of {', '.join(models)}")
    cls = model_class(config)
    expect(config["family"] == cls.family, "family", repr(cls.family))
    expect(WEIGHTS in files, "files", f"{WEIGHTS} and its sha256")
    for file, sha256 in files.items():
        whole = file in FILES and SHA256.fullmatch(sha256)
        expect(whole, "files", f"files among {', '.join(FILES)}, and their sha256")
    for option in config["options"]:
        if option not in accepted(cls):
            near = suggestion(option, sorted(accepted(cls)))
            msg = f"{where}: {name} has no option {option!r}. {near}"
            raise ValueError(msg)
    check_objects(config["options"], f"{where}: options")


def accepted(cls: type) -> set[str]:
    """Names of a model's options, without `image_shape` and `latent_dim`."""
    return registry.accepted(cls).keys() - {"image_shape", "latent_dim"}


def _plain(value: Any, where: str) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(each, f"{where}/{key}") for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, f"{where}/{i}") for i, each in enumerate(value)]
    plain = value is None or isinstance(value, (str, bool, int, float))
    if plain and not (isinstance(value, float) and not math.isfinite(value)):
        return value
    msg = f"{where}={value!r}: expected plain JSON (text, finite numbers, lists, dicts)."
    raise ValueError(msg)
