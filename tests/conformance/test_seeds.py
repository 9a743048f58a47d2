"""The same seed gives the same run, and another seed another one."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.cases import Case, state_of


@pytest.mark.slow
def test_same_seed_same_run(full_vae: Case, images: np.ndarray) -> None:
    """Bit for bit. A model without noise gives one run for all seeds."""
    states = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(0)
        model = full_vae.create(seed=seed)
        model.compile()
        model.fit(*full_vae.data(images), batch_size=20, shuffle=False, verbose=0)
        states.append(list(state_of(model).values()))
    same, other = (
        all(np.array_equal(a, b) for a, b in zip(states[0], state, strict=True))
        for state in states[1:]
    )
    assert same, "two runs of one seed differ"
    assert other != full_vae.noisy, "two seeds" + (" give one run" if full_vae.noisy else " differ")
