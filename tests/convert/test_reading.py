"""Keras models as networks of blocks, and networks of blocks as Keras models."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.support.networks import assert_equal, draws, kinds, norm, shake, stack
from zoo import convert
from zoo.convert import rules
from zoo.convert.building import build, evaluate, in_float32
from zoo.convert.reading import read


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
