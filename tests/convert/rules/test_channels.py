"""Channels first and last."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.support.networks import FLOAT32, assert_equal, draws, kinds, norm, rms, stack
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read


def test_channel_permutations_are_absorbed() -> None:
    model = stack(
        (5,),
        layers.Dense(30, activation="relu", name="project"),
        layers.Reshape((2, 3, 5)),
        layers.LeakyReLU(0.1),
        layers.Permute((2, 3, 1)),
        layers.Conv2D(4, 3, padding="same"),
        layers.Permute((3, 1, 2)),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(3, use_bias=False),
    )
    found = rules.absorb_channel_permutation(read(model))
    assert "Permute" not in kinds(found)
    assert_equal(found, model)
    assert [b.shape for b in found] == [tuple(la.output.shape[1:]) for la in build(found).layers]


def test_other_permutations_stay() -> None:
    model = stack((2, 3, 5), layers.Permute((2, 3, 1)), layers.Conv2D(3, 1))
    network = read(model)
    assert rules.absorb_channel_permutation(network) is network


def channels_first() -> keras.Model:
    first = {"data_format": "channels_first"}
    return stack(
        (5,),
        layers.Dense(18, name="project"),
        layers.Reshape((2, 3, 3)),
        norm(axis=1),
        layers.ReLU(),
        layers.Conv2DTranspose(4, 4, 2, padding="same", use_bias=False, **first),
        norm(axis=1),
        layers.LeakyReLU(0.2),
        layers.UpSampling2D(2, **first),
        layers.Conv2D(3, 3, padding="same", **first),
        layers.AveragePooling2D(2, **first),
        layers.Activation("tanh"),
    )


def test_channels_first_against_a_twin_by_hand() -> None:
    model = channels_first()
    twin = stack(
        (5,),
        layers.Dense(18),
        layers.Reshape((2, 3, 3)),
        layers.Permute((2, 3, 1)),
        norm(),
        layers.ReLU(),
        layers.Conv2DTranspose(4, 4, 2, padding="same", use_bias=False),
        norm(),
        layers.LeakyReLU(0.2),
        layers.UpSampling2D(2),
        layers.Conv2D(3, 3, padding="same"),
        layers.AveragePooling2D(2),
        layers.Activation("tanh"),
        layers.Permute((3, 1, 2)),
    )
    twin.set_weights(model.get_weights())
    found = rules.to_channels_last(read(model))
    assert kinds(found) == kinds(read(twin))
    assert [block.shape for block in found] == [block.shape for block in read(twin)]
    x = draws(model)
    np.testing.assert_array_equal(np.asarray(build(found)(x)), np.asarray(twin(x)))
    absorbed = rules.absorb_channel_permutation(found)
    assert kinds(absorbed).count("Permute") == 1  # the images are still channels first
    assert_equal(rules.fold_norms(absorbed), twin)


def test_channels_first_where_tensorflow_computes_it() -> None:
    model = channels_first()
    try:
        wanted = np.asarray(model(draws(model)))
    except tf.errors.OpError:
        pytest.skip("TensorFlow has no channels-first convolutions on this processor")
    found = np.asarray(build(rules.to_channels_last(read(model)))(draws(model)))
    assert rms(found - wanted) <= FLOAT32 * rms(wanted)
