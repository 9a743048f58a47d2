"""The minibatch standard deviation against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.layers import MinibatchDeviation

RNG = np.random.default_rng(0)


def _deviations(x: np.ndarray, groups: int) -> np.ndarray:
    """Of each example's group: every `groups`-th example from its own number on."""
    found = np.zeros(len(x))
    for i in range(groups):
        member = x[i::groups].astype(np.float64)
        found[i::groups] = np.sqrt(member.var(axis=0) + 1e-8).mean()
    return found


@pytest.mark.parametrize(("n", "groups"), [(1, 1), (3, 1), (4, 1), (6, 2), (8, 2), (13, 4)])
def test_it_is_numpys_deviation_of_each_group(n: int, groups: int) -> None:
    x = RNG.normal(3.0, 2.0, (n, 4, 3, 5)).astype(np.float32)
    found = np.asarray(MinibatchDeviation()(x, training=True))
    np.testing.assert_array_equal(found[..., :5], x)
    wanted = np.broadcast_to(_deviations(x, groups)[:, None, None], (n, 4, 3))
    np.testing.assert_allclose(found[..., 5], wanted, rtol=1e-5)


def test_groups_are_the_authors() -> None:
    """[4, n / 4, …] of the batch, as their code reshapes it."""
    x = RNG.standard_normal((12, 2, 2, 3)).astype(np.float32)
    found = np.asarray(MinibatchDeviation()(x, training=True))[:, 0, 0, -1]
    wanted = x.reshape(4, 3, -1).std(axis=0).mean(axis=1)
    np.testing.assert_allclose(found.reshape(4, 3), np.tile(wanted, (4, 1)), rtol=1e-5)


def test_it_falls_for_images_that_are_alike() -> None:
    one, others = RNG.standard_normal((2, 4, 4, 4, 3)).astype(np.float32)
    layer = MinibatchDeviation()
    values = [
        float(layer(one[:1] + scale * others, training=True)[0, 0, 0, -1])
        for scale in (1.0, 0.5, 0.0)
    ]
    assert values[1] == pytest.approx(0.5 * values[0], rel=1e-5)
    assert values[2] == pytest.approx(1e-4, rel=1e-5)  # √ε


def test_inference_takes_the_average_for_each_image_alone() -> None:
    x = RNG.standard_normal((8, 4, 4, 3)).astype(np.float32)
    layer = MinibatchDeviation()
    before = np.asarray(layer(x))[..., -1]
    assert not before.any()
    training = np.asarray(layer(x, training=True))[..., -1]
    after = np.asarray(layer(x[:1]))[..., -1]
    np.testing.assert_allclose(after, 0.1 * training.mean(), rtol=1e-5)
    layer.trainable = False
    layer(3 * x, training=True)
    np.testing.assert_array_equal(np.asarray(layer(x[:1]))[..., -1], after)
