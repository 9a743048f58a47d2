"""Writing into a model’s weights: all or none."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.alignments import X, assert_aligned, chain, small_decoder, stack
from zoo.convert.align import align, normal
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.convert.writing import commit, variables


def test_weights_in_models_within_models() -> None:
    inner = stack(layers.Dense(4, name="dense"), layers.Dropout(0.5), layers.Dense(5, name="last"))
    outer = keras.Sequential([keras.Input((5,)), layers.Dense(5, name="first"), inner])
    found = variables(outer)
    assert set(found) == {f"{b.name}/{key}" for b in read(outer) for key in b.arrays}
    assert found["dense/kernel"] is inner.get_layer("dense").kernel
    assert_aligned(chain(5, 4, 5, seed=2), outer)


def test_a_failed_commit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    target = chain(4, 4, 3, seed=1)
    arrays = align(read(chain(4, 4, 3)), read(target)).arrays
    before = [np.asarray(w).tobytes() for w in target.weights]
    for weight in target.weights:

        def broken(value: object, assign: Callable = weight.assign) -> None:
            assign(value)
            monkeypatch.undo()
            raise RuntimeError("out of memory")

        monkeypatch.setattr(weight, "assign", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            commit(target, arrays)
        assert [np.asarray(w).tobytes() for w in target.weights] == before
    commit(target, arrays)
    assert [np.asarray(w).tobytes() for w in target.weights] != before


@pytest.mark.parametrize(
    ("path", "array", "reason"),
    [
        ("d1/kernal", np.zeros((4, 3)), r"no weight 'd1/kernal'. The nearest: d1/kernel"),
        ("d1/kernel", np.zeros((3, 4)), r"d1/kernel has shape \(4, 3\), but its array \(3, 4\)"),
        ("d1/kernel", np.full((4, 3), np.nan), "d1/kernel is not finite"),
        ("d1/kernel", np.full((4, 3), 1e300), "d1/kernel is not finite in float32"),
    ],
)
def test_bad_arrays_are_refused_before_any_is_written(
    path: str, array: np.ndarray, reason: str
) -> None:
    target = chain(4, 3)
    before = [np.asarray(w).copy() for w in target.weights]
    with pytest.raises(ValueError, match=reason):
        commit(target, {"d0/kernel": np.ones((5, 4)), path: array})
    for weight, value in zip(target.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_normal_form_computes_the_same() -> None:
    model = small_decoder("abc", fused=True, seed=0)
    network = normal(read(model))
    np.testing.assert_array_equal(np.asarray(build(network)(X)), np.asarray(model(X)))
    assert [b.layer for b in network if b.layer is layers.Flatten] == []
    assert network["a"].activation == "linear"
