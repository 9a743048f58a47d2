"""Writes a preset's folder, checks it, and makes the model of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core.model import check_model
from zoo.io.files import replacing, sha256
from zoo.io.names import as_path
from zoo.io.pictures import pairs, save_grid
from zoo.io.records import write_json
from zoo.presets import config as configs
from zoo.presets.cards import card
from zoo.presets.files import (
    CARD,
    CONFIG,
    METRICS,
    RECONSTRUCTIONS,
    SAMPLER,
    SAMPLER_SAMPLES,
    SAMPLES,
    WEIGHTS,
    check_files,
    read_metrics,
)
from zoo.presets.sampler import read_sampler
from zoo.presets.weights import read_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from zoo.core.model import ZooModel

PICTURED = 64  # images of samples.png
_TOO_LARGE = (MemoryError, OverflowError, tf.errors.OpError)


def save_preset(
    model: ZooModel,
    folder: str | Path,
    *,
    data: str | None = None,
    facts: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    examples: Sequence[np.ndarray] = (),
    sampler: Any = None,
    precision: str = "float16",
    samples: bool = True,
) -> None:
    """Writes a model as a preset, whole or not at all.

    Args:
        model: A model of the zoo. The state of its optimizers is left out.
        folder: The new folder. Its name becomes the preset's name.
        data: Name of the data set that the model was trained on.
        facts: How the model was made, as plain JSON for the model card: `command`, `commit`,
            `seed`, `hardware`, `time`, `license`, `intended_use`, `limits`, …
        metrics: The result of `zoo.hub.measure`.
        examples: Images whose reconstructions are pictured, float32 [n, height, width, channels]
            in [0, 1]; for a conditional model also their labels, int [n].
        sampler: For a VAE: the `zoo.sampling.samplers.Sampler` "gmm" that was fitted to it.
        precision: "float16" halves the file and rounds weights to 3 digits; "float32" keeps them.
        samples: Whether to draw samples.png from the prior.

    Raises:
        TypeError: If `model` is no model of the zoo.
        FileExistsError: If the folder exists.
        ValueError: If a weight is not finite, the precision is unknown, or `load_preset` would
            refuse a class in the model's networks.

    Example:
        >>> import zoo
        >>> model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> zoo.save_preset(model, "my_dcgan", facts={"license": "mit"})
        >>> zoo.load("./my_dcgan").generate(2, seed=0).shape
        (2, 8, 8, 1)
    """
    check_model(model)
    _check_arguments(data, facts, metrics, sampler)
    folder = as_path(folder, "folder").absolute()
    if folder.exists():
        msg = f"{folder} exists already. Choose another folder, or remove it."
        raise FileExistsError(msg)
    with replacing(folder) as temporary:
        temporary.mkdir()
        write_weights(model, temporary / WEIGHTS, precision)
        if samples:
            save_grid(temporary / SAMPLES, model.generate(PICTURED, seed=0))
        if sampler is not None:
            labels = model.sample_labels(PICTURED, 0)
            images = model.generate_from(sampler.sample(PICTURED, 0, labels), labels)
            save_grid(temporary / SAMPLER_SAMPLES, images)
        if len(examples):
            rebuilt = model.reconstruct(*examples)
            save_grid(temporary / RECONSTRUCTIONS, pairs(examples[0], rebuilt), columns=8)
        if sampler is not None:
            sampler.save(temporary / SAMPLER)
        if metrics is not None:
            write_json(temporary / METRICS, metrics)
        hashes = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        config = configs.describe(model, data, facts or {}, hashes)
        write_json(temporary / CONFIG, config)
        text = card(folder.name, config, metrics)
        (temporary / CARD).write_text(text, encoding="utf-8")
        check_preset(temporary)  # what could not be loaded again is not kept


def _check_arguments(data: Any, facts: Any, metrics: Any, sampler: Any) -> None:
    """Raises ValueError if an argument of `save_preset` is of another kind."""
    measured = isinstance(metrics, Mapping) and isinstance(metrics.get("metrics"), Mapping)
    expected = (
        ("data", data, data is None or isinstance(data, str), "the name of a data set"),
        ("facts", facts, facts is None or isinstance(facts, Mapping), "a dict"),
        ("metrics", metrics, metrics is None or measured, "what zoo.hub.measure returned"),
        ("sampler", sampler, sampler is None or hasattr(sampler, "sample"), "a fitted sampler"),
    )
    for name, value, right, what in expected:
        if not right:
            msg = f"{name}={value!r}: expected {what}."
            raise ValueError(msg)


def load_preset(folder: str | Path) -> ZooModel:
    """Makes the model of a preset. No code in the folder is run.

    Args:
        folder: A folder that `save_preset` wrote.

    Returns:
        The model, in Keras's default precision and not compiled. `compile()` it to train it
        further, or to evaluate its loss.

    Raises:
        FileNotFoundError: If the folder is no preset.
        ValueError: If a file does not have the hash that `config.json` states, the configuration
            names something unknown or not allowed, or the weights belong to another model.

    Example:
        >>> from zoo.hub import resolve
        >>> from zoo.presets import load_preset
        >>> load_preset(resolve("vae_fashion_mnist")).generate(2, seed=0).shape
        (2, 28, 28, 1)
    """
    config = check_preset(folder)
    options = {key: config[key] for key in ("image_shape", "latent_dim")}
    try:
        model = configs.model_class(config).from_config({**config["options"], **options})
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, *_TOO_LARGE) as error:
        msg = f"{folder}/{CONFIG} makes no {config['model']}: {error}"
        raise ValueError(msg) from error
    read_weights(model, Path(folder) / WEIGHTS)
    return model


def check_preset(folder: str | Path) -> dict[str, Any]:
    """Checks the hash of every file, and the contents of every file but the weights.

    A file that `config.json` lists may be absent, except for the weights. Metrics or a sampler that
    it does not list must be absent.

    Returns:
        The contents of `config.json`.

    Raises:
        FileNotFoundError: If the folder is no preset.
        ValueError: If a file does not have the hash that `config.json` states, or wrong contents.

    Example:
        >>> from zoo.hub import resolve
        >>> from zoo.presets import check_preset
        >>> check_preset(resolve("vae_fashion_mnist"))["latent_dim"]
        16
    """
    folder = Path(folder)
    config = configs.read_config(folder)
    names = dict.fromkeys((*config["files"], METRICS, SAMPLER))
    check_files(folder, config, [x for x in names if x == WEIGHTS or (folder / x).exists()])
    # A model has at least one weight per latent, and its file at least one byte per weight. A
    # configuration that claims more would make a model that takes all the memory.
    size = (folder / WEIGHTS).stat().st_size
    if not config["latent_dim"] <= config["parameters"] <= size:
        msg = (
            f"{folder / CONFIG}: latent_dim={config['latent_dim']}, "
            f"parameters={config['parameters']}: {WEIGHTS} has only {size:,} bytes. "
            "Get the preset anew."
        )
        raise ValueError(msg)
    read_metrics(folder, config)
    if (folder / SAMPLER).exists():
        classes = config["options"].get("num_classes", 0)
        read_sampler(folder / SAMPLER, "gmm", config["latent_dim"], classes)
    return config
