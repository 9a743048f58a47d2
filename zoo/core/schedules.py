"""Learning rates that rise, stay or fall, as functions of the number of updates."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import keras
import tensorflow as tf

SHAPES = ("constant", "linear", "cosine")


@keras.saving.register_keras_serializable("zoo")
class RateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly from 0, and then stays or falls to 0.

    Update t, counted from 0, has the rate η t / w while t < w. After that, with
    r = min((t − w) / (n − w), 1), it has η (constant), η (1 − r) (linear), or η (1 + cos π r) / 2
    (cosine: arXiv 1608.03983, eq. 5, without restarts).

    Args:
        rate: η, the highest rate.
        shape: `"constant"`, `"linear"` or `"cosine"`.
        warmup_steps: w, the updates over which the rate rises; 0 for none.
        decay_steps: n, the updates after which the rate is 0, those of the rise included. None for
            a constant rate.

    Example:
        >>> from zoo.core.schedules import RateSchedule
        >>> rate = RateSchedule(1e-3, "linear", warmup_steps=2, decay_steps=6)
        >>> [round(1e3 * float(rate(t)), 2) for t in range(8)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(
        self, rate: float, shape: str, warmup_steps: int = 0, decay_steps: int | None = None
    ) -> None:
        super().__init__()
        self.rate, self.shape = float(rate), shape
        self.warmup_steps, self.decay_steps = warmup_steps, decay_steps

    def __call__(self, step: Any) -> Any:
        """The rate of an update, scalar float32; `step` is the number of updates before it."""
        step = tf.cast(step, tf.float32)
        factor: Any = 1.0
        if self.decay_steps is not None:
            length = float(self.decay_steps - self.warmup_steps)
            done = tf.clip_by_value((step - self.warmup_steps) / length, 0.0, 1.0)
            # A cosine is 0 only to rounding at its end.
            falling = {"linear": 1.0 - done, "cosine": 0.5 * (1.0 + tf.cos(math.pi * done))}
            factor = tf.where(done < 1.0, falling[self.shape], 0.0)
        if self.warmup_steps:
            factor = factor * tf.minimum(step / self.warmup_steps, 1.0)
        return self.rate * factor

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "rate": self.rate,
            "shape": self.shape,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
        }


def checked_shape(schedule: str | None, warmup_steps: int, decay_steps: int | None) -> str:
    """The shape of a schedule: the one given, or linear if the rates are to fall.

    Args:
        schedule: One of `SHAPES`, or None.
        warmup_steps: Steps over which the rates rise.
        decay_steps: Steps after which the rates are 0, or None.

    Raises:
        ValueError: If they are no schedule.

    Example:
        >>> from zoo.core.schedules import checked_shape
        >>> checked_shape(None, 0, 100)
        'linear'
    """
    if schedule not in (None, *SHAPES):
        msg = f"schedule={schedule!r}: expected one of {', '.join(SHAPES)}, or None."
        raise ValueError(msg)
    if not _is_whole(warmup_steps, 0):
        msg = f"warmup_steps={warmup_steps!r}: expected a whole number of steps, at least 0."
        raise ValueError(msg)
    if decay_steps is not None and not _is_whole(decay_steps, 1):
        msg = f"decay_steps={decay_steps!r}: expected a whole number of steps, at least 1, or None."
        raise ValueError(msg)
    if decay_steps is None and schedule in ("linear", "cosine"):
        msg = (
            f"schedule={schedule!r}: at which step is the rate 0? Give decay_steps, such as "
            "zoo.training.loop.total_steps(model, source, epochs)."
        )
        raise ValueError(msg)
    if decay_steps is not None and schedule == "constant":
        msg = f"decay_steps={decay_steps}: a constant rate does not fall. Take schedule='linear'."
        raise ValueError(msg)
    if decay_steps is not None and warmup_steps >= decay_steps:
        msg = (
            f"warmup_steps={warmup_steps}: expected less than decay_steps={decay_steps}, in which "
            "the rates rise and fall."
        )
        raise ValueError(msg)
    return schedule or ("constant" if decay_steps is None else "linear")


def described(rate: Any, updates_a_step: int) -> dict[str, Any]:
    """The schedule of a learning rate, in training steps, as entries of config.json.

    Args:
        rate: As `get_config` of an optimizer has it: a number, or a serialised schedule.
        updates_a_step: The optimizer's updates per training step.

    Returns:
        `schedule`, `warmup_steps` and `decay_steps`. A schedule of another class has its name.

    Example:
        >>> from zoo.core.schedules import described
        >>> described(1e-3, 1)
        {'schedule': 'constant', 'warmup_steps': 0, 'decay_steps': None}
    """
    if not isinstance(rate, dict):
        return {"schedule": "constant", "warmup_steps": 0, "decay_steps": None}
    name, config = rate["class_name"], rate["config"]
    if name == "RateSchedule":
        shape, warmup, decay = (config[key] for key in ("shape", "warmup_steps", "decay_steps"))
    elif name == "PolynomialDecay":  # of earlier versions
        shape, warmup, decay = "linear", 0, config["decay_steps"]
    else:
        return {"schedule": name, "warmup_steps": 0, "decay_steps": None}
    return {
        "schedule": shape,
        "warmup_steps": warmup // updates_a_step,
        "decay_steps": None if decay is None else decay // updates_a_step,
    }


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
