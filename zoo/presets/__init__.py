"""Presets: folders of a trained model that need no trust to be loaded.

    config.json           what the model is, how it was made, and the hashes of the files beside it
                          (but of the card, which is edited where it is published)
    model.weights.h5      all its weights, as float16 or float32, without optimizers
    metrics.json          what was measured
    samples.png           and reconstructions.png, where there are any
    sampler_gmm.npz       of a VAE, if fitted: a mixture to draw latents from in place of the prior
    samples_gmm.png       and what it draws
    README.md             the model card

Loading one runs no code of it: no pickle, no Lambda, nothing but known classes and finite numbers.
Telling a preset and reading its files imports no TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zoo.presets.files import FILES, FORMAT, check_files, is_preset, read_metrics

__all__ = [
    "FILES",
    "FORMAT",
    "check_files",
    "check_preset",
    "is_preset",
    "load_preset",
    "read_config",
    "read_metrics",
    "save_preset",
]

_LATE = {
    "check_preset": "folder",
    "load_preset": "folder",
    "read_config": "config",
    "save_preset": "folder",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        msg = f"module 'zoo.presets' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"zoo.presets.{_LATE[name]}"), name)
