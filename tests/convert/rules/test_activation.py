"""Output activations: tanh and sigmoid, images and logits."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import layers

import zoo.layers
from tests.support.networks import FLOAT32, assert_equal, draws, kinds, norm, rms, shake, stack
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read

CONV = {"padding": "same", "name": "last"}


GENERATORS: dict[str, tuple[Callable[[], list[layers.Layer]], tuple[float, float]]] = {
    "sigmoid": (lambda: [layers.Conv2D(1, 3, **CONV), layers.Activation("sigmoid")], (0, 1)),
    "sigmoid within": (lambda: [layers.Conv2D(1, 3, activation="sigmoid", **CONV)], (0, 1)),
    "tanh": (lambda: [layers.Conv2D(1, 3, **CONV), layers.Activation("tanh")], (-1, 1)),
    "tanh without bias": (
        lambda: [
            layers.Conv2DTranspose(1, 4, 2, use_bias=False, **CONV),
            layers.Activation("tanh"),
        ],
        (-1, 1),
    ),
    "tanh within, rescaled": (
        lambda: [
            layers.Conv2DTranspose(1, 4, 2, activation="tanh", **CONV),
            layers.Rescaling(0.5, 0.5),
        ],
        (0, 1),
    ),
    "tanh, rescaled twice": (
        lambda: [
            layers.Conv2D(1, 3, **CONV),
            layers.Activation("tanh"),
            layers.Rescaling(0.5),
            layers.Rescaling(1.0, 0.5),
        ],
        (0, 1),
    ),
    "sigmoid to [-1, 1]": (
        lambda: [layers.Conv2D(1, 3, activation="sigmoid", **CONV), layers.Rescaling(2.0, -1.0)],
        (-1, 1),
    ),
    "shapes between": (
        lambda: [
            layers.Conv2D(4, 3, **CONV),
            layers.ZeroPadding2D(1),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Activation("tanh"),
            layers.Rescaling(0.5, 0.5),
            layers.Cropping2D(1),
            layers.Reshape((6, 12, 8)),
            layers.UpSampling2D(2),
        ],
        (0, 1),
    ),
    "BatchNorm last": (
        lambda: [layers.Conv2D(1, 3, activation="relu", **CONV), norm(), layers.Activation("tanh")],
        (-1, 1),
    ),
}


def generator(name: str) -> keras.Model:
    return stack((5,), layers.Dense(50), layers.Reshape((5, 5, 2)), *GENERATORS[name][0]())


def images_of(logits: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * scipy.special.expit(logits)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_as_decoders(name: str) -> None:
    model, (low, high) = generator(name), GENERATORS[name][1]
    network = read(model)
    assert rules.output_range(network) == (low, high)
    found = rules.logits_from_images(network)
    assert not {"Activation"} & set(kinds(found))
    assert_equal(found, model, then=lambda x: images_of(x, low, high))


@pytest.mark.parametrize("name", [name for name in GENERATORS if "sigmoid" not in name])
def test_the_factor_is_recorded_at_the_last_layer(name: str) -> None:
    found = rules.logits_from_images(read(generator(name)))
    if name == "BatchNorm last":  # nothing can take the factor: it is a block
        assert kinds(found)[-1] == "Rescaling"
        return
    assert found["last"].origins["kernel"].rules == ("tanh → sigmoid (× 2)",)
    assert found["last"].origins["kernel"].sources == ("last/kernel",)
    assert not any(
        block.origins[k].rules for block in found for k in block.arrays if block.name != "last"
    )


def test_logits_of_the_zoos_generators() -> None:
    for architecture in ("conv", "mlp"):
        gan = zoo.create("dcgan", (8, 8, 1), 5, network=architecture)
        model = shake(gan.generator)
        found = rules.logits_from_images(rules.fold_norms(read(model)))
        assert_equal(found, model, then=scipy.special.expit)


@pytest.mark.parametrize(
    ("parts", "ending"),
    [
        ([layers.ReLU()], "ReLU"),
        ([layers.Activation("relu")], r"\['relu'\]"),
        ([layers.Activation("tanh"), layers.Rescaling(0.4, 0.5)], "rescaling by 0.4 and 0.5"),
        ([layers.Activation("sigmoid"), layers.Rescaling(-1.0, 1.0)], "rescaling by -1.0 and 1.0"),
        ([layers.Activation("sigmoid"), layers.ZeroPadding2D(1)], "ZeroPadding2D"),
    ],
    ids=str,
)
def test_other_outputs_are_refused(parts: list[layers.Layer], ending: str) -> None:
    parts = [type(part).from_config(part.get_config()) for part in parts]
    network = read(stack((5,), layers.Dense(16), layers.Reshape((4, 4, 1)), *parts))
    with pytest.raises(ValueError, match=f"The generator ends in .*{ending}.*; expected a Dense"):
        rules.logits_from_images(network)
    with pytest.raises(ValueError, match="The generator ends in"):
        rules.output_range(network)


@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize(
    "parts",
    [
        lambda: [layers.Dense(12), layers.Reshape((2, 3, 2))],
        lambda: [layers.Dense(12, use_bias=False)],
        lambda: [layers.Dense(12), layers.ELU()],
    ],
)
def test_decoders_as_generators(parts: Callable[[], list[layers.Layer]], low: float) -> None:
    model = stack((5,), *parts())
    found = rules.images_from_logits(read(model), low)
    x = draws(model)
    wanted = images_of(np.asarray(model(x)), low, 1.0)
    assert rms(np.asarray(build(found)(x)) - wanted) <= FLOAT32 * rms(wanted)
    assert rules.output_range(found) == (low, 1.0)
    assert_equal(rules.logits_from_images(found), model)


def test_images_have_one_of_two_ranges() -> None:
    with pytest.raises(ValueError, match="low=0.5"):
        rules.images_from_logits(read(stack((5,), layers.Dense(4))), 0.5)
    inputs = keras.Input((5,))
    x = layers.Dense(4)(inputs)
    two = keras.Model(inputs, [x, layers.ReLU()(x)])
    with pytest.raises(ValueError, match="expected one output"):
        rules.images_from_logits(read(two))


def test_rescalings_merge() -> None:
    inputs = keras.Input((5,))
    x = keras.ops.tanh(layers.Dense(4)(inputs))
    model = shake(keras.Model(inputs, (1.0 - x * 3.0) / 2 + 0.25))
    found = rules.merge_rescalings(read(model))
    assert kinds(found) == ["InputLayer", "Dense", "Activation", "Rescaling"]
    assert_equal(found, model)
