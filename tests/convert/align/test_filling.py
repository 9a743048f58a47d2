"""BatchNorms and biases that only one network has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.alignments import X, assert_aligned, stack
from zoo.convert.align import align
from zoo.convert.reading import read

NORMS: Mapping[str, Callable[[bool], list[layers.Layer]]] = {
    "dense": lambda bias: [layers.Dense(4, use_bias=bias)],
    "convolution": lambda bias: [
        layers.Dense(18, activation="relu"),
        layers.Reshape((3, 3, 2)),
        layers.Conv2D(3, 3, use_bias=bias),
    ],
    "dense on an image": lambda bias: [
        layers.Dense(12, activation="relu"),
        layers.Reshape((3, 2, 2)),
        layers.Permute((1, 3, 2)),
        layers.Dense(4, use_bias=bias),
    ],
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS.keys())
def test_a_new_norm_is_the_identity(make: Callable, bias: bool) -> None:
    source = stack(*make(True), layers.ReLU(), layers.Flatten(), layers.Dense(3))
    norm = layers.BatchNormalization(epsilon=1e-5, name="norm")
    target = stack(*make(bias), norm, layers.ReLU(), layers.Flatten(), layers.Dense(3), seed=1)
    found = assert_aligned(source, target, latents=X)
    # In training it standardises what it takes, and so does little.
    inner = keras.Model(target.input, norm.input)(X)
    axes = tuple(range(len(inner.shape) - 1))
    np.testing.assert_allclose(norm.moving_mean, np.mean(inner, axes), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, np.var(inner, axes), rtol=1e-4)
    assert {row.status for row in found.rows if row.target.startswith("norm/")} == {"TRANSFORMED"}
    assert all(row.rule == "identity BatchNorm" for row in found.rows if "norm/" in row.target)
    assert found.complete
    assert "norm" in found.pairs


def test_a_new_norm_behind_a_reshape() -> None:
    """The dense layer's bias differs between pixels, so that no BatchNorm can take it."""

    def model(*norm: layers.Layer, bias: bool = True, seed: int = 0) -> keras.Model:
        dense, reshape = layers.Dense(18, use_bias=bias, name="project"), layers.Reshape((3, 3, 2))
        return stack(dense, reshape, *norm, layers.ReLU(), layers.Conv2D(1, 3), seed=seed)

    def norm() -> layers.Layer:
        return layers.BatchNormalization(name="norm")

    assert_aligned(model(), model(norm(), seed=1), latents=X)
    with pytest.raises(ValueError, match="use_bias=True in 'project'"):
        align(read(model()), read(model(norm(), bias=False)), latents=X)
    source = model()
    source.get_layer("project").bias.assign(np.tile([0.5, -2.0], 9))
    assert_aligned(source, model(norm(), bias=False, seed=1), latents=X)


def test_a_new_norm_needs_latents_and_both_parameters() -> None:
    source = read(stack(layers.Dense(4)))
    target = read(stack(layers.Dense(4), layers.BatchNormalization()))
    with pytest.raises(ValueError, match="Give the latents"):
        align(source, target)
    target = read(stack(layers.Dense(4), layers.BatchNormalization(scale=False)))
    with pytest.raises(ValueError, match="scale=True and center=True"):
        align(source, target, latents=X)


def test_a_bias_that_only_one_has() -> None:
    def model(*norm: layers.Layer, bias: bool, seed: int = 0) -> keras.Model:
        return stack(layers.Dense(4, use_bias=bias, name="dense"), *norm, seed=seed)

    found = assert_aligned(model(bias=False), model(bias=True, seed=1))
    assert found.arrays["dense/bias"].tolist() == [0, 0, 0, 0]
    assert found.rows[1].rule == "zero bias"
    source = model(bias=True)
    with pytest.raises(ValueError, match="no BatchNorm behind it to take it"):
        align(read(source), read(model(bias=False)))
    source.get_layer("dense").bias.assign(np.zeros(4))
    found = assert_aligned(source, model(bias=False, seed=1))
    assert [row.source for row in found.rows if row.status == "UNUSED"] == ["dense/bias"]
    norms = [layers.BatchNormalization(name="norm") for _ in range(2)]
    found = assert_aligned(model(norms[0], bias=True), model(norms[1], bias=False, seed=1))
    assert "dense" not in found.pairs
    assert found.pairs["norm"] == "norm"
