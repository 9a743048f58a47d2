"""Presets, which are pretrained models: those in the package, and those that others publish.

This package imports no TensorFlow until a function needs it; listing presets needs none.
`zoo.presets` has the format of their folders.

Example:
    >>> from zoo.hub import list_pretrained
    >>> [preset.model for preset in list_pretrained("vae_f*")]
    ['vae']
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zoo.hub.catalog import Preset, list_pretrained, write_registry
from zoo.hub.loading import load, load_pretrained, load_sampler, resolve

__all__ = [
    "Preset",
    "check",
    "list_pretrained",
    "load",
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


def __dir__() -> list[str]:
    return __all__
