"""Callbacks that measure a model after an epoch, and that a run keeps the figures of."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MeasuringCallback(keras.callbacks.Callback):
    """A callback whose `on_epoch_end` adds figures to the logs.

    `zoo.train` calls it before it writes an epoch down, so that the figures are in history.json, in
    TensorBoard and in what is printed, and may pick `best.keras`. It does not move the model.

    Attributes:
        directions: The names of its figures, and whether higher is better.
        every: Epochs from one measurement to the next.
        settings: Entries of config.json, so that a run that goes on measures the same.

    Example:
        >>> from zoo.training.measuring import MeasuringCallback
        >>> class Norm(MeasuringCallback):
        ...     directions = {"norm": False}
        ...
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         logs["norm"] = sum(float((w.numpy() ** 2).sum()) for w in self.model.weights)
    """

    directions: Mapping[str, bool] = MappingProxyType({})
    every: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """Entries of config.json; none here."""
        return {}


def of(callbacks: Sequence[Any]) -> list[MeasuringCallback]:
    """Those of some callbacks that measure.

    Example:
        >>> import keras
        >>> from zoo.training import measuring
        >>> measuring.of([keras.callbacks.TerminateOnNaN()])
        []
    """
    return [each for each in callbacks if isinstance(each, MeasuringCallback)]


def begun(callbacks: Sequence[MeasuringCallback], model: Any) -> dict[str, Any]:
    """Begins them, of which one may find that it cannot measure; their entries of config.json.

    Example:
        >>> from zoo.training import measuring
        >>> measuring.begun([], None)
        {}
    """
    settings: dict[str, Any] = {}
    for each in callbacks:
        each.set_model(model)
        each.on_train_begin()
        settings |= each.settings
    return settings


def directions(callbacks: Sequence[MeasuringCallback]) -> dict[str, bool]:
    """The names of all their figures, and whether higher is better.

    Raises:
        ValueError: If two have a figure of one name.

    Example:
        >>> from zoo.training import measuring
        >>> measuring.directions([])
        {}
    """
    directions: dict[str, bool] = {}
    for each in callbacks:
        twice = [name for name in each.directions if name in directions]
        if twice:
            msg = f"callbacks: two of them measure {twice[0]}. Leave one out."
            raise ValueError(msg)
        directions |= each.directions
    return directions


def is_best(metric: str, history: Sequence[Mapping[str, Any]], *, higher: bool) -> bool:
    """Whether the last epoch has the best value so far; False if it was not measured.

    Example:
        >>> from zoo.training import measuring
        >>> epochs = [{"fid5k_test": 9.0}, {}, {"fid5k_test": 8.0}]
        >>> [measuring.is_best("fid5k_test", epochs[:n], higher=False) for n in (1, 2, 3)]
        [True, False, True]
    """
    value = history[-1].get(metric)
    return value is not None and value == best(metric, history, higher=higher)


def best(metric: str, history: Sequence[Mapping[str, Any]], *, higher: bool) -> float | None:
    """The best value of a metric in a history; None if it was never measured.

    Example:
        >>> from zoo.training import measuring
        >>> measuring.best("is5k", [{"is5k": 2.0}, {"is5k": 3.0}, {}], higher=True)
        3.0
    """
    values = [entry[metric] for entry in history if entry.get(metric) is not None]
    numbers = [value for value in values if value == value]  # noqa: PLR0124  (NaN differs from itself)
    if not numbers:
        return None
    return max(numbers) if higher else min(numbers)
