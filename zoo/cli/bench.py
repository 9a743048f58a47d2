"""`zoo bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Out, check_folder
from zoo.io.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence


def bench(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Rows to train and measure. Default: one per model.")
    ] = None,
    data: Annotated[str, typer.Option(help="The data, as for `zoo train`.")] = "fashion_mnist",
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the training images, for every row.")
    ] = 10,
    seeds: Annotated[
        str, typer.Option(help="Seeds, such as 0,1: all rows with 0, then all with 1.")
    ] = "0",
    out: Out = Path("runs/bench"),
    extractor: Annotated[
        str | None, typer.Option(help="Feature extractor. Default: the one made for the data.")
    ] = None,
    *,
    table: Annotated[
        bool,
        typer.Option("--table", help="Train nothing: print what --out has, as a Markdown table."),
    ] = False,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Train nothing: measure the named presets again (default: all), and exit 1 if a "
            "figure is further from its card than the sampling error allows.",
        ),
    ] = False,
) -> None:
    """Trains and measures one row per model, and goes on where it was stopped.

    Several processes may share an --out: each of them takes rows that no other has.
    """
    if table and (pretrained or rows):
        raise ValueError("--table prints all that --out has: leave out --pretrained and rows.")
    if pretrained:
        _bench_presets(rows or ())
        return
    if table:
        from zoo.bench.table import table as table_lines

        say("\n".join(table_lines(out)))
        return
    check_folder(out)
    from zoo.bench.run import bench as run_bench

    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds {seeds}: expected numbers, such as 0,1.") from error
    for number in numbers:
        if not 0 <= number < 2**32:
            raise ValueError(f"--seeds {seeds}: expected numbers from 0 to {2**32 - 1}.")

    options: dict[str, Any] = {"epochs": epochs, "seeds": numbers, "extractor": extractor}
    if not run_bench(rows or (), data, out, **options, say=say):
        say("Stopped; the same command goes on.")
        raise typer.Exit(130)


def _bench_presets(names: Sequence[str]) -> None:
    """Measures presets again."""
    from zoo.hub import check, list_pretrained
    from zoo.hub.measuring import NoTestDataError

    faults = []
    for name in names or [preset.name for preset in list_pretrained()]:
        try:
            differences = check(name)
        except NoTestDataError as error:
            say(f"{name}: not measured. {error}")
            if names:
                raise typer.Exit(1) from error
            continue
        say(f"{name}: {'as its card says' if not differences else 'NOT as its card says'}")
        faults += differences
    for fault in faults:
        say(fault)
    if faults:
        raise typer.Exit(1)
