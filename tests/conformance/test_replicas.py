"""N replicas compute what one device computes on the same global batch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.cases import CASES, CORE, Case, in_settings
from tests.support.equivalence import (
    assert_equivalent,
    assert_moved,
    outcome,
    structured_images,
    train,
)
from tests.support.replicas import replicated

# The fast ones are a VAE and a GAN whose penalty is a gradient of a gradient. Between them they
# take 2 replicas, whose reduction is a collective, and 3, whose reduction is to one device; even
# shares and uneven ones.
OTHERS = [case for case in CORE if case.name == "wgan_gp"]


@pytest.mark.parametrize(
    ("case", "setting"),
    in_settings(
        {
            "plain": (False, (3,), 25),
            "even": (False, (2, 3), 24),
            "clipped-and-scaled": (True, (2, 3), 24),
        },
        fast="vae",
    ),
)
def test_same_weights_and_logs(case: Case, setting: tuple[bool, tuple[int, ...], int]) -> None:
    """Weights, slots, logs, evaluation and predictions under 2 and 3 replicas."""
    guarded, replicas, batch_size = setting
    one = train(case, guarded=guarded, batch_size=batch_size)
    assert_moved(case, one)
    for n in replicas:
        assert_equivalent(train(case, replicated(n), guarded=guarded, batch_size=batch_size), one)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[] if case in OTHERS else pytest.mark.slow)
        for case in CASES
    ],
)
def test_two_replicas(case: Case) -> None:
    """Weights, slots and logs of a short training."""
    outcomes = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with replicated(replicas).scope():
            model = case.create_with_sgd()
        data = case.data(structured_images(case.image_shape))
        history = model.fit(*data, batch_size=20, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        outcomes.append({**logs, **outcome(model)})
    assert_moved(case, outcomes[0])
    assert_equivalent(outcomes[1], outcomes[0])


@pytest.mark.slow
@pytest.mark.parametrize("case", [CASES[2], CASES[4]], ids=lambda case: case.id)
def test_several_steps_per_execution(case: Case) -> None:
    """In training, evaluation (of which the last execution has fewer steps) and prediction.

    Gradients are clipped and scaled, as in test_parts.py, which stands for `clipped-and-scaled` in
    the fast tests.
    """
    one = train(case, guarded=True)
    assert_equivalent(train(case, replicated(2), guarded=True, steps_per_execution=3), one)


@pytest.mark.slow
@pytest.mark.parametrize("case", CORE, ids=lambda case: case.id)
def test_uneven_batches(case: Case, images: np.ndarray) -> None:
    """Batches that 2 replicas cannot share evenly change nothing either."""
    outcomes = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with replicated(replicas).scope():
            model = case.create_with_sgd(**case.one_update)
        model.fit(*case.data(images[:10]), batch_size=7, epochs=2, shuffle=False, verbose=0)
        outcomes.append(outcome(model))
    assert_equivalent(outcomes[1], outcomes[0])
