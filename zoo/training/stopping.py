"""What ends a training before its last step: its time is over, or it gets no better."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras

from zoo.core import replicas
from zoo.training import measuring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.core.model import ZooModel
    from zoo.training.recorder import Recorder


class MaxMinutes(keras.callbacks.Callback):
    """Stops a training when some minutes have passed since this callback was made.

    `fit` and `zoo.train` end after the step under way. `zoo.train` saves the state, and a resumed
    run goes on to the weights of one that never stopped. An epoch's end, with its evaluation and
    pictures, is not cut short.

    Args:
        minutes: More than 0.

    Attributes:
        over: Whether it has stopped the training.

    Raises:
        ValueError: If `minutes` is no positive number; when training begins, if there are several
            workers, whose clocks cannot agree on a step.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images, clock = np.zeros((8, 8, 8, 1), "float32"), zoo.training.MaxMinutes(30)
        >>> out = tempfile.mkdtemp()
        >>> zoo.train(model, images, out, epochs=1, batch_size=4, callbacks=[clock], verbose=0)
        True
        >>> clock.over
        False
    """

    def __init__(self, minutes: float) -> None:
        super().__init__()
        number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
        if not number or not 0 < minutes < math.inf:
            msg = f"minutes={minutes!r}: expected a number of minutes, more than 0."
            raise ValueError(msg)
        self.end = time.monotonic() + 60 * minutes
        self.over = False

    def set_model(self, model: Any) -> None:
        """Refuses several workers."""
        super().set_model(model)
        if replicas.is_multi_worker(model.distribute_strategy):
            msg = (
                "max_minutes: the clocks of several workers cannot agree on a step. Let the "
                "cluster end the job, and bound what that loses by checkpoint_every "
                "(--checkpoint-every)."
            )
            raise ValueError(msg)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Looks at the clock."""
        if time.monotonic() >= self.end:
            self.over = True
            self.model.stop_training = True


class Patience(keras.callbacks.Callback):
    """Stops a training whose best epoch lies `patience` epochs back; None never does.

    It comes after the recorder, whose history it reads: a resumed run stops where one would that
    never stopped.
    """

    def __init__(self, recorder: Recorder, patience: int | None) -> None:
        super().__init__()
        self.recorder, self.patience = recorder, patience

    def ended(self) -> bool:
        """Whether it is time to stop."""
        metric = self.recorder.best
        if self.patience is None or metric is None:
            return False
        higher = self.recorder.directions.get(metric, False)
        return out_of_patience(self.recorder.history, metric, self.patience, higher=higher)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Stops, if it is time."""
        if self.ended():
            self.model.stop_training = True


def out_of_patience(
    history: Sequence[Mapping[str, Any]], metric: str, patience: int, *, higher: bool
) -> bool:
    """Whether the last epoch comes `patience` epochs or more after the first with the best value.

    Epochs that did not measure the metric decide nothing.

    Args:
        history: Entries of history.json.
        metric: A name in it.
        patience: A number of epochs, at least 1.
        higher: Whether higher is better.

    Example:
        >>> from zoo.training.stopping import out_of_patience
        >>> epochs = [{"epoch": i, "loss": loss} for i, loss in enumerate((3.0, 2.0, 2.0, 2.5), 1)]
        >>> [out_of_patience(epochs[:n], "loss", 2, higher=False) for n in (2, 3, 4)]
        [False, False, True]
    """
    if not history or history[-1].get(metric) is None:
        return False
    best = measuring.best(metric, history, higher=higher)
    # 0: it has been no number in every epoch.
    first = next((entry["epoch"] for entry in history if entry.get(metric) == best), 0)
    return bool(history[-1]["epoch"] - (first if best is not None else 0) >= patience)


def check(model: ZooModel, callbacks: Sequence[Any]) -> None:
    """Refuses callbacks that cannot stop this model, before anything is written."""
    for each in callbacks:
        if isinstance(each, MaxMinutes):
            each.set_model(model)
