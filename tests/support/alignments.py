"""Small networks to align, and aligning one into another."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from zoo.convert.align import Alignment, align
from zoo.convert.blocks import Network
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.convert.writing import commit

X = np.random.default_rng(1).normal(size=(64, 5)).astype(np.float32)


def functional(function: Callable, shape: tuple[int, ...] = (5,), seed: int = 0) -> keras.Model:
    """A model with random weights, BatchNorm's included."""
    inputs = keras.Input(shape, name="latent")
    model = keras.Model(inputs, function(inputs))
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.name or "gamma" in weight.name
        draw = rng.uniform(0.5, 2.0, weight.shape) if positive else rng.normal(size=weight.shape)
        weight.assign(draw)
    return model


def stack(*parts: layers.Layer, seed: int = 0) -> keras.Model:
    """A functional model of layers in a row, with random weights."""

    def function(x: object) -> object:
        for layer in parts:
            x = layer(x)
        return x

    return functional(function, seed=seed)


def assert_aligned(
    source: keras.Model | Network, target: keras.Model, **options: object
) -> Alignment:
    """Aligns and commits, and checks that the target then computes the source's function."""
    network = source if isinstance(source, Network) else read(source)
    mapping = align(network, read(target), **options)
    commit(target, mapping.arrays)
    wanted = np.asarray(build(network)(X))
    scale = np.sqrt(np.mean(wanted**2))
    np.testing.assert_allclose(np.asarray(target(X)) / scale, wanted / scale, atol=3e-6)
    return mapping


def small_decoder(names: str, *, fused: bool, seed: int) -> keras.Model:
    """Dense, reshape and two convolutions; activations within layers or behind them."""
    a, b, c = names
    relu = {"activation": "relu"} if fused else {}
    between = [] if fused else [layers.ReLU()]
    leaky = layers.LeakyReLU(0.2) if fused else layers.ReLU(negative_slope=0.2)
    return stack(
        layers.Dense(18, name=a, **relu),
        *between,
        layers.Flatten() if fused else layers.Activation("linear"),
        layers.Reshape((3, 3, 2)) if fused else layers.Reshape((3, 3, -1)),
        layers.Conv2DTranspose(2, 4, 2, padding="same", name=b),
        leaky,
        layers.Conv2DTranspose(2, 4, 2, padding="same", name=c),
        seed=seed,
    )


def branches(order: int = 1, *, merge: Callable = layers.Add, seed: int = 0) -> keras.Model:
    """Two branches of equal form, and a merge."""

    def function(x: object) -> object:
        a, b = layers.Dense(4, name="a")(x), layers.Dense(4, name="b")(x)
        return layers.Dense(2, name="out")(merge()([a, b][::order]))

    return functional(function, seed=seed)


def chain(*units: int, seed: int = 0) -> keras.Model:
    """Dense layers d0, d1, … with so many units."""
    dense = [layers.Dense(n, name=f"d{i}") for i, n in enumerate(units)]
    return stack(*dense, seed=seed)
