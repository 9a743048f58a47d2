"""Two workers over gRPC compute what one device computes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, Case
from tests.support.equivalence import (
    assert_equivalent,
    train,
)
from zoo.training.launch import launch


@pytest.mark.parametrize(
    ("cases", "guarded"),
    [
        pytest.param([case for case in CASES if case.id == "dcgan"], False, id="plain"),
        pytest.param(CASES, False, id="all", marks=pytest.mark.slow),
        pytest.param(CASES, True, id="clipped-and-scaled", marks=pytest.mark.slow),
    ],
)
def test_two_workers(cases: list[Case], guarded: bool, tmp_path: Path) -> None:
    """Two processes over gRPC train the cases: both end with what one device ends with."""
    worker = ["-m", "tests.support.worker", str(tmp_path), str(guarded)]
    worker += [case.id for case in cases]
    assert launch(2, [sys.executable, *worker]) == 0
    workers = [dict(np.load(tmp_path / f"{i}.npz")) for i in range(2)]
    rows = np.concatenate([worker["noise"] for worker in workers])
    assert len({tuple(row) for row in rows}) == 8
    np.testing.assert_array_equal(rows, CASES[0].create().noise("latent", tf.constant(8), [5]))
    for case in cases:
        one = train(case, guarded=guarded)
        for worker in workers:
            prefix = f"{case.id}|"
            found = {k.removeprefix(prefix): v for k, v in worker.items() if k.startswith(prefix)}
            assert_equivalent(found, one)
