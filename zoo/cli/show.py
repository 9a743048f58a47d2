"""`zoo list` and `zoo info`."""

from __future__ import annotations

import json
import shlex
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import zoo
from zoo.cli import train_options  # noqa: TC001  (Typer reads the annotations)
from zoo.cli.console import number
from zoo.cli.memory import show_memory
from zoo.cli.options import ImageSize, located, model_names, parse_options, preset_names
from zoo.core import registry
from zoo.io.terminal import console, say, table_of

if TYPE_CHECKING:
    from rich.table import Table


def _show_versions(*, wanted: bool) -> None:
    if wanted:
        others = (f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras"))
        say(f"zoo {zoo.__version__} ({', '.join(others)}, Python {sys.version.split()[0]})")
        raise typer.Exit


def options_of_all(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions and exit.",
            is_eager=True,
            callback=lambda value: _show_versions(wanted=value),
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with an error: zoo --debug COMMAND …")
    ] = False,
) -> None:
    """VAEs and GANs in Keras 3: train, evaluate, convert, export, verify."""


def list_command(
    pattern: Annotated[
        str | None, typer.Argument(help="Names of pretrained models to list, such as '*vae*'.")
    ] = None,
    *,
    pretrained: Annotated[
        bool,
        typer.Option("--pretrained", help="List the trained models that come with the package."),
    ] = False,
) -> None:
    """Lists the models."""
    if pretrained:
        console.print(_table_of_presets(pattern))
        return
    if pattern is not None:
        raise ValueError(f"{pattern}: only pretrained models are listed by pattern (--pretrained).")
    rows = [(model.name, model.family, model.summary) for model in registry.describe_models()]
    console.print(table_of(("model", "family", "what it is"), rows))


def _table_of_presets(pattern: str | None) -> Table:
    from zoo.hub import list_pretrained

    rows = []
    for preset in list_pretrained(pattern):
        name, value = preset.headline or ("", "")
        headline = f"{number(value)} {name.replace('_', ' ')}"
        classes, size = preset.num_classes or "none", f"{preset.size / 1e6:.1f}"
        rows.append((preset.name, preset.data or "", classes, size, headline))
    table = table_of(("name", "data", "classes", "MB", "headline"), rows)
    table.box, table.pad_edge = None, False
    for column in table.columns[:-1]:  # they fit in a terminal of 80
        column.no_wrap = True
    return table


def info(
    run: Annotated[
        str,
        typer.Argument(
            help="A model of `zoo list`, a run folder, a checkpoint, a pretrained model, or an "
            "export.",
            autocompletion=lambda incomplete: model_names(incomplete) + preset_names(incomplete),
        ),
    ],
    *,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory",
            help="Show what a training would take of memory. The options below say which training, "
            "as for `zoo train`.",
        ),
    ] = False,
    image_size: ImageSize = None,
    channels: train_options.Channels = None,
    batch_size: train_options.BatchSize = None,
    latent_dim: train_options.LatentDim = 64,
    network: train_options.Network = None,
    option: train_options.Option = None,
    precision: train_options.Precision = "float32",
    accumulate: train_options.Accumulate = 1,
    remat: train_options.Remat = None,
) -> None:
    """Shows the options of a model; or what a run or an export is, and what was measured.

    Each option of a model is listed with its default and its meaning: `zoo info wgan_gp`.
    `zoo info wgan_gp --memory --image-size 64` shows what training it would take of memory.
    """
    from zoo.hub.repositories import check_is_none
    from zoo.training.run_files import run_folder

    if memory:
        given = {} if network is None else {"network": network}
        options = {"dtype": precision, **given, **parse_options(option or [])}
        size = (image_size or 64, image_size or 64, channels or 3)
        show_memory(run, size, latent_dim, options, batch_size, accumulate, remat=remat)
        return
    if run in registry.list_models():
        console.print(_options_of(run))
        if Path(run).exists():
            say(f"This is the model. There is a folder of that name too: zoo info ./{run}")
        return
    path = located(run)
    if _is_no_run(path) and _show_export(path):
        return
    check_is_none(path, run)
    rows = _rows_of_run(path)
    say(run_folder(path))
    console.print(table_of(("key", "value"), rows))


def _is_no_run(path: Path) -> bool:
    """Whether there is no config.json, or that of a model of diffusers."""
    from zoo.hub.repositories import class_of
    from zoo.training.run_files import run_folder

    config = run_folder(path) / "config.json"
    return not config.exists() or class_of(config) is not None


def _options_of(model: str) -> Table:
    """The options of a model, as `--option` and `zoo.create` take them."""
    rows = [
        (option.name, "(needed)" if option.default is None else option.default, option.meaning)
        for option in registry.describe_options(model)
    ]
    return table_of(("option", "default", "meaning"), rows)


def _rows_of_run(path: Path) -> list[tuple[str, str]]:
    from zoo.io import schemas
    from zoo.io.records import read_json
    from zoo.training.run_files import read_config, read_metrics, read_options, run_folder

    config = read_config(path)
    config.pop("options", None)  # of a preset: they have rows of their own
    rows = [(key, _as_json(value)) for key, value in config.items()]
    try:
        options = read_options(path)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        rows.append(("options", f"cannot be read: {error}"))
    else:
        rows += [(f"option: {key}", _as_json(value)) for key, value in options.items()]
    measured = read_metrics(path) or {"metrics": {}}
    rows += [("metrics: step", str(measured["step"]))] if "step" in measured else []
    rows += [(f"metrics: {key}", number(value)) for key, value in measured["metrics"].items()]
    history = run_folder(path) / "history.json"
    if history.exists():
        last = read_json(history, schemas.HISTORY)[-1]
        rows += [(f"history: {key}", number(value)) for key, value in last.items()]
    return rows


def _as_json(value: Any) -> str:
    """JSON; but a network of the user's own, whose configuration is long, by its name alone."""
    if isinstance(value, dict) and "class_name" in value:
        name = (value.get("config") or {}).get("name", "")
        return f"{value['class_name']} {name}".strip()
    return json.dumps(value, ensure_ascii=False)


def _show_export(path: Path) -> bool:
    """Whether it is an export; then it is shown."""
    from export import read_export, read_report

    try:
        entries = read_export(path)
    except FileNotFoundError:
        return False
    rows = []
    for name, tensors in entries.pop("endpoints").items():
        text = " → ".join(
            ", ".join(f"{key} {t['dtype']} {t['shape']}" for key, t in tensors[kind].items())
            for kind in ("inputs", "outputs")
        )
        rows.append((name, text))
    for key, value in entries.items():
        if key not in ("files", "folder"):
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            rows.append((key, text))
    say(path)
    console.print(table_of(("key", "value"), rows))
    report = read_report(path)
    if report:
        console.print(report.table())
    else:
        say(f"Not verified yet: zoo verify {shlex.quote(str(path))}")
    return True
