"""Each rule against the untransformed Keras network, at random weights; and what rules refuse."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from keras import layers

import zoo.layers
from export.endpoints import Endpoint, tensor
from export.onnx.preflight import preflight
from zoo import convert, networks
from zoo.convert import rules
from zoo.convert.blocks import Network
from zoo.convert.building import build, evaluate, in_float32
from zoo.convert.reading import read

# Relative root mean square: what float32 rounds off, as measured over the rules.
FLOAT32 = 5e-6
FLOAT64 = 1e-12


def shake(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random weights and BatchNorm statistics far from the trivial ones."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.name or "gamma" in weight.name
        draw = rng.uniform(0.2, 3.0, weight.shape) if positive else rng.normal(0, 0.2, weight.shape)
        weight.assign(draw)
    return model


def stack(shape: tuple[int, ...], *parts: layers.Layer) -> keras.Model:
    """A shaken functional model of layers in a row."""
    inputs = x = keras.Input(shape)
    for part in parts:
        x = part(x)
    return shake(keras.Model(inputs, x))


def draws(model: keras.Model, n: int = 16, seed: int = 1) -> np.ndarray:
    shape = model.input_shape[1:]
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def assert_equal(
    network: Network,
    model: keras.Model,
    given: np.ndarray | Sequence[np.ndarray] | None = None,
    wanted_of: np.ndarray | Sequence[np.ndarray] | None = None,
    then: Callable[[np.ndarray], np.ndarray] = lambda x: x,
) -> None:
    """`then(network(given))` is `model(wanted_of)`: in float32 as built, and without rounding."""
    given = draws(model) if given is None else given
    wanted_of = given if wanted_of is None else wanted_of
    wanted = np.asarray(model(wanted_of, training=False))
    found = then(np.asarray(build(network)(given)))
    assert found.shape == wanted.shape
    assert rms(wanted) > 1e-3  # a constant would be equal to anything
    assert np.all(np.isfinite(found))
    assert rms(found - wanted) <= FLOAT32 * rms(wanted)
    (exact,) = evaluate(read(model), wanted_of)
    (found,) = evaluate(network, given)
    assert np.max(np.abs(then(found) - exact)) <= FLOAT64 * np.max(np.abs(exact))


def kinds(network: Network) -> list[str]:
    return [block.kind for block in network]


def norm(**options: object) -> layers.BatchNormalization:
    return layers.BatchNormalization(**options)


# The table


def test_the_table_lists_every_rule() -> None:
    found = {
        name
        for name, function in vars(rules).items()
        if inspect.isfunction(function)
        and [*inspect.signature(function).parameters][:1] == ["network"]
        and inspect.signature(function).return_annotation == "Network"
    }
    assert found == set(rules.RULES)
    assert len({rule.name for rule in rules.RULES.values()}) == len(rules.RULES)


def test_the_comparison_can_fail() -> None:
    model = stack((5,), layers.Dense(4, name="first"), layers.ReLU())
    network = read(model)
    assert_equal(network, model)
    kernel = network["first"].arrays["kernel"].copy()
    kernel[1, 2] += 1e-4
    first = network["first"].with_arrays({**network["first"].arrays, "kernel": kernel}, "test")
    with pytest.raises(AssertionError):
        assert_equal(network.replaced(first), model)


# Output activations

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


# BatchNorm

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
@pytest.mark.parametrize("had_bias", [True, False])
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


# Upsampling


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    ("size", "kernel"), [(2, 3), (2, 1), (2, 5), (3, 3), ((2, 3), (3, 1))], ids=str
)
@pytest.mark.parametrize("shape", [(4, 4, 2), (5, 3, 2), (1, 1, 2)], ids=str)
def test_upsampled_convolutions(
    shape: tuple[int, ...], size: object, kernel: object, use_bias: bool
) -> None:
    conv = layers.Conv2D(
        3, kernel, padding="same", use_bias=use_bias, activation="tanh", name="conv"
    )
    model = stack(shape, layers.UpSampling2D(size), conv)
    found = rules.upsample_conv_to_conv_transpose(read(model))
    assert kinds(found) == ["InputLayer", "Conv2DTranspose"]
    assert found["conv"].origins["kernel"].rules == ("upsample + conv → conv transpose",)
    assert_equal(found, model)
    back = rules.conv_transpose_to_upsample_conv(read(build(found)), ["conv"])
    assert kinds(back) == ["InputLayer", "UpSampling2D", "Conv2D"]
    assert back["conv"].config["kernel_size"] == conv.kernel_size
    np.testing.assert_allclose(back["conv"].arrays["kernel"], conv.kernel, atol=1e-6)
    assert rms(np.asarray(build(back)(draws(model)) - model(draws(model)))) <= FLOAT32


def up_shared() -> keras.Model:
    inputs = keras.Input((4, 4, 2))
    x = layers.UpSampling2D(2)(inputs)
    return keras.Model(
        inputs, layers.Add()([layers.Conv2D(2, 3, padding="same", name="conv")(x), x])
    )


UNMERGEABLE: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "bilinear": (
        lambda: stack(
            (4, 4, 2),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(3, 3, padding="same", name="conv"),
        ),
        "interpolation bilinear; expected nearest",
    ),
    "valid": (
        lambda: stack((4, 4, 2), layers.UpSampling2D(2), layers.Conv2D(3, 3, name="conv")),
        "padding valid; expected same",
    ),
    "strided": (
        lambda: stack(
            (4, 4, 2), layers.UpSampling2D(2), layers.Conv2D(3, 3, 2, padding="same", name="conv")
        ),
        r"strides \(2, 2\)",
    ),
    "even kernel": (
        lambda: stack(
            (4, 4, 2), layers.UpSampling2D(2), layers.Conv2D(3, 4, padding="same", name="conv")
        ),
        "odd kernel sides",
    ),
    "shared upsampling": (up_shared, "follows None"),
    "no upsampling": (
        lambda: stack((4, 4, 2), layers.Conv2D(3, 3, padding="same", name="conv")),
        "follows InputLayer; expected UpSampling2D",
    ),
}


@pytest.mark.parametrize(("make", "reason"), UNMERGEABLE.values(), ids=UNMERGEABLE.keys())
def test_other_upsamplings_stay(make: Callable[[], keras.Model], reason: str) -> None:
    network = read(make())
    assert rules.upsample_conv_to_conv_transpose(network) is network
    with pytest.raises(ValueError, match=reason):
        rules.upsample_conv_to_conv_transpose(network, ["conv"])


def test_most_transposed_convolutions_are_no_upsampled_ones() -> None:
    model = stack(
        (4, 4, 2),
        layers.Conv2DTranspose(3, 4, 2, padding="same", name="four"),
        layers.Conv2DTranspose(3, 3, 2, padding="same", name="three"),
    )
    network = read(model)
    found = rules.conv_transpose_to_upsample_conv(network)
    assert kinds(found) == kinds(network)
    assert len(found.notes) == 2
    with pytest.raises(ValueError, match="'four': its kernel is no upsampled .* residual 0"):
        rules.conv_transpose_to_upsample_conv(network, ["four"])
    with pytest.raises(ValueError, match="'three' has kernel side − stride"):
        rules.conv_transpose_to_upsample_conv(network, ["three"])
    with pytest.raises(ValueError, match="No blocks"):
        rules.conv_transpose_to_upsample_conv(network, ["nowhere"])


# Latents


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kernel", [4, (3, 5)], ids=str)
@pytest.mark.parametrize("flat", [True, False])
def test_a_transposed_convolution_of_one_pixel(kernel: object, use_bias: bool, flat: bool) -> None:
    shape = (5,) if flat else (1, 1, 5)
    before = [layers.Reshape((1, 1, 5))] if flat else []
    conv = layers.Conv2DTranspose(3, kernel, use_bias=use_bias, activation="relu", name="first")
    model = stack(shape, *before, conv, layers.Conv2D(2, 3, padding="same"))
    found = rules.unit_conv_transpose_to_dense(read(model))
    assert kinds(found) == ["InputLayer", "Dense", "Reshape", "Conv2D"]
    assert found["first"].shape[-1] == build(found).get_layer("first").units
    assert_equal(found, model)


def test_a_transposed_convolution_of_one_pixel_of_a_matrix() -> None:
    model = stack((5, 1), layers.Reshape((1, 1, 5)), layers.Conv2DTranspose(3, 4))
    found = rules.unit_conv_transpose_to_dense(read(model))
    assert kinds(found) == ["InputLayer", "Reshape", "Dense", "Reshape"]
    assert_equal(found, model)


def test_other_transposed_convolutions_of_one_pixel_stay() -> None:
    model = stack((1, 1, 5), layers.Conv2DTranspose(3, 2, 4, name="gaps"))
    found = rules.unit_conv_transpose_to_dense(read(model))
    assert kinds(found) == ["InputLayer", "Conv2DTranspose"]
    assert "gaps: not made a Dense" in found.notes[0]
    larger = read(stack((2, 2, 5), layers.Conv2DTranspose(3, 4)))
    assert rules.unit_conv_transpose_to_dense(larger) is larger


def joined(*, use_bias: bool = True) -> keras.Model:
    """The latent, joined with a label on either side, goes into two Dense layers."""
    label, latent = keras.Input((3,), name="label"), keras.Input((5,), name="latent")
    x = layers.Concatenate()([label, latent])
    x = layers.Add()(
        [layers.Dense(4, use_bias=use_bias, name="a")(x), layers.Dense(4, name="b")(x)]
    )
    return shake(keras.Model([label, latent], x))


def joined_draws(n: int = 16) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [
        np.eye(3, dtype=np.float32)[rng.integers(0, 3, n)],
        rng.normal(size=(n, 5)).astype("f4"),
    ]


@pytest.mark.parametrize("offset", [0.0, np.arange(5.0) / 3])
@pytest.mark.parametrize("use_bias", [True, False])
def test_affine_latents(use_bias: bool, offset: float | np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for scale in (rng.normal(size=(5, 5)), rng.normal(size=(5, 3)), rng.uniform(0.5, 2.0, 5)):
        model = stack((5,), layers.Dense(7, use_bias=use_bias, activation="relu"), layers.Dense(3))
        size = scale.shape[-1]
        noise = rng.normal(size=(16, size)).astype(np.float32)
        matrix = np.diag(scale) if scale.ndim == 1 else scale
        latents = noise.astype(np.float64) @ matrix.T + offset  # column form: z = A ε + m
        found = rules.affine_latent(read(model), scale, offset)
        assert kinds(found) == ["InputLayer", "Dense", "Dense"]
        exact = build(read(model), "float64")(latents)
        np.testing.assert_allclose(evaluate(found, noise)[0], exact, atol=1e-12)
        error = np.asarray(build(found)(noise)) - exact
        assert rms(error) <= FLOAT32 * rms(exact)
        added = bool(np.any(offset)) or use_bias
        assert build(found).layers[1].use_bias == added


def test_affine_latents_that_are_joined() -> None:
    model = joined(use_bias=False)
    label, noise = joined_draws()
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    found = rules.affine_latent(read(model), matrix, 0.5)
    (wanted,) = evaluate(read(model), [label, noise.astype(np.float64) @ matrix.T + 0.5])
    np.testing.assert_allclose(evaluate(found, [label, noise])[0], wanted, atol=1e-12)


def test_affine_latents_that_no_dense_takes() -> None:
    model = stack((5,), layers.Reshape((1, 1, 5)), layers.Conv2DTranspose(3, 4))
    noise = draws(model)
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    found = rules.affine_latent(read(model), matrix, 0.5)
    (wanted,) = evaluate(read(model), noise.astype(np.float64) @ matrix.T + 0.5)
    np.testing.assert_allclose(evaluate(found, noise)[0], wanted, atol=1e-12)
    assert "put before the network" in found.notes[0]
    with pytest.raises(ValueError, match=r"scale has shape \(4,\): expected \(5,\)"):
        rules.affine_latent(read(model), np.ones(4))


def test_a_larger_latent_is_exact() -> None:
    model = stack((5,), layers.Dense(7, activation="relu"), layers.Dense(3))
    x = draws(model)
    more = np.random.default_rng(4).normal(size=(16, 8)).astype(np.float32)
    more[:, :5] = x
    found = rules.resize_latent(read(model), 8)
    assert_equal(found, model, more, x)
    assert build(found).input_shape == (None, 8)


def test_a_larger_latent_that_is_joined() -> None:
    model = joined()
    label, x = joined_draws()
    more = np.concatenate([x, np.ones((16, 2), np.float32)], axis=1)
    assert_equal(rules.resize_latent(read(model), 7), model, [label, more], [label, x])


@pytest.mark.parametrize("k", [1, 3, 4])
def test_a_smaller_latent_loses_the_expected_energy(k: int) -> None:
    model = stack((5,), layers.Dense(7, activation="relu", name="first"), layers.Dense(3))
    network = read(model)
    found = rules.resize_latent(network, k)
    assert build(found).input_shape == (None, k)
    energy = rules.dropped_energy(network, k)
    directions, values = rules.latent_directions(network)
    assert energy == pytest.approx(np.sum(values[k:] ** 2))
    latents = np.random.default_rng(0).normal(size=(100_000, 5))
    full = latents @ network["first"].arrays["kernel"]
    kept = latents @ directions[:, :k] @ found["first"].arrays["kernel"]
    errors = np.sum((full - kept) ** 2, axis=1)
    assert abs(errors.mean() - energy) < 4 * errors.std() / math.sqrt(len(errors))
    # No other k directions lose less than the largest singular values do.
    assert energy <= np.sum(values**2) - np.sum(values[:k] ** 2) + 1e-12
    # The prior stays N(0, I): the covariances differ by the dropped part alone.
    covariances = [
        a.T @ a for a in (network["first"].arrays["kernel"], found["first"].arrays["kernel"])
    ]
    assert np.trace(covariances[0] - covariances[1]) == pytest.approx(energy)
    assert f"{energy:.6g}" in found.notes[0]


def test_a_smaller_latent_of_a_narrow_layer_is_exact() -> None:
    model = stack((5,), layers.Dense(3, name="first"))
    assert rules.dropped_energy(read(model), 3) == pytest.approx(0.0, abs=1e-20)
    found = rules.resize_latent(read(model), 3)
    latents = draws(model).astype(np.float64)
    directions = rules.latent_directions(read(model))[0][:, :3]
    np.testing.assert_allclose(
        evaluate(found, latents @ directions)[0], evaluate(read(model), latents)[0], atol=1e-12
    )


def test_what_cannot_be_resized() -> None:
    model = stack((5,), layers.Dense(3))
    network = read(model)
    assert rules.resize_latent(network, 5) is network
    for size in (0, 2.0):
        with pytest.raises(ValueError, match=f"latent_dim={size}"):
            rules.resize_latent(read(model), size)
    convolution = stack((5,), layers.Reshape((1, 1, 5)), layers.Conv2DTranspose(3, 4))
    with pytest.raises(ValueError, match="goes into 'reshape.*expected Dense"):
        rules.resize_latent(read(convolution), 3)
    shared = keras.Sequential([keras.Input((5,)), (dense := layers.Dense(5)), dense])
    with pytest.raises(ValueError, match="expected Dense layers called once"):
        rules.resize_latent(read(shared), 3)
    with pytest.raises(ValueError, match="expected one for latents"):
        rules.resize_latent(read(stack((5, 2), layers.Dense(3))), 3)


# Priors

LAWS = {
    "uniform": scipy.stats.uniform(-1, 2),
    "truncated_normal": scipy.stats.truncnorm(-2, 2),
}


@pytest.mark.parametrize("prior", LAWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transported_draws_have_the_sources_law(prior: str, dtype: str) -> None:
    layer = type(zoo.layers.prior_layer(prior))(dtype=dtype)
    noise = np.random.default_rng(0).normal(size=50_000).astype(dtype)
    found = np.asarray(layer(noise))
    assert found.dtype == dtype
    assert scipy.stats.kstest(found, LAWS[prior].cdf).pvalue > 0.01
    # Each draw keeps its quantile.
    wanted = LAWS[prior].ppf(scipy.stats.norm.cdf(np.clip(noise, -5, 5).astype(np.float64)))
    np.testing.assert_allclose(found, wanted, atol=2e-6 if dtype == "float32" else 1e-12)


def test_extreme_draws_stay_within() -> None:
    extremes = np.array([[-30.0, -6.0, 0.0, 6.0, 30.0]], np.float32)
    uniform = np.asarray(zoo.layers.UniformFromNormal()(extremes))
    assert np.all(np.abs(uniform) < 1)
    truncated = np.asarray(zoo.layers.TruncatedNormalFromNormal()(extremes))
    assert np.all(np.abs(truncated) <= 2 + 1e-6)
    assert np.all(np.diff(truncated) >= 0)
    assert np.all(np.isfinite(zoo.layers.HypersphereFromNormal()(0 * extremes)))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 2e-14)])
def test_the_inverse_error_function(dtype: str, tolerance: float) -> None:
    limit = math.erf(math.sqrt(2))
    x = np.linspace(-limit, limit, 10_001).astype(dtype)
    x[-1] = min(x[-1], limit)
    wanted = scipy.special.erfinv(x.astype(np.float64))
    found = np.asarray(zoo.layers._erfinv(x), np.float64)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hypersphere(dtype: str) -> None:
    noise = np.random.default_rng(0).normal(size=(20_000, 6)).astype(dtype)
    layer = zoo.layers.HypersphereFromNormal(dtype=dtype)
    found = np.asarray(layer(noise))
    np.testing.assert_allclose(np.sum(found**2, axis=1), 6.0, rtol=1e-6)
    # Uniform on the sphere: (x + √d) / (2 √d) of one coordinate is Beta((d − 1)/2, (d − 1)/2).
    law = scipy.stats.beta(2.5, 2.5)
    assert scipy.stats.kstest((found[:, 0] / math.sqrt(6) + 1) / 2, law.cdf).pvalue > 0.01
    np.testing.assert_allclose(np.asarray(layer(3 * noise)), found, rtol=1e-5)


@pytest.mark.parametrize("prior", ["uniform", "truncated_normal", "hypersphere"])
def test_transported_generators(prior: str, tmp_path: Path) -> None:
    model = stack((5,), layers.Dense(16, activation="tanh"), layers.Reshape((4, 4, 1)))
    network = rules.transport_prior(read(model), prior)
    noise = draws(model, 64)
    carried = np.asarray(zoo.layers.prior_layer(prior)(noise))
    found = build(network)
    np.testing.assert_array_equal(np.asarray(found(noise)), np.asarray(model(carried)))
    found.save(tmp_path / "generator.keras")
    again = keras.models.load_model(tmp_path / "generator.keras")
    np.testing.assert_array_equal(np.asarray(again(noise)), np.asarray(found(noise)))

    endpoint = Endpoint(
        "generate",
        {"latent": tensor("latent", (5,))},
        {"image": tensor("image", (4, 4, 1))},
        lambda z: {"image": found(z)},
        (found,),
    )
    exported = preflight([endpoint], 18)["generate"].SerializeToString()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    extremes = np.stack([np.full(5, x, np.float32) for x in (0.0, 4.0, -4.0)])
    for latents in (noise, extremes):
        (images,) = session.run(["image"], {"latent": latents})
        np.testing.assert_allclose(images, np.asarray(found(latents)), atol=2e-6)


def test_priors_by_name() -> None:
    network = read(stack((5,), layers.Dense(3)))
    assert rules.transport_prior(network, "standard_normal") is network
    with pytest.raises(ValueError, match="prior='cauchy': expected one of 'standard_normal'"):
        rules.transport_prior(network, "cauchy")


# Spectral normalisation


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


# Width


@pytest.mark.parametrize("seed", [0, 1])
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


# Conditional networks

CLASSES = 4


def _head(x: object) -> object:
    x = layers.Dense(18, name="project")(x)
    x = layers.ReLU()(norm(name="norm")(layers.Reshape((3, 3, 2))(x)))
    x = layers.Conv2DTranspose(1, 4, 2, padding="same", activation="tanh", name="last")(x)
    return layers.Rescaling(0.5, 0.5)(x)


def embedded(*, joined_by: str = "concatenate", label_shape: tuple[int, ...] = ()) -> keras.Model:
    latent, label = (
        keras.Input((5,), name="latent"),
        keras.Input(label_shape, dtype="int32", name="y"),
    )
    size = 3 if joined_by == "concatenate" else 5
    e = layers.Embedding(CLASSES, size, name="table")(label)
    if label_shape:
        e = layers.Flatten()(e)
    merge = {
        "concatenate": layers.Concatenate,
        "multiply": layers.Multiply,
        "add": layers.Add,
    }[joined_by]
    return shake(keras.Model([latent, label], _head(merge()([latent, e]))))


def one_hot() -> keras.Model:
    latent, label = keras.Input((5,), name="latent"), keras.Input((CLASSES,), name="label")
    return shake(keras.Model([latent, label], _head(layers.Concatenate()([label, latent]))))


def encoded(*, by_layer: bool) -> keras.Model:
    """An integer that the network makes one-hot itself, and a layer on it alone."""
    latent, label = keras.Input((5,), name="latent"), keras.Input((), dtype="int32", name="which")
    if by_layer:
        c = layers.CategoryEncoding(CLASSES, output_mode="one_hot")(label)
    else:
        c = keras.ops.one_hot(label, CLASSES)
    c = layers.Dense(5, activation="relu")(c)
    return shake(keras.Model([latent, label], _head(keras.ops.multiply(latent, c))))


CONDITIONAL: dict[str, Callable[[], keras.Model]] = {
    "embedding": embedded,
    "embedding, flattened": lambda: embedded(label_shape=(1,)),
    "embedding × latent": lambda: embedded(joined_by="multiply"),
    "embedding + latent": lambda: embedded(joined_by="add"),
    "one-hot": one_hot,
    "category encoding": lambda: encoded(by_layer=True),
    "ops.one_hot": lambda: encoded(by_layer=False),
}


def labelled(model: keras.Model, labels: np.ndarray) -> list[np.ndarray]:
    """Latents and labels as the network takes them."""
    latents = np.random.default_rng(5).normal(size=(len(labels), 5)).astype(np.float32)
    shape = model.input_shape[1][1:]
    if shape == (CLASSES,):
        return [latents, np.eye(CLASSES, dtype=np.float32)[labels]]
    return [latents, labels.reshape(-1, *shape).astype(np.int32)]


LABELS = np.arange(16) % CLASSES


@pytest.mark.parametrize("make", CONDITIONAL.values(), ids=CONDITIONAL.keys())
def test_conditional_generators_as_conditional_decoders(make: Callable[[], keras.Model]) -> None:
    model = make()
    network = rules.logits_from_images(rules.fold_norms(read(model)))
    assert "BatchNormalization" not in kinds(network)
    assert [block.name for block in network.inputs] == [tensor.name for tensor in model.inputs]
    assert_equal(network, model, labelled(model, LABELS), then=scipy.special.expit)


@pytest.mark.parametrize("make", CONDITIONAL.values(), ids=CONDITIONAL.keys())
@pytest.mark.parametrize("label", [0, 3])
def test_one_class_of_a_conditional_generator(make: Callable[[], keras.Model], label: int) -> None:
    model = make()
    given = labelled(model, np.full(16, label))
    found = rules.fix_label(read(model), label)
    assert [block.name for block in found.inputs] == ["latent"]
    assert not {"Embedding", "Concatenate", "Multiply", "Add"} & set(kinds(found))
    assert_equal(found, model, given[0], given)
    assert "fix label" in found["project"].origins["kernel"].rules
    for wrong in (-1, CLASSES, 1.0):
        with pytest.raises(ValueError, match=f"label={wrong}: expected a class from 0 to 3"):
            rules.fix_label(read(model), wrong)


@pytest.mark.parametrize("network", ["conv-4", "resnet-4"])
def test_one_class_of_a_conditional_generator_of_the_zoo(network: str) -> None:
    model = shake(networks.build(network, "generator", (8, 8, 1), 5, num_classes=CLASSES))
    given = labelled(model, np.full(16, 3))
    found = rules.fix_label(read(model), 3)
    assert "ConditionalBatchNormalization" not in kinds(found)
    assert_equal(found, model, given[0], given)
    others = labelled(model, np.full(16, 0))
    assert np.abs(model(others) - model(given)).max() > 0.01
    assert_equal(rules.fold_norms(found), model, given[0], given)
    with pytest.raises(ValueError, match="expected a class from 0 to 3"):
        rules.fix_label(read(model), CLASSES)


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("joined_by", ["concatenate", "multiply"])
def test_embeddings_as_one_hot(joined_by: str, shape: tuple[int, ...]) -> None:
    model = embedded(joined_by=joined_by, label_shape=shape)
    found = rules.embedding_to_one_hot(read(model))
    latents, labels = labelled(model, LABELS)
    one_hot = np.eye(CLASSES, dtype=np.float32)[LABELS]
    assert_equal(found, model, [latents, one_hot], [latents, labels])
    built = build(found)
    assert built.input_shape == [(None, 5), (None, CLASSES)]
    if joined_by == "concatenate":
        assert built.get_layer("project").kernel.shape == (5 + CLASSES, 18)
        assert found["project"].origins["kernel"].sources == ("project/kernel", "table/embeddings")
        assert found["project"].origins["bias"].rules == ()
    # And one class of that is one class of the generator.
    fixed = rules.fix_label(found, 2, "y")
    given = labelled(model, np.full(16, 2))
    assert_equal(fixed, model, given[0], given)


@pytest.mark.parametrize("network", ["conv-4", "resnet-4", "mlp"])
def test_a_new_label_changes_nothing_yet(network: str) -> None:
    model = shake(networks.build(network, "generator", (8, 8, 1), 5))
    found = rules.add_label(read(model), CLASSES)
    latents = draws(model)
    assert_equal(found, model, [latents, LABELS[: len(latents)]], latents)
    for label in (0, CLASSES - 1):  # and it is the inverse of
        assert_equal(rules.fix_label(found, label), model)


@pytest.mark.parametrize("network", ["conv-4", "resnet-4"])
def test_a_new_label_is_that_of_the_zoos_generators(network: str) -> None:
    model = shake(networks.build(network, "generator", (8, 8, 1), 5))
    wanted = networks.build(network, "generator", (8, 8, 1), 5, num_classes=CLASSES)
    found = build(rules.add_label(read(model), CLASSES))
    assert {tuple(w.shape) for w in found.weights} == {tuple(w.shape) for w in wanted.weights}
    assert found.count_params() == wanted.count_params()
    assert [tuple(x.shape) for x in found.inputs] == [tuple(x.shape) for x in wanted.inputs]
    # Each class's weights move its own images alone.
    latents = draws(model)
    before = [np.asarray(found([latents, np.full(16, label)])) for label in (0, 1)]
    name = next(block.name for block in read(found) if "Conditional" in block.kind)
    gamma = found.get_layer(name).gamma
    gamma.assign(gamma.numpy() + np.eye(CLASSES)[:, :1])
    after = [np.asarray(found([latents, np.full(16, label)])) for label in (0, 1)]
    assert np.abs(after[0] - before[0]).max() > 1e-3
    np.testing.assert_array_equal(after[1], before[1])


def test_labels_that_cannot_be_added() -> None:
    with pytest.raises(ValueError, match=r"\['latent', 'label'\]: expected one, for latents"):
        rules.add_label(read(networks.build("mlp", "decoder", (8, 8, 1), 5, num_classes=3)), 3)
    with pytest.raises(ValueError, match="expected Dense layers"):
        rules.add_label(read(stack((5,), layers.Activation("relu"), layers.Dense(3))), 3)
    # A BatchNorm of other settings stays.
    model = stack((5,), layers.Dense(6), norm(epsilon=0.1), layers.Dense(3))
    found = rules.add_label(read(model), 3)
    assert "BatchNormalization" in kinds(found)
    latents = draws(model)
    assert_equal(found, model, [latents, np.arange(len(latents)) % 3], latents)


def test_labels_that_cannot_be_fixed() -> None:
    with pytest.raises(ValueError, match="Which of the inputs"):
        rules.fix_label(read(stack((5,), layers.Dense(3))), 0)
    a, b = keras.Input((5,), name="a"), keras.Input((4,), name="b")
    unnamed = shake(keras.Model([a, b], layers.Dense(3, name="d")(layers.Concatenate()([a, b]))))
    with pytest.raises(ValueError, match="Give its name"):
        rules.fix_label(read(unnamed), 0)
    x = draws(keras.Model(a, a))
    found = rules.fix_label(read(unnamed), 1, "b")
    assert_equal(found, unnamed, x, [x, np.tile(np.eye(4, dtype=np.float32)[1], (16, 1))])

    latent, label = keras.Input((5,), name="latent"), keras.Input((), dtype="int32", name="label")
    plane = layers.Reshape((3, 3, 1))(layers.Dense(9)(layers.Embedding(4, 2)(label)))
    image = layers.Reshape((3, 3, 2))(layers.Dense(18)(latent))
    deep = keras.Model([latent, label], layers.Conv2D(1, 3)(layers.Concatenate()([image, plane])))
    with pytest.raises(ValueError, match=r"meets the latent in 'concatenate.*shape \(3, 3, 3\)"):
        rules.fix_label(read(deep), 0)
    with pytest.raises(ValueError, match="expected one Embedding"):
        rules.embedding_to_one_hot(read(one_hot()))


# Channels


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


# Reading and building


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Layers, keras.ops, models within, and two inputs."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.inner = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(8)])
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5)
        self.out = layers.Dense(8)

    def call(self, inputs: object, training: bool = False) -> object:
        x, y = inputs
        h = self.drop(self.norm(self.inner(x), training=training), training=training)
        h = keras.ops.concatenate(
            [keras.ops.leaky_relu(h, 0.1), keras.ops.cast(y, "float32")], axis=1
        )
        h = keras.ops.reshape(self.out(h), (-1, 2, 2, 2))
        return keras.ops.tanh(keras.ops.transpose(h, (0, 3, 1, 2))) * 0.5 + 0.5


@keras.saving.register_keras_serializable("tests")
class Opaque(keras.Model):
    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)

    def call(self, x: object) -> object:
        return tf.tanh(self.dense(x))


def nested() -> keras.Model:
    within = stack((6,), layers.Dense(6, name="same"), norm(), layers.GaussianNoise(1.0))
    inputs = keras.Input((6,), name="same_1")
    x = layers.Dense(6, name="same_too")(inputs)
    x = keras.Sequential([layers.Dense(6, name="same"), layers.ReLU()])(within(x))
    return shake(keras.Model(inputs, layers.Dense(2)(layers.Add()([within(x), x]))))


def shared() -> keras.Model:
    inputs = keras.Input((4,))
    dense, one = layers.Dense(4, activation="relu"), norm()
    return shake(keras.Model(inputs, [one(dense(dense(inputs))), one(inputs)]))


def with_ops() -> keras.Model:
    inputs = keras.Input((2, 4))
    x = layers.Dense(6)(inputs)
    a, b = keras.ops.split(keras.ops.reshape(x, (-1, 12)), 2, axis=1)
    x = keras.ops.silu(a) * b - 2.0 * keras.ops.maximum(a, 0.1) + keras.ops.ones((6,))
    y = 3.0 - keras.ops.exp(-x) / 3.0
    merged = keras.ops.reshape(y, (-1, 3))  # not of one example
    return shake(keras.Model(inputs, keras.ops.reshape(merged, (-1, 2, 3))))


READABLE: dict[str, Callable[[], keras.Model]] = {
    "sequential": lambda: shake(keras.Sequential([keras.Input((5,)), layers.Dense(4), norm()])),
    "nested": nested,
    "shared": shared,
    "keras.ops": with_ops,
    "mixed": lambda: stack((5,), layers.Dense(4), layers.LayerNormalization(), layers.PReLU()),
}


def attributes(model: keras.Model) -> list[object]:
    """What reading must leave as it was."""
    parts = model._flatten_layers()
    return [
        *[(layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in parts],
        *[weight.path for weight in model.weights],
        *[np.asarray(weight).tobytes() for weight in model.weights],
    ]


@pytest.mark.parametrize("make", READABLE.values(), ids=READABLE.keys())
def test_networks_are_read_and_built_bit_by_bit(make: Callable[[], keras.Model]) -> None:
    model = make()
    before = attributes(model)
    network = read(model)
    built = build(network)
    assert attributes(model) == before
    assert built.name == model.name
    assert sum(np.size(w) for w in built.weights) == sum(np.size(w) for w in model.weights)
    x = draws(model)
    wanted, found = (keras.tree.flatten(m(x, training=False)) for m in (model, built))
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    again = read(built)
    assert kinds(again) == kinds(network)
    exact = build(network, "float64")
    for a, b in zip(wanted, keras.tree.flatten(exact(x.astype(np.float64))), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-4)
        assert b.dtype == tf.float64


def test_subclassed_models_of_layers_are_read() -> None:
    model = Subclassed()
    x, y = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    model([x, y])
    shake(model)
    before = attributes(model)
    network = read(model)
    assert attributes(model) == before
    assert kinds(network) == [
        *["InputLayer", "InputLayer", "Dense", "Dense", "BatchNormalization", "LeakyReLU"],
        *["Concatenate", "Dense", "Reshape", "Permute", "Activation", "Rescaling", "Rescaling"],
    ]
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(7, n)).astype(np.float32) for n in (3, 4))
    np.testing.assert_array_equal(np.asarray(build(network)([x, y])), np.asarray(model([x, y])))
    folded = rules.fold_norms(network)
    assert_equal(folded, build(network), [x, y])
    assert rules.output_range(rules.merge_rescalings(network)) == (0.0, 1.0)


def test_inputs_keep_their_order() -> None:
    first, second = keras.Input((2,), name="first"), keras.Input((2,), name="second")
    deep = layers.Dense(2)(layers.Dense(2)(second))
    model = shake(keras.Model([first, second], layers.Subtract()([first, deep])))
    x = [draws(keras.Model(first, first), 4, seed) for seed in (0, 1)]
    np.testing.assert_array_equal(np.asarray(build(read(model))(x)), np.asarray(model(x)))


@keras.saving.register_keras_serializable("tests")
class Pair(layers.Layer):
    """A layer of two layers whose weights have the same names."""

    def __init__(self, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.a = keras.Sequential([layers.Dense(units, name="dense")], name="a")
        self.b = keras.Sequential([layers.Dense(units, name="dense")], name="b")

    def call(self, x: object) -> object:
        return self.a(x) - 2 * self.b(x)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


def test_weights_of_layers_within_layers() -> None:
    model = stack((5,), Pair(4, name="pair"), layers.Dense(2))
    network = read(model)
    assert {*network["pair"].arrays} == {
        f"{part}/dense/{kind}" for part in "ab" for kind in ("kernel", "bias")
    }
    assert_equal(network, model)


def test_what_cannot_be_read() -> None:
    opaque = Opaque()
    with pytest.raises(ValueError, match="'opaque.*' is not built: call it once"):
        read(opaque, "generator")
    opaque(np.ones((2, 3), np.float32))
    before = attributes(opaque)
    with pytest.raises(ValueError, match="The generator is a Opaque, whose call cannot be read"):
        read(opaque, "generator")
    assert attributes(opaque) == before
    assert convert.in_float64(opaque) is opaque
    inputs = keras.Input((3,))
    around = keras.Model(inputs, layers.Dense(2)(opaque(inputs)))
    with pytest.raises(ValueError, match="cannot be read"):
        read(around)
    with pytest.raises(ValueError, match="cannot be read"):
        convert.fold_batch_norm(around)


def test_precision() -> None:
    model = stack((5,), layers.Dense(4), norm())
    assert in_float32(model) is model
    mixed = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, dtype="mixed_bfloat16"),
            layers.Dense(3, dtype="float32"),
        ]
    )
    full = in_float32(shake(mixed))
    assert {layer.compute_dtype for layer in full.layers} == {"float32"}
    for a, b in zip(mixed.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    exact = convert.in_float64(model)
    assert {layer.dtype for layer in exact.layers} == {"float64"}
    wrapped = stack((5,), layers.SpectralNormalization(layers.Dense(4)))
    assert convert.in_float64(wrapped)(draws(wrapped)).dtype == tf.float64


def test_building_checks_weights_and_layers() -> None:
    network = read(stack((5,), layers.Dense(4, name="first")))
    block = network["first"]
    wide = block.with_arrays({**block.arrays, "kernel": np.ones((5, 6))}, "test")
    with pytest.raises(
        ValueError, match=r"first/kernel has shape \(5, 4\), but its array \(5, 6\)"
    ):
        build(network.replaced(wide))
    bare = block.with_arrays({"kernel": block.arrays["kernel"]}, "test")
    with pytest.raises(ValueError, match="'first' has weights"):
        build(network.replaced(bare))
    odd = stack((5,), layers.Lambda(lambda x: x, name="odd"))
    with pytest.raises(ValueError, match="'odd' .* cannot be made again"):
        build(read(odd))
    with pytest.raises(ValueError, match="2 arrays for the inputs"):
        evaluate(network, [np.ones((1, 5)), np.ones((1, 5))])
