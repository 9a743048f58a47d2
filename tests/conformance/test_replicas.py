"""N replicas compute what one device computes on the same global batch."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import Case


@functools.cache  # TensorFlow's collectives allow one strategy of a size in a process
def _strategy(replicas: int) -> tf.distribute.Strategy:
    if replicas == 1:
        return tf.distribute.get_strategy()
    # Collectives (the default) also allow one group size only; reduction to one device is the
    # other implementation, so both are tested.
    reduction = tf.distribute.ReductionToOneDevice() if replicas == 3 else None
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)], reduction)


def _train(case: Case, images: np.ndarray, replicas: int, **options: Any) -> tuple[Any, dict]:
    """Two epochs of two global batches of 30, which 2 and 3 replicas share evenly."""
    keras.utils.set_random_seed(0)
    with _strategy(replicas).scope():
        model = case.create_with_sgd(**options)
    history = model.fit(images, batch_size=30, epochs=2, shuffle=False, verbose=0).history
    history["test"] = model.evaluate(images, batch_size=30, verbose=0, return_dict=True)
    return model, history


@pytest.mark.parametrize("replicas", [2, 3])
def test_same_weights_and_logs(case: Case, images: np.ndarray, replicas: int) -> None:
    one, one_history = _train(case, images, 1)
    many, many_history = _train(case, images, replicas)
    untrained = [np.asarray(w) for w in _untrained(case)]
    for start, a, b in zip(untrained, one.weights, many.weights, strict=True):
        _assert_close(b, a, a.path, atol=2e-6)
        if a.trainable and "ema" not in a.path and "logits" in a.path and "kernel" in a.path:
            # what is compared has moved by far more than the tolerance
            assert np.abs(np.asarray(a) - start).max() > 2e-5
    for name in one_history:
        found, wanted = (
            list(h[name].values()) if isinstance(h[name], dict) else h[name]
            for h in (many_history, one_history)
        )
        _assert_close(found, wanted, name, atol=2e-5)


def _assert_close(found: Any, wanted: Any, name: str, atol: float) -> None:
    assert np.isfinite(np.asarray(wanted)).all(), name  # NaN would equal NaN
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=atol, err_msg=name)


def _untrained(case: Case) -> list[Any]:
    keras.utils.set_random_seed(0)
    return case.create().weights


def test_uneven_batches(case: Case, images: np.ndarray) -> None:
    """A last batch that 2 replicas cannot share evenly changes nothing either."""
    models = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with _strategy(replicas).scope():
            model = case.create_with_sgd(**({"n_critic": 1} if case.name != "vae" else {}))
        model.fit(images[:11], batch_size=8, epochs=2, shuffle=False, verbose=0)
        models.append(model)
    for a, b in zip(models[0].weights, models[1].weights, strict=True):
        _assert_close(b, a, a.path, atol=2e-6)


def test_replicas_draw_different_noise(case: Case) -> None:
    strategy = _strategy(3)
    with strategy.scope():
        model = case.create()

    @tf.function
    def draw() -> Any:
        return strategy.run(lambda: model.noise("latent", tf.constant(4), [5]))

    rows = np.concatenate([np.asarray(x) for x in strategy.experimental_local_results(draw())])
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
