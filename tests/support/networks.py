"""Small Keras networks with random weights, and their comparison with networks of blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers

from zoo.convert.blocks import Network
from zoo.convert.building import build, evaluate
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
    """Float32 [n, ...] from N(0, 1), of the shape that the model takes."""
    shape = model.input_shape[1:]
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def rms(values: np.ndarray) -> float:
    """The root mean square."""
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
    """Names of the layers' classes, in order."""
    return [block.kind for block in network]


def norm(**options: object) -> layers.BatchNormalization:
    """A BatchNorm, with Keras's own ε unless another is given."""
    return layers.BatchNormalization(**options)
