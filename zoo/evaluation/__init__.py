"""How good a model is: what is measured, and the report of it.

Nothing is imported until it is used: a report needs no TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "evaluate": "measure",
    "sampler_metrics": "measure",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'zoo.evaluation' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"zoo.evaluation.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(_HOMES)
