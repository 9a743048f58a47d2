"""What `zoo train` says while it trains."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import typer

from zoo.cli.measured import told
from zoo.io.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.training.resume import Ready


def train_and_report(
    ready: Ready, out: Path, name: str, ignored: Sequence[str], measured: Sequence[Any]
) -> None:
    """Trains, and says what happens; only the chief of several workers speaks."""
    import keras

    from zoo import data
    from zoo.data.contents import counted
    from zoo.training import strategies
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

    def report_epoch(epoch: int, logs: dict[str, float]) -> None:
        if model.stop_training:  # stopped within the epoch
            return
        values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        tell(f"epoch {epoch + 1}/{epochs}  {values}")

    bar = sys.stdout.isatty()
    report = [] if bar else [keras.callbacks.LambdaCallback(on_epoch_end=report_epoch)]
    finished = train_model(
        model, source, out, **options, callbacks=[*measured, *report], verbose=int(bar and chief)
    )
    if not finished:
        tell(f"Stopped at step {model.steps_done}; saved in {out}. Continue with:")
        tell(f"  zoo train {shlex.quote(str(out))} --epochs {epochs}")
        raise typer.Exit(130)
    if model.steps_done == before:
        tell(f"{out} has had {counted(epochs, 'epoch')} or more: nothing to do.")
    else:
        tell(f"Trained {name} to {counted(epochs, 'epoch')}: {out}")


def _describe_share(devices: dict[str, Any], images: int) -> str:
    replicas, workers = devices["replicas"], devices["workers"]
    place = f" of {workers} workers" if workers > 1 else ""
    return (
        f"{images} images per update: {images // replicas} on each of {replicas} replicas{place}."
    )
