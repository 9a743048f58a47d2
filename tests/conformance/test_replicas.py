"""N replicas compute what one device computes on the same global batch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.cases import CASES, CORE, FULLEST, Case
from tests.support.equivalence import (
    assert_equivalent,
    assert_moved,
    outcome,
    structured_images,
    train,
)
from tests.support.replicas import replicated

# The FULLEST go through `test_same_weights_and_logs`.
OTHERS = [case for case in CORE if case not in FULLEST]


@pytest.mark.parametrize(
    ("guarded", "replicas"),
    [
        pytest.param(False, (2, 3), id="plain"),
        pytest.param(True, (2,), id="clipped-and-scaled"),
        pytest.param(True, (3,), id="clipped-and-scaled-3", marks=pytest.mark.slow),
    ],
)
def test_same_weights_and_logs(full: Case, guarded: bool, replicas: tuple[int, ...]) -> None:
    """Weights, slots, logs, evaluation and predictions under 2 and 3 replicas."""
    one = train(full, guarded=guarded)
    assert_moved(full, one)
    for n in replicas:
        assert_equivalent(train(full, replicated(n), guarded=guarded), one)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[] if case in OTHERS else pytest.mark.slow)
        for case in CASES
    ],
)
def test_two_replicas(case: Case) -> None:
    """Weights, slots and logs of a short training."""
    found = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with replicated(replicas).scope():
            model = case.create_with_sgd()
        data = case.data(structured_images(case.image_shape))
        history = model.fit(*data, batch_size=20, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        found.append({**logs, **outcome(model)})
    assert_moved(case, found[0])
    assert_equivalent(found[1], found[0])


@pytest.mark.parametrize("case", [CASES[2], CASES[4]], ids=lambda case: case.id)
def test_several_steps_per_execution(case: Case) -> None:
    """In training, evaluation (of which the last execution has fewer steps) and prediction."""
    one = train(case, guarded=True)
    assert_equivalent(train(case, replicated(2), guarded=True, steps_per_execution=3), one)


def test_uneven_batches(full: Case, images: np.ndarray) -> None:
    """Batches that 2 replicas cannot share evenly change nothing either."""
    found = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with replicated(replicas).scope():
            model = full.create_with_sgd(**full.one_update)
        model.fit(*full.data(images[:10]), batch_size=7, epochs=2, shuffle=False, verbose=0)
        found.append(outcome(model))
    assert_equivalent(found[1], found[0])
