"""BatchNorm: folded, inserted, recalibrated."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.networks import assert_equal, draws, kinds, norm, shake, stack
from zoo import convert
from zoo.convert import rules
from zoo.convert.building import build, in_float32
from zoo.convert.reading import read

FOLDED: dict[str, Callable[[], keras.Model]] = {
    "dense": lambda: stack((5,), layers.Dense(4), norm()),
    "dense without bias": lambda: stack((5,), layers.Dense(4, use_bias=False), norm()),
    "convolution": lambda: stack((6, 5, 2), layers.Conv2D(3, 3, padding="same"), norm()),
    "grouped convolution": lambda: stack((6, 5, 4), layers.Conv2D(6, 3, groups=2), norm()),
    "strided convolution": lambda: stack((6, 6, 2), layers.Conv2D(3, 4, 2), norm()),
    "transposed convolution": lambda: stack(
        (6, 5, 2), layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False), norm()
    ),
    "dense, reshape": lambda: stack(
        (5,), layers.Dense(30, use_bias=False), layers.Reshape((3, 5, 2)), norm()
    ),
    "convolution, upsampling": lambda: stack(
        (4, 3, 2), layers.Conv2D(3, 1), layers.UpSampling2D(2), layers.Cropping2D(1), norm(axis=3)
    ),
    "without scale": lambda: stack((5,), layers.Dense(4), norm(scale=False)),
    "without centre": lambda: stack((5,), layers.Dense(4), norm(center=False)),
    "other epsilon": lambda: stack((5,), layers.Dense(4), norm(epsilon=0.1)),
    "two in a row": lambda: stack((5,), layers.Dense(4), norm(), layers.Dense(3), norm()),
    "two on one": lambda: stack((5,), layers.Dense(4), norm(), norm()),
    "latents, dense": lambda: stack((5,), norm(), layers.Dense(4, use_bias=False)),
    "activation, dense": lambda: stack(
        (5,), layers.Dense(4, activation="relu"), norm(), layers.Dense(3)
    ),
}


@pytest.mark.parametrize("make", FOLDED.values(), ids=FOLDED.keys())
def test_folding_keeps_the_function(make: Callable[[], keras.Model]) -> None:
    model = make()
    folded = rules.fold_norms(read(model))
    assert "BatchNormalization" not in kinds(folded)
    assert not folded.notes
    assert_equal(folded, model)
    by_model = convert.fold_batch_norm(model)
    x = draws(model)
    np.testing.assert_array_equal(np.asarray(by_model(x)), np.asarray(build(folded)(x)))


def test_folded_arrays_say_where_they_come_from() -> None:
    model = stack(
        (5,), layers.Dense(4, use_bias=False, name="a"), norm(name="b"), layers.Dense(3, name="c")
    )
    folded = rules.fold_norms(read(model))
    norms = tuple(f"b/{w}" for w in ("gamma", "beta", "moving_mean", "moving_variance"))
    assert folded["a"].origins["kernel"].sources == ("a/kernel", *norms)
    assert folded["a"].origins["bias"].sources == norms
    assert folded["a"].origins["bias"].rules == ("fold BatchNorm",)
    assert folded["c"].origins["kernel"].rules == ()


def shared_consumer() -> keras.Model:
    inputs = keras.Input((5,))
    x = layers.Dense(4)(inputs)
    return keras.Model(inputs, layers.Add()([x, norm()(x)]))


def shared_layer() -> keras.Model:
    inputs = keras.Input((4,))
    dense = layers.Dense(4)
    return keras.Model(inputs, norm()(dense(dense(inputs))))


def shared_norm() -> keras.Model:
    inputs = keras.Input((4,))
    one = norm()
    return keras.Model(inputs, one(layers.Dense(4)(one(layers.Dense(4)(inputs)))))


UNFOLDABLE: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "activation within": (
        lambda: stack((5,), layers.Dense(4, activation="relu"), norm()),
        "has the activation relu",
    ),
    "activation between": (lambda: stack((5,), layers.Dense(4), layers.ReLU(), norm()), "ReLU"),
    "before a convolution": (
        lambda: stack((6, 6, 2), norm(), layers.Conv2D(3, 3, padding="same")),
        "InputLayer",
    ),
    "padding between": (
        lambda: stack((6, 6, 2), layers.Conv2D(3, 3), layers.ZeroPadding2D(1), norm()),
        "ZeroPadding2D",
    ),
    "other axis": (lambda: stack((6, 6, 2), layers.Conv2D(6, 1), norm(axis=1)), "axis is 1"),
    "other channels": (
        lambda: stack((6, 6, 2), layers.Conv2D(3, 1), layers.Reshape((6, 9, 2)), norm()),
        "not whole channels",
    ),
    "channels first": (
        lambda: stack((2, 6, 6), layers.Conv2D(6, 1, data_format="channels_first"), norm()),
        "channels first",
    ),
    "shared consumer": (shared_consumer, "feeds others too"),
    "shared layer": (shared_layer, "shared layer"),
    "shared norm": (shared_norm, "is shared"),
    "layer norm": (lambda: stack((5,), layers.Dense(4), layers.LayerNormalization()), ""),
    "group norm": (
        lambda: stack((6, 6, 2), layers.Conv2D(4, 1), layers.GroupNormalization(2)),
        "",
    ),
}


@pytest.mark.parametrize(("make", "reason"), UNFOLDABLE.values(), ids=UNFOLDABLE.keys())
def test_folding_refuses(make: Callable[[], keras.Model], reason: str) -> None:
    model = shake(make())
    network = read(model)
    folded = rules.fold_norms(network)
    assert kinds(folded) == kinds(network)
    assert bool(folded.notes) == bool(reason)
    assert all(reason in note and "not folded" in note for note in folded.notes)
    x = draws(model)
    wanted = in_float32(model)(x)  # channels last where TensorFlow computes nothing else
    np.testing.assert_array_equal(np.asarray(build(folded)(x)), np.asarray(wanted))


def plain_decoder(*, use_bias: bool = True, inner: bool = False) -> keras.Model:
    activation = {"activation": "relu"} if inner else {}

    def act() -> list[layers.Layer]:
        return [] if inner else [layers.ReLU()]

    return stack(
        (5,),
        layers.Dense(7, use_bias=use_bias, name="hidden", **activation),
        *act(),
        layers.Dense(18, use_bias=use_bias, name="project"),
        layers.Reshape((3, 3, 2), name="map"),
        layers.LeakyReLU(0.1),
        layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=use_bias, name="up", **activation),
        *act(),
        layers.Conv2D(1, 3, padding="same", name="last"),
    )


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("had_bias", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_inserted_norms_change_nothing(use_bias: bool, inner: bool, had_bias: bool) -> None:
    model = plain_decoder(use_bias=had_bias, inner=inner)
    latents = draws(model, 500, seed=2)
    options = {"epsilon": 1e-3, "momentum": 0.8, "synchronized": False}
    found = rules.insert_batch_norm(read(model), latents, use_bias=use_bias, **options)
    norms = [block for block in found if block.kind == "BatchNormalization"]
    assert [block.parents[0] for block in norms] == ["hidden", "map", "up"]
    assert_equal(found, model)
    for block in norms:  # they are those of the block's own input
        mean, variance = rules.moments(found, block.parents, latents)[block.parents[0]]
        np.testing.assert_allclose(block.arrays["moving_mean"], mean, atol=1e-12)
        np.testing.assert_allclose(block.arrays["moving_variance"], variance, rtol=1e-12)
    layer = build(found).get_layer("batch_norm")
    assert (layer.epsilon, layer.momentum, layer.synchronized) == (1e-3, 0.8, False)
    assert ("bias" in found["up"].arrays) == (had_bias and use_bias)
    # The bias of a Dense layer that is reshaped is one number a position, not a channel.
    assert ("bias" in found["project"].arrays) == had_bias
    assert len(found.notes) == (had_bias and not use_bias)


def test_inserted_norms_normalise_a_training_batch() -> None:
    model = plain_decoder()
    latents = draws(model, 500, seed=2)
    network = rules.insert_batch_norm(read(model), latents, after=["hidden"])
    hidden = build(network.upto("hidden"))(latents)
    found = build(network.upto("batch_norm"))(latents, training=True)
    np.testing.assert_allclose(np.asarray(found), np.asarray(hidden), atol=1e-5)


def test_norms_go_where_told() -> None:
    model = plain_decoder()
    found = rules.insert_batch_norm(read(model), draws(model), after=["up"])
    assert kinds(found).count("BatchNormalization") == 1
    assert found["batch_norm"].parents == ("up",)
    with pytest.raises(ValueError, match="after='nowhere': no such block"):
        rules.insert_batch_norm(read(model), draws(model), after=["nowhere"])


def test_folding_undoes_insertion() -> None:
    model = plain_decoder()
    found = rules.fold_norms(rules.insert_batch_norm(read(model), draws(model)))
    assert "BatchNormalization" not in kinds(found)
    np.testing.assert_allclose(found["up"].arrays["kernel"], read(model)["up"].arrays["kernel"])
    assert_equal(found, model)


def test_moments_are_those_of_the_outputs() -> None:
    model = stack((5,), layers.Dense(12), layers.Reshape((2, 3, 2), name="map"))
    latents = draws(model, 700)  # several chunks, the last one smaller
    output = np.asarray(build(read(model), "float64")(latents.astype(np.float64)))
    mean, variance = rules.moments(read(model), ["map"], latents)["map"]
    np.testing.assert_allclose(mean, output.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance, output.var((0, 1, 2)), rtol=1e-12)


def with_norms() -> keras.Model:
    return stack(
        (5,),
        layers.Dense(18, use_bias=False),
        layers.Reshape((3, 3, 2)),
        norm(name="first"),
        layers.ReLU(),
        layers.Conv2D(3, 3, padding="same"),
        norm(name="second", epsilon=0.01),
        layers.ReLU(),
        layers.Conv2D(3, 1),
        norm(name="third", axis=1),
    )


def test_recalibration_takes_the_moments_in_order() -> None:
    model = with_norms()
    latents = draws(model, 600)
    found = rules.recalibrate_batch_norm(read(model), latents)
    exact = build(found, "float64")
    # With the moments of the whole sample, inference is what training mode does on it.
    x = latents.astype(np.float64)
    one_batch = np.asarray(build(found, "float64")(x, training=True))
    np.testing.assert_allclose(np.asarray(exact(x)), one_batch, atol=1e-10)
    assert found["second"].origins["moving_mean"].rules == ("recalibrate BatchNorm",)
    assert found["second"].origins["gamma"].rules == ()
    np.testing.assert_array_equal(
        read(model)["first"].arrays["gamma"], found["first"].arrays["gamma"]
    )


def test_drift_is_zero_after_recalibration_and_finds_the_norm_that_is_off() -> None:
    model = with_norms()
    latents = draws(model, 600)
    assert min(rules.batch_norm_drift(read(model), latents).values()) > 0.1
    exact = rules.recalibrate_batch_norm(read(model), latents)
    assert max(rules.batch_norm_drift(exact, latents).values()) < 1e-12
    third = exact["third"]
    spread = np.sqrt(third.arrays["moving_variance"] + third.config["epsilon"])
    off = third.with_arrays(
        {**third.arrays, "moving_mean": third.arrays["moving_mean"] + 2 * spread}, "test"
    )
    drift = rules.batch_norm_drift(exact.replaced(off), latents)
    assert drift["third"] == pytest.approx(2.0)
    assert max(drift["first"], drift["second"]) < 1e-12
    wide = (third.arrays["moving_variance"] + third.config["epsilon"]) * math.e
    off = third.with_arrays(
        {**third.arrays, "moving_variance": wide - third.config["epsilon"]}, "test"
    )
    assert rules.batch_norm_drift(exact.replaced(off), latents)["third"] == pytest.approx(1.0)


def test_networks_without_norms_have_no_drift() -> None:
    model = stack((5,), layers.Dense(4))
    assert rules.batch_norm_drift(read(model), draws(model)) == {}


def test_shared_norms_keep_their_statistics() -> None:
    model = shake(shared_norm())
    found = rules.recalibrate_batch_norm(read(model), draws(model))
    assert "statistics kept: the layer is shared" in found.notes[0]
    assert_equal(found, model)
    assert rules.batch_norm_drift(read(model), draws(model)) == {}
