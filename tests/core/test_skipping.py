"""An update whose gradient is too large moves nothing, on any replica."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.replicas import replicated
from zoo.core.adam import Adam
from zoo.core.keras_fixes import gradients_are_sums
from zoo.core.skipping import apply_below

SIZES = (1.0, 3.0, -2.0, np.inf, 0.5)  # of gradients; 2 is the norm from which they are skipped
SKIPPED = [0.0, 1.0, 1.0, 1.0, 0.0]


def _trained(replicas: int, *, scaled: bool) -> list[list[np.ndarray]]:
    """Weight and slots after each update, where every replica gives the same gradient."""
    strategy = replicated(replicas)
    with strategy.scope():
        weight = keras.Variable([1.0, 2.0])
        optimizer: Any = Adam(0.1, weight_decay=0.01)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0)
        optimizer.build([weight])
    gradients_are_sums(optimizer)

    @tf.function
    def step(size: Any) -> Any:
        def of_replica() -> Any:
            gradient = optimizer.scale_loss(size * tf.constant([0.6, 0.8]))
            return apply_below(optimizer, [gradient], [weight], 2.0)

        return strategy.experimental_local_results(strategy.run(of_replica))

    states = [[np.copy(v.numpy()) for v in (weight, *optimizer.variables)]]
    for size, skipped in zip(SIZES, SKIPPED, strict=True):
        assert [float(x) for x in step(tf.constant(size))] == replicas * [skipped]
        states.append([np.copy(v.numpy()) for v in (weight, *optimizer.variables)])
    return states


@pytest.mark.parametrize("scaled", [False, True])
def test_replicas_skip_alike(scaled: bool) -> None:
    states = _trained(1, scaled=scaled)
    moved = [
        any(np.any(a != b) for a, b in zip(before, after, strict=True))
        for before, after in pairwise(states)
    ]
    # A loss scale falls where gradients are not finite.
    assert moved == [True, False, False, scaled, True]
    for one, two in zip(states, _trained(2, scaled=scaled), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    weights = [state[0] for state in states]
    np.testing.assert_array_equal(weights[1], weights[4])
