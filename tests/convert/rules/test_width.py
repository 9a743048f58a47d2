"""Wider layers that compute the same."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.networks import assert_equal, norm, stack
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_wider_layers(seed: int) -> None:
    model = stack(
        (5,),
        layers.Dense(7, activation="relu", name="hidden"),
        layers.Dense(18, name="project"),
        norm(),
        layers.Reshape((3, 3, 2)),
        norm(),
        layers.PReLU(shared_axes=[1, 2]),
        layers.UpSampling2D(2),
        layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False, name="up"),
        norm(),
        layers.LeakyReLU(0.2),
        layers.Conv2D(4, 3, padding="same", name="conv"),
        layers.MaxPooling2D(2),
        layers.Activation("tanh"),
        layers.Flatten(),
        layers.Dense(3, name="last"),
    )
    network = read(model)
    for name, width in (("hidden", 11), ("project", 45), ("up", 4), ("conv", 9)):
        network = rules.widen(network, name, width, seed)
        assert_equal(network, model)
    built = build(network)
    assert built.get_layer("hidden").units == 11
    assert built.get_layer("project").units == 45
    assert built.get_layer("last").kernel.shape == (6 * 6 * 9, 3)
    assert [tuple(layer.output.shape[1:]) for layer in built.layers] == [b.shape for b in network]


def test_all_but_the_first_copies_are_random() -> None:
    network = read(stack((5,), layers.Dense(4, name="first"), layers.Dense(3)))
    a, b = (rules.widen(network, "first", 20, seed)["first"].arrays["kernel"] for seed in (0, 1))
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert np.any(a != b)
    assert rules.widen(network, "first", 4)["first"].arrays["kernel"].shape == (5, 4)


def branched() -> keras.Model:
    inputs = keras.Input((5,))
    x = layers.Dense(4, name="first")(inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.Add()([x, layers.Dense(4)(inputs)])))


UNWIDENABLE: dict[str, tuple[Callable[[], keras.Model], str, int]] = {
    "output": (lambda: stack((5,), layers.Dense(4, name="first")), "the network's output", 6),
    "sum": (branched, r"'add.*\(Add\) takes 'first'", 6),
    "layer norm": (
        lambda: stack(
            (5,), layers.Dense(4, name="first"), layers.LayerNormalization(), layers.Dense(3)
        ),
        "LayerNormalization",
        6,
    ),
    "softmax": (
        lambda: stack(
            (5,), layers.Dense(4, name="first"), layers.Activation("softmax"), layers.Dense(3)
        ),
        "Activation",
        6,
    ),
    "softmax within": (
        lambda: stack((5,), layers.Dense(4, activation="softmax", name="first"), layers.Dense(3)),
        "softmax",
        6,
    ),
    "groups": (
        lambda: stack((4, 4, 2), layers.Conv2D(4, 1, name="first"), layers.Conv2D(4, 1, groups=2)),
        "groups=2",
        6,
    ),
    "narrower": (branched, "has 4 outputs, 4 channels at 1 positions", 3),
    "part of a channel": (
        lambda: stack(
            (5,), layers.Dense(8, name="first"), layers.Reshape((2, 2, 2)), layers.Conv2D(1, 1)
        ),
        "2 channels at 4 positions; expected a multiple of 4",
        10,
    ),
    "no linear block": (
        lambda: stack((5,), layers.ReLU(name="first"), layers.Dense(3)),
        "'first' is no linear block",
        6,
    ),
}


@pytest.mark.parametrize(("make", "reason", "width"), UNWIDENABLE.values(), ids=UNWIDENABLE.keys())
def test_what_cannot_be_widened(make: Callable[[], keras.Model], reason: str, width: int) -> None:
    with pytest.raises(ValueError, match=reason):
        rules.widen(read(make()), "first", width)
