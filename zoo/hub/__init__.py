"""Presets, which are pretrained models: those in the package, and those that others publish.

This package imports no TensorFlow until a function needs it; listing presets needs none.
`zoo.presets` has the format of their folders.

Example:
    >>> from zoo.hub import list_pretrained
    >>> [preset.model for preset in list_pretrained("vae_f*")]
    ['vae']
"""

from __future__ import annotations

from zoo.hub.catalog import Preset, list_pretrained, write_registry
from zoo.hub.loading import load, load_pretrained, load_sampler, resolve
from zoo.io.lazy import lazy

__all__ = [
    "Preset",
    "check",
    "list_pretrained",
    "load",
    "load_pretrained",
    "load_sampler",
    "measure",
    "push",
    "read_autoencoder",
    "resolve",
    "save_run_as_preset",
    "write_autoencoder",
    "write_registry",
]

_HOMES = {
    "check": "zoo.hub.measuring",
    "measure": "zoo.hub.measuring",
    "push": "zoo.hub.publishing",
    "read_autoencoder": "zoo.hub.diffusers",
    "save_run_as_preset": "zoo.hub.publishing",
    "write_autoencoder": "zoo.hub.diffusers",
}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
