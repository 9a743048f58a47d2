"""Optimizers by Keras's names, with options of their own, in place of a paper's."""

from __future__ import annotations

import inspect
import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import keras

from zoo.core.adam import Adam
from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHMS: dict[str, Any] = {
    "adam": Adam,
    "adamw": keras.optimizers.AdamW,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
    "lamb": keras.optimizers.Lamb,
    "lion": keras.optimizers.Lion,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
}
# Relatives of Adam, and the constants that they share with it.
ADAMS, CONSTANTS = ("adam", "adamw", "adamax", "nadam", "lamb"), ("beta_1", "beta_2", "epsilon")
# Arguments of Keras's optimizers that are no options here, and what to do instead.
ELSEWHERE = {
    "learning_rate": "Give learning_rate.",
    "name": "An optimizer has the name of its player.",
    "global_clipnorm": "Give clip_norm.",
    "gradient_accumulation_steps": "Give accumulate.",
    "loss_scale_factor": "A model of dtype 'mixed_float16' scales its losses by itself.",
    **dict.fromkeys(
        ("use_ema", "ema_momentum", "ema_overwrite_frequency"),
        "No optimizer here keeps averages. A GAN created with ema=0.999 averages its generator.",
    ),
}
CLIPPING = ("clipnorm", "clipvalue")
BELOW_ONE = ("beta_1", "beta_2", "rho", "momentum")


def optimizer_of(
    paper: keras.optimizers.Optimizer, algorithm: str | None, options: Mapping[str, Any]
) -> keras.optimizers.Optimizer:
    """An optimizer in place of a paper's, at the paper's learning rate.

    The same algorithm keeps all else of the paper's. A relative of Adam keeps Adam's `beta_1`,
    `beta_2` and `epsilon`. Everything else is Keras's default.

    Args:
        paper: The paper's optimizer.
        algorithm: One of `ALGORITHMS`; None takes the paper's.
        options: Arguments of Keras's class, such as `{"beta_1": 0.5, "weight_decay": 0.01}`.

    Raises:
        ValueError: If the algorithm is unknown, it has not such an option, or a value is out of
            range. The nearest name is suggested.

    Example:
        >>> from zoo.core.adam import Adam
        >>> from zoo.core.optimizers import optimizer_of
        >>> adamw = optimizer_of(Adam(2e-4, beta_1=0.5), "adamw", {"weight_decay": 0.01})
        >>> type(adamw).__name__, adamw.beta_1, adamw.weight_decay
        ('AdamW', 0.5, 0.01)
    """
    if algorithm is None and not options:
        return paper
    own = algorithm_of(paper)
    algorithm = own if algorithm is None else algorithm
    check_options(algorithm, options)
    kept = paper.get_config()
    if algorithm != own:
        shared = CONSTANTS if {own, algorithm} <= set(ADAMS) else ()
        kept = {name: kept[name] for name in ("learning_rate", *shared)}
    return ALGORITHMS[algorithm].from_config({**kept, **options})


def algorithm_of(optimizer: keras.optimizers.Optimizer) -> str:
    """The name of an optimizer's class in lower case, as `ALGORITHMS` has it."""
    return type(optimizer).__name__.lower()


def check_options(algorithm: str, options: Mapping[str, Any]) -> None:
    """Checks the options of an algorithm by name, type and range.

    Raises:
        ValueError: As `optimizer_of`.

    Example:
        >>> from zoo.core.optimizers import check_options
        >>> check_options("adam", {"beta1": 0.5})
        Traceback (most recent call last):
        ValueError: beta1=0.5: adam has no option 'beta1'. Did you mean beta_1?
    """
    if algorithm not in ALGORITHMS:
        msg = f"Unknown optimizer {algorithm!r}. {suggestion(str(algorithm), list(ALGORITHMS))}"
        raise ValueError(msg)
    known = {
        name: each.default
        for name, each in inspect.signature(ALGORITHMS[algorithm].__init__).parameters.items()
        if name not in ("self", "kwargs", *ELSEWHERE)
    }
    for name, value in options.items():
        if name in ELSEWHERE:
            msg = f"{name}={value!r}: no option of an optimizer. {ELSEWHERE[name]}"
            raise ValueError(msg)
        if name not in known:
            near = suggestion(name, list(known))
            msg = f"{name}={value!r}: {algorithm} has no option {name!r}. {near}"
            raise ValueError(msg)
        fault = _fault(name, value, known[name])
        if fault:
            msg = f"{name}={value!r} of {algorithm}: expected {fault}."
            raise ValueError(msg)


def _fault(name: str, value: Any, default: Any) -> str:
    """What was expected of a value; nothing if it is right."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if value is None and (default is None or name == "weight_decay"):
        return ""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if name in CLIPPING:  # Keras takes 0 for none
        return "" if number and 0.0 < value < math.inf else "a number above 0"
    if name in BELOW_ONE:
        return "" if number and 0.0 <= value < 1.0 else "a number from 0 to below 1"
    return "" if number and 0.0 <= value < math.inf else "a number of at least 0"
