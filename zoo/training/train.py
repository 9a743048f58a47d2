"""Training a model into a run folder, resumable to the same weights.

A run folder holds:

    config.json       model, data, seed, batch size, epochs, versions
    model.keras       the latest state: weights, both optimizers, averages, step
    history.json      one entry a finished epoch
    samples/          epoch_0001.png …
    reconstructions/  likewise, for VAEs
    logs/             TensorBoard
    means.json        after Ctrl-C within an epoch: the metrics so far
"""

from __future__ import annotations

import functools
import signal
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo import data
from zoo.files import read_json, replacing, write_json
from zoo.pictures import grid, pairs, save_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from zoo.training.model import ZooModel

FORMAT = 1
PACKAGES = ("vaegan-zoo", "tensorflow", "keras", "numpy")
PICTURED = 64  # samples in a grid
RECONSTRUCTED = 32


def train(
    model: ZooModel,
    source: Any,
    out: str | Path,
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> bool:
    """Trains a compiled model and leaves a run folder; continues if the model has trained before.

    Batch t and noise t depend only on (source, seed, t), so a model loaded from the folder goes
    on to the weights that an uninterrupted run reaches.

    Args:
        model: A compiled model of the zoo.
        source: Data for `zoo.data.training_stream`.
        out: The run folder; created if absent.
        epochs: Epochs in all, those already trained included.
        batch_size: Images per update; default the model's own. A model with n_critic > 1 takes
            n_critic of them a step.
        seed: Seed of the order of the data.
        callbacks: Further Keras callbacks.
        verbose: As in `fit`.

    Returns:
        Whether training reached `epochs`: False if Ctrl-C (SIGINT) stopped it. Either way the
        folder holds the state at the last step. A model that has had `epochs` already is left as it
        is, and nothing is written.

    Raises:
        ValueError: If the data cannot feed the model.
    """
    out = Path(out)
    batch_size = batch_size or model.default_batch_size
    images = data.read(source, split="train", image_shape=model.image_shape)
    taken, there = batch_size * model.minibatches, len(images.pixels)
    if model.minibatches > 1 and taken > there:  # the stream knows only the product
        msg = (
            f"batch_size={batch_size} × {model.minibatches} minibatches a step: expected 1 to the "
            f"{there} images of the train split."
        )
        raise ValueError(msg)
    stream_of = functools.partial(data.training_stream, images, batch_size=taken, seed=seed)
    _, steps_per_epoch = stream_of()
    if int(model.step) >= epochs * steps_per_epoch:
        return True
    settings = {
        "data": data.source_name(source),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
    }
    write_json(out / "config.json", {**describe(model), **settings})
    recorder = _Recorder(out, source, steps_per_epoch)
    with _stop_on_interrupt(model) as interrupted:
        while int(model.step) < epochs * steps_per_epoch and not interrupted:
            epoch, done = divmod(int(model.step), steps_per_epoch)
            stream, _ = stream_of(start_step=int(model.step))
            model.fit(
                stream,
                initial_epoch=epoch,
                epochs=epoch + 1 if done else epochs,
                steps_per_epoch=steps_per_epoch - done,
                callbacks=[_ContinueMeans(out), recorder, *callbacks],
                shuffle=False,
                verbose=verbose,
            )
    if interrupted:
        if int(model.step) % steps_per_epoch:
            _save_means(model, out)
        save(model, out)
    return not interrupted


def save(model: ZooModel, out: str | Path) -> None:
    """Writes `model.keras` of a run folder; a crash meanwhile leaves the previous one."""
    with replacing(Path(out) / "model.keras") as temporary:
        model.save(temporary)


class _Recorder(keras.callbacks.Callback):
    """After each whole epoch: history, TensorBoard, pictures, then the model."""

    def __init__(self, out: Path, source: Any, steps_per_epoch: int) -> None:
        super().__init__()
        self.out = out
        self.source = source
        self.steps_per_epoch = steps_per_epoch
        self.history: list[dict[str, Any]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if (self.out / "history.json").exists():
            done = int(self.model.step) // self.steps_per_epoch
            # A crash between the two files may leave one entry more than the model has epochs.
            self.history = read_json(self.out / "history.json")[:done]
        if self.model.family == "vae":
            self.images = data.to_array(
                self.source, split="test", limit=RECONSTRUCTED, image_shape=self.model.image_shape
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if int(self.model.step) % self.steps_per_epoch:
            return  # interrupted within the epoch
        scalars = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch + 1, "step": int(self.model.step), **scalars})
        name = f"epoch_{epoch + 1:04d}.png"
        pictures = {"samples": (self.model.generate(PICTURED, seed=0), 8)}
        if self.model.family == "vae":
            again = np.asarray(self.model.reconstruct(self.images))
            pictures["reconstructions"] = (pairs(self.images, again), 8)
        writer = tf.summary.create_file_writer(str(self.out / "logs"))
        with writer.as_default(step=epoch + 1):
            for key, value in scalars.items():
                tf.summary.scalar(key, value)
            for key, (images, columns) in pictures.items():
                tf.summary.image(key, grid(images, columns)[None])
        writer.close()
        for key, (images, columns) in pictures.items():
            save_grid(self.out / key / name, images, columns)
        write_json(self.out / "history.json", self.history)
        save(self.model, self.out)


def _save_means(model: ZooModel, out: Path) -> None:
    means = {name: [float(v) for v in mean.variables] for name, mean in model.log_means.items()}
    write_json(out / "means.json", {"step": int(model.step), "means": means})


class _ContinueMeans(keras.callbacks.Callback):
    """Carries the running means over into a resumed epoch: Keras saves no metrics with a model."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self.path = out / "means.json"

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if self.path.exists() and (saved := read_json(self.path))["step"] == int(self.model.step):
            for name, mean in self.model.log_means.items():
                for variable, value in zip(mean.variables, saved["means"][name], strict=True):
                    variable.assign(value)


@contextmanager
def _stop_on_interrupt(model: ZooModel) -> Iterator[list[int]]:
    """Yields a list that SIGINT fills, while `fit` ends after its current step.

    A second SIGINT acts as ever. Off the main thread, where Python has no signals, nothing changes.
    """
    interrupted: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        interrupted.append(number)
        model.stop_training = True
        signal.signal(signal.SIGINT, previous)

    try:
        previous = signal.signal(signal.SIGINT, stop)
    except ValueError:
        yield interrupted
        return
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def describe(model: ZooModel) -> dict[str, Any]:
    """The entries of `config.json` that depend on the model alone."""
    return {
        "format": FORMAT,
        "model": model.model_name,
        "image_shape": model.image_shape,
        "latent_dim": model.latent_dim,
        "parameters": model.count_params(),
        "versions": {name: version(name) for name in PACKAGES},
    }
