"""A batch computed in parts, on any number of replicas, is the whole batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, Case, in_settings
from tests.support.equivalence import (
    assert_equivalent,
    outcome,
)
from tests.support.replicas import replicated
from zoo.core.replicas import in_turn


@pytest.mark.parametrize(("case", "replicas"), in_settings({"2": 2, "1": 1}))
def test_accumulation_equals_the_large_batch(case: Case, replicas: int, images: Any) -> None:
    """In three parts or at once; without BatchNorm and losses between examples: they see parts."""
    if case.coupled:
        pytest.skip("its loss is between examples")
    outcomes = []
    for accumulate in (1, 3):
        keras.utils.set_random_seed(0)
        with replicated(replicas if accumulate > 1 else 1).scope():
            model = case.create_without_batch_norm(accumulate=accumulate, guarded=replicas > 1)
        data = case.data(images)
        history = model.fit(*data, batch_size=24, epochs=2, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        outcomes.append({**logs, **outcome(model)})
    assert_equivalent(outcomes[1], outcomes[0])


SPLIT = [c for c in CASES if c.name == "factor_vae" or c.options.get("n_critic", 1) > 1]


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_rows_of_parts(replicas: int, n: int) -> None:
    """The parts of all replicas together are every n-th row, whatever the replicas' shares."""
    shares = [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9, 10, 11, 12, 13]][:replicas]

    def split() -> list[Any]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.gather(tf.ragged.constant(shares), replica)
        return [part["images"] for part in in_turn({"images": rows}, n)]

    strategy = replicated(replicas)
    parts = tf.function(lambda: strategy.run(split))()
    for i, part in enumerate(parts):
        rows = np.concatenate(strategy.experimental_local_results(part))
        np.testing.assert_array_equal(rows, np.concatenate(shares)[i::n])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "options", "accumulate"),
    [
        pytest.param(c, options, n, id=f"{c.id}-accumulate={n}")
        for c, options, n in [
            *((c, {}, 1) for c in SPLIT),
            # BatchNorm sees the parts
            (CASES[3], {"network": "mlp", "n_critic": 3}, 2),
            (CASES[3], {}, 3),
        ]
    ],
)
def test_parts_of_a_batch(case: Case, options: Any, accumulate: int, images: np.ndarray) -> None:
    """Minibatches and parts are those of one device, though they do not divide a replica's share.

    Shares of 11 and 11, or 8, 7 and 7.
    """
    outcomes = []
    for replicas in (1, 2, 3):
        keras.utils.set_random_seed(0)
        with replicated(replicas).scope():
            model = case.create_with_sgd(accumulate=accumulate, **options)
        data = case.data(images[:22])
        history = model.fit(*data, batch_size=22, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        outcomes.append({**logs, **outcome(model)})
    assert_equivalent(outcomes[1], outcomes[0])
    assert_equivalent(outcomes[2], outcomes[0])
