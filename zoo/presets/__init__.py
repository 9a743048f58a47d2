"""Presets: folders with a trained model, which can be loaded without trust in who made them.

    config.json           what the model is, how it was made, and the hash of each other file
                          (except the card, which people edit where they publish it)
    model.weights.h5      all weights, as float16 or float32, without optimizers
    metrics.json          what was measured, if it was
    samples.png           generated images
    reconstructions.png   test images and their reconstructions, if the model has an encoder
    sampler_gmm.npz       for a VAE: a mixture to draw latents from in place of the prior, if fitted
    samples_gmm.png       images that the mixture draws
    README.md             the model card

Loading a preset runs no code of it: no pickle and no Lambda, only known classes and finite numbers.
`is_preset`, `check_files` and `read_metrics` need no TensorFlow.
"""

from __future__ import annotations

from zoo.io.lazy import lazy
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

_HOMES = {
    "check_preset": "zoo.presets.folder",
    "load_preset": "zoo.presets.folder",
    "read_config": "zoo.presets.config",
    "save_preset": "zoo.presets.folder",
}
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
