"""Training a model into a run folder, going on with one, and the devices to train on.

`fit`, Keras's own, trains a model in memory. `zoo.train` trains it into a run folder. Both take the
same steps.

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
    "recipes",
    "save_run",
    "strategy",
    "tracked",
]

_HOMES = {
    "MaxMinutes": "zoo.training.stopping",
    "recipes": "zoo.training.recipes",  # a module
    "save_run": "zoo.training.runs",
    "strategy": "zoo.training.strategies",
    "tracked": "zoo.training.trackers",
}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return [*__all__]
