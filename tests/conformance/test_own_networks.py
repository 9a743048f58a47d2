"""A model trains networks of the user's own, and refuses those that it cannot use."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import zoo
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM
from tests.support.equivalence import (
    assert_equivalent,
)
from tests.support.replicas import replicated


def test_own_networks_are_checked() -> None:
    latent = keras.Input((LATENT_DIM,))
    flat = keras.Model(latent, keras.layers.Dense(64)(latent))
    with pytest.raises(ValueError, match=r"generator maps \(3,\) to \[\(64,\)\]"):
        zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, generator=flat)
    squashed = keras.Sequential(
        [
            keras.Input((LATENT_DIM,)),
            keras.layers.Dense(64, activation="sigmoid"),
            keras.layers.Reshape(IMAGE_SHAPE),
            keras.layers.Activation("sigmoid"),
        ]
    )
    with pytest.raises(ValueError, match="ends in sigmoid"):
        zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, decoder=squashed)


def test_own_networks_train(images: np.ndarray) -> None:
    decoder = keras.Sequential(
        [keras.Input((LATENT_DIM,)), keras.layers.Dense(64), keras.layers.Reshape(IMAGE_SHAPE)]
    )
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, decoder=decoder)
    model.compile()
    before = decoder.get_weights()[0]
    model.fit(images, batch_size=20, verbose=0)
    assert np.abs(decoder.get_weights()[0] - before).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_weight_that_no_loss_depends_on(images: np.ndarray, accumulate: int) -> None:
    """As in a network of the user's own; it stays, and the others train."""
    outcomes = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with replicated(replicas).scope():
            latent = keras.Input((LATENT_DIM,))
            pixels = keras.layers.Dense(64)(latent)
            decoder = keras.Model(latent, keras.layers.Reshape(IMAGE_SHAPE)(pixels))
            decoder.unused = decoder.add_weight(shape=(2,), initializer="ones", name="unused")
            model = CASES[0].create(decoder=decoder)
            model.compile(keras.optimizers.SGD(0.002), accumulate=accumulate)
        model.fit(images, batch_size=24, shuffle=False, verbose=0)
        outcomes.append({f"weight/{i}": np.asarray(v) for i, v in enumerate(model.variables)})
    assert_equivalent(outcomes[1], outcomes[0])
    assert any(np.array_equal(value, [1.0, 1.0]) for value in outcomes[1].values())
