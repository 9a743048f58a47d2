"""Pretrained models: those that come with the package, and those that others publish.

Listing them imports no TensorFlow, nor does this package, until a function needs it.
`zoo.presets` has the format of their folders.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zoo.hub.catalog import Preset, list_pretrained, write_registry
from zoo.hub.loading import is_handle, load_pretrained, load_sampler, resolve

__all__ = [
    "Preset",
    "check",
    "is_handle",
    "list_pretrained",
    "load_pretrained",
    "load_sampler",
    "measure",
    "push",
    "resolve",
    "save_run_as_preset",
    "write_registry",
]

_LATE = {
    "check": "measuring",
    "measure": "measuring",
    "push": "publishing",
    "save_run_as_preset": "publishing",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        msg = f"module 'zoo.hub' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"zoo.hub.{_LATE[name]}"), name)
