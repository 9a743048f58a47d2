"""The cells of `zoo sweep`: a file of settings whose [grid] gives lists of values."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.cli import config
from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import typer

LONGEST = 200  # bytes of the name of a cell, which names files too


class Cell(NamedTuple):
    """One run of a sweep.

    Attributes:
        name: Its values, as `option.beta=4,seed=0`.
        values: Its value of each axis, by key; one of a table has a point, as `option.beta`.
        settings: All its settings, by key.
    """

    name: str
    values: dict[str, Any]
    settings: dict[str, Any]


def cells_of(file: Path, context: typer.Context) -> list[Cell]:
    """The cells of a file, in the order of its lists: the last axis varies fastest.

    Args:
        file: A TOML file.
        context: A context of `zoo train`.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no such file.
        ValueError: If it is damaged, has no grid, or a setting of a cell is none of `zoo train`.
    """
    settings = config.settings_in(file, context)
    if "out" in settings:
        raise ValueError(f"{file}: out: the runs of a sweep lie in its --out. Leave it out.")
    axes = _axes(settings.pop("grid", None), file, context)
    cells = []
    for combination in itertools.product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        whole = {**settings}
        for key, value in values.items():
            _put(whole, key, value, file)
        cells.append(Cell(_name(values, file), values, _settings(whole, file, context)))
    names = [cell.name for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{file}: two cells are called {twice}. Give each value once.")
    return cells


def _axes(grid: Any, file: Path, context: typer.Context) -> dict[str, list[Any]]:
    """The lists of values by key."""
    known = [key for key in config.parameters(context) if key != "out"]  # the sweep's own
    axes: dict[str, list[Any]] = {}
    for key, value in (grid if isinstance(grid, dict) else {}).items():
        if key not in known:
            raise ValueError(f"{file}: grid.{key}: {suggestion(key, known)}")
        axes |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {
            key: value
        }  # fmt: skip
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            what = "an empty list" if values == [] else repr(values)
            raise ValueError(f"{file}: grid.{key} is {what}: expected a list of values.")
    if not axes:
        raise ValueError(f"{file} has no [grid], such as [grid] with seed = [0, 1, 2].")
    return axes


def _put(settings: dict[str, Any], key: str, value: Any, file: Path) -> None:
    """Sets a value, which may be one of a table."""
    key, point, entry = key.partition(".")
    if not point:
        settings[key] = value
        return
    pairs = config.texts(settings.get(key, []), f"{file}: {key}")
    others = [pair for pair in pairs if pair.partition("=")[0] != entry]
    settings[key] = [*others, *config.texts({entry: value}, f"{file}: grid.{key}")]


def _settings(settings: Mapping[str, Any], file: Path, context: typer.Context) -> dict[str, Any]:
    """All settings of a cell, checked as those of `zoo train`."""
    checked = config.checked(context, settings, file)
    command: Any = context.command
    if not {"model", "source"} & checked.keys():
        raise ValueError(f'{file}: expected a model of `zoo list`, such as model = "vae".')
    cell = command.make_context("train", [], default_map=checked)
    return config.settings_of(cell)


def _name(values: Mapping[str, Any], file: Path) -> str:
    """The name of a cell, and of its folder."""
    name = ",".join(f"{key}={_in_name(value)}" for key, value in values.items())
    if len(name.encode()) > LONGEST:
        raise ValueError(f"{file}: {name}: the name of a folder has at most {LONGEST} bytes.")
    return name


def _in_name(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"[^\w.+-]+", "-", text)


def check_begun(folder: Path, begun: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuses to go on with a run that has other settings than its cell.

    Args:
        folder: The run folder.
        begun: The entry `command` of its config.json.
        settings: Those of the cell.

    Raises:
        ValueError: If one differs that a run cannot change.
    """
    changing = (*config.LENGTHS, "patience", "max_minutes", "strategy", "replicas")
    for key in sorted({*begun, *settings}.difference(changing)):
        if begun.get(key) != settings.get(key):
            raise ValueError(
                f"{folder} was begun with {_said(key, begun)}, and not with {_said(key, settings)}."
                " Choose another --out, or remove it."
            )


def _said(key: str, settings: Mapping[str, Any]) -> str:
    return f"{key} = {settings[key]!r}" if key in settings else f"no {key}"


def columns(cells: Sequence[Cell]) -> list[str]:
    """The keys of the axes but the seed: the rows of the table are their combinations."""
    return [key for key in cells[0].values if key != "seed"]
