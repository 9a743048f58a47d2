"""Schedules of learning rates against closed forms and Keras's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.core.schedules import RateSchedule, described

STEPS = np.arange(40)


@pytest.mark.parametrize("warmup", [0, 7])
def test_a_cosine_is_kerass(warmup: int) -> None:
    ours = RateSchedule(0.3, "cosine", warmup, 30)
    theirs = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else 0.3, 30 - warmup, warmup_target=0.3 if warmup else None,
        warmup_steps=warmup,
    )  # fmt: skip
    wanted = [float(theirs(step)) for step in STEPS]
    np.testing.assert_allclose([float(ours(step)) for step in STEPS], wanted, atol=1e-7)
    assert float(ours(30)) == float(ours(1000)) == 0.0


@pytest.mark.parametrize("warmup", [0, 7])
def test_a_linear_one_is_its_definition(warmup: int) -> None:
    ours = RateSchedule(0.3, "linear", warmup, 30)
    wanted = np.interp(STEPS, [0, warmup, 30], [0.0, 0.3, 0.0])
    if not warmup:
        wanted = np.interp(STEPS, [0, 30], [0.3, 0.0])
        theirs = keras.optimizers.schedules.PolynomialDecay(0.3, 30, 0.0)
        np.testing.assert_allclose([float(theirs(step)) for step in STEPS], wanted, atol=1e-7)
    np.testing.assert_allclose([float(ours(step)) for step in STEPS], wanted, atol=1e-7)
    constant = RateSchedule(0.3, "constant", 7)
    wanted = np.interp(STEPS, [0, 7], [0.0, 0.3])
    np.testing.assert_allclose([float(constant(step)) for step in STEPS], wanted, atol=1e-7)


def test_a_step_has_one_rate_whatever_the_number_of_updates(tmp_path: Path) -> None:
    """Steps are training steps for a player that updates more often, and so they are saved."""
    model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp", n_critic=2)
    model.compile(learning_rate=0.25, schedule="cosine", warmup_steps=2, decay_steps=6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.schedule == {"schedule": "cosine", "warmup_steps": 2, "decay_steps": 6}
    falling = 0.125 * (1.0 + np.cos(np.pi * np.arange(5) / 4))
    for name, updates in (("generator_optimizer", 1), ("discriminator_optimizer", 2)):
        optimizer, found = getattr(loaded, name), []
        for step in range(7):
            optimizer.iterations.assign(step * updates)
            found.append(float(optimizer.learning_rate))
        np.testing.assert_allclose(found, [0.0, 0.125, *falling], atol=1e-7)


def test_schedules_of_earlier_versions_and_of_others() -> None:
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    schedules = keras.optimizers.schedules
    model.compile(keras.optimizers.Adam(schedules.PolynomialDecay(1e-3, 9, 0.0)))
    assert model.schedule == {"schedule": "linear", "warmup_steps": 0, "decay_steps": 9}
    model.compile(keras.optimizers.Adam(schedules.ExponentialDecay(1e-3, 9, 0.5)))
    assert model.schedule["schedule"] == "ExponentialDecay"
    assert model.decay_steps is None
    assert described(1e-3, 1)["schedule"] == "constant"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "poly"}, "schedule='poly': expected one of constant, linear, cosine"),
        ({"schedule": "cosine"}, "schedule='cosine': at which step is the rate 0"),
        ({"schedule": "constant", "decay_steps": 3}, "a constant rate does not fall"),
        ({"warmup_steps": -1}, "warmup_steps=-1: expected a whole number of steps, at least 0"),
        ({"warmup_steps": 1.5}, "warmup_steps=1.5: expected a whole number"),
        ({"decay_steps": True}, "decay_steps=True: expected a whole number"),
        ({"warmup_steps": 5, "decay_steps": 5}, "warmup_steps=5: expected less than decay_steps=5"),
    ],
)
def test_what_is_no_schedule(arguments: dict[str, Any], message: str) -> None:
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    with pytest.raises(ValueError, match=message):
        model.compile(**arguments)
    assert not model.compiled
