"""Training a model into a run folder, going on with one, and the devices to train on.

    zoo.train(model, source, out, epochs=…)     zoo.training.train: a run folder, and what is in it
    zoo.resume(run, epochs=…)                   zoo.training.resume: on with it, bitwise
    zoo.load_run(run)                           zoo.training.runs: the model of a run
    zoo.training.strategy("mirrored")           zoo.training.strategies: several GPUs or machines

Nothing is imported until it is used: `zoo launch` and `zoo info` answer at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["load_run", "recipes", "resume", "save_run", "strategy", "train"]

_FUNCTIONS = {"load_run": "runs", "save_run": "runs", "strategy": "strategies"}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(import_module(f"zoo.training.{_FUNCTIONS[name]}"), name)
    if name in __all__:
        return import_module(f"zoo.training.{name}")
    msg = f"module 'zoo.training' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return [*__all__]
