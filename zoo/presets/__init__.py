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
"""

from zoo.presets.config import FILES, FORMAT, read_config
from zoo.presets.folder import (
    check_files,
    check_preset,
    is_preset,
    load_preset,
    read_metrics,
    save_preset,
)

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
