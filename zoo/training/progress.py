"""The line that says how far a training is, how fast it goes, and what memory it takes."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import keras
import psutil
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.core.model import ZooModel
    from zoo.data.records import Records

REFRESH = 0.5  # seconds from one line on a terminal to the next
CLEAR = "\r\x1b[K"


class Progress(keras.callbacks.Callback):
    """Tells after each epoch, and on a terminal while it runs, what the training does.

    A line has the epoch, images/s, the time left for all epochs, the memory, and the losses. The
    images/s are those of the steps alone, since the last line and without the first step, which
    compiles. The time left counts what comes between epochs too: checkpoints, pictures, metrics.
    The logs stay as they are, and so do history.json and the model.

    Args:
        tell: Takes the line of an epoch.
        write: Takes what is written over the line before; None where there is no terminal.
        begins: Called before the first update of a run with the model, the training images and the
            steps in all.
        clock: The time in seconds.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> from zoo.training.progress import Progress
        >>> images = np.zeros((8, 8, 8, 1), "float32")
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> lines = []
        >>> _ = zoo.train(
        ...     model, images, tempfile.mkdtemp(), epochs=2, batch_size=4, verbose=0,
        ...     callbacks=[Progress(lines.append)],
        ... )
        >>> [line.split()[1] for line in lines]
        ['1/2', '2/2']
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        *,
        write: Callable[[str], None] | None = None,
        begins: Callable[[ZooModel, Records, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.tell = tell
        self.write = write
        self.begins = begins
        self.clock = clock
        self.epochs = self.steps_per_epoch = self.steps = self.images_per_step = 0
        self.done = 0  # steps in all, of the model
        self.first: tuple[int, float] | None = None  # steps and time after the first step here
        self.mark: tuple[int, float] | None = None  # those since which images/s count
        self.rate: float | None = None
        self.shown = -REFRESH  # the first line comes at once

    def begin(
        self,
        model: ZooModel,
        images: Records,
        settings: dict[str, Any],
        steps_per_epoch: int,
        steps: int,
    ) -> None:
        """Takes what `zoo.train` has checked, before anything is written."""
        self.epochs, self.steps_per_epoch = settings["epochs"], steps_per_epoch
        self.steps = steps
        self.images_per_step = settings["batch_size"] * model.minibatches
        if self.begins is not None and model.steps_done == 0:
            self.begins(model, images, steps)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Counts the steps that the model has had."""
        self.done = self.begun = self.model.steps_done
        self.mark = None if self.first is None else (self.done, self.clock())

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a line over the last one, if it is time."""
        now = self.clock()
        self.done = self.begun + batch + 1
        if self.mark is None:
            self.mark = (self.done, now)
            self.first = self.first or self.mark
        if self.write is not None and now - self.shown >= REFRESH:
            self.measure(now)
            self.shown = now
            step = self.done - (self.done - 1) // self.steps_per_epoch * self.steps_per_epoch
            epoch = 1 + (self.done - 1) // self.steps_per_epoch
            line = self.line(epoch, logs or {}, now, f"  {step}/{self.steps_per_epoch}")
            self.write(f"{CLEAR}{line[: shutil.get_terminal_size().columns - 1]}")

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Ends the count of images/s: the steps of the epoch are done."""
        self.measure(self.clock())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the line of the epoch, unless it was stopped within it."""
        now = self.clock()
        self.measure(now)
        if self.write is not None:
            self.write(CLEAR)
        if not self.model.stop_training:
            self.tell(self.line(epoch + 1, logs or {}, now))

    def measure(self, now: float) -> None:
        """Takes the images/s of the steps since the last measurement, if there were any."""
        if self.mark is None or self.done <= self.mark[0] or now <= self.mark[1]:
            return
        steps, since = self.mark
        self.rate = (self.done - steps) * self.images_per_step / (now - since)
        self.mark = (self.done, now)

    def line(self, epoch: int, logs: dict[str, Any], now: float, step: str = "") -> str:
        """The line: epoch, images/s, time left, memory; then the losses, which may be cut off."""
        parts = [f"epoch {epoch}/{self.epochs}{step}"]
        if self.rate is not None:
            rate = f"{self.rate:,.0f}" if self.rate >= 100 else f"{self.rate:.3g}"
            parts.append(f"{rate} images/s")
        left = self.steps - self.done
        if left and self.first is not None and self.done > self.first[0]:
            per_step = (now - self.first[1]) / (self.done - self.first[0])
            parts.append(f"{duration(left * per_step)} left")
        values = [f"{name} {value:.4g}" for name, value in logs.items()]
        return "  ".join([*parts, *memory(), *values])


def of(callbacks: Sequence[Any]) -> list[Progress]:
    """Those of some callbacks that tell the progress.

    Example:
        >>> import keras
        >>> from zoo.training import progress
        >>> progress.of([keras.callbacks.TerminateOnNaN()])
        []
    """
    return [each for each in callbacks if isinstance(each, Progress)]


def duration(seconds: float) -> str:
    """A time as hours, minutes and seconds, without leading zeros.

    Example:
        >>> from zoo.training.progress import duration
        >>> [duration(seconds) for seconds in (7.4, 75, 3700)]
        ['7 s', '1:15', '1:01:40']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def memory() -> list[str]:
    """The memory of the process now, and the most that any of its GPUs has held, as texts.

    Example:
        >>> from zoo.training.progress import memory
        >>> memory()[0].endswith(" GB")
        True
    """
    texts = [f"{psutil.Process().memory_info().rss / 1e9:.2f} GB"]
    peaks = []
    for number in range(len(tf.config.list_logical_devices("GPU"))):
        with suppress(ValueError, RuntimeError):  # of a device that does not count
            peaks.append(tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"])
    return texts if not peaks else [*texts, f"GPU {max(peaks) / 1e9:.2f} GB"]
