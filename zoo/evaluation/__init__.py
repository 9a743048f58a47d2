"""How good a model is: what is measured, and the report of it.

Nothing is imported until it is used: a report needs no TensorFlow.
"""

from __future__ import annotations

from zoo.io.lazy import lazy

_HOMES = {
    "evaluate": "zoo.evaluation.measure",
    "sampler_metrics": "zoo.evaluation.measure",
    "write_report": "zoo.evaluation.report",
}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return list(_HOMES)
