"""How good a model is: what is measured, and the report of it.

Nothing is imported until it is used: a report needs no TensorFlow.
"""

from __future__ import annotations

from zoo.io.lazy import lazy

_HOMES = {
    "EpochMetrics": "zoo.evaluation.epochs",
    "Protocol": "zoo.evaluation.protocols",
    "doctor": "zoo.evaluation.diagnosis",
    "evaluate": "zoo.evaluation.measure",
    "evaluate_named": "zoo.evaluation.named",
    "nearest_training_images": "zoo.evaluation.neighbours",
    "parse": "zoo.evaluation.protocols",
    "sampler_metrics": "zoo.evaluation.measure",
    "train_classifier": "zoo.evaluation.classifiers",
    "write_report": "zoo.evaluation.report",
}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return list(_HOMES)
