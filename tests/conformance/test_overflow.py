"""An overflow on one replica skips the update on all, and no other update."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import Case, in_settings
from tests.support.equivalence import (
    assert_equivalent,
)
from tests.support.replicas import replicated


@pytest.mark.parametrize(("case", "replicas"), in_settings({"2": 2, "3": 3}))
def test_all_replicas_skip_an_overflow(case: Case, replicas: int, images: np.ndarray) -> None:
    """An image that overflows one replica's gradients skips the update of all, and no other."""
    # In the first batch, in the first replica's share; even, as the images of FactorVAE's VAE are.
    images[2] = np.inf
    outcomes = []
    for n in (1, replicas):
        keras.utils.set_random_seed(0)
        with replicated(n).scope():
            model = case.create_without_batch_norm(guarded=True)
        first, others = (
            tf.data.Dataset.from_tensor_slices(case.data(part)).batch(24)
            for part in (images[:24], images[24:])
        )
        with pytest.raises(ValueError, match="to inf; expected"):  # after the step
            model.fit(first, shuffle=False, verbose=0)
        model.fit(others, shuffle=False, verbose=0)
        slots = [v for name in model.optimizer_names for v in getattr(model, name).variables]
        variables = [*model.trainable_variables, *slots]
        outcomes.append({f"weight/{i} {v.name}": np.asarray(v) for i, v in enumerate(variables)})
        default = ("discriminator_optimizer",) if case.is_gan else model.optimizer_names
        for name in case.overflowing or default:
            optimizer = getattr(model, name)
            updates = 3 * model.updates_a_step(name)
            done = int(optimizer.inner_optimizer.iterations.numpy())
            assert done == updates - 1, (
                f"{name}: {done} of {updates} updates; one was to be skipped"
            )
            scale = float(optimizer.dynamic_scale.numpy())
            assert scale == 2.0**99, f"{name}: a scale of {scale:g}; expected 2**100 halved once"
    assert_equivalent(outcomes[1], outcomes[0])
