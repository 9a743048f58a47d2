"""Models to export, whose every weight counts."""

from __future__ import annotations

import keras
import numpy as np

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM

FORMATS = ("saved_model", "onnx")


def shaken(model: keras.Model) -> keras.Model:
    """Random values for every weight, so that biases and BatchNorm statistics count."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            low, high = (0.5, 1.5) if "variance" in weight.name else (-0.3, 0.3)
            weight.assign(rng.uniform(low, high, weight.shape))
    return model


def shaken_case(name: str, **options: object) -> keras.Model:
    """A shaken model of the zoo, tiny."""
    return shaken(zoo.create(name, IMAGE_SHAPE, LATENT_DIM, **options))
