"""`zoo data prepare`, `zoo data info` and `zoo data verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.console import TensorFlowCommand, number
from zoo.cli.options import (
    PATH,
    ImageSize,
    Source,
    check_file,
    check_folder,
)
from zoo.io.terminal import bars, console, say, say_error, table_of

if TYPE_CHECKING:
    from zoo.data.contents import Contents
    from zoo.data.info import Statistics
    from zoo.data.records import Records

READ_AT = 64  # height and width, where images differ in size and none is given
CLASSES = 20  # classes of which a table has all; of more it has the largest and the smallest
GROUPS = 10  # groups of equal images that are listed

app = typer.Typer(
    help="Prepares, measures and checks data sets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Channels = Annotated[
    int | None, typer.Option(min=1, help="Convert to so many channels. Default: the source's.")
]


@app.command(cls=TensorFlowCommand)
def prepare(
    source: Source,
    out: Annotated[
        Path, typer.Option(help="The new folder. A killed preparation goes on in it.", **PATH)
    ],
    image_size: ImageSize = None,
    channels: Channels = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="A split to prepare; several may be given. Default: all."),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            help="What to do about an image that cannot be read: fail, or skip, which names it in "
            "skipped.txt."
        ),
    ] = "fail",
) -> None:
    """Decodes a source once, into a folder that trains faster and is checked by hashes.

    If it is killed, run it again: it goes on.
    """
    check_folder(out)
    from zoo.data import prepare as prepare_data
    from zoo.data.contents import counted

    shape = _shape(source, image_size, channels)
    with bars() as progress:
        dataset = prepare_data(
            source,
            out,
            image_shape=shape,
            splits=split,
            on_error=on_error,
            progress=progress,
        )
    for name, marks in dataset["splits"].items():
        size = sum(shard["bytes"] for shard in marks["shards"].values())
        skipped = dataset["planned"][name]["images"] - marks["images"]
        note = f"; {skipped:,} could not be read: {out / 'skipped.txt'}" if skipped else ""
        say(f"{name}: {counted(marks['images'], 'image')}, {_bytes(size)}{note}")
    say(f"Prepared: {out}")


@app.command(cls=TensorFlowCommand)
def info(
    source: Source,
    split: Annotated[str, typer.Option(help="Split to measure.")] = "train",
    image_size: ImageSize = None,
    channels: Channels = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Also write a PNG of 100 images, or all if there are fewer.", **PATH),
    ] = None,
) -> None:
    """Prints how many images there are, of what classes, their channels' means, and duplicates."""
    if sheet is not None:
        if sheet.suffix != ".png":
            raise ValueError(f"--sheet {sheet}: expected a .png file.")
        check_file(sheet)
    from zoo import data as zoo_data

    shape = _shape_to_read(source, image_size, channels)
    say(zoo_data.describe(source, split=split, image_shape=shape))
    records = zoo_data.open(source, split=split, image_shape=shape)
    with bars() as progress:
        facts = zoo_data.statistics(records, lambda done, of: progress(split, done, of))
    _show_classes(records.contents())
    rows = [
        (i, number(float(mean)), number(float(deviation)))
        for i, (mean, deviation) in enumerate(zip(facts.mean, facts.deviation, strict=True))
    ]
    console.print(table_of(("channel", "mean", "standard deviation"), rows))
    _show_duplicates(facts, records)
    if sheet is not None:
        zoo_data.contact_sheet(records, sheet)
        say(f"Contact sheet: {sheet}")


@app.command(cls=TensorFlowCommand)
def verify(
    source: Source,
    split: Annotated[
        list[str] | None,
        typer.Option(help="A split to read; several may be given. Default: all."),
    ] = None,
    image_size: ImageSize = None,
) -> None:
    """Reads every image of a source. A prepared folder is first compared with its hashes.

    Every fault is named. The exit status is 1 if there is one.
    """
    from zoo import data as zoo_data

    shape = _shape_to_read(source, image_size, None)
    with bars() as progress:
        faults = zoo_data.verify(source, splits=split, image_shape=shape, progress=progress)
    for fault in faults:
        say_error(fault)
    if faults:
        raise typer.Exit(1)
    say(f"{source}: no fault.")


def _shape(source: str, size: int | None, channels: int | None) -> tuple[int, int, int] | None:
    """The shape that the options ask for; None if they ask for none."""
    from zoo.data import image_shape

    if size is None and channels is None:
        return None
    return image_shape(source, size, channels)


def _shape_to_read(
    source: str, size: int | None, channels: int | None
) -> tuple[int, int, int] | None:
    """The same; and a shape where none is asked for and images differ in size."""
    from zoo.data.sources import common_shape

    if size is None and None in common_shape(source):
        say(f"Images of several sizes are read at {READ_AT} × {READ_AT}.")
        size = READ_AT
    return _shape(source, size, channels)


def _show_classes(contents: Contents) -> None:
    counts = contents.counts
    if counts is None:
        return
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], i))
    shown: list[Any] = order
    if len(order) > CLASSES:
        shown = [*order[: CLASSES // 2], None, *order[-CLASSES // 2 :]]
    rows = []
    for i in shown:
        if i is None:
            rows.append(("…", "", "", ""))
            continue
        name = contents.class_names[i] if contents.class_names else ""
        rows.append((i, name, f"{counts[i]:,}", f"{counts[i] / counts.sum():.1%}"))
    console.print(table_of(("class", "name", "images", "share"), rows))


def _show_duplicates(facts: Statistics, records: Records) -> None:
    from zoo.data.contents import counted

    if not facts.duplicates:
        say("No image equals another.")
        return
    verb = "equals" if facts.repeated == 1 else "equal"
    say(f"{counted(facts.repeated, 'image')} {verb} an earlier one, pixel by pixel:")
    for group in facts.duplicates[:GROUPS]:
        more = " …" if len(group) > GROUPS else ""
        say(f"  {' = '.join(map(records.image_name, group[:GROUPS].tolist()))}{more}")
    if len(facts.duplicates) > GROUPS:
        say(f"  … and {counted(len(facts.duplicates) - GROUPS, 'further group')}")


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
