"""`zoo sweep`."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import config, grid
from zoo.cli.console import TerminatedError, number
from zoo.cli.options import Out, check_folder
from zoo.evaluation.sweep import figures as figures_of
from zoo.evaluation.sweep import is_begun, is_finished, state
from zoo.io.terminal import console, errors, say, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

STOPPED = 130  # the exit status after Ctrl-C


def sweep(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="A TOML file as for `zoo train --config`, with a table [grid]: a list of values "
            "for each option that varies, such as seed = [0, 1, 2].",
        ),
    ],
    out: Out,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A figure for the table, such as fid10k_test or loss; several may be given. "
            "Default: those that `zoo evaluate` measured, else the last of the history."
        ),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option(help="Train this cell alone, as numbered by --list, from 0 on."),
    ] = None,
    *,
    show: Annotated[bool, typer.Option("--list", help="Train nothing: list the cells.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Train nothing: check each cell.")] = False,
) -> None:
    """Trains a run for each combination of values, and goes on where it was stopped.

    Each has a process of its own. All are checked before the first is trained. The table at the
    end has the mean over the seeds and its standard deviation; it is written into sweep.md too.
    """
    check_folder(out)
    commands: Any = context.find_root().command
    train = commands.get_command(context, "train")
    cells = grid.cells_of(file, type(context)(train, info_name="train", parent=None))
    if index is not None and not 0 <= index < len(cells):
        raise ValueError(f"--index {index}: expected 0 to {len(cells) - 1}; {file} has these.")
    for cell in cells:
        _check_begun(out / cell.name, cell)
    chosen = cells if index is None else [cells[index]]
    if show:
        rows = [(i, c.name, state(out / c.name, c.settings)) for i, c in enumerate(cells)]
        console.print(table_of(("index", "cell", "state"), rows))
        return
    if check:
        _check_all(train, chosen, out, metric or [])
        return
    if index is None:
        _check_in_a_process(file, out, cells, metric or [])
    failed = [cell.name for cell in chosen if not _train(cell, out)]
    if index is None:
        _table(cells, out, metric or [])
    if failed:
        say(f"Not finished: {', '.join(failed)}. The same command tries again.", errors)
        raise typer.Exit(1)


def _check_begun(folder: Path, cell: grid.Cell) -> None:
    """Refuses a folder that holds another run."""
    from zoo.training.run_files import read_config

    if (folder / "config.json").exists():
        grid.check_begun(folder, read_config(folder).get("command") or {}, cell.settings)


def _check_all(train: Any, cells: Sequence[grid.Cell], out: Path, chosen: Sequence[str]) -> None:
    """Makes the model of each cell that has not begun, and checks it against its data."""
    import gc

    import keras

    from zoo.cli.train import CHECK_ONLY, LOGGED

    known: list[str] = []
    for cell in cells:
        folder = out / cell.name
        if is_begun(folder):
            known += [name for some in figures_of(folder) for name in some]
            continue
        default_map = {**cell.settings, "out": str(folder)}
        names = {key: each.name for key, each in config.parameters_of(train).items()}
        default_map = {names[key]: value for key, value in default_map.items()}
        context = train.make_context("train", [], default_map=default_map)
        context.meta[CHECK_ONLY] = True
        try:
            train.invoke(context)
        except Exception:
            say(f"{cell.name}:", errors)
            raise
        known += context.meta[LOGGED]
        keras.utils.clear_session()
        gc.collect()
    _check_metrics(chosen, known)


def _check_metrics(chosen: Sequence[str], known: Sequence[str]) -> None:
    """Refuses a figure of the table that no run has, or will have."""
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        there = ", ".join(dict.fromkeys(known)) or "none"
        raise ValueError(f"--metric {unknown}: no run has it. They have {there}.")


def _check_in_a_process(
    file: Path, out: Path, cells: Sequence[grid.Cell], chosen: Sequence[str]
) -> None:
    """Checks the cells where this process stays free of TensorFlow, which takes a GPU whole."""
    if all(is_begun(out / cell.name) for cell in cells):
        return
    metrics = [text for name in chosen for text in ("--metric", name)]
    status = run(["sweep", str(file), "--out", str(out), "--check", *metrics])
    if status:
        raise typer.Exit(status)


def _train(cell: grid.Cell, out: Path) -> bool:
    """Trains a cell to its end, unless it is there; whether it is."""
    from zoo.io.files import replacing

    folder = out / cell.name
    if is_finished(folder, cell.settings):
        say(f"{cell.name}: finished before.")
        return True
    say(f"{cell.name}:")
    file = out / f"{cell.name}.toml"
    with replacing(file) as temporary:
        temporary.write_text(config.to_toml(cell.settings) + "\n", encoding="utf-8")
    resume = ["--resume"] if is_begun(folder) else []
    status = run(["train", "--config", str(file), "--out", str(folder), *resume])
    if status in (STOPPED, 128 + signal.SIGTERM):
        say("Stopped; the same command goes on.")
        raise typer.Exit(status)
    # --max-minutes ends a run without an error.
    return status == 0 and (
        "max_minutes" not in cell.settings or is_finished(folder, cell.settings)
    )


def run(arguments: Sequence[str]) -> int:
    """Runs a command of `zoo` in a process of its own, and returns its exit status.

    Ctrl-C reaches that process too, which saves and ends; SIGTERM is passed on to it.
    """
    process = subprocess.Popen([sys.executable, "-m", "zoo", *arguments])
    stopped = 0
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # noqa: PERF203
            stopped = STOPPED
        except TerminatedError:
            stopped = STOPPED
            process.terminate()
        else:
            return 128 - status if status < 0 else status or stopped


def _table(cells: Sequence[grid.Cell], out: Path, chosen: Sequence[str]) -> None:
    """Prints the table, and writes it into sweep.md."""
    from zoo.io.files import replacing

    by_cell = {cell.name: figures_of(out / cell.name) for cell in cells}
    of_evaluation = any(measured for measured, _ in by_cell.values())
    figures = {
        name: {**last, **measured} if chosen else measured if of_evaluation else last
        for name, (measured, last) in by_cell.items()
    }
    there = list(dict.fromkeys(name for each in figures.values() for name in each))
    _check_metrics(chosen, there)
    names, axes = list(chosen) or there, grid.columns(cells)
    groups: dict[str, list[grid.Cell]] = {}
    for cell in cells:
        groups.setdefault(str([cell.values[axis] for axis in axes]), []).append(cell)
    rows = []
    for group in groups.values():
        values = [[figures[cell.name].get(name) for cell in group] for name in names]
        row = [*(group[0].values[axis] for axis in axes), *map(mean_and_spread, values)]
        rows.append([str(value).replace("|", "\\|") for value in row])
    head = [*axes, *names]
    console.print(table_of(head, rows))
    lines = [head, ["---"] * len(head), *rows]
    with replacing(out / "sweep.md") as temporary:
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        temporary.write_text(f"{text}\n", encoding="utf-8")
    say(f"Table: {out / 'sweep.md'}")


def mean_and_spread(values: Sequence[float | None]) -> str:
    """The mean of the seeds, their standard deviation (n − 1), and how many have a value."""
    there = [value for value in values if value is not None]
    if not there:
        return "–"
    mean = number(statistics.fmean(there))
    few = f" ({len(there)} of {len(values)})" if len(there) < len(values) else ""
    spread = f" ± {number(statistics.stdev(there))}" if len(there) > 1 else ""
    return f"{mean}{spread}{few}"
