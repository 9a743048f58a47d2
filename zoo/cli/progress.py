"""What `zoo train` says while it trains."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import typer

from zoo.cli.measured import told
from zoo.io.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.training.resume import Ready


def train_and_report(
    ready: Ready,
    out: Path,
    name: str,
    ignored: Sequence[str],
    measured: Sequence[Any],
    tracker: str | None = None,
) -> None:
    """Trains, and says what happens; only the chief of several workers speaks."""
    from zoo import data
    from zoo.data.contents import counted
    from zoo.training import strategies
    from zoo.training.progress import Progress
    from zoo.training.trackers import tracked
    from zoo.training.train import train as train_model

    model, source, options = ready
    epochs, before = options["epochs"], model.steps_done
    devices = model.distribute_strategy
    chief = strategies.is_chief(devices)
    tell = say if chief else (lambda *_: None)  # of the other workers
    tell(data.describe(source, image_shape=model.image_shape))
    for line in (*ignored, *told(measured, model)):
        tell(line)
    if devices.num_replicas_in_sync > 1:
        images = options.get("batch_size") or model.default_batch_size
        tell(_describe_share(strategies.describe(devices), images))

    def notices(model: Any, images: Any, steps_per_epoch: int) -> None:
        for line in _notices(model, images, options, steps_per_epoch):
            tell(line)

    write = _overwrite if chief and sys.stdout.isatty() else None
    report = Progress(tell, write=write, begins=notices)
    with tracked(tracker if chief else None, out) as trackers:
        callbacks = [*measured, report, *trackers]
        finished = train_model(model, source, out, **options, callbacks=callbacks, verbose=0)
    if not finished:
        tell(f"Stopped at step {model.steps_done}; saved in {out}. Continue with:")
        tell(f"  zoo train {shlex.quote(str(out))} --epochs {epochs}")
        raise typer.Exit(130)
    if model.steps_done == before:
        tell(f"{out} has had {counted(epochs, 'epoch')} or more: nothing to do.")
    else:
        tell(f"Trained {name} to {counted(epochs, 'epoch')}: {out}")


def _overwrite(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _notices(
    model: Any, images: Any, options: dict[str, Any], steps_per_epoch: int
) -> Iterator[str]:
    """What a new run can be told to do better, before it takes its time."""
    from zoo.evaluation.signs_in_data import rare_class
    from zoo.evaluation.signs_in_history import too_few_updates

    contents = images.contents()
    few = None
    if "converted_from" not in (options.get("facts") or {}):  # it began from nothing
        few = too_few_updates(
            options["epochs"] * steps_per_epoch,
            len(images),
            options.get("batch_size") or model.default_batch_size,
            minibatches=model.minibatches,
            parts=model.distribute_strategy.num_replicas_in_sync * model.accumulate,
        )
    rare = None
    if contents.counts is not None:
        rare = rare_class(contents.counts, contents.class_names)
    for finding in (few, rare):
        if finding is not None:
            yield f"{finding.name.capitalize()}: {finding.seen} {finding.helps}"


def _describe_share(devices: dict[str, Any], images: int) -> str:
    replicas, workers = devices["replicas"], devices["workers"]
    place = f" of {workers} workers" if workers > 1 else ""
    return (
        f"{images} images per update: {images // replicas} on each of {replicas} replicas{place}."
    )
