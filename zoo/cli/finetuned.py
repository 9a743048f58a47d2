"""`zoo train --from`: a run that starts from a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.cli.config import given_options
from zoo.cli.options import parse_pair, resolve_run
from zoo.core import registry
from zoo.io.terminal import console, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import typer

    from zoo.training.resume import Ready

NETWORKS = ("latent_dim", "network", "channels")  # options that the source has decided


def model_of(context: typer.Context, source: str) -> str:
    """The name of the source's model, once the options agree with a start from it."""
    from zoo.training.run_files import LATEST, read_config

    given = given_options(context)
    for name in ("resume", "recipe"):
        if given.get(name):
            raise ValueError(
                f"--{name} goes on with a run that was begun, and --from {source} begins a new "
                f"one. Leave one of them out."
            )
    path = resolve_run(source)
    config = read_config(path)
    for name in NETWORKS:
        if name in given:
            held = {"latent_dim": config["latent_dim"], "channels": config["image_shape"][2]}
            has = f" of {held[name]}" if name in held else ""
            raise ValueError(
                f"--{name.replace('_', '-')} {given[name]}: the networks are those of {source}"
                f"{has}. Leave it out."
            )
    if "options" not in config and path.is_dir() and not (path / LATEST).exists():
        raise FileNotFoundError(
            f"{source} has no {LATEST}: its training stopped before its first step. Take another "
            "run, or a checkpoint."
        )
    held_model: str = config["model"]
    if (wanted := given.get("model")) not in (None, held_model):
        raise ValueError(f"--from {source} is a {held_model}, not a {wanted}. Leave {wanted} out.")
    return held_model


def options_of(context: typer.Context, model: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the model; those that are not given are the source's."""
    given = given_options(context)
    chosen = {"dtype": given["precision"]} if "precision" in given else {}
    registry.check_options(model, options)
    return {**chosen, **options, "seed": context.params["seed"]}


def check_none(classes: Sequence[str] | None, started: Mapping[str, Any]) -> None:
    """Refuses --class, --freeze-… and --carried-rate without --from."""
    if classes:
        raise ValueError(f"--class {classes[0]} names a class of --from: give --from too.")
    for name, value in started.items():
        if value is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} {value} is of what was trained before, and a new "
                "model is random. Give --from too, or leave it out."
            )


def ready(
    source: str,
    data: str,
    image_size: int | None,
    classes: Sequence[str] | None,
    options: dict[str, Any],
    settings: dict[str, Any],
    compile_options: dict[str, Any],
    devices: Any,
) -> Ready:
    """The new model, compiled; what it took over is said."""
    import keras

    from zoo.hub.finetune import finetune
    from zoo.training import strategies
    from zoo.training.resume import Ready, over_all_steps
    from zoo.training.run_files import read_config

    path = resolve_run(source)
    *_, channels = read_config(path)["image_shape"]
    shape = None if image_size is None else (image_size, image_size, channels)
    pairs = [parse_pair(text, "--class") for text in classes or []]
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"--class {' --class '.join(classes or [])}: a class is named twice.")
    with devices.scope():
        keras.utils.set_random_seed(settings["seed"])
        model, report = finetune(source, data, image_shape=shape, classes=dict(pairs), **options)
        model.compile(**over_all_steps(compile_options, model, data, settings))
    if strategies.is_chief(devices):
        console.print(report.table())
        say("")
    return Ready(model, data, settings)
