"""Training a model into a run folder, going on with one, and the devices to train on.

    zoo.train(model, source, out, epochs=…)     zoo.training.loop: a run folder, and what is in it
    zoo.resume(run, epochs=…)                   zoo.training.resume: on with it, bitwise
    zoo.load_run(run)                           zoo.training.runs: the model of a run
    zoo.training.strategy("mirrored")           zoo.training.strategies: several GPUs or machines
    zoo.training.MaxMinutes(60)                 zoo.training.stopping: a callback that ends in time
    zoo.training.tracked("wandb", out)          zoo.training.trackers: Weights & Biases, or MLflow

Nothing is imported until it is used: `zoo launch` and `zoo info` answer at once.
"""

from __future__ import annotations

from zoo.io.lazy import lazy

__all__ = [
    "MaxMinutes",
    "load_run",
    "recipes",
    "resume",
    "save_run",
    "strategy",
    "tracked",
    "train",
]

_HOMES = {"load_run": "zoo.training.runs", "save_run": "zoo.training.runs"}
_HOMES |= {"strategy": "zoo.training.strategies", "MaxMinutes": "zoo.training.stopping"}
_HOMES |= {"tracked": "zoo.training.trackers", "train": "zoo.training.loop"}
_HOMES |= {name: f"zoo.training.{name}" for name in ("recipes", "resume")}  # modules
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return [*__all__]
