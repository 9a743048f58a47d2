"""Keras's own callbacks, adapted to models with several optimizers and losses, or refused.

docs/keras.md has a row for each of them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from zoo.core.model import ZooModel

RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
CHECK_EVERY = 20  # calls between looks at the data's faults: a look waits for the GPU


def adapted(callbacks: Any, model: ZooModel) -> list[keras.callbacks.Callback]:
    """The callbacks that `fit` runs for those that it was given.

    Args:
        callbacks: As `fit` takes them: one, several (nested), or None.
        model: The model that trains.

    Raises:
        ValueError: If one of Keras's callbacks would do nothing here, or half of what it says.

    Example:
        >>> import keras
        >>> import zoo
        >>> from zoo.core.callbacks import adapted
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> [type(each).__name__ for each in adapted(keras.callbacks.TerminateOnNaN(), model)]
        ['DataCheck', 'TerminateOnAnyNaN']
    """
    given = [callbacks] if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks
    return [DataCheck(), *(_adapted(each, model) for each in keras.tree.flatten(given or []))]


def _adapted(callback: Any, model: ZooModel) -> Any:
    _check_monitor(callback, model)
    several = len(model.optimizer_names) > 1
    reason = _refusal(callback, model, several=several)
    if reason is not None:
        raise ValueError(reason)
    if type(callback) is keras.callbacks.TerminateOnNaN:
        return TerminateOnAnyNaN(callback.raise_error)
    return OnEveryOptimizer(callback) if several and isinstance(callback, RATES) else callback


def _refusal(callback: Any, model: ZooModel, *, several: bool) -> str | None:
    """Why a callback is refused, or None."""
    if isinstance(callback, keras.callbacks.CallbackList):
        return "callbacks: a CallbackList; expected a list of callbacks. Give `[first, second]`."
    if isinstance(callback, keras.callbacks.SwapEMAWeights):
        return f"SwapEMAWeights: no optimizer here keeps averages. {average_advice(model)}"
    if isinstance(callback, keras.callbacks.OrbaxCheckpoint):
        return (
            "OrbaxCheckpoint keeps the state of one optimizer, without the running means. Take "
            "keras.callbacks.ModelCheckpoint or BackupAndRestore, which keep all, or `zoo train`."
        )
    if several and isinstance(callback, RATES) and type(callback) not in RATES:
        return (
            f"{type(callback).__name__} moves the learning rate of one optimizer; this "
            f"{model.model_name} has {', '.join(model.optimizer_names)}. Derive it from "
            "keras.callbacks.Callback, and set the rate of each."
        )
    return None


def average_advice(model: ZooModel) -> str:
    """What to do for averaged weights."""
    if hasattr(model, "ema"):
        return "Create the model with ema=0.999 and sample from it: that is the averaged generator."
    return f"Leave it out: a {model.model_name} has no averaged weights."


def _check_monitor(callback: Any, model: ZooModel) -> None:
    """Refuses a monitor that is never logged: Keras would only warn, at every epoch."""
    monitor = getattr(callback, "monitor", None)
    idle = isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_best_only
    if monitor in ("loss", "val_loss") and "loss" not in model.log_names and not idle:
        prefix = monitor.removesuffix("loss")
        names = ", ".join(f"{prefix}{name}" for name in model.log_names)
        msg = (
            f"{type(callback).__name__}: monitor={monitor!r}: a {model.model_name} logs no loss. "
            f"Take one of {names}, with mode='min' or 'max'."
        )
        raise ValueError(msg)


class DataCheck(keras.callbacks.Callback):
    """Raises ValueError after a batch with pixels or labels that the model does not take."""

    async_safe = True  # so that Keras need not wait for each step

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Looks at the first batch, and then from time to time."""
        if self.calls % CHECK_EVERY == 0:
            self.model.check_data()
        self.calls += 1

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Looks before the evaluation resets what is known."""
        self.model.check_data()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Looks before the next epoch resets what is known."""
        self.model.check_data()


class TerminateOnAnyNaN(keras.callbacks.TerminateOnNaN):
    """Looks at all logs. Keras's callback looks at `loss` alone, which a GAN does not log."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stops training, or raises RuntimeError, at a value that is no finite number."""
        wrong = [value for value in (logs or {}).values() if not np.isfinite(value)]
        super().on_batch_end(batch, {"loss": wrong[0]} if wrong else None)


class OnEveryOptimizer(keras.callbacks.Callback):
    """Runs a callback that moves learning rates on all optimizers, as Keras does where it can.

    Keras's callbacks go through `model.optimizer.optimizers` where there is such a list.

    Args:
        callback: A `LearningRateScheduler` or `ReduceLROnPlateau`.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        self.callback = callback
        self.first = True

    def set_model(self, model: Any) -> None:
        """Shows the callback a model whose optimizer is all of them."""
        super().set_model(model)
        optimizers = [getattr(model, name) for name in model.optimizer_names]
        everything = SimpleNamespace(optimizers=optimizers)
        self.callback.set_model(SimpleNamespace(optimizer=everything, metrics=model.metrics))

    def rates(self) -> dict[str, float]:
        """The learning rates, by name of the optimizer."""
        names = self.model.optimizer_names
        return {name: float(np.asarray(getattr(self.model, name).learning_rate)) for name in names}

    def on_train_begin(self, logs: Any = None) -> None:
        """As the callback."""
        self.callback.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """As the callback; raises ValueError if it makes rates equal that differ."""
        before = self.rates()
        self.callback.on_epoch_begin(epoch, logs)
        after = self.rates()
        known, new = set(before.values()), set(after.values())
        if self.first and len(known) > 1 and len(new) == 1 and new != {0.0}:
            for name, rate in before.items():
                getattr(self.model, name).learning_rate = rate
            msg = (
                f"{type(self.callback).__name__} gives every optimizer the learning rate "
                f"{new.pop():.6g}; they had "
                f"{', '.join(f'{name} {rate:.6g}' for name, rate in before.items())}. Return a "
                "multiple of the rate given, `lambda epoch, rate: rate * 0.9`, or compile with "
                "optimizers of one rate."
            )
            raise ValueError(msg)
        self.first = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """As the callback, which logs the rates; here by the optimizers' names in the model."""
        self.callback.on_epoch_end(epoch, dict(logs or {}))
        if logs is not None:
            logs |= {f"learning_rate_{name}": rate for name, rate in self.rates().items()}
