"""Models compiled once, and images for Keras's loops."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.equivalence import structured_images

IMAGES = structured_images()[:24]
LABELS = np.arange(24, dtype=np.int32) % 3
OWN_OPTIONS = {
    "cvae": {"num_classes": 3},
    "vq_vae": {"network": "grid-16", "prior_width": 8, "prior_layers": 1},
    "vdvae": {"network": "vdvae-4", "encoder_blocks": (1, 1, 1), "decoder_blocks": (1, 1, 1)},
}


@functools.cache
def _compiled(name: str, rate: float, **compiling: Any) -> tuple[Any, list[np.ndarray]]:
    """A model and its state: its graphs, which take the time, are made once for all tests."""
    keras.utils.set_random_seed(0)
    options = {"network": "mlp", **OWN_OPTIONS.get(name, {})}
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, **options)
    rates = {each: keras.optimizers.SGD(rate) for each in model.optimizer_names}
    model.compile(**{**rates, **compiling})
    return model, [np.asarray(variable) for variable in model.state_variables]


def compiled_model(name: str = "vae", rate: float = 0.01, **compiling: Any) -> Any:
    """A compiled model as it was before any training."""
    model, state = _compiled(name, rate, **compiling)
    for variable, value in zip(model.state_variables, state, strict=True):
        variable.assign(value)
    model._initial_epoch = None  # which Keras's BackupAndRestore leaves
    keras.utils.set_random_seed(0)
    return model


def fit(model: Any, x: Any = IMAGES, y: Any = None, **options: Any) -> dict[str, Any]:
    batches = {"batch_size": 8} if isinstance(x, np.ndarray) else {}
    options = {**batches, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, **options).history


def evaluate(model: Any, x: Any) -> None:
    model.evaluate(x, verbose=0)


def batches_of(*arrays: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(8)


class Pairs(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        part = slice(8 * index, 8 * index + 8)
        return IMAGES[part], LABELS[part]
