"""Schedules, weight decay and an average by images are the same however a batch is computed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import zoo
from tests.cases import LATENT_DIM
from tests.support.equivalence import assert_equivalent, outcome
from tests.support.replicas import replicated


@pytest.mark.parametrize(
    ("replicas", "accumulate", "steps_per_execution"),
    [
        pytest.param(2, 1, 3, marks=pytest.mark.slow),
        pytest.param(2, 2, 3, marks=pytest.mark.slow),
        pytest.param(3, 1, 1, marks=pytest.mark.slow),
        pytest.param(1, 2, 1, marks=pytest.mark.slow),
        pytest.param(1, 1, 3, marks=pytest.mark.slow),
    ],
)
def test_control_of_one_device(
    replicas: int, accumulate: int, steps_per_execution: int, images: np.ndarray
) -> None:
    """With SGD, which hides no factor. The last batch of an epoch is smaller."""
    outcomes = []
    for n, parts, steps in ((1, 1, 1), (replicas, accumulate, steps_per_execution)):
        keras.utils.set_random_seed(0)
        options = {"network": "mlp", "normalization": "none", "n_critic": 2, "ema_images": 60}
        with replicated(n).scope():
            model = zoo.create("dcgan", (8, 8, 1), LATENT_DIM, **options)
            model.compile(
                algorithm="sgd",
                optimizer_options={"weight_decay": 0.5},
                learning_rate=0.1,
                schedule="cosine",
                warmup_steps=2,
                decay_steps=8,
                accumulate=parts,
                steps_per_execution=steps,
            )
        model.fit(images, batch_size=24, epochs=2, shuffle=False, verbose=0)
        outcomes.append(outcome(model))
    assert_equivalent(outcomes[1], outcomes[0])
    assert int(model.images_seen.numpy()) == 120
    moved = [
        np.abs(average - weight).max()
        for average, weight in zip(
            model.ema_generator.get_weights(), model.generator.get_weights(), strict=True
        )
    ]
    assert max(moved) > 1e-4
