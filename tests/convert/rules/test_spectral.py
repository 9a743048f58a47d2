"""Spectral normalisation: the normalised kernel in place of the layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import zoo.layers
from tests.support.networks import assert_equal, draws, kinds, shake, stack
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read


@pytest.mark.parametrize("steps", [0, 3])
def test_spectral_norm_is_in_the_kernel_already(steps: int) -> None:
    wrap = layers.SpectralNormalization
    model = stack(
        (5,),
        wrap(layers.Dense(18, activation="relu"), name="dense"),
        layers.Reshape((3, 3, 2)),
        wrap(layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False), name="up"),
        wrap(layers.Conv2D(2, 3, padding="same"), name="conv"),
    )
    for _ in range(steps):
        model(draws(model), training=True)
    network = read(model)
    x = draws(model)
    np.testing.assert_array_equal(np.asarray(build(network)(x)), np.asarray(model(x)))
    found = rules.unwrap_spectral_norm(network)
    assert kinds(found) == ["InputLayer", "Dense", "Reshape", "Conv2DTranspose", "Conv2D"]
    assert found["dense"].origins["kernel"].rules == ()  # as it was
    assert "vector_u" not in found["dense"].arrays
    np.testing.assert_array_equal(np.asarray(build(found)(x)), np.asarray(model(x)))
    build(network, "float64")


@pytest.mark.parametrize("steps", [0, 3])
def test_spectral_norm_divides_the_stored_kernel(steps: int) -> None:
    dense = zoo.layers.SpectralDense(18, activation="relu", name="dense")
    conv = zoo.layers.SpectralConv2D(2, 3, padding="same", use_bias=False, name="conv")
    inputs = keras.Input((3, 3, 2))
    outputs = conv(layers.Reshape((3, 3, 2))(dense(layers.Flatten()(conv(inputs)))))
    model = shake(keras.Model(inputs, outputs))
    for _ in range(steps):
        model(draws(model), training=True)
    network = read(model)
    found = rules.unwrap_spectral_norm(network)
    assert kinds(found) == ["InputLayer", "Conv2D", "Flatten", "Dense", "Reshape", "Conv2D"]
    assert found["dense"].origins["kernel"].rules == ("unwrap spectral norm",)
    assert found["dense"].origins["bias"].rules == ()
    assert_equal(found, model)
