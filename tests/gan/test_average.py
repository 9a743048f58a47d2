"""The generator's average with a half-life in images, as in the code of arXiv 2006.06676."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo


def _gan(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp", **options)
    model.compile(run_eagerly=True)  # no graph to trace: few steps
    return model


def _followed(model: Any, images: np.ndarray, sizes: list[int], rampup: float | None) -> None:
    """Trains on batches of such sizes; compares the average with the formula, in float64."""
    average = [w.numpy().astype(np.float64) for w in model.generator.trainable_variables]
    seen = 0
    for size in sizes:
        model.train_on_batch(images[:size])
        half_life = min(80.0, seen * rampup) if rampup else 80.0
        decay = 0.5 ** (size / max(half_life, 1e-8))
        seen += size
        average = [
            decay * a + (1.0 - decay) * w.numpy()
            for a, w in zip(average, model.generator.trainable_variables, strict=True)
        ]
    assert int(model.images_seen) == seen
    for found, wanted in zip(model.ema_generator.weights, average, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("rampup", [0.5, pytest.param(None, marks=pytest.mark.slow)])
def test_the_decay_is_of_the_images_of_each_step(images: np.ndarray, rampup: float | None) -> None:
    """θ̄ ← d θ̄ + (1 − d) θ with d = 0.5^(n / min(half-life, ramp-up · images seen)).

    At first d = 0 with a ramp-up: the random start is forgotten.
    """
    _followed(_gan(ema_images=80, ema_rampup=rampup), images, [20, 20, 12, 60, 60, 60], rampup)


def test_all_minibatches_of_a_step_count(images: np.ndarray) -> None:
    _followed(_gan(ema_images=80.0, n_critic=3), images, [30, 30], 0.05)


@pytest.mark.slow
def test_the_images_seen_are_saved(images: np.ndarray, tmp_path: Path) -> None:
    """A model without the option has no such variable, and loads as before."""
    model = _gan(ema_images=80)
    model.fit(images, batch_size=24, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (int(loaded.images_seen), loaded.ema_images, loaded.ema_rampup) == (60, 80, 0.05)
    assert not hasattr(_gan(ema=0.9), "images_seen")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema": 0.9, "ema_images": 80}, r"ema=0.9 is a decay per step, .*\(--option ema=null\)"),
        ({"ema_images": 0.0}, r"ema_images=0.0: expected more than 0, such as 10000"),
        ({"ema_images": 80, "ema_rampup": -1.0}, r"ema_rampup=-1.0: expected more than 0"),
        ({"ema_rampup": 0.1}, r"ema_rampup=0.1 is for ema_images"),
        ({"ema_images": "many"}, r"ema_images='many': expected a finite number or None"),
    ],
)
def test_what_is_no_average(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _gan(**options)
