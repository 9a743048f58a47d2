"""Noise is a function of name and training step, and no two replicas share a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.cases import Case
from tests.support.replicas import replicated


def test_replicas_draw_different_noise(case: Case) -> None:
    three = replicated(3)
    with three.scope():
        model = case.create()

    @tf.function
    def draw() -> Any:
        return three.run(lambda: model.noise("latent", tf.constant(4), [5]))

    rows = np.concatenate([np.asarray(x) for x in three.experimental_local_results(draw())])
    assert len({tuple(row) for row in rows}) == 12
    alone = np.asarray(case.create().noise("latent", tf.constant(12), [5]))
    np.testing.assert_array_equal(rows, alone)


def test_noise_changes_with_step_and_name(case: Case) -> None:
    model = case.create()
    first = np.asarray(model.noise("latent", tf.constant(4), [5]))
    other = np.asarray(model.noise("mix", tf.constant(4), [5]))
    model.step.assign_add(1)
    later = np.asarray(model.noise("latent", tf.constant(4), [5]))
    assert np.abs(first - other).min() > 0
    assert np.abs(first - later).min() > 0
