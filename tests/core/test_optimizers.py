"""Optimizers by name: the class and the options that Keras's own would have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.core.adam import Adam
from zoo.core.optimizers import ALGORITHMS, optimizer_of

PAPER = {"learning_rate": 2e-4, "beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-6}


def _config(optimizer: Any) -> dict[str, Any]:
    config = optimizer.get_config()
    del config["name"]
    return config


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_paper_s_rate_and_adam_s_constants_stay(name: str) -> None:
    """In relatives of Adam, which take all three; the rest is Keras's default, or as given."""
    keras_class = next(
        each
        for key in dir(keras.optimizers)
        if (each := getattr(keras.optimizers, key)) and key.lower() == name
    )
    found = optimizer_of(Adam(**PAPER), name, {"weight_decay": 0.25})
    assert isinstance(found, keras_class)
    kept = (
        PAPER if name in ("adam", "adamw", "adamax", "nadam", "lamb") else {"learning_rate": 2e-4}
    )
    wanted = keras_class(**kept, weight_decay=0.25)
    assert _config(found) == pytest.approx(_config(wanted))


def test_options_of_the_paper_s_own_optimizer() -> None:
    """All else stays: WGAN's RMSProp has PyTorch's constants."""
    model = zoo.create("wgan", (8, 8, 1), 2, network="mlp", ttur=4.0)
    for algorithm in (None, "rmsprop"):
        model.compile(algorithm=algorithm, optimizer_options={"momentum": 0.5}, learning_rate=1e-3)
        config = _config(model.discriminator_optimizer)
        wanted = {"learning_rate": 4e-3, "rho": 0.99, "epsilon": 1e-16, "momentum": 0.5}
        assert {name: config[name] for name in wanted} == pytest.approx(wanted)


def test_it_trains_as_keras_s_does(images: np.ndarray) -> None:
    """Bit for bit: an optimizer by name, and the same one given whole."""
    weights = []
    for arguments in (
        {"algorithm": "lion", "optimizer_options": {"beta_2": 0.9, "weight_decay": 0.1}},
        {"optimizer": keras.optimizers.Lion(1e-3, beta_2=0.9, weight_decay=0.1)},
    ):
        keras.utils.set_random_seed(0)
        model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        model.compile(**arguments, run_eagerly=True)
        for _ in range(2):
            model.train_on_batch(images[:10])
        weights.append(model.get_weights())
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "adamv"}, "Unknown optimizer 'adamv'. Did you mean adam or adamw"),
        ({"algorithm": "sgd", "optimizer_options": {"beta_1": 0.5}}, "sgd has no option 'beta_1'"),
        ({"optimizer_options": {"beta1": 0.5}}, "has no option 'beta1'. Did you mean beta_1"),
        ({"optimizer_options": {"beta_2": 1.0}}, "beta_2=1.0 of adam: expected a number from 0 to"),
        ({"optimizer_options": {"epsilon": "x"}}, "epsilon='x' of adam: expected a number of at l"),
        ({"optimizer_options": {"epsilon": None}}, "epsilon=None of adam: expected a number"),
        ({"optimizer_options": {"weight_decay": -0.1}}, "weight_decay=-0.1 of adam: expected"),
        ({"optimizer_options": {"weight_decay": float("nan")}}, "weight_decay=nan"),
        ({"optimizer_options": {"amsgrad": 1}}, "amsgrad=1 of adam: expected true or false"),
        ({"optimizer_options": {"use_ema": True}}, "No optimizer here keeps averages"),
        ({"optimizer_options": {"learning_rate": 0.1}}, "Give learning_rate"),
        ({"optimizer_options": {"global_clipnorm": 0.1}}, "Give clip_norm"),
        ({"optimizer_options": {"clipnorm": 0.0}}, "clipnorm=0.0 of adam: expected a number above"),
        ({"optimizer_options": {"clipvalue": 1.0}, "clip_norm": 2.0}, "expected one of them"),
        ({"clip_norm": float("inf")}, "clip_norm=inf: expected a finite number above 0"),
        ({"algorithm": "adam", "optimizer": "sgd"}, "algorithm='adam' is for optimizers that are"),
    ],
)
def test_what_is_no_optimizer(arguments: dict[str, Any], message: str) -> None:
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    with pytest.raises(ValueError, match=message):
        model.compile(**arguments)
    assert not model.compiled
