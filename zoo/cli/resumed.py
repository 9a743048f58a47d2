"""What `zoo train` reads off the options of a run that it resumes: its end, and what it ignores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.cli.config import LENGTHS, given_options, length_of
from zoo.cli.options import parse_options, parse_values

if TYPE_CHECKING:
    from pathlib import Path

    import typer

OF_START = ("freeze_discriminator", "freeze_generator", "carried_rate")


def length_of_run(context: typer.Context, run: Path) -> dict[str, int | None]:
    """What a run goes on to: as given; else as it was begun with, and 10 epochs at least."""
    from zoo.training.run_files import read_config

    length = length_of(context)
    if given_options(context).keys() & set(LENGTHS):
        return length
    config = read_config(run)
    if config.get("steps"):
        return {**dict.fromkeys(LENGTHS), "steps": config["steps"]}
    return {**length, "epochs": max(length["epochs"] or 0, config.get("epochs", 0))}


def check_classes(context: typer.Context, run: Path) -> None:
    """Refuses --class for a run that goes on, unless it is that of the file it was begun with."""
    from zoo.training.run_files import read_config

    given = given_options(context).get("classes")
    begun = read_config(run).get("command") or {}
    if given and [*given] != begun.get("class"):
        raise ValueError(
            f"--class {given[0]}: {run} has had its classes since it was begun. Leave --class out, "
            f"or begin a new run with --from {run}."
        )


def ignored_options(context: typer.Context, out: Path, model: Any) -> list[str]:
    """What a resumed run says: each option that it ignores, and the value that it has."""
    from zoo import data
    from zoo.core.compiling import without_loss_scale
    from zoo.core.optimizers import algorithm_of
    from zoo.training.resume import SETTINGS, begun_with, was_trained

    config = begun_with(out)
    stored: dict[str, Any] = {
        "data": config.get("data"),
        "latent_dim": model.latent_dim,
        "network": model.network,
        "image_size": model.image_shape[0],
        "channels": model.image_shape[2],
        "seed": config.get("seed"),
        "precision": model.dtype_policy.name,
    }
    stored |= {name: getattr(model, name) for name in OF_START if hasattr(model, name)}
    optimizer_options: dict[str, Any] = {}
    if was_trained(config):
        optimizer = without_loss_scale(getattr(model, model.optimizer_names[0]))
        optimizer_options = optimizer.get_config()
        stored |= {name: config[name] for name in SETTINGS if name in config}
        stored |= {
            "metric": config.get("metrics", []),
            "metric_every": config.get("metric_every", 1),
            "metric_extractor": config.get("metric_extractor"),
            "metric_extractor_weights": config.get("metric_extractor_weights"),
            "metric_resize": config.get("metric_resize"),
        }
        stored |= {
            "accumulate": model.accumulate,
            "steps_per_execution": model.steps_per_execution,
            "jit": model.jit_compile,
            "clip_norm": optimizer.global_clipnorm,
            "optimizer": algorithm_of(optimizer),
            "weight_decay": optimizer.weight_decay,
            **{name: model.schedule[name] for name in ("schedule", "warmup_steps")},
            "learning_rate": _rate(model, model.optimizer_names[0]),
            "generator_learning_rate": _rate(model, "generator_optimizer"),
            "discriminator_learning_rate": _rate(model, "discriminator_optimizer"),
        }
    given = given_options(context)
    if "data" in given:
        given["data"] = data.source_name(given["data"])
    lines = [f"Resuming {out}, as it was begun."]
    for name, value in stored.items():
        if name in given and given[name] != value:
            option = f"--{name.replace('_', '-')}"
            option = option if given[name] is True else f"{option} {_text(given[name])}"
            has = _text(value)
            lines.append(f"{option} is ignored: the run has {has}.")
    options = model.get_config()
    lines += _differing("--option", parse_options(given.get("option") or []), options)
    pairs = given.get("optimizer_option") if optimizer_options else None
    values = parse_values(pairs or [], "--optimizer-option")
    return [*lines, *_differing("--optimizer-option", values, optimizer_options)]


def _differing(option: str, given: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """A line for each `name=value` that is not what a run has."""
    return [
        f"{option} {name}={value} is ignored: the run has "
        f"{f'{name}={stored[name]}' if name in stored else 'no such option'}."
        for name, value in given.items()
        if name not in stored or stored[name] != value
    ]


def _text(value: Any) -> Any:
    """A value as a sentence shows it."""
    if value is None or value is False or value == []:
        return "none"
    return ", ".join(value) if isinstance(value, list) else value


def _rate(model: Any, optimizer_name: str) -> float | None:
    """The learning rate at the step that the model has reached."""
    if optimizer_name not in model.optimizer_names:
        return None
    import numpy as np

    # By NumPy: the variable of several replicas is no number.
    return float(f"{float(np.asarray(getattr(model, optimizer_name).learning_rate)):.6g}")
