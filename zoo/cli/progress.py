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
    from zoo.training.stopping import MaxMinutes


def train_and_report(
    ready: Ready,
    out: Path,
    name: str,
    ignored: Sequence[str],
    measured: Sequence[Any],
    clock: MaxMinutes | None = None,
    tracker: str | None = None,
) -> None:
    """Trains, and says what happens; only the chief of several workers speaks."""
    from zoo import data
    from zoo.data.contents import counted
    from zoo.training import strategies
    from zoo.training.loop import train as train_model
    from zoo.training.progress import Progress
    from zoo.training.trackers import tracked

    model, source, options = ready
    before = model.steps_done
    devices = model.distribute_strategy
    chief = strategies.is_chief(devices)
    tell = say if chief else (lambda *_: None)  # of the other workers
    tell(data.describe(source, image_shape=model.image_shape))
    for line in (*ignored, *told(measured, model)):
        tell(line)
    if devices.num_replicas_in_sync > 1:
        images = options.get("batch_size") or model.default_batch_size
        tell(_describe_share(strategies.describe(devices), images))

    def notices(model: Any, images: Any, steps: int) -> None:
        for line in _notices(model, images, options, steps):
            tell(line)

    write = _overwrite if chief and sys.stdout.isatty() else None
    report = Progress(tell, write=write, begins=notices)
    with tracked(tracker if chief else None, out) as trackers:
        callbacks = [*measured, report, *([] if clock is None else [clock]), *trackers]
        finished = train_model(model, source, out, **options, callbacks=callbacks, verbose=0)
    epochs = options["epochs"]
    steps = _steps(ready) if epochs is None or options.get("patience") else 0
    end = counted(steps, "step") if epochs is None else counted(epochs, "epoch")
    if not finished:
        over = "The time is over. " if clock is not None and clock.over else ""
        more = f"--steps {steps}" if epochs is None else f"--epochs {epochs}"
        tell(f"{over}Stopped at step {model.steps_done}; saved in {out}. Continue with:")
        tell(f"  zoo train {shlex.quote(str(out))} {more}")
        raise typer.Exit(0 if over else 130)  # it was asked for
    if options.get("patience") and model.steps_done < steps:
        waited = counted(options["patience"], "epoch")
        tell(f"No better {options['best']} in {waited}: {out} ends at step {model.steps_done}.")
    elif model.steps_done == before:
        tell(f"{out} has had {end} or more: nothing to do.")
    else:
        tell(f"Trained {name} to {end}: {out}")


def _steps(ready: Ready) -> int:
    """The step that training ends with."""
    from zoo.training.loop import total_steps

    length = {name: ready.options[name] for name in ("epochs", "steps", "images", "batch_size")}
    return total_steps(ready.model, ready.source, **length)


def _overwrite(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _notices(model: Any, images: Any, options: dict[str, Any], steps: int) -> Iterator[str]:
    """What a new run can be told to do better, before it takes its time."""
    from zoo.evaluation.signs_in_data import rare_class
    from zoo.evaluation.signs_in_history import too_few_updates

    contents = images.contents()
    few = None
    converted = "converted_from" in (options.get("facts") or {})
    if not converted and model.started_from is None:  # it begins from nothing
        few = too_few_updates(
            steps,
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
