"""A short training, and the comparison of its outcome under two strategies."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.cases import IMAGE_SHAPE, Case


def structured_images(shape: tuple[int, int, int] = IMAGE_SHAPE) -> np.ndarray:
    """60 images with structure: float32 in [0, 1]."""
    rng = np.random.default_rng(0)
    coarse = rng.random((60, 2, 2, shape[2]))
    zoom = (1, shape[0] // 2, shape[1] // 2, 1)
    return np.kron(coarse, np.ones(zoom)).astype(np.float32)


def train(
    case: Case,
    strategy: tf.distribute.Strategy | None = None,
    *,
    batch_size: int = 24,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Two epochs of 60 images, in global batches which 2 and 3 replicas share evenly by default.

    Then evaluates on batches that they do not share evenly, and predicts. Returns all weights,
    optimizer slots, logs and predictions by name.
    """
    images = structured_images(case.image_shape)
    keras.utils.set_random_seed(0)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = case.create_with_sgd(**options)
    return {**fit(case, model, images, batch_size), **outcome(model)}


def fit(
    case: Case, model: keras.Model, images: np.ndarray, batch_size: int
) -> dict[str, np.ndarray]:
    data = case.data(images)
    history = model.fit(*data, batch_size=batch_size, epochs=2, shuffle=False, verbose=0).history
    results = model.evaluate(*case.data(images[:50]), batch_size=25, verbose=0, return_dict=True)
    inputs = case.inputs(model, images)
    return {
        **{f"history/{name}": np.ravel(values) for name, values in history.items()},
        **{f"test/{name}": np.asarray(value) for name, value in results.items()},
        "predictions": model.predict(inputs, batch_size=30, verbose=0),
        "samples": model.generate(5, seed=0),
    }


def outcome(model: keras.Model) -> dict[str, np.ndarray]:
    slots = [v for name in model.optimizer_names for v in getattr(model, name).variables]
    weights = {f"weight/{i} {v.name}": np.asarray(v) for i, v in enumerate(model.variables)}
    return {**weights, **{f"slot/{i} {v.name}": np.asarray(v) for i, v in enumerate(slots)}}


def assert_equivalent(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Equal to float32 rounding."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.isfinite(value).all(), name  # NaN would equal NaN
        atol = 2e-6 if name.startswith(("weight", "slot")) else 2e-5
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=atol, err_msg=name)


def assert_moved(case: Case, found: dict[str, np.ndarray]) -> None:
    """What is compared has moved by far more than the tolerance."""
    keras.utils.set_random_seed(0)
    start = outcome(case.create_with_sgd())
    moved = [np.abs(found[name] - start[name]).max() for name in start if "kernel" in name]
    assert max(moved) > 1e-4
